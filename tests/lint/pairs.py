# SPDX-License-Identifier: MIT
"""Every tag `pairs: X` of the sources has two ends, and a paragraph in docs/memory-order.md.

A tag stands in comments at the operations that it connects: one that publishes (release,
full) and another that receives (acquire, full, a futex wait). Where the other end bears no
mark, or is the host's, the paragraph says so: "Unmarked end: `function`, `file`" or "Other
end: the host". A partner in words ("pairs: the wait in F") must name a function of the file.
"""

import os
import re

from common import ROOT, Report, blank_comments, read, walk

PAGE = "docs/memory-order.md"
TAG = r"[a-z]+\.[a-z]+"
COMMENT = re.compile(r"/\*.*?\*/", re.S)
MARK = re.compile(rf"\bpairs:\s+({TAG}(?:,\s+{TAG})*)(?![\w.])")
IN_WORDS = re.compile(r"\bpairs:\s+(?!" + TAG + r")(the .*?)\s*(?:\*/|[;.])")
PUBLISHES = re.compile(r"_release\(|_full\(|__ATOMIC_(RELEASE|SEQ_CST)")
RECEIVES = re.compile(r"_acquire\(|_full\(|__ATOMIC_(ACQUIRE|SEQ_CST)|\bgcrt_os_wait\(")
SECTION = re.compile(r"^### `([^`]+)`\n(.*?)(?=^#|\Z)", re.S | re.M)
UNMARKED = re.compile(r"Unmarked end: `(\w+)`, `([^`]+)`")


def comments(path):
    """(first line, last line, text on one line) of each comment."""
    text = read(path)
    for match in COMMENT.finditer(text):
        first = text.count("\n", 0, match.start()) + 1
        last = text.count("\n", 0, match.end()) + 1
        yield first, last, re.sub(r"\n\s*\*", " ", match.group(0))


def operation_at(code, first, last):
    """The code that a comment speaks of: on its line, else two lines before and after."""
    here = code[last - 1]
    if PUBLISHES.search(here) or RECEIVES.search(here):
        return here
    return "\n".join(code[max(0, first - 3):last + 2])


def collect(report, paths):
    """Tag -> list of (path, line, publishes, receives), one for each comment about it."""
    tags = set()
    for path in paths:
        for first, _, text in comments(path):
            for match in MARK.finditer(text):
                tags.update(re.findall(TAG, match.group(1)))
            for match in IN_WORDS.finditer(text):
                report.saw()
                named = re.search(r" in (\w+)$", match.group(1))
                if match.group(1).startswith("the host"):
                    continue
                if not named or f"\n{named.group(1)}(" not in read(path):
                    report.add(path, first, f'"{match.group(1)}" is no tag and no function here')
    sites = {tag: [] for tag in tags}
    for path in paths:
        code = blank_comments(read(path)).split("\n")
        for first, last, text in comments(path):
            for tag in set(re.findall(TAG, text)) & tags:
                operation = operation_at(code, first, last)
                sites[tag].append((path, first, bool(PUBLISHES.search(operation)),
                                   bool(RECEIVES.search(operation))))
    return sites


def check_unmarked(report, tag, line, body):
    """How many ends the paragraph names that bear no mark."""
    for function, path in UNMARKED.findall(body):
        if not os.path.isfile(os.path.join(ROOT, path)) or function + "(" not in read(path):
            report.add(PAGE, line, f"{tag}: there is no {function} in {path}")
    return len(UNMARKED.findall(body)) + body.count("Other end: the host")


def check_tag(report, tag, places, paragraph):
    path, line = places[0][:2]
    if paragraph is None:
        report.add(path, line, f"{tag} has no paragraph in {PAGE}")
        return
    ends = [p for p in places if p[2] or p[3]]
    unmarked = check_unmarked(report, tag, paragraph[0], paragraph[1])
    if not any(p[2] for p in ends) and not unmarked:
        report.add(path, line, f"{tag} is published nowhere")
    if not any(p[3] for p in ends) and not unmarked:
        report.add(path, line, f"{tag} is received nowhere")
    if len(ends) + unmarked < 2:
        report.add(path, line, f"{tag} has one end only, and its paragraph names no other")


def main():
    report = Report("pairs")
    sites = collect(report, walk(["src"], [".c", ".h"]))
    page = read(PAGE)
    sections = {m.group(1): (page.count("\n", 0, m.start()) + 1, m.group(2))
                for m in SECTION.finditer(page)}
    for tag in sorted(sites):
        report.saw()
        check_tag(report, tag, sites[tag], sections.get(tag))
    for tag, (line, _) in sections.items():
        if tag not in sites:
            report.add(PAGE, line, f"{tag} stands in no source")
    report.end()


main()
