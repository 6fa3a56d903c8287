/* SPDX-License-Identifier: MIT */
/*
 * Purpose: know of every cleanup whether it has run, and what a weak reference to the same object
 * says at each time.
 * Concurrency: cleanups run on any thread; each life has its own words.  Lives are kept to the
 * end, so that one that runs twice is seen.
 */
#include "life.h"

#include "heapkit.h"

struct life {
    struct life *next; /* const once listed */
    uint32_t ran;      /* atomic */
    gc_handle *weak;   /* owned until the end: of a gc_weak */
    uintptr_t hidden;  /* const: t_hide(the object) */
};

static struct life *all;   /* atomic: newest first */
static uint64_t begun, ran; /* atomic */

static void
end(void *arg)
{
    struct life *life = arg;

    T_CHECK(__atomic_fetch_add(&life->ran, 1, __ATOMIC_ACQ_REL) == 0, "a cleanup runs again");
    T_CHECK(gc_weak_get(gc_handle_get(life->weak)) == NULL,
            "a weak reference is not NULL, and the object's cleanup runs");
    gc_handle_free(life->weak);
    __atomic_add_fetch(&ran, 1, __ATOMIC_RELEASE);
}

struct life *
life_begin(void *obj)
{
    struct life *life = malloc(sizeof *life);

    T_CHECK(life != NULL, "the shadow is out of memory");
    life->ran = 0;
    life->hidden = t_hide(obj);
    life->weak = gc_handle_new(gc_weak_new(obj));
    T_CHECK(life->weak != NULL, "gc_handle_new gave NULL: %s", gc_last_error());
    life->next = __atomic_load_n(&all, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&all, &life->next, life, 1, __ATOMIC_RELEASE,
            __ATOMIC_RELAXED)) {
    }
    __atomic_add_fetch(&begun, 1, __ATOMIC_RELAXED);
    T_OK(gc_cleanup_add(obj, end, life, NULL));
    return life;
}

void
life_check(const struct life *life)
{
    T_CHECK(life == NULL || __atomic_load_n(&life->ran, __ATOMIC_ACQUIRE) == 0,
            "the cleanup of a reachable object has run");
    T_CHECK(life == NULL || gc_weak_get(gc_handle_get(life->weak)) == t_reveal(life->hidden),
            "a weak reference to a reachable object gives %p, not %p",
            gc_weak_get(gc_handle_get(life->weak)), t_reveal(life->hidden));
}

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    T_OK(gc_metrics_read(NULL, &sample, 1));
    return sample.value.u64;
}

void
lives_settle(void)
{
    while (metric("/gc/cleanups/executed:cleanups") != metric("/gc/cleanups/queued:cleanups")) {
        (void)gc_run_cleanups(NULL, 10);
        GC_BLOCKING { t_sleep_us(100); }
    }
}

uint64_t
lives_begun(void)
{
    return __atomic_load_n(&begun, __ATOMIC_RELAXED);
}

uint64_t
lives_left(void)
{
    return lives_begun() - __atomic_load_n(&ran, __ATOMIC_ACQUIRE);
}
