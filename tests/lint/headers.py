# SPDX-License-Identifier: MIT
"""headers.py [--cc COMPILER] [--cxx COMPILER]: each header compiles alone, and twice.

Internal headers as the library compiles them; public ones in every language that a host
may use.
"""

import argparse
import os
import re
import subprocess

from common import ROOT, Report, walk

WARNINGS = "-Wall -Wextra -Wundef -Wshadow -Wcast-qual -Werror".split()
C_WARNINGS = "-Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-function".split()
PATHS = ["-I" + os.path.join(ROOT, "src"), "-I" + os.path.join(ROOT, "include")]


def compiles(report, path, compiler, language, flags):
    include = re.sub(r"^(src|include)/", "", path)
    line = f"#include <{include}>\n" if path.startswith("include") else f'#include "{include}"\n'
    command = compiler + ["-x", language, "-fsyntax-only"] + WARNINGS + flags + PATHS + ["-"]
    result = subprocess.run(command, input=line + line, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    report.saw()
    if result.returncode != 0:
        report.add(path, 1, f"does not compile alone with {' '.join(flags)}")
        print(result.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    args = parser.parse_args()
    report = Report("headers")
    for path in walk(["src"], [".h"]):
        compiles(report, path, [args.cc], "c",
                 ["-std=c11", "-D_POSIX_C_SOURCE=200809L"] + C_WARNINGS)
    for path in walk(["include"], [".h"]):
        for std in ["c99", "c11", "c17"]:
            compiles(report, path, [args.cc], "c", ["-std=" + std] + C_WARNINGS)
        for std in ["c++11", "c++17"]:
            compiles(report, path, [args.cxx], "c++", ["-std=" + std])
    for path in walk(["include"], [".hpp"]):
        for std in ["c++11", "c++17", "c++20"]:
            compiles(report, path, [args.cxx], "c++", ["-std=" + std, "-Wpedantic"])
    report.end()


main()
