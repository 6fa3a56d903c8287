/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GC_HEAP_H
#define GCRT_GC_HEAP_H

/*
 * struct gc_heap: everything that one heap owns, in layer order.
 */

#include "alloc/base/rcu.h"
#include "alloc/base/timehist.h"
#include "alloc/mcache.h"
#include "alloc/mheap.h"
#include "gc/cleanup.h"
#include "gc/limiter.h"
#include "gc/pacer.h"
#include "gc/report.h"
#include "gc/runner.h"
#include "gc/special.h"
#include "gc/work.h"

#include <gcrt/listen.h>
#include <gcrt/options.h>
#include <gcrt/pool.h>
#include <gcrt/type.h>

/* Blocks of 512 buckets: the table of ephemerons has at most 2^22 buckets. */
#define EPHEMERON_BLOCK  512
#define EPHEMERON_BLOCKS 8192

#define POOL_NOTES 1024 /* a power of two */
#define GC_HEAP_MAGIC 0x6763727468656170u /* "gcrtheap" */

/* The handshakes, in the order of a cycle (tests/model/steps.txt). */
enum action {
    ACTION_NONE,
    ACTION_BARRIER_ON,  /* H1 */
    ACTION_SETTLE,      /* H2 */
    ACTION_SCAN,        /* H3 */
    ACTION_FLUSH,       /* H4 */
    ACTION_BARRIER_OFF, /* H5 */
    ACTION_FLUSH_CACHE, /* H6 */
    ACTION_HOLD,        /* not of a cycle: stay put, for the verifier */
    ACTION_COUNT
};

/* What the heap does, for those who look. */
enum phase { PHASE_IDLE, PHASE_STARTING, PHASE_MARKING, PHASE_ENDING, PHASE_SWEEPING };

/* What the mark bits in spans are, for a child that is forked meanwhile (fork.h). */
enum marks {
    MARKS_NONE,    /* none is set */
    MARKS_PARTIAL, /* of a cycle that is marking: worth nothing without it */
    MARKS_FINAL    /* sweepgen has advanced: what unswept spans must be swept by */
};

/* Kinds by key (kind.h). */
struct kinds {
    struct lock lock;      /* RANK_KIND: adding */
    struct cds_lfht *table; /* RCU: lookups */
};

/* Attached threads, and the barrier state that new ones inherit. */
struct registry {
    struct lock lock;             /* RANK_REGISTRY */
    struct cds_list_head mutators; /* lock */
    struct cds_list_head orphans; /* lock: in a forked child: records of threads left behind */
    struct gcrt_mutator *spare;   /* lock: records ready for reuse */
    uint32_t count;               /* lock */
    ahalf leaving;                /* atomic: threads that detach; pairs: registry.left */
    uint32_t barrier;             /* lock: 0, 1, 2 as of the last published handshake */
    uint64_t cycle;               /* lock: of the last H3 published; 0: before the first */
    bool black;                   /* lock: newcomers allocate black ... */
    unsigned black_gen;           /* lock: ... in spans of this sweepgen */
    bool held;                    /* lock: everybody is held; newcomers wait */
    ahalf door;                   /* lock: shut while its only thread runs a cycle, for newcomers */
    bool marking;                 /* lock: from H1 published to H5 published */
    pthread_key_t exit_key;       /* const: detaches threads that exit attached */
};

/* Ps: all ever made, and those that no mutator holds. */
struct ps {
    struct lock lock; /* RANK_P */
    struct p *all;    /* lock: added; read racily by statistics (pairs: p.publish) */
    struct p *idle;   /* lock: most recently released first; their caches are empty */
    uint32_t count;   /* lock: added; read racily by reports */
    unsigned generation; /* const: 1, and one more in a forked child */
};

struct handshake {
    enum action action; /* written before the epoch is published */
    bool holding;       /* the same: who has answered stays where it is */
    uint64_t asked_ns;  /* the same: when */
    ahalf stopped;      /* atomic: everybody is held, for marking (GC_MODE_STW) */
    ahalf epoch;        /* atomic: number of the newest handshake */
    ahalf pending;      /* futex: mutators that have not answered */
    ahalf asleep;       /* atomic: the coordinator sleeps until they have; handshake.sleep */
    int signal;         /* const */
    uint64_t grace_ns;  /* const */
    ahalf released;     /* futex: newest handshake that held, and is over */
    ahalf flushed;      /* atomic: somebody found work in this round of H4; pairs: mark.said */
};

/* Registered stacks (fiber.h). */
struct fibers {
    struct lock lock;           /* RANK_STACK */
    struct stack_chunk *chunks; /* lock: added; read without it (pairs: stack.publish) */
    struct gc_stack *free;      /* lock */
    struct extent *tree;        /* lock: all that are registered */
    aword count;                /* atomic: stacks registered */
    aword scanned, scanned_last; /* atomic: bytes of parked ones, in this cycle, in the last */
    aword at_switch;            /* atomic: scanned by the thread that resumed them */
};

struct roots {
    struct lock lock;          /* RANK_ROOTS */
    struct root_range *ranges; /* lock */
    struct handle_chunk *chunks; /* lock: added; never removed */
    struct gc_handle *free_handles; /* lock */
    aword reading;             /* atomic: set with the lock: the range whose words the coordinator
                                  reads, or 0; pairs: roots.reading */
    aword bytes;               /* atomic: size of all ranges */
};

/* Pools of reusable objects (pool.h). */
struct pools {
    struct lock lock;     /* RANK_POOLS */
    struct pool *all;     /* lock: added; never removed; pairs: pool.publish */
    struct pool *free;    /* lock: records of destroyed ones */
    uint32_t count;       /* lock: of all */
    uint32_t turn;        /* coordinator, before the handshake: number of the turn */
    bool all_generations; /* the same: this turn lets go of everything */
    bool said;            /* coordinator: this turn has work for the runner */
    ahalf shed;           /* atomic: the next turn shall */
    struct pool_note *notes[POOL_NOTES]; /* lock: pool=1: what is in pools, by address */
    struct pool_note *spare_notes;       /* lock */
};

/* What CPU time the workers may take, in millionths of a CPU; see worker.c. */
struct worker_share {
    uint64_t base;       /* coordinator: by the pacer */
    uint64_t extra;      /* coordinator: above it, because assists are being paid */
    uint64_t revised_ns; /* coordinator: when extra was looked at last */
    bool full;           /* coordinator: extra cannot rise, and something is owed */
    aword percent;       /* atomic: base + extra of all CPUs, for those who look */
};

/* What is decided about objects that only weak places hold (weak.h). */
struct weak {
    ahalf word;      /* atomic: WEAK_IDLE and so on; pairs: weak.word */
    aword cancelled; /* atomic: terminations that a mutator has cancelled */
};

/* Ephemerons whose key has not been found marked (ephemeron.h). */
struct ephemerons {
    aword table;     /* atomic: address of the buckets; 0 before the first ephemeron */
    size_t buckets;  /* coordinator, while marking is closed; const meanwhile */
    ahalf filed;     /* atomic: something has been filed in this cycle; pairs: ephemeron.filed */
    aword touched[EPHEMERON_BLOCKS / 64]; /* atomic: blocks of buckets that are not all empty */
    aword made;      /* atomic: since the last cycle began, nearly */
    aword scanned;   /* atomic: by markers that have flushed, in this cycle */
    uint64_t alive;  /* coordinator: at most; as of the cycle's beginning or end */
    uint64_t epoch;  /* coordinator of a child; const meanwhile: what links say, and the sum of
                        forks that abandoned a cycle, modulo 65536 */
    aword filings;   /* atomic: times that one was filed under an unmarked key */
    aword fired;     /* atomic: of them, whose key was found marked after all */
    aword broken;    /* atomic: ephemerons broken */
};

/* Canonical copies of bytes (intern.h). */
struct interning {
    aword table;     /* atomic: struct cds_lfht *; 0 before the first one; pairs: intern.table */
    uint64_t seed;   /* const once there is a table */
    aword count;     /* atomic: entries in the table */
    aword buckets;   /* atomic: as of the last growth; coordinator writes */
    aword dropped;   /* atomic: entries dropped because nobody held their copies */
    struct intern_entry *gone; /* coordinator: dropped in this cycle, perhaps still looked at */
};

/* Writers of weak maps: each map has one of these locks, by its address (weakmap.h). */
#define WEAKMAP_LOCKS 64
struct weakmaps {
    struct lock locks[WEAKMAP_LOCKS]; /* RANK_WEAKMAP */
    aword rebuilt;   /* atomic: tables that were replaced */
};

/* Arenas (region.h). */
struct regions {
    aword last_number;      /* atomic: of an arena */
    aword ending;           /* atomic: address of the newest chunk freed while a cycle marks; 0 */
    aword made, freed;      /* atomic: arenas */
    aword made_bytes, freed_bytes; /* atomic: bytes of chunks */
    aword kept;             /* atomic: mheap.dropped when the last cycle was complete */
    aword deferred;         /* atomic: chunks that had to wait for the end of marking */
    bool faults;            /* const: arena=1: our handler says who touches freed memory */
    struct sigaction other_faults; /* const: what goes on for anything else */
};

/* Marking: workers and termination. */
struct marking {
    ahalf open;       /* atomic: H3 is complete, mark bits may be set; pairs: mark.open */
    aword activity;   /* atomic: activations << 32 | active markers */
    ahalf bell;       /* futex: advanced when work appears or a marker stops */
    ahalf idle_bell;  /* futex: advanced when the last active marker stops */
    ahalf sleepers;   /* atomic: workers asleep on the bell */
    ahalf stop;       /* atomic: workers shall exit */
    uint32_t nworkers, nstarted;
    pthread_t *threads;
    struct worker *workers; /* and one more: the coordinator's, without a thread (solo.h) */
    uint64_t solo;     /* coordinator: scan bytes that it still marks itself in this cycle */
    /* of the running cycle; atomic sums */
    aword marked_bytes, heap_work, stack_work, globals_work;
    aword assist_ns, worker_ns, idle_ns; /* CPU time of marking, by who */
    ahalf awaited;        /* atomic: somebody waits for the running cycle to end */
    aword early;          /* atomic: buffers that barriers filled before marking opened */
    aword extra_ns;       /* atomic: of worker_ns, by a share above the pacer's */
    aword credit;         /* atomic: scan bytes done by workers, for assists to take */
    aword owed;           /* atomic: scan bytes that workers do for threads that never assist */
    aword taken, charged; /* atomic: scan bytes paid by credit, by assists, since last looked at */
    struct worker_share share;
    aword work_per_byte;  /* atomic: bits of a double; 0 while nobody assists */
    aword bytes_per_work; /* atomic: bits of a double */
    ahalf inside;         /* atomic: mutators inside, to guess how many CPUs are idle */
};

/* The coordinator and those who wait for it. */
struct cycles {
    struct lock lock;       /* RANK_CYCLE */
    pthread_t thread;
    ahalf running;          /* atomic: there is a thread; lock: starting it */
    ahalf tid;              /* atomic: its number, 0: it has not begun */
    ahalf hold;             /* futex: the collector's threads shall rest; pairs: fork.rest */
    ahalf at_rest;          /* futex: whoever sits there does, or nobody; pairs: fork.rest */
    ahalf seat;             /* atomic: somebody sits there (seat.h); pairs: coordinator.seat */
    ahalf drivable;         /* atomic: the next cycle is small, and a thread may run it (drive.h) */
    uint64_t drive_ns;      /* const: CPU time of a cycle that a thread may run */
    bool driven;            /* seat: by a mutator */
    struct cycle *current;  /* const; seat: the running cycle, or the last one (pace.h) */
    ahalf marks;            /* atomic: enum marks; coordinator writes */
    uint64_t cpu_base;      /* seat: what the CPU clock of who sits there lacks of coordinator_ns:
                               what others had, less its own before, and its marking; may be < 0 */
    uint64_t cpu_sat;       /* seat: that clock when it sat down */
    ahalf bell;             /* futex: a request is there */
    ahalf wanted;           /* atomic: CYCLE_ bits (cycle.h) */
    ahalf phase;            /* atomic: enum phase, for those who look */
    aword started;          /* atomic: cycles begun */
    aword begun_ns;         /* atomic: when the last one was, by the monotonic clock */
    ahalf swept;            /* futex: low half of the number of cycles complete with sweep */
    aword trigger;          /* atomic: mheap_live that starts a cycle; none while one runs */
    aword trigger_said;     /* atomic: the last one that was any */
    aword goal;             /* atomic: what the operator sees */
    aword gogc;             /* atomic: int64_t percent */
    aword heap_min;         /* atomic: bytes */
    struct pacer pacer;     /* lock */
    uint64_t scan_bytes_last; /* lock: sum of the Ps' scan_bytes at the last cycle's start */
    aword looks;            /* atomic: struct look, newest first; pairs: look.push */
    ahalf looked;           /* futex: looks done */
    ahalf stress;           /* atomic: slow paths until the next forced cycle */
};

/* What the heap may take of the system, and what its host takes for it (limit.h). */
struct limit {
    aword soft;      /* atomic: bytes; UINT64_MAX: off */
    aword hard;      /* const: bytes; UINT64_MAX: off */
    aword external_marked; /* lock: RANK_CYCLE; what the pacer takes for marked of mheap.external */
    unsigned trust;  /* lock: RANK_CYCLE; share of empty slots that are usable (limit.c) */
    uint64_t peak;   /* lock: RANK_CYCLE; bytes in spans when marking was last complete */
    ahalf binding;   /* atomic: the limit sets the goal, not GOGC */
    ahalf limiting;  /* atomic: the collector has had its share of the CPU time */
    struct limiter limiter;  /* coordinator */
    uint64_t gc_ns, busy_ns; /* coordinator: CPU times when the limiter was last told */
    aword limited_cycle;     /* atomic: the cycle in which limiting last began; 0: none */
    aword limited_ns;        /* atomic: CPU time used while limiting */
    aword refused_ns;        /* atomic: when a collection last did not make room */
    aword missed;            /* atomic: cycles that left more alive than the limit has room for */
};

/* Giving memory back (scavenger.h). */
struct scavenger {
    pthread_t thread;     /* coordinator */
    bool started;         /* coordinator: there is a thread to join */
    ahalf running;        /* atomic: it will look again; pairs: scavenger.end */
    ahalf sweeps;         /* atomic: that have left free memory; pairs: scavenger.end */
    ahalf stop;           /* atomic: it shall end */
    ahalf bell;           /* futex: there is more to do than it knows */
    uint64_t peak_in_use; /* coordinator: bytes in spans when the last marking was complete */
    uint64_t peak_live;   /* coordinator: and bytes of objects */
    aword retain;         /* atomic: bytes of pages to keep backed, in spans or free */
    aword said_background, said_assist; /* atomic: bytes that scavtrace lines have told */
};

/* Having memory backed ahead (populator.h). */
struct populator {
    pthread_t thread; /* who started it, then who ends the heap */
    ahalf state;      /* atomic: none, somebody is starting it, started; pairs: populator.start */
    ahalf stop;       /* atomic: it shall end */
};

/* The heap profile (profile.h). */
struct profile {
    struct lock lock;             /* RANK_PROFILE */
    struct site **buckets;        /* lock: by stack and size; never removed */
    struct record_chunk *chunk;   /* lock: newest first; all but the newest are full */
    size_t nrecords;              /* lock: sampled objects that are not known to be dead */
    aword samples, lost;          /* atomic, added to with the lock: taken; not, without memory */
    struct site *pending[2];      /* lock: with allocations that no cycle has looked at */
    struct record_chunk *spare;   /* lock: empty ones */
    struct site *newest;          /* lock: of all */
    size_t nsites;                /* lock */
    bool looked;                  /* lock: some cycle has */
    aword bytes;                  /* atomic: metadata memory of all this */
} CACHE_ALIGNED;

/* The flight recorder, and who is told of cycles (trace.h, listen.h). */
#define TRACE_RINGS 128
#define LISTENERS   8

struct trace_ring {
    ahalf owner;     /* atomic: its thread's number; 0: free; pairs: trace.owner */
    aword n;         /* atomic: events written so far; pairs: trace.n */
    aword *events;   /* atomic: NULL: none yet; pairs: trace.events */
};

struct listener {
    gc_listener_fn *fn;
    void *arg;       /* the host's */
};

struct tracing {
    struct lock lock;    /* RANK_TRACE */
    ahalf on;            /* atomic: pairs: trace.on */
    ahalf next;          /* atomic: the ring to try next */
    aword lost;          /* atomic: events for which there was no ring */
    size_t ring_bytes;   /* lock: set once */
    size_t ring_events;  /* the same */
    char *memory;        /* the same; owned; NULL before the first start */
    struct trace_ring rings[TRACE_RINGS];
    struct listener listeners[LISTENERS]; /* lock */
    ahalf nlisteners;    /* atomic: lock to change it */
    ahalf telling;       /* atomic: odd while they are called; pairs: listen.telling */
    aword pause_bound;   /* atomic: pauses as long as this are told; 0: none */
    aword pause;         /* atomic: the longest since listeners were told last (listen.h), or 0 */
};

/* Everything cumulative that only statistics read.  Atomic sums. */
struct counters {
    uint64_t start_ns;            /* const: monotonic */
    aword cycles_auto, cycles_forced;
    aword marked_last;            /* heap bytes marked by the last cycle */
    aword heap_work_last, stack_work_last, globals_last;
    aword last_gc_epoch_ns;
    aword assist_ns, worker_ns, idle_ns, sweep_ns, coordinator_ns; /* CPU */
    aword pause_ns;               /* all handshake work of mutators */
    struct timehist pause[ACTION_COUNT];   /* per mutator: its own work */
    struct timehist pauses;                /* the same, all actions together */
    struct timehist latency[ACTION_COUNT]; /* per handshake: publish to last answer */
    struct timehist reach;                 /* per handshake and mutator: until it begins */
    struct timehist assist;                /* per assist: wall time */
    struct timehist assist_cpu;            /* per assist: CPU time */
    struct timehist assist_threads;        /* per thread and cycle: CPU time of its assists */
    struct timehist throttle;              /* per wait above the goal */
    aword done_for_others;        /* scan bytes by workers for threads that never assist */
    aword signals, signal_answers, proxy_answers; /* sent; answered in handler; for outside */
    aword barrier_flushes, barrier_words;
    aword attaches, detaches;
    aword handshakes;
    aword mark_wall_ns;
    aword scanned;                /* bytes, by all cycles */
    aword mark_cpu_last;          /* ns: of the last cycle's marking */
    aword throttles;              /* waits of allocating threads above the goal */
    aword terminations_retried;   /* H4 rounds that found work */
    aword cycles_driven;          /* of cycles_auto: run by a thread that allocates */
};

/* What the verifier remembers from one look to the next (verify_sums.c). */
struct verify_live {
    unsigned sweepgen; /* of the heap, then; 0: nothing yet */
    uint64_t balance;
};

struct gc_heap {
    uint64_t magic;        /* const: GC_HEAP_MAGIC until destroyed */
    gc_options options;    /* const */
    unsigned cpus;         /* const */
    ahalf gate;            /* futex: a thread forks: no new critical section (fork.h) */
    struct cds_list_head in_process; /* lock: RANK_FORK; list of all heaps */
    struct os os;
    struct persist persist;
    struct mheap mheap;
    struct kinds kinds;
    struct registry registry;
    struct ps ps;
    struct handshake handshake;
    struct roots roots;
    struct fibers fibers;
    struct runner runner;
    struct pools pools;
    struct work work;
    struct weak weak;
    struct specials specials;
    struct ephemerons ephemerons;
    struct interning interning;
    struct regions regions;
    struct weakmaps weakmaps;
    struct cleanups cleanups;
    struct marking marking;
    struct cycles cycles;
    struct limit limit;
    struct scavenger scavenger;
    struct populator populator;
    struct profile profile;
    struct tracing tracing;
    aword beside;          /* atomic: bytes made ready for what is in no other sum: this, wbcheck */
    struct counters counters;
    struct wbcheck *wbcheck; /* const: NULL without wbcheck=1 */
    struct count_floor floor; /* atomic: statistics only */
    struct checkmark *checkmark; /* const; NULL without checkmark=1 */
    struct verify_live verify_live; /* coordinator */
    /* const: called by the coordinator after each cycle, outside every lock; may be NULL */
    void (*on_cycle)(struct gc_heap *heap, const struct cycle_report *report);
    /* const: called by whoever gives memory back, outside every lock; may be NULL */
    void (*on_scavenge)(struct gc_heap *heap, const struct scavenge_report *report);
};

/* Is a pointer one past the end of an object none to it, wherever it lies? */
static inline bool
heap_is_exact(const struct gc_heap *heap)
{
    return heap->options.precise_stacks != 0;
}

/* Do its cycles hold the mutators while they mark? */
static inline bool
heap_stops(const struct gc_heap *heap)
{
    return heap->options.mode == GC_MODE_STW;
}

/* Are they held now, for that? */
static inline bool
heap_is_stopped(const struct gc_heap *heap)
{
    return ahalf_load_acquire(&heap->handshake.stopped) != 0;
}

/* CPUs that nobody inside wants, as far as is known.  Who is held is idle. */
static inline unsigned
heap_idle_cpus(const struct gc_heap *heap)
{
    unsigned inside = heap_is_stopped(heap) ? 0 : ahalf_load_relaxed(&heap->marking.inside);

    return heap->cpus > inside ? heap->cpus - inside : 0;
}

/* A P: an mcache, held by at most one mutator. */
struct p {
    struct mcache cache;
    struct p *next_all;  /* const once published */
    struct p *next_idle; /* lock: ps */
    struct gc_impl_rack **racks; /* owner: by pool; that of a struct pool_part, or no_rack */
    struct gc_impl_rack no_rack; /* owner: empty for ever */
    uint32_t nracks;     /* owner */
    uint32_t pool_turn;  /* owner: the last turn that its parts have made */
    unsigned held;       /* lock: ps; 0: idle, else ps.generation of who took it */
};

/* heap, or for NULL the calling thread's heap, else the default one; NULL if none. */
struct gc_heap *gcrt_heap_resolve(struct gc_heap *heap);

/* The heap that gc_init made, or NULL. */
struct gc_heap *gcrt_heap_default(void);
void gcrt_heap_set_default(struct gc_heap *heap);

#endif
