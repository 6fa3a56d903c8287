# SPDX-License-Identifier: MIT
"""What profile_dump writes is what pprof reads, and says what the program did.

The files are decoded here by the rules of the format alone; if there is a go tool, its
pprof reads them, too. Bounds are six standard deviations of the sampling.
"""

import gzip
import math
import os
import shutil
import subprocess
import sys
import tempfile

RATE = 524288


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value = data[at : at + size]
            assert len(value) == size, "a field is cut"
            at += size
        else:
            raise AssertionError(f"wire type {key & 7}")
        yield key >> 3, value


def numbers(data):
    at = 0
    while at < len(data):
        value, at = varint(data, at)
        yield value - (1 << 64) if value >> 63 else value


def one(data, number, default=0):
    return next((v for n, v in fields(data) if n == number), default)


class Profile:
    def __init__(self, path):
        with open(path, "rb") as file:
            raw = gzip.decompress(file.read())
        top = list(fields(raw))
        self.strings = [v.decode() for n, v in top if n == 6]
        assert self.strings[0] == ""
        self.kinds = [self.strings[one(v, 1)] for n, v in top if n == 1]
        self.default = self.strings[one(raw, 14)]
        self.period = one(raw, 12)
        self.duration = one(raw, 10)
        self.mappings = {one(v, 1): v for n, v in top if n == 3}
        self.locations = {one(v, 1): v for n, v in top if n == 4}
        self.samples = [self.sample(v) for n, v in top if n == 2]
        self.check_locations()

    def sample(self, data):
        ids = list(numbers(one(data, 1, b"")))
        values = list(numbers(one(data, 2, b"")))
        assert len(values) == len(self.kinds) == 4
        labels = {}
        for n, v in fields(data):
            if n == 3:
                text = one(v, 2)
                labels[self.strings[one(v, 1)]] = self.strings[text] if text else one(v, 3)
        assert ids and all(i in self.locations for i in ids)
        assert values[1] == values[0] * labels["bytes"]
        assert values[3] == values[2] * labels["bytes"]
        return values, labels, ids

    def check_locations(self):
        for data in self.locations.values():
            mapping = self.mappings.get(one(data, 2))
            if mapping is not None:
                assert one(mapping, 2) <= one(data, 3) < one(mapping, 3), "outside of its file"
        assert sorted(self.locations) == list(range(1, len(self.locations) + 1))

    def total(self, value, **labels):
        return sum(
            values[value]
            for values, of, _ in self.samples
            if all(of[key] == x for key, x in labels.items())
        )


def expect(what, got, objects, size):
    """got: bytes. A sum of samples of objects of one size has this spread."""
    p = 1 - math.exp(-size / RATE)
    bound = 6 * size * math.sqrt(objects * (1 - p) / p) + size
    assert abs(got - objects * size) <= bound, f"{what}: {got}, not {objects * size} +- {bound}"


def top_of(program, path, index):
    text = subprocess.run(
        ["go", "tool", "pprof", "-top", f"-sample_index={index}", program, path],
        check=True, capture_output=True, text=True,
        env=dict(os.environ, PPROF_TMPDIR=os.path.dirname(path)),
    ).stdout
    rows = text[text.index("cum%") :].splitlines()[1:]
    return rows[0].split()[-1]


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("heap", "allocs", "window")]
        subprocess.run([program] + paths, check=True)
        heap, allocs, window = map(Profile, paths)
        for profile in heap, allocs, window:
            assert profile.kinds == ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]
            assert profile.period == RATE
            assert any(one(m, 6) for m in profile.mappings.values()), "no build id"
        assert (heap.default, allocs.default) == ("inuse_space", "alloc_space")
        assert heap.duration == allocs.duration == 0 < window.duration
        expect("kept", heap.total(3, type="struct node"), 200000, 64)
        expect("nothing else is kept", heap.total(3, type="char", bytes=112), 0, 112)
        expect("wasted", allocs.total(1, type="char", bytes=112), 500000, 112)
        expect("giants", allocs.total(1, bytes=1000000), 100, 1000000)
        expect("in the window", window.total(1), 200000, 112)
        assert window.total(0, type="struct node") == 0
        if shutil.which("go"):
            assert top_of(program, paths[0], "inuse_space") == "keeper"
            assert top_of(program, paths[1], "alloc_space") == "giant"
            assert top_of(program, paths[2], "alloc_space") == "waster"
    print(f"pprof: {len(heap.samples)} + {len(allocs.samples)} + {len(window.samples)} samples")


main()
