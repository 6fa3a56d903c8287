# SPDX-License-Identifier: MIT
"""Every path and every gc_ or gcrt_ name that the documentation mentions exists."""

import glob
import os
import re

from common import ROOT, Report, read, walk

PAGES = ["README.md", "HACKING.md"]
PATH = re.compile(r"(?<![\w./-])(?:src|tests|include|examples|docs)/[\w./*-]*[\w*]")
NAME = re.compile(r"\b(?:gc|gcrt|GC|GCRT)_\w+\*?")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def known_words():
    words = set()
    for path in walk(["src", "include", "tests", "examples"],
                     [".c", ".h", ".cc", ".def", ".map", "meson.build", ".pml"]):
        words.update(re.findall(r"\w+", read(path)))
    words.update(re.findall(r"\w+", read("meson.build") + read("meson_options.txt")))
    return words


def main():
    report = Report("docs")
    words = known_words()
    for page in PAGES + walk(["docs"], [".md"]):
        for i, line in enumerate(read(page).splitlines(), 1):
            for path in PATH.findall(line):
                report.saw()
                if not glob.glob(os.path.join(ROOT, path)):
                    report.add(page, i, f"{path} does not exist")
            for link in LINK.findall(line):
                report.saw()
                target = os.path.join(ROOT, os.path.dirname(page), link.strip())
                if not os.path.exists(target):
                    report.add(page, i, f"link to {link}, which does not exist")
            for name in NAME.findall(line):
                report.saw()
                prefix = name.rstrip("*")
                if name in words:
                    continue
                if name.endswith(("*", "_")) and any(w.startswith(prefix) for w in words):
                    continue
                report.add(page, i, f"{name} does not exist")
    report.end()


main()
