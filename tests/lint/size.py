# SPDX-License-Identifier: MIT
"""Files have at most 800 lines of 100 columns, functions at most 70 lines; the programs of
examples/tour have at most 60.

The house style wants 92 columns; what is checked here is the hard stop. A function's
body is what stands between a brace in the first column and the next closing one there,
which is how the style writes functions and nothing else.
"""

import re

from common import Report, read, walk

FILE_LINES = 800
TOUR_LINES = 60
FUNCTION_LINES = 70
COLUMNS = 100


def check_functions(report, path, lines):
    start = None
    name = "?"
    for i, line in enumerate(lines, 1):
        match = re.match(r"(\w+)\(", line)
        if match:
            name = match.group(1)
        if line == "{":
            start = i
        elif line.startswith("}") and start is not None:
            length = i - start + 1
            report.saw()
            if length > FUNCTION_LINES:
                report.add(path, start, f"{name} has {length} lines, limit {FUNCTION_LINES}")
            start = None


def main():
    report = Report("size")
    suffixes = [".c", ".h", ".hpp", ".cc", ".py", ".sh"]
    for path in walk(["src", "include", "tests", "examples"], suffixes):
        lines = read(path).splitlines()
        report.saw()
        limit = TOUR_LINES if "examples/tour/" in path else FILE_LINES
        if len(lines) > limit:
            report.add(path, len(lines), f"{len(lines)} lines, limit {limit}")
        for i, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                report.add(path, i, f"{len(line)} columns, limit {COLUMNS}")
        if path.endswith((".c", ".h", ".hpp", ".cc")):
            check_functions(report, path, lines)
    report.end()


main()
