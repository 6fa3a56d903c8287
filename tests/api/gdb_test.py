# SPDX-License-Identifier: MIT
"""gdb_test.py SCRIPT PROGRAM [bare]: the gdb commands tell of a program that died what it knew.

bare: the library has no debugging information, and the commands have to say so.

They look at the core file that the kernel writes; where it writes none, at the program as it dies
under gdb, which has to be allowed to trace.
"""

import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
# What gdb prints where it may not trace, or was built without Python.
CANNOT = re.compile("ptrace|During startup program exited|Python scripting is not supported")
# In gdb: what the program has said, then each command, its answer between two marks.
ASK = """
at = dict(line.split() for line in open({said!r}))
for i, command in enumerate({commands!r}):
    print(f"({{i}}")
    gdb.execute(command.format(**at))
    print(f"{{i}})", flush=True)
"""


def gdb(*arguments):
    result = subprocess.run(["gdb", "-nx", "-nh", "-batch", *arguments], text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL)
    return re.sub(r"^warning: .*\n", "", result.stdout, flags=re.M)


def allow_core():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def died(program, folder):
    """What gdb has to be told to look at the program after its end."""
    said = folder + "/said"
    with open(said, "w", encoding="ascii") as file:
        subprocess.run([program], cwd=folder, preexec_fn=allow_core, check=False, stdout=file)
    cores = glob.glob(folder + "/core*")
    if cores:
        return [program, cores[0]]
    print("no core file in the folder where the program died: gdb starts the program")
    return ["-ex", "handle SIGURG nostop noprint pass", "-ex", f"run > {said}", program]


class Dead:
    def __init__(self, script, program, folder):
        self.script, self.folder, self.failures = script, folder, 0
        self.looks = died(program, folder)

    def ask(self, *commands):
        """What each command prints; {NAME} in one is an object's address.  And the addresses."""
        said = self.folder + "/said"
        code = ASK.format(said=said, commands=commands)
        text = gdb(*self.looks, "-x", self.script, "-ex", f"python exec({code!r})")
        found = [re.search(rf"^\({i}\n(.*?)^{i}\)$", text, re.S | re.M)
                 for i in range(len(commands))]
        if None in found and CANNOT.search(text):
            print("skipped: the kernel writes no core file here and gdb may not trace, or gdb has "
                  "no Python:\n" + text)
            sys.exit(SKIP)
        if None in found:
            raise SystemExit(f"gdb did not get to the end:\n{text}")
        with open(said, encoding="ascii") as file:
            return [match[1] for match in found], dict(line.split() for line in file)

    def expect(self, text, pattern):
        if not re.fullmatch(pattern, text):
            print(f"expected:\n{pattern}\nseen:\n{text}")
            self.failures += 1


def why(at):
    """Paths, the whole of each."""
    entry = r"struct entry at 0x[0-9a-f]+"
    to = {name: f"struct entry at {at[name]}" for name in at}
    root = r"a root range, word at 0x[0-9a-f]+, roots.*\n"
    step = entry + r", its word at \+0 \(next\)\n"
    return {
        "head": root + to["head"] + "\n",
        "last": root + to["head"] + r", its word at \+0 \(next\)\n" + step * 5
                + r"\(28 more\)\n" + step * 5 + to["last"] + "\n",
        "large": root + r"struct odd at 0x[0-9a-f]+, its word at \+0\nchar at 0x[0-9a-f]+\n",
        "value": root + r"gc_ephemeron at 0x[0-9a-f]+, its word at \+8 "
                 r"\(value, whose key lives\)\n" + to["value"] + "\n",
        "tagged": root + r"struct tagged at 0x[0-9a-f]+, its word at \+16 \(words\)\n"
                  + to["tagged"] + "\n",
        "element": rf"a handle, 0x[0-9a-f]+\nstruct vector at {at['vector']}, its word at \+48\n"
                   + to["element"] + "\n",
        "pooled": r"(the pool entries, 0x[0-9a-f]+|an item of a pool that thread \d+ keeps)\n"
                  + to["pooled"] + "\n",
        "argument": r"the argument of a cleanup of 0x[0-9a-f]+\n" + to["argument"] + "\n",
        "local": r"a local in a frame of thread \d+, 0x[0-9a-f]+\n" + to["local"] + "\n",
        "inside": r"(the stack|register \w+) of thread \d+(, word at 0x[0-9a-f]+)?\n"
                  + to["inside"] + "\n",
        "outside": r"(the stack|a saved register) of thread \d+(, word at 0x[0-9a-f]+)?\n"
                   + to["outside"] + "\n",
        "dead": f"no root leads to the object at {at['dead']}\n",
    }


NAMES = ("head", "last", "large", "value", "tagged", "element", "pooled", "argument", "local",
         "inside", "outside", "dead")
LOOKS = ("gcrt heap", "gcrt span {head}", "gcrt object {head}", "gcrt object {large}",
         "gcrt object {vector}", "gcrt threads", "gcrt object 16", "gcrt why 16")


def check_paths(dead, at, answers):
    paths = why(at)
    assert paths.keys() == set(NAMES)
    for name, answer in zip(NAMES, answers):
        dead.expect(answer, paths[name])
        print(f"{name}: {answer.splitlines()[0]}")


def check_looks(dead, at, answers):
    heap, span, thing, inner, vector, threads, none, missing = answers
    dead.expect(heap, r"heap at 0x[0-9a-f]+: objects from 0x[0-9a-f]+ to 0x[0-9a-f]+\n"
                r"idle, 0 cycles begun, 0 forced ones complete\n(?: +\d+ bytes [a-z ]+\n){8}"
                r" +3 threads, 3 caches\n +bytes +objects +spans  type\n(?: +\d+ +\d+ +\d+  .+\n)+")
    row = re.search(r"^ +(\d+) +(\d+) +(\d+)  struct entry$", heap, re.M)
    if not row or int(row[1]) != 16 * int(row[2]) or int(row[2]) < 49:
        dead.expect(heap, "a row of 49 entries or more")
    dead.expect(span, r"span at 0x[0-9a-f]+, 1 pages, (swept|swept, cached)\n"
                r"type struct entry \(fields\), size class 2, slots of 16 bytes\n"
                r"512 slots, \d+ allocated, 0 marked, all below \d+ handed out\n")
    dead.expect(thing, rf"struct entry at {at['head']}, 16 bytes, slot \d+ of the span at 0x\w+\n"
                r"not marked, fields\n  \+0 next -> struct entry at 0x\w+\n"
                r"  \+8 key -> char at 0x\w+\n")
    dead.expect(inner, r"char at 0x\w+, 100000 bytes, slot 0 of the span at 0x\w+; "
                r"the address is \+70000\nnot marked, no pointers\n")
    dead.expect(vector, rf"struct vector at {at['vector']}, 80 bytes, slot \d+ of the span at "
                r"0x\w+\nnot marked, fields and a tail\n"
                rf"  \+48 -> struct entry at {at['element']}\n")
    dead.expect(threads, r"heap at 0x\w+: handshake \d+, ACTION_\w+, 0 have not answered\n"
                r"(?:  thread \d+: .*\n){3}")
    for pattern in (": inside, precise", ": inside, stack", ": outside, stack"):
        if threads.count(pattern) != 1:
            dead.expect(threads, f"one thread with '{pattern}'")
    dead.expect(none, "0x10 lies in no object of a heap\n")
    dead.expect(missing, "0x10 lies in no object of a heap\n")


def main():
    script, program = map(os.path.abspath, sys.argv[1:3])
    if shutil.which("gdb") is None:
        print("skipped: gdb is not installed")
        sys.exit(SKIP)
    with tempfile.TemporaryDirectory() as folder:
        dead = Dead(script, program, folder)
        if sys.argv[3:] == ["bare"]:
            text = gdb(*dead.looks, "-x", script, "-ex", "gcrt heap")
            sys.exit("without debugging information" not in text)
        answers, at = dead.ask(*(f"gcrt why {{{name}}}" for name in NAMES), *LOOKS)
        check_paths(dead, at, answers)
        check_looks(dead, at, answers[len(NAMES):])
    if "without debugging information" not in gdb("-x", script, "-ex", "gcrt heap"):
        dead.expect("", "what is missing without a program")
    sys.exit(1 if dead.failures else 0)


main()
