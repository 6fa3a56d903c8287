#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the benchmark programs of gcrt and its peers against each other.

    meson compile -C BUILD bench-programs
    tests/bench/bench.py BUILD alloc trees --rounds 9 --json result.json

A comparison is one or more groups: the same program with the same arguments, once per
peer.  In each round every peer of a group runs once, one after the other (A B C A B C ...),
so that a drift of the machine hits all of them; the order is turned by one each round.
Reported are the median and the extremes over the rounds, and the median of the ratios
between a peer and gcrt within one round.  The peak of the resident memory is the kernel's
for the whole program (VmHWM); so is the CPU time of trees (wait4), while the other
programs take wall and CPU time around what they measure.

Numbers from a busy machine are not comparable: the load before each run is recorded and
the largest one is printed with each table.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 900


@dataclass
class Peer:
    """A program's suffix, how it is called in tables, and its environment."""

    label: str
    suffix: str
    env: dict = field(default_factory=dict)


@dataclass
class Column:
    """One number of a run: key in its results, heading, divisor, digits."""

    key: str
    title: str
    divisor: float = 1.0
    digits: int = 2
    spread: bool = False  # show the extremes and the interquartile range too
    ratio: bool = False  # show the ratio to the first peer too


@dataclass
class Group:
    program: str
    args: dict
    peers: list
    columns: list
    note: str = ""

    def title(self):
        words = [self.program] + [f"{k}={v}" for k, v in self.args.items()]
        return " ".join(words + ([f"({self.note})"] if self.note else []))


GCRT = Peer("gcrt", "gcrt")
BOEHM = Peer("Boehm", "boehm")
BOEHM_TYPED = Peer("Boehm typed", "boehm_typed")
BOEHM_ONE = Peer("Boehm, 1 marker", "boehm", {"GC_MARKERS": "1"})
BOEHM_INCREMENTAL = Peer("Boehm incremental", "boehm", {"BENCH_BOEHM_INCREMENTAL": "1"})
MIMALLOC = Peer("mimalloc", "mimalloc")
GLIBC = Peer("glibc", "glibc")
GO = Peer("Go", "go")

CPU = Column("cpu_s", "CPU s", ratio=True)
RSS = Column("peak_rss_kib", "peak RSS MiB", 1024, 1)
CYCLES = Column("cycles", "cycles", digits=0)

ALLOC_COLUMNS = [
    Column("ns_per_object", "ns/object", spread=True, ratio=True),
    Column("cpu_ns_per_object", "CPU ns/object", ratio=True),
    RSS,
    CYCLES,
]
TREES_COLUMNS = [
    Column("wall_s", "wall s", digits=3, spread=True, ratio=True),
    CPU,
    RSS,
    CYCLES,
]
PAUSE_COLUMNS = [
    Column("spin_own_max_ns", "spin own max us", 1000, 1, spread=True),
    Column("spin_max_ns", "spin max us", 1000, 0),
    Column("spin_own_over_1ms", "spin own >1ms", digits=0),
    Column("op_p999_ns", "op p99.9 us", 1000, 1),
    Column("op_own_max_ns", "op own max us", 1000, 0, spread=True),
    Column("pause_p50_ns", "pause p50 us", 1000, 1),
    Column("pause_p99_ns", "p99 us", 1000, 1),
    Column("pause_p999_ns", "p99.9 us", 1000, 1),
    Column("pause_max_ns", "max us", 1000, 1, spread=True),
    Column("ops_per_s", "ops k/s", 1000, 0),
    CYCLES,
    RSS,
]
MARK_COLUMNS = [
    Column("wall_ns", "wall ms", 1e6, 1, spread=True, ratio=True),
    Column("gb_per_s", "GB/s"),
    Column("ns_per_object", "ns/object"),
    Column("cpu_ns_per_object", "CPU ns/object", ratio=True),
    RSS,
]

FORK_COLUMNS = [
    Column("fork_p50_ns", "fork us", 1000, 0, spread=True, ratio=True),
    Column("whole_p50_ns", "with the child us", 1000, 0, spread=True, ratio=True),
    RSS,
]

ASSIST_COLUMNS = [
    Column("op_per_s", "ops k/s", 1000, 0, spread=True),
    Column("assist_cpu_p50_us", "assist CPU p50 us", 1, 1),
    Column("assist_cpu_p999_us", "p99.9 us", 1, 1),
    Column("assist_cpu_max_us", "max us", 1, 0, spread=True),
    Column("op_own_over_1ms", "own gaps > 1 ms", 1, 0),
    Column("heap_most_of_goal", "heap / goal", 1, 3),
    CYCLES,
]
MANNERS_COLUMNS = [
    Column("rounds_per_s", "rounds k/s", 1000, 0, spread=True),
    Column("late_p50_ns", "late p50 us", 1000, 0),
    Column("late_p99_ns", "p99 us", 1000, 0, spread=True),
    Column("idle_cpu", "idle CPUs", 1, 3),
    Column("dedicated_cpu", "share CPUs", 1, 3),
    CYCLES,
]

POOL_COLUMNS = [
    Column("pool_ns", "pool ns", spread=True, ratio=True),
    Column("list_ns", "list ns"),
    Column("ratio", "pool / list"),
    Column("malloc_ns", "malloc ns"),
    Column("alloc_ns", "gc_alloc ns"),
]

ALLOC_PEERS = [GCRT, BOEHM, BOEHM_TYPED, MIMALLOC, GLIBC]
TREES_PEERS = [GCRT, BOEHM, BOEHM_ONE, BOEHM_TYPED, GO, MIMALLOC, GLIBC]
PAUSE_PEERS = [GCRT, BOEHM, BOEHM_INCREMENTAL, GO, MIMALLOC]
MARK_PEERS = [GCRT, BOEHM, BOEHM_TYPED, GO]
MARK_SHAPES = ["graph", "tree", "list", "arrays"]
MARK_PEERS_ONE = [
    Peer("gcrt, 1 thread", "gcrt", {"GCRT_THREADS": "1"}),
    BOEHM_ONE,
    Peer("Boehm typed, 1 marker", "boehm_typed", {"GC_MARKERS": "1"}),
    Peer("Go, 1 P", "go", {"GOMAXPROCS": "1"}),
]


def alloc(**args):
    return Group("alloc", args, ALLOC_PEERS, ALLOC_COLUMNS)


def trees(**args):
    return Group("trees", args, TREES_PEERS, TREES_COLUMNS)


def pause(**args):
    return Group("pause", args, PAUSE_PEERS, PAUSE_COLUMNS)


def mark(peers, shape):
    args = {"shape": MARK_SHAPES.index(shape), "bytes": "256m", "reps": 7}
    return Group("mark", args, peers, MARK_COLUMNS, shape)


def fork(**args):
    return Group("fork", args, [GCRT, GLIBC], FORK_COLUMNS)


def assist(**args):
    return Group("assist", args, [GCRT], ASSIST_COLUMNS)


def manners(**args):
    return Group("manners", args, [GCRT], MANNERS_COLUMNS)


def pool(**args):
    return Group("pool", args, [GCRT, GO], POOL_COLUMNS)


COMPARISONS = {
    "assist": [assist(shape=n, live="100m", mutators=2) for n in range(5)],
    "pool": [pool(batch=b, threads=t) for t in (1, 2) for b in (1, 4, 12, 32, 64)],
    "manners": [manners(busy=n, collect=c) for n in (0, 1, 2) for c in (0, 1)],
    "fork": [fork(live="1g", exec=1), fork(live="1g", exec=0), fork(live="1m", exec=1)],
    "alloc": [alloc(size=24, threads=1, count="50m")],
    "alloc-sizes": [
        alloc(size=size, threads=1, count=count)
        for size, count in (
            (16, "20m"), (32, "20m"), (48, "20m"), (64, "20m"), (96, "10m"),
            (128, "10m"), (192, "10m"), (256, "5m"), (384, "5m"), (512, "5m"),
        )
    ],
    "alloc-threads": [alloc(size=24, threads=n, count="20m") for n in (2, 4)],
    "trees": [trees(depth=18, threads=n) for n in (1, 2)],
    "pause": [
        pause(live=live, mutators=1, spinners=1, seconds=seconds)
        for live, seconds in (("64m", 10), ("1g", 20), ("4g", 40))
    ],
    "pause-small": [pause(live="64m", mutators=1, spinners=1, seconds=5)],
    "mark": [mark(MARK_PEERS, shape) for shape in MARK_SHAPES],
    "mark-1thread": [mark(MARK_PEERS_ONE, shape) for shape in MARK_SHAPES],
}


def load_average():
    try:
        return float(Path("/proc/loadavg").read_text().split()[0])
    except OSError:
        return os.getloadavg()[0]


def command(build, group, peer):
    program = build / "tests" / "bench" / f"{group.program}_{peer.suffix}"
    return [str(program)] + [f"{k}={v}" for k, v in group.args.items()]


def run_once(argv, env):
    """Runs a program; returns its results with the kernel's added, or {"error": text}."""
    load = load_average()
    start = time.monotonic()
    process = subprocess.Popen(
        argv, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    timer = threading.Timer(TIMEOUT_S, process.kill)
    timer.start()
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    reader.join()
    if process.returncode != 0:
        why = errors[0].decode(errors="replace").strip().splitlines()[-1:]
        return {"error": f"exit {process.returncode}: {' '.join(why)}", "load": load}
    result = json.loads(text.decode().splitlines()[-1])
    result.update(
        program_wall_s=wall,
        user_s=usage.ru_utime,
        sys_s=usage.ru_stime,
        load=load,
    )
    if result["program"] == "trees":  # compared as a whole, start and end included
        result.update(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime)
    return result


def run_group(build, group, peers, rounds):
    runs = {peer.label: [] for peer in peers}
    for number in range(rounds):
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            result = run_once(command(build, group, peer), peer.env)
            result["round"] = number
            runs[peer.label].append(result)
            if "error" in result:
                print(f"  {peer.label}: {result['error']}", file=sys.stderr)
    return runs


def values(runs, key):
    return [run[key] for run in runs if key in run]


def ratio(runs, base, key):
    """Median over the rounds of peer / base within the round."""
    by_round = {run["round"]: run[key] for run in base if run.get(key)}
    ratios = [
        run[key] / by_round[run["round"]]
        for run in runs
        if key in run and run["round"] in by_round
    ]
    return statistics.median(ratios) if ratios else None


def quartile_range(numbers):
    if len(numbers) < 4:
        return None
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return high - low


def cell(column, numbers):
    if not numbers:
        return ["-"] + (["-", "-"] if column.spread else [])
    scaled = [n / column.divisor for n in numbers]
    middle = statistics.median(scaled)
    texts = [f"{middle:.{column.digits}f}"]
    if column.spread:
        texts.append(f"{min(scaled):.{column.digits}f}..{max(scaled):.{column.digits}f}")
        iqr = quartile_range(scaled)
        texts.append("-" if iqr is None or not middle else f"{100 * iqr / middle:.0f}%")
    return texts


def headings(columns):
    row = ["peer"]
    for column in columns:
        row.append(column.title)
        if column.spread:
            row += ["min..max", "IQR"]
        if column.ratio:
            row.append("ratio")
    return row


def table(group, peers, runs):
    base = runs[peers[0].label]
    rows = [headings(group.columns)]
    for peer in peers:
        row = [peer.label]
        for column in group.columns:
            row += cell(column, values(runs[peer.label], column.key))
            if column.ratio:
                r = ratio(runs[peer.label], base, column.key)
                row.append("-" if r is None else f"{r:.2f}")
        rows.append(row)
    return rows


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:])]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def build_options(build):
    info = build / "meson-info"
    try:
        options = json.loads((info / "intro-buildoptions.json").read_text())
    except OSError:
        return {}
    wanted = ("buildtype", "optimization", "debug", "c_args", "b_lto", "b_ndebug",
              "b_sanitize", "default_library", "verify")
    return {o["name"]: o["value"] for o in options if o["name"] in wanted}


def machine(build):
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "compiler": first_line(["cc", "--version"]),
        "go": first_line(["go", "version"]),
        "boehm": first_line(["pkg-config", "--modversion", "bdw-gc"]),
        "build": build_options(build),
    }


def report(group, peers, runs):
    loads = [run["load"] for results in runs.values() for run in results]
    print(f"\n### {group.title()}\n")
    print_table(table(group, peers, runs))
    print(f"\nload before a run: at most {max(loads):.2f}", flush=True)


def hyperfine(build, group, peers, rounds, path):
    """The same commands, started and timed by hyperfine."""
    argv = ["hyperfine", "-N", "--warmup", "1", "--runs", str(max(2, rounds))]
    if path:
        argv += ["--export-json", path]
    for peer in peers:
        setting = ["env"] + [f"{k}={v}" for k, v in peer.env.items()] if peer.env else []
        argv += ["-n", peer.label, " ".join(setting + command(build, group, peer))]
    print(f"\n### {group.title()} (hyperfine)\n", flush=True)
    return subprocess.run(argv, check=False).returncode


def available(build, group, wanted):
    peers = []
    for peer in group.peers:
        if wanted and peer.suffix not in wanted:
            continue
        if Path(command(build, group, peer)[0]).exists():
            peers.append(peer)
        else:
            print(f"  {group.program}_{peer.suffix}: not built, left out", file=sys.stderr)
    return peers


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="build folder")
    parser.add_argument("comparisons", nargs="+", choices=list(COMPARISONS) + ["all"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", help="only these program suffixes, with commas between")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="replace an argument where a comparison gives it")
    parser.add_argument("--json", help="write all runs to this file")
    parser.add_argument("--hyperfine", action="store_true",
                        help="let hyperfine run and time the programs")
    return parser.parse_args()


def main():
    args = arguments()
    wanted = args.peers.split(",") if args.peers else None
    names = list(COMPARISONS) if "all" in args.comparisons else args.comparisons
    result = {"machine": machine(args.build), "argv": sys.argv[1:], "groups": []}
    failed = False
    if args.hyperfine and shutil.which("hyperfine") is None:
        sys.exit("hyperfine is not installed")
    print(json.dumps(result["machine"]))
    for group in [group for name in names for group in COMPARISONS[name]]:
        pairs = [pair.split("=", 1) for pair in args.set]
        group.args.update((name, value) for name, value in pairs if name in group.args)
        peers = available(args.build, group, wanted)
        if not peers:
            continue
        if args.hyperfine:
            failed |= hyperfine(args.build, group, peers, args.rounds, args.json) != 0
            continue
        runs = run_group(args.build, group, peers, args.rounds)
        failed |= any("error" in run for results in runs.values() for run in results)
        report(group, peers, runs)
        result["groups"].append({"title": group.title(), "runs": runs})
        if args.json:
            Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
