#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions of the fast paths and compares them with what was recorded.

    run.py PROGRAM BUDGET [--record]

PROGRAM is operations.c, which runs below callgrind; BUDGET a file of lines "name
instructions", per operation, for one compiler and processor family.  More than 2 % above the
recorded number is a failure; what is so much below it is said, and should be recorded:

    meson compile -C BUILD record-budget

Instructions do not depend on the machine's load or speed, but for those of marking: in which
slices it is done, and so in which order, depends on time (3 % between runs under load), which
is why it is allowed 5 %.  They do depend on the compiler, on
its options, and on what the C library chooses by processor; so budgets are per compiler, only
release builds have them, and the library is told to choose its plain variants.  Exit status
77, a skip, where there is no valgrind or no budget.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 0.02
TOLERANCE_MARKING = 0.05
SLACK = 0.02  # instructions: what rounding may do to the smallest numbers
SKIP = 77
ENVIRONMENT = {  # nothing of the caller's: malloc and the library have variables too
    "PATH": "/usr/bin:/bin",
    "LD_BIND_NOW": "1",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM",
}


def count(program):
    """Instructions per operation, by name, in the order in which they ran."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        argv = [shutil.which("valgrind"), "--tool=callgrind",
                f"--callgrind-out-file={out}", program]
        done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            sys.exit(f"budget: {' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
        dumps = sorted(Path(folder).glob("out.*"), key=lambda p: int(p.suffix[1:]))
        return dict(filter(None, map(read_dump, dumps)))


def read_dump(path):
    text = path.read_text()
    name = re.search(r"^desc: Trigger: Client Request: (\w+) (\d+)$", text, re.M)
    total = re.search(r"^totals: (\d+)", text, re.M)  # the summary has old counts too
    if name is None or total is None:
        return None
    return name.group(1), int(total.group(1)) / int(name.group(2))


def read_budget(path):
    lines = [line.split() for line in path.read_text().splitlines()]
    return {words[0]: float(words[1]) for words in lines if words and words[0] != "#"}


def write_budget(path, counts):
    lines = [f"# instructions per operation of {path.stem}; see run.py"]
    lines += [f"{name} {value:.3f}" for name, value in counts.items()]
    path.write_text("\n".join(lines) + "\n")


def tolerance(name):
    return TOLERANCE_MARKING if name.startswith("collect_") else TOLERANCE


def compare(counts, budget):
    """Prints a line for each operation; returns how many are over budget or unknown."""
    bad = 0
    for name, value in counts.items():
        limit = budget.get(name)
        if limit is None:
            verdict, bad = "no budget: record one", bad + 1
        elif value > limit * (1 + tolerance(name)) + SLACK:
            verdict, bad = f"over the budget of {limit:.3f}", bad + 1
        elif value < limit * (1 - tolerance(name)) - SLACK:
            verdict = f"below the budget of {limit:.3f}: record it"
        else:
            verdict = "as recorded"
        change = f"{100 * (value / limit - 1):+.1f} %" if limit else ""
        print(f"{name:20} {value:10.3f} {change:>9}  {verdict}")
    for name in budget.keys() - counts.keys():
        print(f"{name:20} has a budget and was not counted")
        bad += 1
    return bad


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("budget", type=Path)
    parser.add_argument("--record", action="store_true", help="write the budget file")
    args = parser.parse_args()
    if shutil.which("valgrind") is None or args.program == "-":
        print("budget: there is no valgrind here, or was none when this was built")
        return SKIP
    if not args.record and not args.budget.exists():
        print(f"budget: nothing is recorded for this compiler ({args.budget.name}); "
              "meson compile -C BUILD record-budget does that")
        return SKIP
    counts = count(args.program)
    if not counts:
        sys.exit("budget: callgrind has counted nothing")
    if args.record:
        write_budget(args.budget, counts)
        return 0
    return 1 if compare(counts, read_budget(args.budget)) else 0


if __name__ == "__main__":
    sys.exit(main())
