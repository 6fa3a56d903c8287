#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One run of the lookup service (examples/lookup) under open-loop load, as bench.py's programs
run: NAME=VALUE words, and one line of JSON on standard output.

    tests/bench/lookup.py BUILD gcrt|go live=256m rate=8000 replace=100000 seconds=11

The servers hold the same records (the checksum says so), the load generator is the same
program, and compares every 16th answer byte by byte.  The server's CPU time is that while it
serves; latencies count from when a request was due.  Server and generator share the machine.
"""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAYLOAD = 512
RECORD_BYTES = 88 + PAYLOAD + 12 + 5 + 8  # record.c: record_bytes_min
DEFAULTS = {"live": "256m", "rate": "8000", "replace": "100000", "seconds": "11"}
UNITS = {"k": 10, "m": 20, "g": 30}
START_S = 300


def server(build, peer):
    """The server's program."""
    if peer == "gcrt":
        return build / "examples" / "lookup" / "lookup-server"
    return build / "tests" / "bench" / f"lookup_{peer}"


def number(text):
    return int(text[:-1]) << UNITS[text[-1]] if text[-1] in UNITS else int(text)


def settings(words):
    given = dict(word.split("=", 1) for word in words)
    for name in given:
        if name not in DEFAULTS:
            sys.exit(f"lookup: unknown argument {name}")
    return {name: number(text) for name, text in {**DEFAULTS, **given}.items()}


def lines_of(path):
    """A file of `name value` lines."""
    return {name: float(value) for name, value in map(str.split, path.read_text().splitlines())}


def await_port(process, path):
    end = time.monotonic() + START_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit("lookup: the server did not start")
        time.sleep(0.05)
    return path.read_text().strip()


def peak_rss_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status).group(1))


def serve(build, peer, args, folder):
    """Starts the server, drives it; returns what it printed and its peak RSS."""
    argv = [server(build, peer), f"--records={args['live'] // RECORD_BYTES + 1}", "--port=0",
            f"--payload={PAYLOAD}", f"--replace-rate={args['replace']}",
            f"--port-file={folder / 'port'}", f"--stats={folder / 'server'}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = await_port(process, folder / "port")
            load = [build / "examples" / "lookup" / "loadgen", f"--port={port}",
                    f"--rate={args['rate']}", f"--duration={args['seconds']}",
                    f"--stats={folder / 'load'}"]
            done = subprocess.run(load, stdout=subprocess.PIPE, text=True, check=False)
            peak = peak_rss_kib(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
        printed = process.stdout.read()
    if done.returncode != 0 or process.returncode != 0:
        sys.exit(f"lookup: server {process.returncode}, load generator {done.returncode}: "
                 + " ".join(done.stdout.split()))
    return printed, peak


def main():
    build, peer = Path(sys.argv[1]), sys.argv[2]
    args = settings(sys.argv[3:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        printed, peak = serve(build, peer, args, folder)
        of_server, load = lines_of(folder / "server"), lines_of(folder / "load")
    result = {
        "program": "lookup",
        "peer": peer,
        "checksum": re.search(r"checksum ([0-9a-f]{16})", printed).group(1),
        "cpu_s": of_server["cpu_s"],
        "cycles": of_server["gc_cycles"],
        "pause_max_ns": of_server["pause_max_ns"],
        "replaced": of_server["replaced"],
        "peak_rss_kib": peak,
        "rate": load["rate_achieved"],
        "backlog_max": load["backlog_max"],
        **{key: load[key] for key in load if key.startswith("latency_")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
