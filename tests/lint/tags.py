# SPDX-License-Identifier: MIT
"""Invariants' tags: those of the sources, of docs/architecture.md and of docs/invariants.md.

Every `I-...` tag in src and include is defined in architecture.md and stands in a table of
invariants.md, as every tag of the verifier's complaints does; and the other way round.
Model rows that the tables name exist; the table of globals is what globals.py allows.
"""

import re

from common import Report, blank_comments, read, walk

PAGE = "docs/invariants.md"
DESIGN = "docs/architecture.md"
ROW = re.compile(r"^\| (\S+) \|.*\|$", re.M)
TAG = re.compile(r"\bI-[a-z]+(?:-[a-z]+)*\b")
COMPLAINT = re.compile(r'(?:complain|blame)\(v,\s*"([^"]+)"')


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def main():
    report = Report("tags")
    page, design = read(PAGE), read(DESIGN)
    listed = {m.group(1): line_of(page, m.start()) for m in ROW.finditer(page)}
    defined = set(re.findall(r"^- \*\*(I-[a-z-]+)\*\*", design, re.M))
    used = {}
    for path in walk(["src", "include"], [".c", ".h"]):
        text = read(path)
        for match in list(TAG.finditer(text)) + list(COMPLAINT.finditer(text)):
            tag = match.group(match.lastindex or 0)
            used.setdefault(tag, (path, line_of(text, match.start())))
    for tag, (path, line) in used.items():
        report.saw()
        if tag not in listed:
            report.add(path, line, f"{tag} is in no table of {PAGE}")
        if tag.startswith("I-") and tag not in defined:
            report.add(path, line, f"{tag} is not defined in {DESIGN}")
    for tag, line in listed.items():
        if re.fullmatch(r"I-[a-z-]+|[a-z]+\.[a-z]+", tag) and tag not in used:
            report.add(PAGE, line, f"{tag} stands in no source")
    for tag in defined - set(used):
        report.add(DESIGN, 1, f"{tag} is cited by no source")
    rows = set(re.findall(r"^[qf] (\w+)", read("tests/model/variants.txt"), re.M))
    for match in re.finditer(r"model (`\w+`(?:, `\w+`)*)", page):
        for row in re.findall(r"\w+", match.group(1)):
            report.saw()
            if row not in rows:
                report.add(PAGE, line_of(page, match.start()), f"the model has no row {row}")
    code = "".join(blank_comments(read(path)) for path in walk(["src"], [".c"]))
    definition = r"^(?:static )?(?:__thread )?[^\n(]*?\b(\w+)(?:\[\d+\])?(?: =[^\n]*)?;$"
    definitions = set(re.findall(definition, code, re.M))
    allowed = set(re.findall(r'^    "(\w+)":', read("tests/lint/globals.py"), re.M))
    for match in re.finditer(r"^\| `(\w+)` \| (?:thread-local|global)", page, re.M):
        report.saw()
        if match.group(1) not in definitions:
            report.add(PAGE, line_of(page, match.start()), f"there is no global {match.group(1)}")
        if match.group(1) not in allowed:
            report.add(PAGE, line_of(page, match.start()), f"globals.py forbids {match.group(1)}")
        allowed.discard(match.group(1))
    for name in sorted(allowed):
        report.add("tests/lint/globals.py", 1, f"{name} is allowed, but not in {PAGE}")
    report.end()


main()
