# SPDX-License-Identifier: MIT
"""What the lints share: finding files, stripping comments, reporting."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def walk(folders, suffixes):
    """Paths, relative to the root and sorted, of the files below the given folders."""
    found = []
    for folder in folders:
        for base, subfolders, names in os.walk(os.path.join(ROOT, folder)):
            subfolders[:] = [s for s in subfolders if s not in ("build", "__pycache__")]
            for name in names:
                if name.endswith(tuple(suffixes)):
                    found.append(os.path.relpath(os.path.join(base, name), ROOT))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blank_comments(text):
    """The text with comments and string contents blanked; lines stay where they were."""

    def blank(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece[0] + " " * (len(piece) - 2) + piece[-1]
        return re.sub(r"[^\n]", " ", piece)

    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S)


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Report:
    """Collects findings as file:line: rule, and ends the program with their verdict."""

    def __init__(self, name):
        self.name = name
        self.findings = []
        self.seen = 0

    def saw(self, n=1):
        self.seen += n

    def add(self, where, line, rule):
        self.findings.append(f"{where}:{line}: {rule}")

    def end(self):
        for finding in self.findings:
            print(finding)
        print(f"{self.name}: looked at {self.seen}, found {len(self.findings)}")
        if self.seen == 0:
            print(f"{self.name}: nothing to look at is a failure too")
            sys.exit(1)
        sys.exit(1 if self.findings else 0)
