# SPDX-License-Identifier: MIT
"""Every source and test file is named in its folder's meson.build, so none is forgotten.

For src/alloc/base and src/alloc/os that is src/alloc/meson.build.
"""

import os
import re

from common import ROOT, Report, read, walk

TEST_FOLDERS = ["unit", "api", "stress", "race", "oom", "fuzz", "litmus"]


def build_file_of(path):
    folder = os.path.dirname(path)
    while not os.path.isfile(os.path.join(ROOT, folder, "meson.build")):
        folder = os.path.dirname(folder)
    return folder + "/meson.build"


def main():
    report = Report("listed")
    folders = ["src"] + ["tests/" + f for f in TEST_FOLDERS]
    for path in walk(folders, [".c", ".cc"]):
        report.saw()
        build_file = build_file_of(path)
        stem = os.path.relpath(os.path.splitext(path)[0], os.path.dirname(build_file))
        candidates = {stem, re.sub(r"_test$", "", stem), os.path.basename(path)}
        listed = re.sub(r"#.*", "", read(build_file))
        words = set(re.findall(r"'([^']*)'", listed))
        if not candidates & words:
            report.add(path, 1, f"not listed in {build_file}, so never built")
    report.end()


main()
