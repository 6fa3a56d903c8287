# SPDX-License-Identifier: MIT
"""python3 examples/lookup/debug_check.py FOLDER

Asks the debug endpoints of a server everything but how they look: kinds and statuses, profiles
that pprof reads, bad queries, streams side by side, clients that are slow, vanish, pipeline or
half-close, too many of them, and the service's end while they are open.
"""

import gzip
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

from service import Service, Tap

FLAGS = ["--live-mb=8", "--replace-rate=20000", "--patience=1"]
JOBS_MAX = 16
WAIT = 120  # seconds after which what was waited for counts as lost

REFUSED = {
    "/debug/gc/?x=1": "interval=MS", "/debug/gc?interval=": "interval=MS",
    "/debug/gc/stream?interval=99": "interval=MS",
    "/debug/gc/stream?interval=10001": "interval=MS",
    "/debug/gc/stream?interval=1e3": "interval=MS",
    "/debug/gc/stream?interval=-500": "interval=MS",
    "/debug/gc/stream?interval=4294967796": "interval=MS",
    "/debug/gc/stream?interval=500&interval=500": "interval=MS",
    "/debug/gc/stream?seconds=1": "interval=MS",
    "/debug/pprof/heap?seconds=1": "no parameter", "/debug/pprof/heap?=": "no parameter",
    "/debug/pprof/allocs?seconds=0": "seconds=N", "/debug/pprof/allocs?seconds=601": "seconds=N",
    "/debug/trace?seconds=0": "seconds=N", "/debug/trace?interval=1": "seconds=N",
    "/debug/pprof/allocs?seconds=ten": "seconds=N", "/debug/pprof/allocs?seconds": "seconds=N",
    "/debug/pprof/allocs?seconds=99999999999999999999": "seconds=N",
}


def until(holds):
    end = time.monotonic() + WAIT
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def ask(service, path, head="", method="GET", version="1.1", **options):
    s = service.connect(**options)
    s.sendall(f"{method} {path} HTTP/{version}\r\nHost: a\r\n{head}\r\n".encode())
    return s


def read_all(s):
    """All bytes up to the server's end."""
    pieces = []
    while True:
        piece = s.recv(1 << 16)
        if not piece:
            s.close()
            return b"".join(pieces)
        pieces.append(piece)


class Stream:
    """A viewer: its head, and one event after the other."""

    def __init__(self, service, query="?interval=100"):
        self.file = ask(service, "/debug/gc/stream" + query).makefile("rb")
        self.head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        self.hello = json.loads(self.event("hello"))

    def event(self, kind="message"):
        fields = dict(line.rstrip(b"\n").split(b": ", 1)
                      for line in iter(self.file.readline, b"\n"))
        assert fields.get(b"event", b"message").decode() == kind
        return fields[b"data"]

    def values(self):
        sample = json.loads(self.event())
        names = [metric["name"] for metric in self.hello["metrics"]]
        assert len(names) == len(sample["v"])
        return sample["t"], dict(zip(names, sample["v"]))


def check_page(tap, service):
    status, headers, body = service.get("/debug/gc/")
    tap.check("the page is HTML", status == 200 and body.startswith(b"<!DOCTYPE html>")
              and body.endswith(b"</html>\n")
              and headers["Content-Type"] == "text/html; charset=utf-8", headers)
    tap.check("it may ask nobody else", "default-src 'self' 'unsafe-inline'" in
              headers["Content-Security-Policy"], headers)
    links = re.findall(rb"https?://[\w.]+", body)
    tap.check("it names no other host", set(links) <= {b"http://www.w3.org"}, links)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "debug.html")
    with open(source, "rb") as f:
        tap.check("it is what was written", f.read() == body)
    tap.check("it is there without the slash", service.get("/debug/gc")[2] == body)
    tap.check("HTTP/1.0 gets it", read_all(ask(service, "/debug/gc/", version="1.0"))
              .endswith(body))


def pprof_check(tap, name, service, source, kind):
    go = shutil.which("go")
    if go is None:
        tap.check(name + " # SKIP no go here", True)
        return
    result = subprocess.run([go, "tool", "pprof", "-top", service.program, source], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                            env=dict(os.environ, PPROF_TMPDIR=service.work.name))
    tap.check(name, result.returncode == 0 and f"Type: {kind}" in result.stdout
              and "flat%" in result.stdout, result.stdout)


def check_profile(tap, service, path, kind):
    status, headers, body = service.get(path)
    ok = (status == 200 and headers["Content-Type"] == "application/octet-stream"
          and body[:2] == b"\x1f\x8b" and int(headers["Content-Length"]) == len(body))
    tap.check(f"{path} is gzip", ok, status, headers)
    text = gzip.decompress(body)
    tap.check(f"{path} has its sample types", b"inuse_space" in text and b"alloc_space" in text)
    with tempfile.NamedTemporaryFile(prefix=kind) as f:
        f.write(body)
        f.flush()
        pprof_check(tap, f"pprof reads what {path} gave", service, f.name, kind)
    pprof_check(tap, f"pprof fetches {path}", service, service.url(path), kind)


def read_all_of_busy(service, s):
    """What s gets, while lookups make work for the heap."""
    for _ in range(300):
        service.get("/lookup?key=1")
    return read_all(s)


def two_traces(service):
    """Of 1 and 3 s, at once: their heads, and when each one's last work began."""
    waiting = [ask(service, path) for path in ["/debug/trace", "/debug/trace?seconds=3"]]
    heads, last = [], []
    for piece in [read_all_of_busy(service, s) for s in waiting]:
        head, _, body = piece.partition(b"\r\n\r\n")
        heads.append(head)
        last.append(max((e["ts"] for e in json.loads(body)["traceEvents"] if e["ph"] == "X"),
                        default=0))
    return heads, last


def check_trace(tap, service):
    """On a machine that others load there may be no cycle in a second: then in another one."""
    seen = []

    def work_goes_on():
        seen.append(two_traces(service))
        _, last = seen[-1]
        return 0 < last[0] < last[1]

    tap.check("the first to end does not switch the recorder off for the other",
              until(work_goes_on), seen)
    tap.check("a trace is JSON", all(b" 200 " in head and b"application/json" in head
                                     for heads, _ in seen for head in heads), seen)


def check_refusals(tap, service):
    for path, why in REFUSED.items():
        status, _, body = service.get(path)
        tap.check(f"{path} is refused", status == 400 and why in json.loads(body)["error"], body)
    for path in ["/debug", "/debug/", "/debug/gc/x", "/debug/pprof", "/debug/pprof/",
                 "/debug/pprof/heap/", "/debug//gc/"]:
        tap.check(f"{path} is not there", service.get(path)[0] == 404)
    s = ask(service, "/debug/pprof/symbol", "Connection: close\r\nContent-Length: 5\r\n", "POST")
    s.sendall(b"0x1+2")
    tap.check("no symbols are known", read_all(s).endswith(b"\r\n\r\nnum_symbols: 0\n"))
    for method in ["POST", "HEAD", "DELETE"]:
        s = ask(service, "/debug/gc/stream", "Connection: close\r\n", method)
        head, body = read_all(s).decode().split("\r\n\r\n")
        tap.check(f"{method} is not allowed", head.startswith("HTTP/1.1 405 ")
                  and "\r\nAllow: GET" in head and (body == "") == (method == "HEAD"), head)


def check_streams(tap, service):
    one, two = Stream(service), Stream(service, "")
    tap.check("a stream is one of events", "\r\nContent-Type: text/event-stream\r\n" in one.head
              and "\r\nContent-Length" not in one.head, one.head)
    tap.check("it tells its interval", one.hello["interval_ms"] == 100
              and two.hello["interval_ms"] == 500)
    names = list(json.loads(service.get("/debug/allocs")[2]))
    tap.check("it has all metrics", [m["name"] for m in one.hello["metrics"]] == names)
    shapes = [m["shape"] for m in one.hello["metrics"] if m["kind"] == "hist"]
    tap.check("histograms have bounds", shapes and max(shapes) + 1 == len(one.hello["shapes"])
              and all(len(bounds) > 10 for bounds in one.hello["shapes"]), shapes)
    counters = [m["name"] for m in one.hello["metrics"] if m["counter"] and m["kind"] != "hist"]
    rows = [one.values() for _ in range(5)]
    other = two.values()[1]
    later = one.values()
    tap.check("time goes on", all(a[0] < b[0] for a, b in zip(rows, rows[1:])))
    tap.check("counters grow", all(a[1][c] <= b[1][c] for a, b in zip(rows, rows[1:])
                                   for c in counters))
    tap.check("two streams tell the same story",
              all(rows[0][1][c] <= later[1][c] for c in counters)
              and other["/sched/mutators:threads"] == later[1]["/sched/mutators:threads"])
    allocs, total = "/gc/heap/allocs-by-size:bytes", "/gc/heap/allocs:objects"
    tap.check("a histogram is whole", sum(later[1][allocs].values()) == later[1][total])
    tap.check("looking attaches nobody", later[1]["/sched/mutators:threads"]
              == service.metrics()["gcrt_sched_mutators_threads"])
    one.file.close()
    two.file.close()


def check_connections(tap, service):
    lookups = b"GET /lookup?key=1 HTTP/1.1\r\n\r\n" * 4000
    s = service.connect(buffer=4096)
    s.sendall(lookups + b"GET /debug/pprof/heap HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n")
    got = read_all(s)
    tap.check("earlier answers of the connection come first, and all of them",
              got.count(b"HTTP/1.1 200 OK") == 4001, got.count(b"HTTP/1.1 200 OK"))
    tap.check("then ours, which is the last", gzip.decompress(got[got.rfind(b"\r\n\r\n") + 4:]))
    s = ask(service, "/debug/gc/")
    s.sendall(b"x" * 100000)
    tap.check("a client that goes on sending gets its answer",
              read_all(s).endswith(b"</html>\n"))
    s = ask(service, "/debug/pprof/allocs?seconds=1")
    s.shutdown(socket.SHUT_WR)
    tap.check("a half-closed client gets its answer", b"200 OK" in read_all(s))


def full(service):
    return service.get("/debug/gc/")[0] == 503


def join(service, views):
    """One viewer more; no room yet if somebody answered a moment ago still counts."""
    s = ask(service, "/debug/gc/stream?interval=10000")
    if s.recv(12, socket.MSG_WAITALL) != b"HTTP/1.1 200":
        s.close()
        return False
    views.append(s)
    return True


def refuses_bytes(s):
    try:
        s.sendall(b"x")
        return False
    except OSError:
        return True


def check_crowds(tap, service):
    views = []
    tap.check("so many may look",
              all(until(lambda: join(service, views)) for _ in range(JOBS_MAX)))
    tap.check("there is a limit", full(service))
    status, _, body = service.get("/debug/pprof/heap")
    tap.check("beyond it one is told so", status == 503 and b"too many" in body, body)
    tap.check("others do not suffer", service.get("/lookup?key=1")[0] == 200)
    for s in views:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    tap.check("viewers that vanish make room", until(lambda: not full(service)))
    deaf = ask(service, "/debug/gc/stream?interval=100", buffer=4096)
    tap.check("who does not read is dropped", until(lambda: refuses_bytes(deaf)))
    deaf.close()


def check_end(tap, service):
    waiting = ask(service, "/debug/pprof/allocs?seconds=600")
    views = [Stream(service), Stream(service)]
    tap.check("a request that waits holds up nobody", service.get("/healthz")[0] == 200)
    counts = service.metrics()
    total = sum(counts[f"lookup_responses_{n}xx_total"] for n in [2, 4, 5])
    tap.check("each answer is counted once", counts["lookup_requests_total"] == total, counts)
    status = service.stop()
    tap.check("the service ends with streams open", status == 0, status)
    tap.check("which it closes", waiting.recv(1) == b"")
    for view in views:
        view.file.read()


def main():
    tap = Tap()
    service = Service(sys.argv[1], *FLAGS, "--loops=1")
    try:
        check_page(tap, service)
        check_profile(tap, service, "/debug/pprof/heap", "inuse_space")
        check_profile(tap, service, "/debug/pprof/allocs", "alloc_space")
        check_profile(tap, service, "/debug/pprof/allocs?seconds=1", "alloc_space")
        check_trace(tap, service)
        check_refusals(tap, service)
        check_streams(tap, service)
        check_connections(tap, service)
        check_crowds(tap, service)
        check_end(tap, service)
        service = Service(sys.argv[1], *FLAGS, env={"GCRT_DEBUG": "stw=1"})
        view = Stream(service)
        tap.check("it works in GC_MODE_STW, too", view.values()[0] < view.values()[0]
                  and service.get("/debug/pprof/heap")[0] == 200 and service.stop() == 0)
    finally:
        service.process.kill()
    return tap.end()


sys.exit(main())
