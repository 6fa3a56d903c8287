# SPDX-License-Identifier: MIT
"""Include rules: who may include what (docs/architecture.md, Layers), and no cycles."""

import os
import re

from common import ROOT, Report, blank_comments, read, walk

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)

# Layer of a file, by the longest prefix that fits.
LAYERS = [
    ("src/alloc/base/", "base"),
    ("src/alloc/os/", "os"),
    ("src/alloc/", "alloc"),
    ("src/gc/", "gc"),
    ("src/metrics/", "metrics"),
    ("src/", "api"),
    ("include/", "public"),
]
MAY_INCLUDE = {
    "base": {"base"},
    "os": {"os", "base"},
    "alloc": {"alloc", "os", "base"},
    "gc": {"gc", "alloc", "os", "base"},
    "metrics": {"metrics", "gc", "alloc", "os", "base"},
    "api": {"api", "metrics", "gc", "alloc", "os", "base"},
    "public": set(),
}
# The public headers are the vocabulary of types and statuses; the lowest two do without.
NO_PUBLIC = {"base", "os"}

LIBC = set(
    """assert.h ctype.h errno.h fenv.h float.h inttypes.h limits.h locale.h math.h
    pthread.h sched.h setjmp.h stdarg.h stdbool.h stddef.h stdint.h stdio.h stdlib.h
    string.h strings.h sys/types.h time.h unistd.h""".split()
)
PUBLIC_LIBC = {"pthread.h", "stddef.h", "stdint.h"}
# System headers that only the os layer includes: mappings, signals, futexes, clocks.
OS_ONLY = re.compile(
    r"sys/(mman|syscall|resource|prctl|auxv|sysinfo|time)\.h|linux/.*|asm/.*"
    r"|signal\.h|ucontext\.h|link\.h|elf\.h|execinfo\.h|dlfcn\.h|fcntl\.h|sys/stat\.h"
)


def layer_of(path):
    for prefix, layer in LAYERS:
        if path.startswith(prefix):
            return layer
    return None


def check_system(report, path, line, layer, name):
    if name.startswith("gcrt/"):
        if layer in NO_PUBLIC:
            report.add(path, line, f"layer {layer} includes public header <{name}>")
        if not os.path.isfile(os.path.join(ROOT, "include", name)):
            report.add(path, line, f"<{name}> does not exist")
    elif name.startswith("atomic_ops"):
        if path not in ("src/alloc/base/atomic.h", "src/alloc/base/sim.h"):
            report.add(path, line, "only base/atomic.h and sim.h include libatomic_ops")
    elif name.startswith("urcu"):
        if path != "src/alloc/base/rcu.h" and path != "src/alloc/base/rcu.c":
            report.add(path, line, "only base/rcu.h includes liburcu")
    elif name.startswith(("sanitizer/", "valgrind/")):
        if path != "src/alloc/base/tools.h":
            report.add(path, line, "only base/tools.h includes the tools' headers")
    elif name == "sys/sdt.h":
        if path != "src/gc/trace.h":
            report.add(path, line, "only gc/trace.h includes the probes")
    elif name == "zlib.h":
        if path != "src/metrics/gzip.h":
            report.add(path, line, "only metrics/gzip.h includes zlib")
    elif layer == "public":
        if name not in PUBLIC_LIBC:
            report.add(path, line, f"public header includes <{name}>")
    elif OS_ONLY.fullmatch(name):
        if layer != "os":
            report.add(path, line, f"only src/alloc/os includes <{name}>")
    elif name not in LIBC:
        report.add(path, line, f"<{name}> is on no list of allowed headers")


def check_own(report, path, line, layer, name):
    target = "src/" + name
    if layer == "public":
        report.add(path, line, "public headers include <gcrt/...> and libc only")
    elif not os.path.isfile(os.path.join(ROOT, target)):
        report.add(path, line, f'"{name}" is no path relative to src/')
    elif layer_of(target) not in MAY_INCLUDE[layer]:
        report.add(path, line, f'layer {layer} includes "{name}" of {layer_of(target)}')
    elif not name.endswith((".h", ".def")):
        report.add(path, line, f'"{name}" is no header')


def find_cycles(report, graph):
    done = set()

    def visit(path, chain):
        if path in chain:
            loop = " -> ".join(chain[chain.index(path):] + [path])
            report.add(path, 1, f"include cycle {loop}")
            return
        if path in done:
            return
        for target in graph.get(path, []):
            visit(target, chain + [path])
        done.add(path)

    for path in sorted(graph):
        visit(path, [])


def main():
    report = Report("layers")
    graph = {}
    for path in walk(["src", "include"], [".c", ".h", ".def"]):
        text = read(path)
        code = blank_comments(text)
        layer = layer_of(path)
        report.saw()
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            if "#" not in code[match.start():match.start(1)]:
                continue  # inside a comment
            kind, name = match.groups()
            if kind == "<":
                check_system(report, path, line, layer, name)
                target = "include/" + name
            else:
                check_own(report, path, line, layer, name)
                target = "src/" + name
            graph.setdefault(path, []).append(target)
    find_cycles(report, graph)
    report.end()


main()
