#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the benchmark programs of gcrt and its peers against each other.

    meson compile -C BUILD bench-programs
    tests/bench/bench.py BUILD alloc trees --rounds 9 --json result.json
    tests/bench/bench.py BUILD all --rounds 5 --json result.json --charts DIR

comparisons.py lists what there is to compare.  --quick is a part of it with less work, to
see that all is well; it takes less than ten minutes on two cores.

A comparison is one or more groups: the same program with the same arguments, once per
peer.  In each round every peer of a group runs once, one after the other (A B C A B C ...),
so that a drift of the machine hits all of them; the order is turned by one each round.
Reported are the median and the extremes over the rounds, and the median of the ratios
between a peer and gcrt within one round.  The peak of the resident memory is the kernel's
for the whole program (VmHWM); so are wall and CPU time of the whole programs (wait4), from
trees to pipeline, while the others take both around what they measure.  Programs that print
a checksum must print the same one in every run and for every peer.

Whole programs are batch jobs, and run as such (chrt --batch): a thread that wakes waits for its
turn, and does not interrupt another.  Else what a program costs whose threads wait for each
other is mostly the kernel's changes of threads, which says little about the heap.

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
from pathlib import Path

import charts
import lookup
from comparisons import COMPARISONS

TIMEOUT_S = 900
AS_BATCH_JOB = ["chrt", "--batch", "0"]  # sched(7): SCHED_BATCH; needs no privilege


def load_average():
    try:
        return float(Path("/proc/loadavg").read_text().split()[0])
    except OSError:
        return os.getloadavg()[0]


def program_of(build, group, peer):
    if group.program == "lookup":
        return lookup.server(build, peer.suffix)
    return build / "tests" / "bench" / f"{group.program}_{peer.suffix}"


def command(build, group, peer):
    settings = [f"{k}={v}" for k, v in {**group.args, **peer.args}.items()]
    if group.program == "lookup":
        return [sys.executable, "-B", lookup.__file__, str(build), peer.suffix] + settings
    policy = AS_BATCH_JOB if group.whole() else []
    return policy + [str(program_of(build, group, peer))] + settings


def run_once(argv, env, whole):
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
    if whole:  # compared as a whole, start and end included
        result.update(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime)
    return result


def run_group(build, group, peers, rounds):
    runs = {peer.label: [] for peer in peers}
    for number in range(rounds):
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            result = run_once(command(build, group, peer), peer.env, group.whole())
            result["round"] = number
            runs[peer.label].append(result)
            if "error" in result:
                print(f"  {peer.label}: {result['error']}", file=sys.stderr)
    return runs


def same_checksum(group, runs):
    """Whether all peers did the same work, in all rounds; says so if not."""
    sums = {(run["checksum"], peer) for peer in runs for run in runs[peer] if "checksum" in run}
    if len({checksum for checksum, _ in sums}) <= 1:
        return True
    print(f"  {group.title()}: checksums differ: {sorted(sums)}", file=sys.stderr)
    return False


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
        "jemalloc": first_line(["pkg-config", "--modversion", "jemalloc"]),
        "tcmalloc": first_line(["pkg-config", "--modversion", "libtcmalloc_minimal"]),
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
        if program_of(build, group, peer).exists():
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
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--peers", help="only these program suffixes, with commas between")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="replace an argument where a comparison gives it")
    parser.add_argument("--quick", action="store_true", help="a part, with less work")
    parser.add_argument("--json", help="write all runs to this file")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="draw charts there")
    parser.add_argument("--hyperfine", action="store_true",
                        help="let hyperfine run and time the programs")
    args = parser.parse_args()
    if args.rounds is None:
        args.rounds = 2 if args.quick else 5
    return args


def chosen_groups(args):
    """The groups that the command line wants, with its changes made."""
    names = list(COMPARISONS) if "all" in args.comparisons else args.comparisons
    changes = dict(pair.split("=", 1) for pair in args.set)
    groups = []
    for group in [group for name in names for group in COMPARISONS[name]]:
        if args.quick and not group.in_quick:
            continue
        if args.quick:
            group.args.update(group.quick)
        group.args.update((k, v) for k, v in changes.items() if k in group.args)
        groups.append(group)
    return groups


def group_result(group, peers, runs):
    return {
        "title": group.title(),
        "chart": group.chart,
        "label": group.label,
        "column": group.columns[0].title,
        "divisor": group.columns[0].divisor,
        "key": group.columns[0].key,
        "peers": [peer.label for peer in peers],
        "runs": runs,
    }


def main():
    args = arguments()
    wanted = args.peers.split(",") if args.peers else None
    result = {"machine": machine(args.build), "argv": sys.argv[1:], "groups": []}
    failed = False
    if args.hyperfine and shutil.which("hyperfine") is None:
        sys.exit("hyperfine is not installed")
    print(json.dumps(result["machine"]))
    for group in chosen_groups(args):
        peers = available(args.build, group, wanted)
        if not peers:
            continue
        if args.hyperfine:
            failed |= hyperfine(args.build, group, peers, args.rounds, args.json) != 0
            continue
        runs = run_group(args.build, group, peers, args.rounds)
        failed |= any("error" in run for results in runs.values() for run in results)
        failed |= not same_checksum(group, runs)
        report(group, peers, runs)
        result["groups"].append(group_result(group, peers, runs))
        if args.json:
            Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
        if args.charts:
            charts.draw_all(result, args.charts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
