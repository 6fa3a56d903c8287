#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions per object, allocated and dead again, for each peer and size.

    tests/bench/instructions.py BUILD [--vary] [--json FILE]

Each alloc program runs twice below callgrind, with different counts; the difference is what
the objects took: a malloc and a free, or an allocation and its share of refills, marking and
sweeping.  Unlike times they do not move with the machine's load, but they say nothing of
cache misses.  Go programs do not run below valgrind.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from bench import print_table
from comparisons import BOEHM, GCRT, MALLOCS

SIZES = (16, 24, 48, 64, 128, 256, 512)
FEW, MANY = 50000, 250000
WARM_UP = 1.1  # alloc.c runs a tenth more, untimed
# Without "rep stos", which callgrind counts as one instruction for each byte.
ENVIRONMENT = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM"}


def instructions(program, words):
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program)]
    done = subprocess.run(argv + words, env=ENVIRONMENT, capture_output=True, text=True,
                          check=False)
    total = re.search(r"Collected *: (\d+)", done.stderr)
    if done.returncode != 0 or total is None:
        sys.exit(f"{' '.join(argv + words)}: exit {done.returncode}\n{done.stderr}")
    return int(total.group(1))


def per_object(program, **args):
    words = [f"{name}={value}" for name, value in args.items()]
    few, many = (instructions(program, words + [f"count={n}"]) for n in (FEW, MANY))
    return (many - few) / ((MANY - FEW) * WARM_UP)


def measure(build, sizes, scan):
    """peer: size: instructions, for the peers that were built."""
    result = {}
    for peer in [GCRT] + MALLOCS + [BOEHM]:
        program = build / "tests" / "bench" / f"alloc_{peer.suffix}"
        if program.exists():
            result[peer.label] = {s: per_object(program, size=s, scan=scan) for s in sizes}
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--vary", action="store_true", help="type and size are variables")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = [0] if args.vary else list(SIZES)
    result = {}
    for scan in (1, 0):
        kind = "with pointers" if scan else "without pointers"
        result[kind] = measure(args.build, sizes, scan)
        rows = [[kind] + [f"{s} B" if s else "any" for s in sizes]]
        rows += [[peer] + [f"{n:.1f}" for n in by_size.values()]
                 for peer, by_size in result[kind].items()]
        print()
        print_table(rows)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
