# SPDX-License-Identifier: MIT
"""Marks that must not be in the tree, and the licence line that must be in every file."""

import re

from common import Report, read, walk

CODE = [".c", ".h", ".cc", ".def", ".py", ".sh", ".pml", ".map", "meson.build"]
# Written apart so that this file does not find itself.
MARKS = ["FIX" + "ME", "X" + "XX", "HA" + "CK", "TO" + "DO"]
FORBIDDEN = re.compile(r"\b(" + "|".join(MARKS) + r")\b")


def main():
    report = Report("marks")
    folders = ["src", "include", "tests", "examples", "docs"]
    for path in walk(folders, CODE + [".md"]) + ["meson.build", "README.md", "HACKING.md"]:
        text = read(path)
        report.saw()
        for i, line in enumerate(text.splitlines(), 1):
            match = FORBIDDEN.search(line)
            if match:
                report.add(path, i, f"unfinished work marked {match.group(1)}")
            if line != line.rstrip() and not path.endswith(".md"):
                report.add(path, i, "white space at the end of the line")
            if "\t" in line:
                report.add(path, i, "a tab; indentation is four spaces")
        if text and not text.endswith("\n"):
            report.add(path, text.count("\n") + 1, "no newline at the end of the file")
        head = "\n".join(text.splitlines()[:2])
        if path.endswith(tuple(CODE)) and "SPDX-License-Identifier: MIT" not in head:
            report.add(path, 1, "no SPDX-License-Identifier in the first two lines")
    report.end()


main()
