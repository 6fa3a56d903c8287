# SPDX-License-Identifier: MIT
"""The rank table of docs/locks.md is the enum of src/alloc/base/lock.h, and says which
ranks no lock has."""

import re

from common import Report, blank_comments, read, walk

PAGE = "docs/locks.md"
HEADER = "src/alloc/base/lock.h"


def main():
    report = Report("ranks")
    page = read(PAGE)
    rows = re.findall(r"^\| `(RANK_\w+)` \| ([^|]*?) \|", page, re.M)
    enum = re.search(r"enum lock_rank \{(.*?)\};", blank_comments(read(HEADER)), re.S)
    ranks = re.findall(r"RANK_\w+", enum.group(1))
    if [name for name, _ in rows] != ranks:
        report.add(PAGE, 1, f"ranks are {[name for name, _ in rows]}, in the enum {ranks}")
    code = "".join(blank_comments(read(path)) for path in walk(["src"], [".c"]))
    for name, lock in rows:
        report.saw()
        line = page.count("\n", 0, page.index(f"| `{name}`")) + 1
        used = re.search(r"gcrt_lock_init\([^;]*\b" + name + r"\)", code) is not None
        if used == (lock == "not used"):
            report.add(PAGE, line, f"{name} is {'in use' if used else 'used by no lock'}")
    report.end()


main()
