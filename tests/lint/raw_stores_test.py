# SPDX-License-Identifier: MIT
"""raw_stores.py finds what tests/lint/raw_stores/sample.c marks BAD, nothing else there,
and nothing in the examples."""

import os

from common import ROOT, Report, read, walk
import raw_stores

SAMPLE = "tests/lint/raw_stores/sample.c"


def check_sample(report):
    _, found = raw_stores.find([os.path.join(ROOT, SAMPLE)], ["node_new"])
    lines = read(SAMPLE).splitlines()
    bad = {i for i, line in enumerate(lines, 1) if "/* BAD" in line}
    report.saw(len(lines))
    for line in sorted(bad - {line for _, line, _ in found}):
        report.add(SAMPLE, line, "this plain store is not found")
    for _, line, text in found:
        if line not in bad:
            report.add(SAMPLE, line, f"found without reason: {text}")


def check_examples(report):
    for folder in sorted(os.listdir(os.path.join(ROOT, "examples"))):
        paths = walk(["examples/" + folder], [".c", ".h"])
        if not paths:
            continue
        types, found = raw_stores.find([os.path.join(ROOT, p) for p in paths], [])
        report.saw(len(paths))
        if not types.fields and not types.roots:
            report.add(f"examples/{folder}", 1, "neither a type nor a root was recognised")
        for path, line, text in found:
            report.add(os.path.relpath(path, ROOT), line, f"{text}, without gc_write")


def main():
    report = Report("raw_stores_test")
    check_sample(report)
    check_examples(report)
    report.end()


main()
