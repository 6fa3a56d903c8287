#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants bugs one by one and shows which test finds each.

    tests/mutants/run.py [options] [NAME...]     all mutants, or those named (shell globs)
    tests/mutants/run.py --check                 do all mutants still fit the sources?
    tests/mutants/run.py --list

Each *.toml beside this file holds [[mutant]] tables (README.md has their keys).  The tree is
copied into a scratch folder per worker and built there once; a mutant then costs what its
change makes stale.  Its detectors are meson's tests, by suite/name: those of its `try`, then
those of detectors.txt, in order, until one fails.  A detector counts only if it passes on
the copy without the mutant, and a run of ten times its time there is a hang.  The table goes
to standard output and to --table FILE.  Exit status: 0 if no mutant survives, 1 if one does,
2 if something else is wrong.
"""

import argparse
import fnmatch
import glob
import json
import os
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SETUP = ["-Dbuildtype=debugoptimized", "-Dverify=true", "-Ddefault_library=static",
         "-Dexamples=disabled", "-Dbenchmarks=disabled", "-Dtests=enabled"]
KEYS = {"name", "means", "tag", "file", "old", "new", "try"}


class Trouble(Exception):
    """The run itself cannot go on, whatever the mutants do."""


# ---- mutants ----

def load():
    mutants = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.toml"))):
        with open(path, "rb") as f:
            mutants += tomllib.load(f)["mutant"]
    return mutants


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def complaints(mutants):
    """What is wrong with the list, as lines of text."""
    seen = set()
    tags = set(re.findall(r"^\| (\S+) \|", read(ROOT, "docs/invariants.md"), re.M))
    for m in mutants:
        name = m.get("name", "?")
        if KEYS - {"try"} - set(m) or set(m) - KEYS:
            yield f"{name}: has the keys {sorted(m)}"
            continue
        if name in seen:
            yield f"{name}: comes twice"
        seen.add(name)
        if m["tag"] != "-" and m["tag"] not in tags:
            yield f"{name}: docs/invariants.md has no tag {m['tag']}"
        if not os.path.isfile(os.path.join(ROOT, m["file"])):
            yield f"{name}: there is no file {m['file']}"
        elif read(ROOT, m["file"]).count(m["old"]) != 1:
            yield f"{name}: its old text is not found exactly once in {m['file']}"
        if m["old"] == m["new"]:
            yield f"{name}: changes nothing"


# ---- one scratch copy ----

def tree_files():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    return [p for p in out.splitlines() if os.path.isfile(os.path.join(ROOT, p))]


def limits():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def kill_session(leader):
    """Criterion's children have process groups of their own, and would go on hanging."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == leader:
                os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(command, seconds, cwd, env=None):
    """(status, output, took); status None if it ran out of time."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True, preexec_fn=limits)
    try:
        output, _ = process.communicate(timeout=seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        kill_session(process.pid)
        output, _ = process.communicate()
        status = None
    text = output.decode("utf-8", "replace")
    return status, text, time.monotonic() - start


class Copy:
    """A copy of the tree and its build folder."""

    def __init__(self, folder, jobs):
        self.tree = os.path.join(folder, "tree")
        self.build = os.path.join(folder, "build")
        self.jobs = jobs
        self.sync()
        self.setup(folder)
        self.tests = self.introspect()

    def setup(self, folder):
        """A build folder, made anew when it was made with other options."""
        stamp = os.path.join(folder, "options")
        wanted = " ".join(SETUP)
        if os.path.isfile(stamp):
            with open(stamp, encoding="utf-8") as f:
                if f.read() == wanted:
                    return
        shutil.rmtree(self.build, ignore_errors=True)
        self.must(["meson", "setup", self.build, self.tree] + SETUP, self.tree)
        with open(stamp, "w", encoding="utf-8") as f:
            f.write(wanted)

    def sync(self):
        files = set(tree_files())
        for base, _, names in os.walk(self.tree):
            for name in names:
                path = os.path.relpath(os.path.join(base, name), self.tree)
                if path not in files:
                    os.remove(os.path.join(self.tree, path))
        for path in files:
            source, target = os.path.join(ROOT, path), os.path.join(self.tree, path)
            with open(source, "rb") as f:
                wanted = f.read()
            if os.path.isfile(target):
                with open(target, "rb") as f:
                    if f.read() == wanted:
                        continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)

    def must(self, command, cwd):
        status, text, _ = run(command, 3600, cwd)
        if status != 0:
            raise Trouble(f"{' '.join(command)} failed:\n{text[-3000:]}")

    def ask(self, what):
        return json.loads(subprocess.run(["meson", "introspect", what, self.build], check=True,
                                         stdout=subprocess.PIPE, text=True).stdout)

    def introspect(self):
        """The tests by suite/name; `files` is what each needs to have been built."""
        self.must(["ninja", "-C", self.build, "build.ninja"], self.tree)
        found = {}
        made = {target["id"]: target["filename"] for target in self.ask("--targets")}
        for test in self.ask("--tests"):
            test["files"] = [os.path.relpath(name, self.build)
                             for target in test["depends"] for name in made[target]]
            for suite in test["suite"]:
                found[suite.split(":")[-1] + "/" + test["name"]] = test
        return found

    def make(self, test):
        """None, or the output of a build that failed."""
        status, text, _ = run(["ninja", f"-j{self.jobs}"] + self.tests[test]["files"], 3600,
                              self.build)
        return None if status == 0 else text

    def run_test(self, test, seconds):
        t = self.tests[test]
        return run(t["cmd"], seconds, t["workdir"] or self.build, {**os.environ, **t["env"]})

    def write(self, path, text):
        with open(os.path.join(self.tree, path), "w", encoding="utf-8") as f:
            f.write(text)


# ---- what a failing test says ----

def has_failed(status, text):
    return status not in (0, 77) or re.search(r"^not ok", text, re.M) is not None


def first_words(text):
    """The line that tells most of why a test failed."""
    for pattern in (r"^gcrt: .*", r"^.*: (?:broken|hang): .*", r"^broken: .*",
                    r"^.*[Aa]ssertion failed.*", r"^# .*(?:Unexpected signal|[Tt]imed out).*",
                    r"^.*(?:CHECK|FAIL|failed|wrong|error).*", r"^not ok.*",
                    r"^\S.*"):
        match = re.search(pattern, text, re.M)
        if match:
            line = re.sub(r"\(seed=\d+\) |FAILED ", "", match.group(0).strip("# -"))
            return re.sub(r"\S*?/?(tests/\S+\.c)", r"\1", line)[:140]
    return "no message"


def failed_case(text):
    match = re.search(r"^not ok - (\S+)", text, re.M)
    return " " + match.group(1) if match else ""


# ---- the run ----

class Runner:
    def __init__(self, args, mutants):
        self.args = args
        self.planted = mutants
        self.mutants = queue.Queue()
        for m in sorted(mutants, key=lambda m: m["file"]): # neighbours recompile less
            self.mutants.put(m)
        self.lock = threading.Lock()
        self.good = {} # detector: seconds on the tree as it is
        self.rows = []
        self.trouble = None

    def order(self, copy, mutant):
        tests = list(mutant.get("try", []))
        for pattern in read(HERE, "detectors.txt").split("\n"):
            pattern = pattern.split("#")[0].strip()
            tests += [t for t in sorted(copy.tests) if fnmatch.fnmatch(t, pattern)]
        tests = list(dict.fromkeys(tests))
        return tests[:self.args.first] if self.args.first else tests

    def ensure_good(self, copy, test):
        with self.lock:
            if test in self.good:
                return
        failure = copy.make(test)
        if failure is not None:
            raise Trouble(f"the tree as it is does not build:\n{failure[-3000:]}")
        status, text, took = copy.run_test(test, 600)
        if status is None:
            raise Trouble(f"{test} hangs on the tree as it is")
        if has_failed(status, text):
            raise Trouble(f"{test} fails on the tree as it is:\n{text[-2000:]}")
        with self.lock:
            self.good[test] = took

    def seconds(self, test):
        return 30 + 10 * self.good.get(test, 10)

    def detect(self, copy, mutant, tests):
        """(detector, message) of the first that fails, or None."""
        for test in tests:
            failure = copy.make(test)
            if failure is not None:
                return "the compiler", first_words(failure)
            status, text, took = copy.run_test(test, self.seconds(test))
            if self.args.verbose:
                print(f"    {mutant['name']}: {test} ended with {status} in {took:.1f} s")
            if status is None:
                return test, f"hangs (ended after {took:.0f} s)"
            if has_failed(status, text):
                return test + failed_case(text), first_words(text)
        return None

    def plant(self, copy, mutant):
        clean = read(ROOT, mutant["file"])
        tests = self.order(copy, mutant)
        for test in mutant.get("try", []):
            self.ensure_good(copy, test)
        start = time.monotonic()
        copy.write(mutant["file"], clean.replace(mutant["old"], mutant["new"]))
        try:
            found = self.detect(copy, mutant, tests)
        finally:
            copy.write(mutant["file"], clean)
        took = time.monotonic() - start
        if found and found[0] != "the compiler":
            test = found[0].split(" ")[0]
            if found[1].startswith("hangs"): # or is the machine that slow just now?
                with self.lock:
                    self.good.pop(test, None)
            self.ensure_good(copy, test)
        return found, took

    def record(self, mutant, found, took):
        with self.lock:
            self.rows.append((mutant, found, took))
            verdict = f"{found[0]}: {found[1]}" if found else "SURVIVES"
            print(f"{mutant['name']}: {verdict} ({took:.0f} s)", flush=True)

    def work(self, slot):
        try:
            copy = Copy(os.path.join(self.args.scratch, f"slot{slot}"), self.args.jobs)
            bad = [f"{m['name']}: there is no test {t}" for m in self.planted
                   for t in m.get("try", []) if t not in copy.tests]
            if bad:
                raise Trouble("\n".join(bad))
            while self.trouble is None:
                mutant = self.mutants.get_nowait()
                self.record(mutant, *self.plant(copy, mutant))
        except queue.Empty:
            pass
        except Exception as e: # also: a thread must not end without a word
            self.trouble = e

    def run(self):
        workers = [threading.Thread(target=self.work, args=(i,))
                   for i in range(self.args.slots)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()


# ---- the table ----

def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


HEAD = ("| mutant | what is wrong | invariant | caught by | its words | seconds |\n"
        "| --- | --- | --- | --- | --- | --- |\n")


def row(mutant, found, took):
    by, words = found if found else ("**nothing**", "")
    return "| " + " | ".join(cell(c) for c in (
        mutant["name"], mutant["means"], mutant["tag"], by, words, f"{took:.0f}")) + " |"


def table(rows, older):
    """The rows of this run, and older ones of mutants that it did not plant."""
    lines = {m["name"]: row(m, found, took) for m, found, took in rows}
    return HEAD + "\n".join(v for _, v in sorted({**older, **lines}.items())) + "\n"


def older_rows(path, mutants):
    names = {m["name"] for m in mutants}
    rows = {}
    if path and os.path.isfile(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                words = line.split(" ")
                if len(words) > 2 and words[0] == "|" and words[1] in names:
                    rows[words[1]] = line.rstrip("\n")
    return rows


def arguments():
    p = argparse.ArgumentParser(description="Plants bugs, shows which test finds each.")
    p.add_argument("names", nargs="*", help="mutants, as shell patterns; default: all")
    p.add_argument("-j", dest="slots", type=int, default=1, help="mutants at a time")
    p.add_argument("--jobs", type=int, default=1, help="compilers at a time, per mutant")
    p.add_argument("--first", type=int, help="run at most so many detectors per mutant")
    p.add_argument("--table", help="write the table to this file too; rows that it has of "
                   "mutants which are not planted now are kept")
    p.add_argument("--scratch", default=os.path.join(ROOT, "build", "mutants"))
    p.add_argument("--check", action="store_true", help="only look at the list")
    p.add_argument("--list", action="store_true", help="only print the names")
    p.add_argument("-v", "--verbose", action="store_true")
    return p.parse_args()


def finish(runner, args):
    if runner.trouble:
        print(f"run.py: {runner.trouble}", file=sys.stderr)
    survivors = sum(1 for r in runner.rows if r[1] is None)
    print("\n" + table(runner.rows, {}))
    if args.table:
        text = table(runner.rows, older_rows(args.table, load()))
        with open(args.table, "w", encoding="utf-8") as f:
            f.write(text)
    print(f"Ok: {len(runner.rows) - survivors}\nFail: {survivors}")
    return 2 if runner.trouble else 1 if survivors else 0


def main():
    args = arguments()
    args.scratch = os.path.abspath(args.scratch)
    mutants = load()
    bad = list(complaints(mutants))
    for line in bad:
        print(line)
    if args.check or bad:
        print(f"mutants: {len(mutants)}, {len(bad)} complaints")
        return 2 if bad or not mutants else 0
    if args.names:
        mutants = [m for m in mutants
                   if any(fnmatch.fnmatch(m["name"], n) for n in args.names)]
    if args.list:
        print("\n".join(f"{m['name']}: {m['means']}" for m in mutants))
        return 0
    if not mutants:
        print("run.py: no mutant has such a name", file=sys.stderr)
        return 2
    runner = Runner(args, mutants)
    runner.run()
    return finish(runner, args)


sys.exit(main())
