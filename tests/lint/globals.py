# SPDX-License-Identifier: MIT
"""globals.py STATIC: no writable data but what is listed here with its reason.

Everything hangs off a gc_heap, so that heaps can live side by side. A writable global
needs an entry below that says why a heap cannot own it.
"""

import re
import sys

from common import Report, output_of, read, walk

ALLOWED = {
    # thread-local
    "gc_impl_self": "the calling thread's hot words",
    "gcrt_last_error": "gc_last_error() is per thread, and needs no heap",
    # process-wide
    "gcrt_default_heap": "what gc_init makes and NULL means",
    "forks": "fork handlers have no argument: the list of heaps, and its lock",
    "starts": "fork handlers have no argument: threads of any heap that have not begun",
    "unwinder": "a library is loaded once in a process",
    "frame_rules": "what unwind tables say of the process's code is the same for all heaps",
    "held_ranks": "debug builds: which locks this thread holds",
}

# objdump -t: value, seven flag characters, section, size, name.
SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$")
WRITABLE = re.compile(r"\.(data|bss|tdata|tbss)(\..*)?|\*COM\*")


def where_is(name):
    """The first line of a source file that looks like the name's definition."""
    rest = r"\b\s*(\[.*?\])?\s*(=|;|__attr)"
    pattern = re.compile(r"^[^#/*\n]*\b" + re.escape(name) + rest, re.M)
    for path in walk(["src"], [".c", ".h"]):
        text = read(path)
        match = pattern.search(text)
        if match:
            return path, text.count("\n", 0, match.start()) + 1
    return "src", 0


def main():
    report = Report("globals")
    for line in output_of("objdump", "-t", sys.argv[1]).splitlines():
        match = SYMBOL.match(line)
        if not match:
            continue
        report.saw()
        flags, section, symbol = match.groups()
        if not WRITABLE.fullmatch(section) or section.startswith(".data.rel.ro"):
            continue
        if "d" in flags or symbol.startswith("."):
            continue  # the section itself
        name = re.sub(r"\.\d+$", "", symbol)
        if name not in ALLOWED:
            path, where = where_is(name)
            report.add(path, where, f"writable global {name} in {section}")
    report.end()


main()
