/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OPTIONS_H
#define GCRT_OPTIONS_H

#include <gcrt/status.h>

#include <stddef.h>
#include <stdint.h>

GC_IMPL_BEGIN

typedef struct gc_heap gc_heap;

#define GC_GOGC_OFF (-1)
#define GC_MEMORY_LIMIT_OFF INT64_MAX

/*
 * Out of memory: called on the allocating thread, outside every lock, after a full
 * collection did not help.  bytes is the size asked for.  Return non-zero to try once
 * more (after releasing something), zero to give up: gc_try_ forms then return NULL
 * and the others end the process with one fatal line.
 */
typedef int gc_oom_fn(gc_heap *heap, size_t bytes, void *arg);

/* What the collector found at the end of a cycle.  Bytes, but for cycle. */
typedef struct gc_limit_report {
    uint64_t limit;    /* the soft memory limit */
    uint64_t mapped;   /* memory of the heap and its metadata, what is given back left out */
    uint64_t external; /* gc_external_bytes */
    uint64_t live;     /* objects that the cycle marked */
    uint64_t cycle;    /* its number */
} gc_limit_report;

/*
 * The live heap, its metadata and the external bytes do not fit below the soft memory limit,
 * so it is exceeded until something is let go of: shed load.  Called once at the end of each
 * such cycle, on the collector's thread, outside every lock; that thread is not attached, and
 * can wait for no cycle: gc_collect and gc_free_os_memory end the process there, and what looks at
 * the whole heap (debug.h) is GC_ERR_BUSY.
 */
typedef void gc_limit_fn(gc_heap *heap, const gc_limit_report *report, void *arg);

/*
 * A line of text (gctrace, warnings) without its newline; called outside every lock.  What is said
 * before an abort, or while threads are held, goes to standard error instead.
 */
typedef void gc_log_fn(const char *line, size_t len, void *arg);

/* Which part of a heap may have huge pages, if the system has any (madvise). */
typedef enum gc_hugepages {
    GC_HUGEPAGES_AUTO = 0, /* what a heap has beyond its first 64 MiB */
    GC_HUGEPAGES_ALWAYS,   /* all of it */
    GC_HUGEPAGES_NEVER     /* nothing: the system decides by itself */
} gc_hugepages;

/*
 * How a cycle meets the threads.  GC_MODE_CONCURRENT is what this library is made for: threads
 * run while the heap is marked, and stores into it need gc_write.  GC_MODE_STW is for programs
 * on their way there: every thread is held while the heap is marked, for as long as that takes,
 * so plain stores, memcpy and foreign containers are right; sweeping stays concurrent.
 */
typedef enum gc_mode { GC_MODE_CONCURRENT, GC_MODE_STW } gc_mode;

/*
 * How a heap is set up.  Fill it with gc_options_default() or gc_options_from_env() first
 * and change what you need; the size field tells a library of another layout, which refuses it.
 */
typedef struct gc_options {
    size_t struct_size;     /* sizeof(gc_options); set by gc_options_default */
    int64_t gogc;           /* percent of live heap to grow by; 0.., or GC_GOGC_OFF; 100 */
    size_t heap_min;        /* bytes: lowest goal at gogc 100, scales with gogc; 4 MiB */
    size_t reserve;         /* bytes of address space; 0: four times the RAM, >= 64 GiB */
    uint32_t threads;       /* most marking threads; 0: one per CPU the process may use */
    uint32_t worker_percent_max; /* of the CPUs: most that marking threads may claim; 50 */
    int nice;               /* added to the nice level of the collector's threads; 0 */
    uint32_t grace_us;      /* microseconds before a silent thread is signalled; 100 */
    int signal;             /* for silent threads, 1..64 and no fault's (SIGSEGV, SIGABRT, ...);
                               0: SIGURG, whose default is to ignore */
    gc_mode mode;           /* GC_MODE_CONCURRENT */
    int precise_stacks;     /* 1: no thread's stack is scanned; see precise.h */
    int periodic_ms;        /* collect at least so often, milliseconds; 0: never; 120000 */
    int64_t memory_limit;   /* bytes, soft (gc_set_memory_limit); GC_MEMORY_LIMIT_OFF */
    int64_t memory_limit_hard; /* bytes: what would bring the heap beyond is refused, but for what
                                  marking needs; GC_MEMORY_LIMIT_OFF */
    uint32_t limiter_percent; /* most that a memory limit may make the collector take of the
                                 CPU time used, 1..; 100: no limiter; 50 */
    uint32_t cgroup_percent; /* 1..100: so much of the cgroup's memory limit is one too, and
                                its CPU quota says how many CPUs there are; 0: ask no cgroup */
    gc_limit_fn *on_limit;  /* NULL: nobody is told that the live heap outgrew memory_limit */
    void *on_limit_arg;     /* borrowed; handed to on_limit */
    uint32_t release_ms;    /* milliseconds in which half of the free memory that nobody needs
                               goes back to the system; 0: none does by itself; 5000 */
    gc_hugepages hugepages; /* GC_HUGEPAGES_AUTO */
    uint32_t cleanup_threads; /* cleanups that run at once, besides slow ones, at most 16; 0: they
                                 run in gc_run_cleanups only; 1 */
    uint32_t cleanup_slow_ms; /* milliseconds until a cleanup that runs is reported; 0: never;
                                 1000 */
    size_t profile_rate;    /* bytes allocated between two samples of the heap profile, on average;
                               1: every object; 0: no profile; 512 KiB */
    gc_oom_fn *oom;         /* NULL: give up at once */
    void *oom_arg;          /* borrowed; handed to oom */
    gc_log_fn *log;         /* NULL: lines go to standard error */
    void *log_arg;          /* borrowed; handed to log */
    int debug_gctrace;      /* 1: one line a cycle */
    int debug_verify;       /* 1: heap verifier at each cycle's edges; 2: and its graph */
    int debug_checkmark;    /* 1: every cycle's marking is checked by a second one; 2: and told */
    int debug_clobberfree;  /* 1: dead objects are overwritten with 0xdeadbeef words */
    uint32_t debug_stress;  /* N: a cycle every N slow-path allocations; 0: off */
    uint64_t debug_chaos;   /* seed: yields and sleeps at named points; 0: off */
    int debug_tiny;         /* 1: two-entry barrier buffers, tiny work buffers */
    uint64_t debug_failat;  /* N: the N-th call to the system that can fail fails; 0: off */
    uint64_t debug_failfrom; /* N: that one and all later ones; 0: off */
    int debug_wbcheck;      /* 1: a store without gc_write is a fatal line that names it */
    int debug_gcpacertrace; /* 1: what the pacer planned and found, one line a cycle */
    int debug_scavtrace;    /* 1: what was given back to the system, a line a cycle or a second */
    int debug_pool;         /* 1: an item put twice, or written to in a pool, is a fatal line */
    int debug_arena;        /* 1: an access to a freed arena is a fatal line that names it */
} gc_options;

/* Fills *opt with the defaults above.  Any thread. */
GC_API void gc_options_default(gc_options *opt);

/*
 * Defaults, then the environment: GCRT_GOGC (a percentage, or "off"), GCRT_HEAPMIN (bytes, or a
 * number with B, KiB, MiB, GiB or TiB behind it: 64MiB), GCRT_MEMLIMIT (such a size, "off", or
 * "cgroup-10%": nine tenths of the cgroup's limit, as "cgroup" alone), GCRT_MEMLIMIT_HARD (a
 * size or "off"), GCRT_LIMITER (limiter_percent), GCRT_HUGEPAGES (auto, always or never),
 * GCRT_THREADS, GCRT_NICE,
 * GCRT_DEBUG ("gctrace=1,gcpacertrace=1,scavtrace=1,verify=1,checkmark=1,clobberfree=1,
 * stress=N,chaos=SEED,tiny=1,failat=N,failfrom=N,wbcheck=1,stw=1,profilerate=BYTES,pool=1,
 * arena=1");
 * plain GOGC and GOMEMLIMIT (a size or "off") where the GCRT_ forms are absent.  A malformed
 * value is GC_ERR_ENV, named by gc_last_error(), and leaves *opt untouched.  In a program that
 * the kernel runs as privileged (getauxval(3), AT_SECURE) the environment is ignored.
 */
GC_API GC_MUST_CHECK gc_status gc_options_from_env(gc_options *opt);

GC_IMPL_END

#endif
