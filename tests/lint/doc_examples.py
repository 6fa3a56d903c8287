# SPDX-License-Identifier: MIT
"""doc_examples.py --cc COMPILER --cxx COMPILER [--linked FILE]: the examples of docs/*.md are true.

Each ```c or ```cpp block is a file of its own: it must compile without a warning, with nothing
but the public headers and those that it includes itself (<gcrt/gcrt.h> is added if missing).
Blocks with a main() are linked with the library, if there is one, and must exit with 0.
"""

import argparse
import os
import re
import subprocess
import tempfile

from common import ROOT, Report, read, walk

BLOCK = re.compile(r"^```(c|cpp)\n(.*?)^```$", re.S | re.M)
STANDARD = {"c": ["-x", "c", "-std=c11", "-D_POSIX_C_SOURCE=200809L"],
            "cpp": ["-x", "c++", "-std=c++11", "-Wpedantic"]}
FLAGS = ["-Wall", "-Wextra", "-Wcast-qual", "-Werror",
         "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-const-variable",
         "-I" + os.path.join(ROOT, "include")]


def run(command, text=None):
    result = subprocess.run(command, input=text, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    return result.returncode, result.stdout


def check_block(report, page, line, language, text, args, folder):
    source = f'#line {line} "{page}"\n{text}'
    if "<gcrt/gcrt.h" not in text:
        source = "#include <gcrt/gcrt.h>\n" + source
    program = os.path.join(folder, "example")
    compiler = args.cc if language == "c" else args.cxx
    command = [compiler, *STANDARD[language], *FLAGS, "-"]
    runs = args.linked and re.search(r"\bmain\(", text)
    if runs:
        command += ["-x", "none", args.linked, "-pthread", "-o", program,
                    "-Wl,-rpath," + os.path.dirname(os.path.abspath(args.linked))]
    else:
        command += ["-fsyntax-only"]
    status, output = run(command, source)
    report.saw()
    if status == 0 and runs:
        status, output = run([program])
    if status != 0:
        report.add(page, line, f"the example fails with status {status}")
        print(output)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--linked")
    args = parser.parse_args()
    report = Report("doc_examples")
    with tempfile.TemporaryDirectory() as folder:
        for page in ["README.md"] + walk(["docs"], [".md"]):
            text = read(page)
            for match in BLOCK.finditer(text):
                line = text.count("\n", 0, match.start(2)) + 1
                check_block(report, page, line, *match.groups(), args, folder)
    report.end()


main()
