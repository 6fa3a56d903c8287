/* SPDX-License-Identifier: MIT */
/*
 * Purpose: GOGC from 1 to off.  While threads churn around a fixed live set, the heap stays
 * within a stated multiple of the pacer's goal; the goal follows the live set as GOGC says;
 * with GOGC off no cycle runs at all.
 *
 * Place: public interface only; gc_stats and the pacer's lines are the witnesses.
 *
 * Bound: heap_alloc <= 1.5 x the highest goal seen around the sample + 8 MiB.  The goal is
 * soft: allocation during marking is black, and dead objects count until they are swept.
 * The 8 MiB cover what threads allocate between two samples on a loaded machine.  Over ten
 * and more cycles, marking ends at no more than 1.3 times the goal in the mean.
 *
 * Arguments: mutators=2 churn=48 (MiB for each setting and thread) live=8 (MiB).
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct item {
    struct item *next;
    uint64_t pad[13]; /* 112 bytes in all */
};

GC_TYPE(item_type, struct item, next);

#define MIB ((uint64_t)1 << 20)
#define MUTATORS_MAX 8

static uint64_t churn_bytes, live_bytes;
static struct item *live_root; /* registered */
static int working;

static void
live_build(void)
{
    struct item *list = NULL;

    for (uint64_t n = live_bytes / sizeof(struct item); n > 0; n--) {
        struct item *item = gc_alloc(&item_type);

        item->next = list;
        item->pad[0] = n;
        list = item;
    }
    gc_write(&live_root, list);
}

static void
live_check(void)
{
    uint64_t n = 0;

    for (struct item *item = live_root; item != NULL; item = item->next)
        T_CHECK(item->pad[0] == ++n, "the live list is altered at %llu",
                (unsigned long long)n);
    T_CHECK(n == live_bytes / sizeof(struct item), "the live list has %llu items",
            (unsigned long long)n);
}

static void *
churn_main(void *arg)
{
    (void)arg;
    for (uint64_t n = churn_bytes / sizeof(struct item); n > 0; n--) {
        struct item *item = gc_alloc(&item_type);

        item->pad[0] = n;
        GC_KEEP_ALIVE(item);
    }
    __atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* ---- each cycle's end, out of the pacer's line ---- */

struct ends {
    unsigned cycles;  /* that had a goal */
    double sum, most; /* heap at the end of marking, over the goal */
};

static pthread_mutex_t ends_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ends ends; /* lock: ends_lock; the coordinator writes */

static void
note_end(const char *line, size_t len, void *arg)
{
    const char *heap = strstr(line, ", heap "), *goal = strstr(line, ", goal ");
    double end, over, ratio;

    (void)len;
    (void)arg;
    T_CHECK(heap != NULL && goal != NULL, "no line of the pacer: %s", line);
    if (sscanf(heap, ", heap %*f->%lf->", &end) != 1
            || sscanf(goal, ", goal %lf MB", &over) != 1)
        return; /* off */
    ratio = end / (end - over);
    (void)pthread_mutex_lock(&ends_lock);
    ends.cycles++;
    ends.sum += ratio;
    ends.most = ratio > ends.most ? ratio : ends.most;
    (void)pthread_mutex_unlock(&ends_lock);
}

/* What there was; it begins anew. */
static struct ends
take_ends(void)
{
    struct ends was;

    (void)pthread_mutex_lock(&ends_lock);
    was = ends;
    ends = (struct ends){ 0, 0, 0 };
    (void)pthread_mutex_unlock(&ends_lock);
    return was;
}

/* One late cycle on a busy machine proves nothing, the mean of many does. */
static double
check_ends(const struct ends *e)
{
    double mean = e->cycles == 0 ? 0 : e->sum / e->cycles;

    T_CHECK(e->cycles < 10 || mean <= 1.3,
            "marking ends at %.3f of the goal, mean of %u cycles", mean, e->cycles);
    return mean;
}

struct peak {
    uint64_t heap, goal; /* the sample that came nearest to its bound */
    uint64_t samples;
};

static void
sample(struct peak *peak)
{
    gc_stats before, after;
    uint64_t goal, bound;

    gc_stats_read(NULL, &before);
    gc_stats_read(NULL, &after);
    goal = before.next_gc > after.next_gc ? before.next_gc : after.next_gc;
    bound = goal + goal / 2 + 8 * MIB;
    peak->samples++;
    if (before.heap_alloc > peak->heap) {
        peak->heap = before.heap_alloc;
        peak->goal = goal;
    }
    T_CHECK(before.heap_alloc <= bound, "heap %llu is above 1.5 x goal %llu + 8 MiB",
            (unsigned long long)before.heap_alloc, (unsigned long long)goal);
}

static void
churn(size_t nmutators, struct peak *peak, int bounded)
{
    pthread_t threads[MUTATORS_MAX];

    working = (int)nmutators;
    for (size_t i = 0; i < nmutators; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, churn_main, NULL));
    while (__atomic_load_n(&working, __ATOMIC_ACQUIRE) > 0) {
        if (bounded)
            sample(peak);
        t_sleep_us(500);
    }
    for (size_t i = 0; i < nmutators; i++)
        (void)pthread_join(threads[i], NULL);
}

/* After a collection the goal is live x (1 + gogc / 100), or the scaled minimum heap. */
static void
check_goal(int64_t gogc, uint64_t heap_min)
{
    uint64_t floor = heap_min * (uint64_t)gogc / 100, want;
    gc_stats stats;

    t_collect_twice(NULL);
    gc_stats_read(NULL, &stats);
    want = live_bytes + live_bytes * (uint64_t)gogc / 100;
    T_CHECK(stats.heap_alloc >= live_bytes, "%llu bytes alive, gc_stats has %llu",
            (unsigned long long)live_bytes, (unsigned long long)stats.heap_alloc);
    want = want > floor ? want : floor;
    T_CHECK(stats.next_gc >= want - want / 10 && stats.next_gc <= want + want / 2 + 4 * MIB,
            "gogc %lld: goal is %llu, about %llu expected", (long long)gogc,
            (unsigned long long)stats.next_gc, (unsigned long long)want);
}

static void
one_setting(int64_t gogc, size_t nmutators, uint64_t heap_min)
{
    uint64_t cycles;
    struct peak peak = { 0, 0, 0 };
    struct ends e;

    (void)gc_set_gogc(NULL, gogc);
    t_collect_twice(NULL);
    (void)take_ends();
    cycles = t_cycles(NULL);
    churn(nmutators, &peak, gogc != GC_GOGC_OFF);
    cycles = t_cycles(NULL) - cycles;
    e = take_ends();
    t_note("gogc=%lld cycles=%llu peak=%llu KiB goal there=%llu KiB samples=%llu; "
           "end of marking over goal: mean %.3f, most %.3f",
            (long long)gogc, (unsigned long long)cycles,
            (unsigned long long)(peak.heap >> 10), (unsigned long long)(peak.goal >> 10),
            (unsigned long long)peak.samples, check_ends(&e), e.most);
    if (gogc == GC_GOGC_OFF) {
        T_CHECK(cycles == 0, "%llu cycles with gogc off", (unsigned long long)cycles);
    } else {
        T_CHECK(cycles > 0 || nmutators * churn_bytes < live_bytes * (uint64_t)gogc / 50,
                "no cycle with gogc %lld", (long long)gogc);
        check_goal(gogc, heap_min);
    }
    live_check();
}

int
main(int argc, char **argv)
{
    static const int64_t settings[] = { 100, 1, 10, 50, 200, 400, GC_GOGC_OFF };
    size_t nmutators;
    gc_options opt;

    t_start("gogc", argc, argv);
    t_hang_after(600);
    nmutators = (size_t)t_arg("mutators", 2) % (MUTATORS_MAX + 1);
    churn_bytes = (uint64_t)t_arg("churn", 48) * MIB;
    live_bytes =
            (uint64_t)t_arg("live", 8) * MIB / sizeof(struct item) * sizeof(struct item);
    t_options(&opt);
    opt.debug_clobberfree = 0;
    opt.periodic_ms = 0;
    opt.debug_gcpacertrace = 1;
    opt.log = note_end;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(&live_root, sizeof live_root));
    live_build();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        one_setting(settings[i], nmutators, opt.heap_min);
    t_verify(NULL);
    gc_root_remove(&live_root);
    gc_shutdown();
    return 0;
}
