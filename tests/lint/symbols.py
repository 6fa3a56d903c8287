# SPDX-License-Identifier: MIT
"""symbols.py SHARED STATIC: what the libraries export.

The shared library exports names that start with gc_ and nothing else, and all that the
public headers declare with GC_API. In the static one every global name starts with gc_
or gcrt_.
"""

import re
import sys

from common import Report, blank_comments, output_of, read, walk

DECLARATION = re.compile(r"\bGC_API\b([^;{]*)[;{]")
NAME = re.compile(r"\b(gc_\w+)\s*(?:\(|\[|$|__attribute__|=)")


def declared():
    """(path, line, name) of everything that the public headers mark with GC_API."""
    for path in walk(["include"], [".h"]):
        code = blank_comments(read(path))
        code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m[0]),
                      code, flags=re.M)
        for match in DECLARATION.finditer(code):
            name = NAME.search(match.group(1).rstrip())
            line = code.count("\n", 0, match.start()) + 1
            yield path, line, name.group(1) if name else "?" + match.group(1).strip()


def globals_of(library, *options):
    names = set()
    for line in output_of("nm", "-P", "--defined-only", *options, library).splitlines():
        fields = line.split()
        if len(fields) >= 2 and len(fields[1]) == 1 and fields[1] not in "aA":
            names.add(fields[0].split("@")[0])
    return names


def main():
    shared, static = sys.argv[1:3]
    report = Report("symbols")
    exported = globals_of(shared, "-D")
    report.saw(len(exported))
    for name in sorted(exported):
        if not name.startswith("gc_"):
            report.add(shared, 0, f"exports {name}, which does not start with gc_")
    for name in sorted(globals_of(static, "-g")):
        report.saw()
        if not name.startswith(("gc_", "gcrt_")) and name != "_.stapsdt.base":
            report.add(static, 0, f"global {name} starts with neither gc_ nor gcrt_")
    for path, line, name in declared():
        report.saw()
        if name not in exported:
            report.add(path, line, f"{name} is declared but the library lacks it")
    report.end()


main()
