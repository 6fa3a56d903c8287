# SPDX-License-Identifier: MIT
"""openmetrics_test.py PROGRAM: the texts of a heap's metrics are what scrapers read.

A strict reader of OpenMetrics 1.0 (its ABNF and its rules on names, units and values) and of
Prometheus' text format 0.0.4, written from their specifications.  Both texts must have the same
families and samples.  Where promtool is installed it has to find nothing to say about the latter.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|Inf)|NaN"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ({NUMBER})")
TYPES = {"counter", "gauge", "histogram"}
RESERVED = ("_total", "_created", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_info")


class Family:
    def __init__(self):
        self.meta = {}
        self.samples = []


def fail(line, number, why):
    raise AssertionError(f"line {number}: {why}: {line}")


def families(text, is_open):
    """The families of a text, by name; what its lines have to be one by one."""
    assert text.endswith("\n") and "\n\n" not in text and "\r" not in text
    lines = text[:-1].split("\n")
    if is_open:
        assert lines.pop() == "# EOF", "no end"
    found, current = {}, None
    for number, line in enumerate(lines, 1):
        meta = re.fullmatch(rf"# (HELP|TYPE|UNIT) ({NAME}) (.*)", line)
        sample = SAMPLE.fullmatch(line)
        if meta:
            what, name, value = meta.groups()
            if name != current:
                if name in found:
                    fail(line, number, "a family in two places")
                found[name], current = Family(), name
            if what in found[name].meta or found[name].samples:
                fail(line, number, "not before the samples, or twice")
            if what == "UNIT" and not is_open:
                fail(line, number, "units are OpenMetrics'")
            found[name].meta[what] = value
        elif sample and current:
            found[current].samples.append(sample.groups())
        else:
            fail(line, number, "neither a comment that is known nor a sample")
    return found


def check_meta(name, family, is_open):
    kind = family.meta.get("TYPE")
    assert kind in TYPES, f"{name}: type {kind}"
    text = family.meta["HELP"]
    assert text and not re.search(r'(?<!\\)"|\\(?![\\n"])', text), f"{name}: {text}"
    if is_open:
        assert name.endswith("_" + family.meta["UNIT"]), f"{name} in {family.meta['UNIT']}"
        assert not name.endswith(RESERVED), f"{name} ends as a sample"
    return kind


def check_histogram(name, samples):
    total, last, bound = None, 0, float("-inf")
    for sample, labels, value in samples[:-2]:
        assert sample == name + "_bucket", sample
        le = re.fullmatch(rf'le="({NUMBER})"', labels)[1]
        assert float(le) > bound, f"{name}: bounds do not rise at {le}"
        bound = float(le)
        assert int(value) >= last, f"{name}: counts fall at {le}"
        last = total = int(value)
    assert bound == float("inf"), f"{name} has no bucket +Inf"
    (sum_name, none, value), (count_name, no, count) = samples[-2:]
    assert (sum_name, count_name) == (name + "_sum", name + "_count") and not none and not no
    assert int(count) == total, f"{name}: {count} samples, {total} up to +Inf"
    assert float(value) >= 0 and (total > 0 or float(value) == 0)


def check_samples(name, family, kind, is_open):
    assert family.samples, f"{name} has no sample"
    if kind == "histogram":
        check_histogram(name, family.samples)
        return
    want = name + "_total" if kind == "counter" and is_open else name
    if kind == "counter":
        assert want.endswith("_total"), name
    seen = set()
    for sample, labels, value in family.samples:
        assert sample == want, f"{sample} among {name}'s"
        assert labels not in seen, f"{name}{{{labels}}} twice"
        assert kind != "counter" or (labels is None and float(value) >= 0)
        seen.add(labels)


def check_bounds(found):
    """OpenMetrics wants them to look like floating point."""
    for family in found.values():
        for _, labels, _ in family.samples:
            if labels and labels.startswith("le="):
                assert "." in labels or "Inf" in labels, labels


def values(found):
    """name and labels of each sample: value.  Bounds as numbers."""
    result = {}
    for family in found.values():
        for name, labels, value in family.samples:
            if labels and labels.startswith("le="):
                labels = float(labels[4:-1])
            assert (name, labels) not in result, f"{name} {labels} twice"
            result[name, labels] = value
    return result


def read(path, is_open):
    with open(path, encoding="ascii") as file:
        found = families(file.read(), is_open)
    for name, family in found.items():
        check_samples(name, family, check_meta(name, family, is_open), is_open)
    return found


def refuse(text, is_open=True):
    try:
        found = families(text, is_open)
        for name, family in found.items():
            check_samples(name, family, check_meta(name, family, is_open), is_open)
    except (AssertionError, KeyError, TypeError, ValueError):
        return
    raise SystemExit(f"the reader takes this for good:\n{text}")


def test_reader():
    """The reader itself sees what is wrong."""
    good = "# HELP a_s b.\n# TYPE a_s counter\n# UNIT a_s s\na_s_total 1\n# EOF\n"
    histogram = ('# HELP h_s b.\n# TYPE h_s histogram\n# UNIT h_s s\nh_s_bucket{le="1.0"} 1\n'
                 'h_s_bucket{le="+Inf"} 2\nh_s_sum 3\nh_s_count 2\n# EOF\n')
    for text in (good, histogram):
        for name, family in families(text, True).items():
            check_samples(name, family, check_meta(name, family, True), True)
    for old, new in (("# EOF\n", ""), ("# EOF\n", "# EOF"), ("_total 1", " 1"), ("b.", 'b".'),
                     ("UNIT a_s s", "UNIT a_s m"), ("total 1", "total x"), ("\n# T", "\n\n# T"),
                     ("counter", "timer"), ("# UNIT", "#UNIT"), ("total 1\n", "total 1\n" * 2),
                     ("total 1", "total -1"), ("a_s_total", "b_s_total")):
        assert old in good
        refuse(good.replace(old, new))
    for old, new in (("} 2", "} 0"), ("count 2", "count 3"), ('"+Inf"', '"2.0"'),
                     ('"1.0"', '"+Inf"'), ("h_s_sum 3\n", ""), ('{le="1.0"}', "")):
        assert old in histogram
        refuse(histogram.replace(old, new))


def promtool(path):
    tool = shutil.which("promtool")
    if tool is None:
        print("promtool is not installed (Debian: prometheus): its opinion was not asked")
        return
    with open(path, encoding="ascii") as file:
        result = subprocess.run([tool, "check", "metrics"], stdin=file, text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0 and not result.stdout, result.stdout
    print("promtool check metrics: nothing to say")


def main():
    test_reader()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        is_open = read(os.path.join(folder, "openmetrics"), True)
        plain = read(os.path.join(folder, "prometheus"), False)
        promtool(os.path.join(folder, "prometheus"))
        with open(os.path.join(folder, "json"), encoding="ascii") as file:
            names = json.load(file)
    check_bounds(is_open)
    assert len(is_open) == len(plain) == len(names) > 100
    assert values(is_open).keys() == values(plain).keys()
    for name in names:
        family = "gcrt" + re.sub("[/:-]", "_", name)
        assert family in is_open, family
        assert is_open[family].meta["UNIT"] == name.split(":")[1].replace("-", "_")
        counter = is_open[family].meta["TYPE"] == "counter"
        assert family + "_total" * counter in plain
    samples = values(is_open)
    assert int(samples["gcrt_gc_cycles_forced_gc_cycles_total", None]) == 1
    assert int(samples["gcrt_gc_heap_allocs_by_size_bytes_count", None]) > 20000
    assert int(samples["gcrt_gc_heap_unused_by_size_bytes", 'size="16"']) > 0
    print(f"{len(is_open)} families, {len(samples)} samples")


main()
