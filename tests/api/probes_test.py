# SPDX-License-Identifier: MIT
"""A library that was built with sys/sdt.h has a probe for each line of src/gc/trace.def.

usage: probes_test.py LIBRARY
"""

import os
import re
import subprocess
import sys

SOURCE = os.path.join(os.path.dirname(__file__), "..", "..", "src", "gc", "trace.def")


def main():
    with open(SOURCE, encoding="utf-8") as f:
        wanted = set(re.findall(r"^X\((\w+),", f.read(), re.M))
    notes = subprocess.run(
        ["readelf", "-n", sys.argv[1]], check=True, capture_output=True, text=True
    ).stdout
    found = set(re.findall(r"Provider: gcrt\s+Name: (\w+)", notes))
    assert found == wanted, f"missing {wanted - found}, unknown {found - wanted}"
    print(f"probes: {len(found)}")


main()
