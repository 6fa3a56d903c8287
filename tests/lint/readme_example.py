# SPDX-License-Identifier: MIT
"""readme_example.py README OUTPUT: writes the first ```c block of the page to a file."""

import re
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        text = f.read()
    block = re.search(r"^```c\n(.*?)^```$", text, re.S | re.M)
    if block is None:
        sys.exit(f"{sys.argv[1]}:1: no C example")
    line = text.count("\n", 0, block.start(1)) + 1
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(f'#line {line} "README.md"\n' + block.group(1))


main()
