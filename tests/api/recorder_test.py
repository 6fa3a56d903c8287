# SPDX-License-Identifier: MIT
"""What the flight recorder writes is a Chrome trace that agrees with the heap's own counts.

usage: recorder_test.py PROGRAM    (recorder_dump)
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile

ACTIONS = ["barrier_on", "settle", "scan", "flush", "barrier_off", "flush_cache"]
PHASES = ["starting", "marking", "ending", "sweeping"]


def check_nesting(slices):
    """Slices of a row lie in one another or apart, or a viewer draws them wrongly."""
    stack = []
    for e in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
        end = e["ts"] + e["dur"]
        while stack and stack[-1] <= e["ts"] + 0.0005:
            stack.pop()
        assert not stack or end <= stack[-1] + 0.0015, f"crosses its neighbour: {e}"
        stack.append(end)


def check(trace, told, mode):
    events = trace["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    rows = collections.defaultdict(list)
    count = collections.Counter()
    for e in events:
        assert e["ph"] in "XiCM" and e["pid"] > 0 and e["tid"] in names, e
        if e["ph"] == "M":
            continue
        assert e["ts"] >= 0
        count[e["args"].get("event", "heap"), e["name"]] += 1
        if e["ph"] == "X":
            assert e["dur"] >= 0
            rows[e["tid"]].append(e)
    for slices in rows.values():
        check_nesting(slices)
    cycles = told["cycles"]
    assert cycles == told["begin"] == told["marked"] == told["end"] and cycles >= 5, told
    assert told["wrong"] == 0 and told["pause"] > 0, told
    for phase in PHASES:
        assert count["phase", phase] == cycles, (phase, count)
    assert count["cycle", "cycle"] == cycles
    answers = {a: count["answer", a] + count["proxy", a] for a in ACTIONS}
    for action in ["scan", "flush_cache"] + ([] if mode == "stw" else ACTIONS):
        assert answers[action] >= cycles, (action, count)
    assert sum(n for (event, _), n in count.items() if event == "proxy") == told["proxies"]
    assert count["attach", "attach"] == count["detach", "detach"] == 2 * cycles, count
    assert count["refill", "refill"] > 0 and count["heap", "heap"] >= 3 * cycles, count
    assert trace["otherData"] == {"source": "gcrt", "lost": 0}
    assert "sleeper" in names.values(), "its row has only what was done for it"
    assert "gcrt-cycle" in names.values() and "gcrt-mark" in names.values(), names
    of_cycle = [t for t, name in names.items() if name == "gcrt-cycle"]
    assert {e["tid"] for e in rows[of_cycle[0]] if e["name"] in PHASES} == set(of_cycle)


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        for mode in ["concurrent", "stw", "precise"]:
            run = subprocess.run([program, path, mode], check=True, capture_output=True, text=True)
            told = {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", run.stdout)}
            with open(path, encoding="utf-8") as f:
                trace = json.load(f)
            check(trace, told, mode)
            print(f"recorder: {mode}: {len(trace['traceEvents'])} events, {told['cycles']} cycles")


main()
