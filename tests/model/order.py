# SPDX-License-Identifier: MIT
"""order.py [ROOT]: the models' steps stand in the code in the same order.

order.txt has a paragraph for each function: its name, source and model, then its steps, each
with a piece of code. The pieces must stand in the function's body in that order, each where
it stands first after the one before, and none before its turn. The model has a comment
`function: step` beside each of its steps, in the same order; a step marked `-` is not modelled.
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(HERE))


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def body_of(text, function):
    """The function's body, comments blanked; None if it is not defined there."""
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    match = re.search(rf"^{function}\(.*?^\{{$(.*?)^\}}$", text, re.M | re.S)
    return match.group(1) if match else None


def paragraphs(text):
    """(function, source, model, [(step, modelled, code)])"""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        function, source, model = lines[0].split()
        steps = []
        for line in lines[1:]:
            step, code = line.split(None, 1)
            steps.append((step.lstrip("-"), not step.startswith("-"), code.strip()))
        yield function, source, model, steps


def check_code(function, source, steps):
    body = body_of(read(ROOT, source), function.split(".")[0])
    if body is None:
        yield f"{source} has no function {function}"
        return
    at = 0
    for step, _, code in steps:
        found = body.find(code, at)
        if found < 0:
            where = "only before its turn" if code in body else "nowhere"
            yield f"{source}: {function}: {step}: `{code}` stands {where}"
            return
        at = found + 1


def check_model(function, model, steps):
    text = read(HERE, model)
    have = re.findall(rf"/\* {re.escape(function)}: (\w+) \*/", text)
    want = [step for step, modelled, _ in steps if modelled]
    if have != want:
        yield f"{model}: {function}: has {' '.join(have)}, wants {' '.join(want)}"


def main():
    findings, functions = [], set()
    for function, source, model, steps in paragraphs(read(HERE, "order.txt")):
        functions.add((function, model))
        findings += check_code(function, source, steps)
        findings += check_model(function, model, steps)
    for model in sorted(f for f in os.listdir(HERE) if f.endswith(".pml")):
        for function in set(re.findall(r"/\* ([\w.]+): \w+ \*/", read(HERE, model))):
            if (function, model) not in functions:
                findings.append(f"{model}: {function} has steps, but no paragraph in order.txt")
    for finding in findings:
        print(finding)
    print(f"order: looked at {len(functions)} functions, found {len(findings)}")
    sys.exit(1 if findings or not functions else 0)


main()
