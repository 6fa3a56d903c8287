# SPDX-License-Identifier: MIT
"""What bench.py compares: peers, the numbers of a run that are shown, and the groups.

A group is one program with one set of arguments, run by each of its peers.  A comparison is
a list of groups under a name.  Each group says what chart it belongs to (charts.py).
Run by itself, this prints the names of the comparisons.
"""

from dataclasses import dataclass, field


@dataclass
class Peer:
    """A program's suffix, how it is called in tables, its environment, more arguments."""

    label: str
    suffix: str
    env: dict = field(default_factory=dict)
    args: dict = field(default_factory=dict)


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
    chart: str = ""  # file name of the chart that has this group's first column
    label: str = ""  # what the chart calls it
    quick: dict = field(default_factory=dict)  # arguments that --quick replaces
    in_quick: bool = True

    def title(self):
        words = [self.program] + [f"{k}={v}" for k, v in self.args.items()]
        return " ".join(words + ([f"({self.note})"] if self.note else []))

    def whole(self):
        """Whether wall and CPU time of the whole process are compared."""
        return self.columns is PROGRAM_COLUMNS


GCRT = Peer("gcrt", "gcrt")
BOEHM = Peer("Boehm", "boehm")
BOEHM_TYPED = Peer("Boehm typed", "boehm_typed")
BOEHM_ONE = Peer("Boehm, 1 marker", "boehm", {"GC_MARKERS": "1"})
BOEHM_INCREMENTAL = Peer("Boehm incremental", "boehm", {"BENCH_BOEHM_INCREMENTAL": "1"})
MIMALLOC = Peer("mimalloc", "mimalloc")
JEMALLOC = Peer("jemalloc", "jemalloc")
TCMALLOC = Peer("tcmalloc", "tcmalloc")
GLIBC = Peer("glibc", "glibc")
GO = Peer("Go", "go")
MALLOCS = [MIMALLOC, JEMALLOC, TCMALLOC, GLIBC]

CPU = Column("cpu_s", "CPU s", ratio=True)
RSS = Column("peak_rss_kib", "peak RSS MiB", 1024, 1)
CYCLES = Column("cycles", "cycles", digits=0)

ALLOC_COLUMNS = [
    Column("cpu_ns_per_object", "CPU ns/object", spread=True, ratio=True),
    Column("ns_per_object", "ns/object", ratio=True),
    RSS,
    CYCLES,
]
PROGRAM_COLUMNS = [
    Column("cpu_s", "CPU s", digits=3, spread=True, ratio=True),
    Column("wall_s", "wall s", digits=3, spread=True, ratio=True),
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
LATENCY_COLUMNS = [
    Column("own_p999_ns", "own p99.9 us", 1000, 1, spread=True),
    Column("own_p50_ns", "own p50 us", 1000, 2),
    Column("own_p99_ns", "own p99 us", 1000, 1),
    Column("own_p9999_ns", "own p99.99 us", 1000, 0),
    Column("own_max_ns", "own max us", 1000, 0, spread=True),
    Column("all_p50_ns", "p50 us", 1000, 2),
    Column("all_p99_ns", "p99 us", 1000, 1),
    Column("all_p999_ns", "p99.9 us", 1000, 0),
    Column("all_p9999_ns", "p99.99 us", 1000, 0),
    Column("all_max_ns", "max us", 1000, 0),
    Column("pause_max_ns", "worst pause us", 1000, 0, spread=True),
    CYCLES,
    RSS,
]
LOOKUP_COLUMNS = [
    Column("cpu_s", "server CPU s", digits=2, spread=True, ratio=True),
    Column("latency_p50_ns", "p50 us", 1000, 0),
    Column("latency_p99_ns", "p99 us", 1000, 0),
    Column("latency_p999_ns", "p99.9 us", 1000, 0, spread=True),
    Column("latency_max_ns", "max us", 1000, 0),
    Column("pause_max_ns", "worst pause us", 1000, 0),
    RSS,
    CYCLES,
]
MARK_COLUMNS = [
    Column("cpu_ns_per_object", "CPU ns/object", spread=True, ratio=True),
    Column("wall_ns", "wall ms", 1e6, 1, spread=True, ratio=True),
    Column("mobjects_per_cpu_s", "M objects/CPU s", digits=1),
    Column("gb_per_s", "GB/s"),
    RSS,
]
BOUNDS_COLUMNS = [
    Column("copy_gb_per_s", "copy GB/s", digits=1, spread=True),
    Column("read_gb_per_s", "read GB/s", digits=1, spread=True),
    Column("chase_ns", "dependent miss ns", digits=1, spread=True),
    Column("gather_ns", "prefetched miss ns", digits=1, spread=True),
    Column("alone_ns", "atomic addition ns", digits=1, spread=True),
    Column("shared_ns", "shared by threads ns", digits=1, spread=True),
]
BARRIER_COLUMNS = [
    Column("raw_ns", "raw ns/op", spread=True),
    Column("off_ns", "off ns/op", spread=True),
    Column("off_percent", "off %", digits=1, spread=True),
    Column("before_ns", "before the scan ns/op"),
    Column("before_percent", "before %", digits=1),
    Column("after_ns", "after it ns/op"),
    Column("after_percent", "after %", digits=1, spread=True),
    Column("cycling_ns", "cycling ns/op"),
    Column("cycling_percent", "cycling %", digits=1),
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

ALLOC_PEERS = [GCRT] + MALLOCS + [BOEHM, BOEHM_TYPED, GO]
PROGRAM_PEERS = [GCRT, GO, BOEHM] + MALLOCS
# With about as much memory as Boehm, which has no GOGC, takes there.
GCBENCH_PEERS = [GCRT, Peer("gcrt, GOGC 130", "gcrt", {"GCRT_GOGC": "130"}), GO, BOEHM] + MALLOCS
TREES_PEERS = [GCRT, GO, BOEHM, BOEHM_ONE, BOEHM_TYPED] + MALLOCS
PAUSE_PEERS = [GCRT, BOEHM, BOEHM_INCREMENTAL, GO, MIMALLOC]
LATENCY_PEERS = [
    GCRT,
    Peer("gcrt, GC off", "gcrt", {"GCRT_GOGC": "off"}, {"every": 0}),
    GO,
    Peer("Go, GC off", "go", {"GOGC": "off"}, {"every": 0}),
    Peer("mimalloc", "mimalloc", args={"every": 0}),
    BOEHM,
]
LOOKUP_PEERS = [
    GCRT,
    Peer("gcrt, GC off", "gcrt", {"GCRT_GOGC": "off"}),
    GO,
    Peer("Go, GC off", "go", {"GOGC": "off"}),
]
MARK_SHAPES = ["graph", "tree", "list", "arrays", "map", "fanout"]
MARK_PEERS = [GCRT, Peer("walk", "walk"), GO, BOEHM, BOEHM_TYPED]
MARK_PEERS_ONE = [
    Peer("gcrt, 1 thread", "gcrt", {"GCRT_THREADS": "1"}),
    Peer("walk", "walk"),
    Peer("Go, 1 P", "go", {"GOMAXPROCS": "1"}),
    BOEHM_ONE,
    Peer("Boehm typed, 1 marker", "boehm_typed", {"GC_MARKERS": "1"}),
]


def alloc(chart="", label="", in_quick=False, **args):
    quick = {"count": "4m"}
    return Group("alloc", args, ALLOC_PEERS, ALLOC_COLUMNS, "", chart, label, quick,
                 in_quick)


def program(name, label, in_quick=True, quick=None, peers=None, **args):
    return Group(name, args, peers or PROGRAM_PEERS, PROGRAM_COLUMNS, "", "programs", label,
                 quick or {}, in_quick)


def trees(threads, in_quick):
    label = f"binary trees, {threads} thread{'s' * (threads > 1)}"
    args = {"depth": 18, "threads": threads}
    return Group("trees", args, TREES_PEERS, PROGRAM_COLUMNS, "", "programs", label,
                 {"depth": 16}, in_quick)


def pause(in_quick=False, **args):
    return Group("pause", args, PAUSE_PEERS, PAUSE_COLUMNS, quick={"seconds": 2},
                 in_quick=in_quick)


def latency(live, seconds, every, in_quick=False):
    args = {"live": live, "rate": "5000", "seconds": seconds, "every": every}
    return Group("latency", args, LATENCY_PEERS, LATENCY_COLUMNS, "", "latency",
                 f"live {live}", {"seconds": 3}, in_quick)


def lookup(live, in_quick=False):
    args = {"live": live, "rate": 8000, "replace": "100000", "seconds": 11}
    return Group("lookup", args, LOOKUP_PEERS, LOOKUP_COLUMNS, quick={"seconds": 3},
                 in_quick=in_quick)


def mark(peers, shape, size="256m", reps=7, chart="", in_quick=True):
    args = {"shape": MARK_SHAPES.index(shape), "bytes": size, "reps": reps}
    return Group("mark", args, peers, MARK_COLUMNS, shape, chart, f"{shape}, {size}",
                 {"bytes": "64m", "reps": 3}, in_quick)


def barrier(case, name):
    return Group("barrier", {"case": case, "reps": 30}, [GCRT], BARRIER_COLUMNS, name,
                 quick={"reps": 10})


def only(program_, peers, columns, **args):
    return Group(program_, args, peers, columns, in_quick=False)


SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SIZE_COUNT = {16: "20m", 24: "20m", 32: "20m", 48: "20m", 64: "20m", 96: "10m", 128: "10m",
              192: "10m", 256: "5m", 384: "5m", 512: "5m"}
THREADS = (1, 2, 4, 8, 16)


def alloc_sizes(scan):
    name = "alloc-scan" if scan else "alloc-noscan"
    return [
        alloc(name, f"{size} bytes", size in (24, 64, 512) and scan == 1,
              size=size, threads=1, scan=scan, count=SIZE_COUNT[size])
        for size in SIZES
    ]


COMPARISONS = {
    "alloc": alloc_sizes(1),
    "alloc-noscan": alloc_sizes(0),
    "alloc-variable": [
        alloc("alloc-variable", "any type" if scan else "any number of bytes", True, size=0,
              threads=1, scan=scan, count="5m")
        for scan in (1, 0)
    ],
    "alloc-surviving": [
        alloc("alloc-surviving", f"1 in {keep} of {size} bytes survives",
              (size, keep) == (64, 10), size=size, threads=1, scan=1, keep=keep,
              count="10m")
        for size in (24, 64, 512) for keep in (2, 10, 100)
    ],
    "alloc-threads": [
        alloc("alloc-threads", f"{n} threads", n == 4, size=24, threads=n, scan=1,
              count="10m")
        for n in THREADS
    ],
    "trees": [trees(1, True), trees(2, False)],
    "gcbench": [program("gcbench", "GCBench", quick={"depth": 16}, peers=GCBENCH_PEERS, depth=18)],
    "lru": [program("lru", "LRU cache", quick={"ops": "2m"}, ops="6m")],
    "jsondoc": [program("jsondoc", "JSON documents", quick={"docs": 20}, docs=60)],
    "hashmap": [
        program("hashmap", f"hash map, {n} thread{'s' * (n > 1)}", n == 2, {"ops": "1m"},
                threads=n, ops="4m")
        for n in (1, 2, 4)
    ],
    "pipeline": [
        program("pipeline", "pipeline of 4 threads", quick={"messages": 50000},
                messages=300000, stages=2)
    ],
    "pool": [only("pool", [GCRT, GO], POOL_COLUMNS, batch=b, threads=t)
             for t in (1, 2) for b in (1, 4, 12, 32, 64)],
    "assist": [only("assist", [GCRT], ASSIST_COLUMNS, shape=n, live="100m", mutators=2)
               for n in range(5)],
    "manners": [only("manners", [GCRT], MANNERS_COLUMNS, busy=n, collect=c)
                for n in (0, 1, 2) for c in (0, 1)],
    "fork": [only("fork", [GCRT, GLIBC], FORK_COLUMNS, live=live, exec=x)
             for live, x in (("1g", 1), ("1g", 0), ("1m", 1))],
    "pause": [
        pause(live=live, mutators=1, spinners=1, seconds=seconds)
        for live, seconds in (("64m", 10), ("1g", 20), ("4g", 40))
    ],
    "pause-small": [pause(True, live="64m", mutators=1, spinners=1, seconds=5)],
    "mark": [mark(MARK_PEERS, shape, in_quick=False) for shape in MARK_SHAPES],
    "mark-large": [
        mark(MARK_PEERS, shape, size, 3, in_quick=False)
        for size in ("1g", "4g") for shape in MARK_SHAPES
    ],
    "latency": [latency("64m", 10, 500, True), latency("1g", 15, 2000),
                latency("4g", 20, 5000)],
    "lookup": [lookup("64m", True), lookup("256m"), lookup("1g"), lookup("4g")],
    "barrier": [barrier(0, "swap"), barrier(1, "sort"), barrier(2, "list"),
                barrier(3, "front")],
    "bounds": [
        Group("bounds", {"bytes": "1g", "reps": 5, "huge": huge},
              [Peer("machine", "machine")], BOUNDS_COLUMNS,
              quick={"bytes": "256m", "reps": 3})
        for huge in (1, 0)
    ],
    "mark-1thread": [mark(MARK_PEERS_ONE, shape, chart="mark") for shape in MARK_SHAPES],
}

if __name__ == "__main__":
    print("\n".join(COMPARISONS))
