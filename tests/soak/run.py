#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs tests again and again, more at once than there are CPUs, and keeps what failed.

    run.py BUILD [seconds=1200] [jobs=3 per CPU] [suite=stress,race] [name=PATTERN] [seed=N]

BUILD is a build folder; its tests of those suites, whose names match the pattern (a shell
glob), are run in random order, each with a new seed of its own, until the time is over.  What
one run in a thousand shows needs this: other threads get the CPU in the middle of everything.

A run that fails, or takes ten times meson's limit for the test, leaves its output in
BUILD/soak/NAME.N.log; of one that hangs, also the stacks of its processes (by gdb).  At the end
a line for each test: how often it ran, how often it failed.  Exit status: 0 if none did.
"""

import fnmatch
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GIVEN = dict(word.split("=", 1) for word in sys.argv[2:])
SEEDED = ("/stress_", "/race_")  # programs that take seed=; others find their own
SKIP = 77


def tests_of(build, suites, pattern):
    """(name, command, environment, limit in seconds, takes a seed) of each test."""
    text = subprocess.run(["meson", "introspect", "--tests", build], check=True,
                          capture_output=True, text=True).stdout
    for test in json.loads(text):
        suite = {word.split(":")[-1] for word in test["suite"]}
        if suite & suites and fnmatch.fnmatch(test["name"], pattern):
            seeded = any(part in test["cmd"][0] for part in SEEDED)
            yield test["name"], test["cmd"], test["env"], test["timeout"] * 10, seeded


def family(pid):
    """The process and all that come from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    yield pid
    for child in children.read_text().split() if children.exists() else []:
        yield from family(int(child))


def stacks(pid):
    if shutil.which("gdb") is None:
        return "no gdb here, so no stacks\n"
    ask = ["gdb", "-batch", "-ex", "thread apply all backtrace 24", "-p"]
    return "".join(
        f"\nprocess {p}\n" + subprocess.run([*ask, str(p)], capture_output=True, text=True,
                                            check=False).stdout
        for p in list(family(pid)))


def run_once(build, command, env, limit):
    """(exit status or None if it hung, what it printed)"""
    with subprocess.Popen(command, cwd=build, env={**os.environ, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as process:
        try:
            out, _ = process.communicate(timeout=limit)
            return process.returncode, out.decode(errors="replace")
        except subprocess.TimeoutExpired:
            text = stacks(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            return None, out.decode(errors="replace") + text


class Soak:
    def __init__(self, build, tests, seconds, rand):
        self.build, self.folder = build, Path(build) / "soak"
        self.tests, self.rand = tests, rand
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.runs = {test[0]: 0 for test in tests}
        self.failures = {test[0]: 0 for test in tests}
        self.folder.mkdir(exist_ok=True)

    def keep(self, name, command, status, out):
        with self.lock:
            self.failures[name] += 1
            path = self.folder / f"{name}.{self.failures[name]}.log"
            path.write_text(f"$ {' '.join(command)}\n{out}")
            what = "hung" if status is None else f"exit {status}"
            print(f"{name}: {what}, see {path}", flush=True)

    def work(self):
        while time.monotonic() < self.end:
            with self.lock:
                name, command, env, limit, seeded = self.rand.choice(self.tests)
                if seeded:
                    command = [*command, f"seed={self.rand.getrandbits(40)}"]
                self.runs[name] += 1
            status, out = run_once(self.build, command, env, limit)
            if status not in (0, SKIP):
                self.keep(name, command, status, out)


def main():
    build = sys.argv[1]
    suites = set(GIVEN.get("suite", "stress,race").split(","))
    tests = list(tests_of(build, suites, GIVEN.get("name", "*")))
    seed = int(GIVEN.get("seed", random.getrandbits(40)))
    if not tests:
        sys.exit(f"soak: {build} has no such tests")
    print(f"soak: {len(tests)} tests, seed={seed}", flush=True)
    soak = Soak(build, tests, int(GIVEN.get("seconds", 1200)), random.Random(seed))
    jobs = int(GIVEN.get("jobs", 3 * len(os.sched_getaffinity(0))))
    threads = [threading.Thread(target=soak.work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, runs in soak.runs.items():
        print(f"{name:28} {runs:6} runs {soak.failures[name]:4} failures")
    failed = sum(soak.failures.values())
    print(f"soak: {sum(soak.runs.values())} runs, {failed} failures")
    sys.exit(1 if failed else 0)


main()
