# SPDX-License-Identifier: MIT
"""refused.py FILE COMPILER FLAG...: misuse does not compile, and the compiler says why.

The file compiles as it is. For each line `#ifdef REFUSE_name /* words | other words */` it is
compiled with -DREFUSE_name: that must fail, with one of the words in what the compiler says.
"""

import re
import subprocess
import sys

CASE = re.compile(r"#ifdef (REFUSE_\w+) /\* (.*) \*/")


def compile_with(command, define):
    result = subprocess.run(command + define, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False)
    return result.returncode, result.stdout


def main():
    path, *compiler = sys.argv[1:]
    command = compiler + ["-fsyntax-only", path]
    with open(path, encoding="utf-8") as f:
        text = f.read()
    cases = CASE.findall(text)
    failures = 0
    status, output = compile_with(command, [])
    if status != 0:
        sys.exit(f"{path} itself does not compile:\n{output}")
    for name, words in cases:
        status, output = compile_with(command, ["-D" + name])
        if status == 0 or not any(w.strip() in output for w in words.split("|")):
            failures += 1
            print(f"{name}: status {status}, wanted a failure that says: {words}\n{output}")
    if len(cases) == 0 or len(cases) != text.count("#ifdef REFUSE_"):
        sys.exit(f"{path}: {len(cases)} cases of {text.count('#ifdef REFUSE_')} have words")
    print(f"{path}: {len(cases)} kinds of misuse, {failures} not refused as they should be")
    sys.exit(1 if failures else 0)


main()
