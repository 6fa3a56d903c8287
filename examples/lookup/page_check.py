# SPDX-License-Identifier: MIT
"""python3 examples/lookup/page_check.py FOLDER [--pictures=FOLDER] [--seconds=N]

Opens the live page of a server in headless Chromium and looks at what it draws: no complaint on
the console, no request to anywhere else, every chart has points, its numbers are those of
/metrics, pause and arrow keys work, narrow and wide windows do not scroll sideways, and a server
that goes away and comes back is noticed. Skipped where there is no Chromium.

With --pictures it also writes pictures of the page, after N seconds of load.
"""

import os
import subprocess
import sys
import time

import browser
from service import Service, Tap

FLAGS = ["--live-mb=24", "--replace-rate=60000", "--loops=2"]
WIDTHS = [375, 768, 1024, 1600]


def load(folder, service, seconds):
    return subprocess.Popen(
        [os.path.join(folder, "loadgen"), f"--port={service.port}", "--rate=1500",
         f"--duration={seconds}", "--warmup=0.1", "--connections=16"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def check_drawing(tap, page, service):
    page.until("document.readyState === 'complete' && location.protocol === 'http:'")
    tap.check("it becomes live", page.until("link === 'live' && samples.length >= 60"))
    tap.check("it sees cycles", page.until("samples.some((s) => s.cycles > 0)"))
    page.until("CARDS.every((card) => card.points > 0)")
    page.run("draw()")
    points = page.run("CARDS.map((card) => [card.id, card.points, card.series.length])")
    for name, n, series in points:
        # Handshakes and assists are seen only for some seconds after cycles.
        enough = n >= 40 * series if name in ("heap", "memory", "threads") else n >= 1
        tap.check(f"the chart {name} has points", enough, n)
    labels = page.run("CARDS.map((card) => card.svg.getAttribute('aria-label'))")
    tap.check("every chart says its values", all(any(c.isdigit() for c in s) for s in labels),
              labels)
    tap.check("no value is malformed",
              page.run("!/NaN|undefined|Infinity|\\[object/.test(document.body.innerHTML"
                       ".replace(/<script[^]*<\\/script>/, ''))"))
    urls = page.requests()
    tap.check("it asks nobody else",
              all(u.startswith((service.url("/"), "data:", "about:")) for u in urls), urls)
    tap.check("the console is silent", not page.complaints(), page.complaints())


def check_numbers(tap, page, service):
    before = service.metrics()
    seen = page.run("samples[samples.length - 1].t")
    page.until(f"samples[samples.length - 1].t > {seen} + 150")
    values = page.run("""(() => {
        const s = samples[samples.length - 1];
        const sum = (x) => Object.values(x).reduce((a, b) => a + b, 0);
        return {allocs: s.get("/gc/heap/allocs:bytes"), cycles: s.get("/gc/cycles/total:gc-cycles"),
                cpus: s.d.threads_CPUs, mutators: s.d.threads_mutators,
                objects: s.get("/gc/heap/objects:objects"),
                sizes: sum(s.get("/gc/heap/allocs-by-size:bytes"))
                    - sum(s.get("/gc/heap/frees-by-size:bytes"))};
    })()""")
    after = service.metrics()
    for key, name in [("allocs", "gcrt_gc_heap_allocs_bytes_total"),
                      ("cycles", "gcrt_gc_cycles_total_gc_cycles_total")]:
        tap.check(f"{key} are those of /metrics", before[name] <= values[key] <= after[name],
                  before[name], values[key], after[name])
    tap.check("CPUs and threads are those of /metrics",
              values["cpus"] == after["gcrt_sched_cpus_cpus"]
              and values["mutators"] == after["gcrt_sched_mutators_threads"], values)
    tap.check("the size classes add up to the objects", values["sizes"] == values["objects"],
              values)


def check_keys(tap, page):
    page.run("document.getElementById('pause').focus()")
    page.key("Enter", 13)
    seen = page.run("[document.getElementById('cards').innerHTML, samples[samples.length - 1].t]")
    tap.check("Enter pauses", page.until("document.getElementById('status').textContent"
                                         " === 'paused'"), text(page, "status"))
    page.until(f"samples[samples.length - 1].t > {seen[1]} + 1000")
    tap.check("a paused page stands still",
              page.run("document.getElementById('cards').innerHTML") == seen[0])
    page.key("Enter", 13)
    tap.check("Enter resumes", page.until("document.getElementById('status').textContent"
                                          " === 'live'"), text(page, "status"))
    page.run("CARDS[0].svg.focus()")
    page.key("ArrowLeft", 37)
    page.key("ArrowLeft", 37)
    tap.check("arrows show earlier values", "before the newest" in text(page, "about"),
              text(page, "about"))
    page.key("Escape", 27)
    tap.check("Escape shows the newest", "two minutes" in text(page, "about"),
              text(page, "about"))
    page.run("CARDS[0].svg.blur()")


def check_looks(tap, page, folder):
    colors = {}
    for scheme in ["light", "dark"]:
        page.scheme(scheme)
        colors[scheme] = page.run("getComputedStyle(document.body).backgroundColor")
        for width in WIDTHS:
            page.size(width, 900)
            page.until(f"innerWidth === {width}")
            time.sleep(0.2 if folder is None else 1)
            wide = page.run("document.documentElement.scrollWidth")
            tap.check(f"{scheme}, {width} pixels: nothing sticks out", wide <= width, wide)
            if folder is not None:
                page.picture(os.path.join(folder, f"{scheme}-{width}.png"))
    tap.check("the schemes differ", colors["light"] != colors["dark"], colors)
    page.scheme("light")
    page.size(1600, 900)


def check_return(tap, page, folder, service):
    status = service.stop()
    tap.check("a server with viewers ends well", status == 0, status)
    tap.check("a lost server is noticed",
              page.until("document.getElementById('status').textContent === 'disconnected'"))
    again = Service(folder, *FLAGS, port=service.port)
    tap.check("and its return",
              page.until(f"link === 'live' && hello.pid === {again.process.pid}"))
    tap.check("what the old one did is forgotten",
              page.until("samples.length > 3") and page.run(
                  "samples.every((s) => Object.values(s.d).every((x) => !(x < 0)))"))
    tap.check("the second one ends well", again.stop() == 0)


def check_page(tap, folder, program, pictures, seconds):
    service = Service(folder, *FLAGS)
    traffic = load(folder, service, seconds)
    page = browser.Browser(program)
    try:
        page.size(1600, 900)
        page.call("Page.navigate", url=service.url("/debug/gc/?interval=100"))
        check_drawing(tap, page, service)
        check_numbers(tap, page, service)
        check_keys(tap, page)
        if pictures is not None:
            traffic.wait()
        check_looks(tap, page, pictures)
        tap.check("the console is still silent", not page.complaints(), page.complaints())
        traffic.terminate()
        traffic.wait()
        check_return(tap, page, folder, service)
    finally:
        page.close()
        service.process.kill()


def main():
    options = dict(arg[2:].split("=", 1) for arg in sys.argv[2:])
    program = browser.find()
    if program is None:
        print("1..0 # SKIP no chromium here: apt-get install chromium, and run this again")
        return 0
    tap = Tap()
    check_page(tap, sys.argv[1], program, options.get("pictures"),
               int(options.get("seconds", "30")))
    return tap.end()


sys.exit(main())
