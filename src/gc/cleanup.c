/* SPDX-License-Identifier: MIT */
/*
 * Cleanups and finalizers.
 *
 * Purpose: call the host when an object has died, or is about to.
 * Place: the api adds them as specials; the decision about the dead hands them over; the
 * runner calls them.
 *
 * A cleanup's life: in the table of specials; due, when it has left the table and its job
 * waits in the runner's queue; begun, when its record is free again.  Its serial is 0 from
 * then on, and was never another cleanup's, so a name for it says at any time whether it is
 * still there.
 *
 * Roots, in each of these states: in the table the argument is one, and what a finalizable
 * object points to (special.c); in the queue and while the callback runs, argument and object
 * are (runner.c).  Between table and queue the coordinator has them, after they have been
 * marked and before any other cycle.  So a cycle that meets a record in whatever state marks
 * what it needs, and nobody has to tell the collector about the change.
 *
 * Order.  Of one object's cleanups the newest is first in its chain, and is handed over and
 * begun first: as destructors and atexit have it, for what was built later may rest on what was
 * there before.  Objects that die in one cycle have no order; cycles have.
 *
 * Invariants: each is called at most once.  A cleanup's argument and a finalizer's do not lie
 * in their object.
 * Concurrency: the record under its shard's lock, the job under the runner's, which may be
 * taken under the former.  Who holds a name takes the lock of the shard in which the record
 * has always been, so looking at a record that is somebody else's by now is harmless.
 * Cost: adding 0.1 us, 128 bytes and a bucket; each cycle some 10 ns for each that is there, and
 * 0.3 us more to become due and be begun (docs/cleanups.md).
 */
#include "gc/cleanup.h"

#include "gc/barrier.h"
#include "gc/crew.h"
#include "gc/error.h"
#include "gc/mutator.h"
#include "gc/region.h"
#include "gc/runner.h"
#include "gc/special.h"
#include "gc/wbcheck.h"

#include <gcrt/alloc.h>
#include <gcrt/cleanup.h>

/* Between two looks whether a cycle has ended. */
#define CYCLE_LOOK_NS ((uint64_t)100 * 1000)

/* A record of either kind. */
struct cleanup {
    struct special special; /* first */
    struct runner_job job;
    union {
        gc_cleanup_fn *cleanup;
        gc_finalizer_fn *finalizer;
    } fn;                    /* lock: shard */
    struct gc_heap *heap;    /* const */
    bool due;                /* lock: shard; it has left the table */
    uint64_t serial;         /* lock: shard; cleanups: 0 if it will not run any more */
};

_Static_assert(sizeof(struct cleanup) <= SPECIAL_CALL_BYTES, "a record has so much room");
_Static_assert(offsetof(struct cleanup, special) == 0, "the table knows it by that");

static struct cleanup *
cleanup_of(struct special *special)
{
    return container_of_(special, struct cleanup, special);
}

/* ---- becoming due ---- */

static void run_cleanup(struct gc_heap *heap, struct runner_job *job);
static void run_finalizer(struct gc_heap *heap, struct runner_job *job);

/* The record has left the table; its shard is locked. */
static void
make_due_locked(enum special_kind kind, struct cleanup *c)
{
    struct runner_job *job = &c->job;
    bool finalizer = kind == SPECIAL_FINALIZER;

    c->due = true;
    job->fn = finalizer ? run_finalizer : run_cleanup;
    job->words[0] = finalizer ? (void *)c->special.object : NULL;
    job->words[1] = c->special.arg;
    job->what = finalizer ? "finalizer" : "cleanup";
    job->host = finalizer ? (const void *)(uintptr_t)c->fn.finalizer
                          : (const void *)(uintptr_t)c->fn.cleanup;
}

static struct cleanup_counts *
counts_of(struct gc_heap *heap, enum special_kind kind)
{
    return kind == SPECIAL_FINALIZER ? &heap->cleanups.finalizer : &heap->cleanups.cleanup;
}

static void
hand_over(struct gc_heap *heap, enum special_kind kind, struct special *record)
{
    struct cleanup *c = cleanup_of(record);

    make_due_locked(kind, c);
    cds_list_add_tail(&c->job.node, &heap->cleanups.ready);
    aword_add_relaxed(&counts_of(heap, kind)->queued, 1);
}

void
gcrt_cleanups_init(struct gc_heap *heap)
{
    CDS_INIT_LIST_HEAD(&heap->cleanups.ready);
    heap->specials.ready = hand_over;
}

void
gcrt_cleanups_due(struct gc_heap *heap)
{
    gcrt_runner_post_all(heap, &heap->cleanups.ready);
}

/* ---- being called ---- */

/* The record is free from here on; what it was is in *ret. */
static void
begin(struct gc_heap *heap, enum special_kind kind, struct cleanup *c, struct cleanup *ret)
{
    struct special_shard *shard;

    chaos_point(&heap->os, CHAOS_CLEANUP_BEGIN);
    critical_enter();
    shard = gcrt_special_lock(heap, c->special.object);
    *ret = *c;
    c->serial = 0;
    gcrt_special_free_locked(shard, kind, &c->special);
    gcrt_special_unlock(shard);
    critical_leave();
}

static void
run_cleanup(struct gc_heap *heap, struct runner_job *job)
{
    struct cleanup c;

    begin(heap, SPECIAL_CLEANUP, container_of_(job, struct cleanup, job), &c);
    c.fn.cleanup(c.special.arg);
    aword_add_relaxed(&heap->cleanups.cleanup.executed, 1);
}

static void
run_finalizer(struct gc_heap *heap, struct runner_job *job)
{
    struct cleanup c;

    begin(heap, SPECIAL_FINALIZER, container_of_(job, struct cleanup, job), &c);
    c.fn.finalizer((void *)c.special.object, c.special.arg);
    aword_add_relaxed(&heap->cleanups.finalizer.executed, 1);
}

/* ---- adding ---- */

/* Do both lie in the same slot?  Tiny objects share theirs, and its mark decides. */
static bool
share_slot(struct gc_heap *heap, uintptr_t object, uintptr_t word)
{
    const struct mheap *h = &heap->mheap;
    const struct mspan *s = mheap_span_of(h, object);

    return mheap_span_of(h, word) == s
        && span_object_index(h, s, word) == span_object_index(h, s, object);
}

/* What is wrong with them, or NULL; then *object is obj's. */
static const char *
complaint(struct gc_heap *heap, const void *obj, const void *arg, uintptr_t *object)
{
    if (obj == NULL)
        return "obj is NULL";
    *object = gcrt_special_object(heap, obj);
    if (*object == 0)
        return gcrt_region_holds(heap, obj) ? "obj lies in an arena"
                                            : "obj is no object of the heap";
    if (arg != NULL && share_slot(heap, *object, (uintptr_t)arg))
        return "arg points into obj, which would keep it alive for ever";
    return NULL;
}

/* The argument comes or goes as a root while marking. */
static void
shade_arg(struct gcrt_mutator *m, void *arg)
{
    if (barrier_state(m->self) != BARRIER_OFF)
        gcrt_barrier_shade_object(m, (uintptr_t)arg);
}

/* Others may get hold of the argument. */
static void
publish(struct gc_heap *heap, const void *arg)
{
    if (UNLIKELY(heap->wbcheck != NULL))
        gcrt_wbcheck_publish(heap, (uintptr_t)arg);
}

/* Critical.  False without memory. */
static bool
add(struct gcrt_mutator *m, uintptr_t object, gc_cleanup_fn *fn, void *arg, gc_cleanup *ret)
{
    struct gc_heap *heap = m->heap;
    struct special_shard *shard = gcrt_special_lock(heap, object);
    struct special *special
            = gcrt_special_insert_locked(heap, shard, SPECIAL_CLEANUP, object, arg);

    if (special != NULL) {
        struct cleanup *c = cleanup_of(special);

        c->fn.cleanup = fn;
        c->heap = heap;
        c->serial = aword_add_relaxed(&heap->cleanups.serial, 1) + 1;
        *ret = (gc_cleanup){ .impl_record = c, .impl_object = ~object,
            .impl_serial = c->serial };
    }
    gcrt_special_unlock(shard);
    if (special != NULL)
        shade_arg(m, arg);
    return special != NULL;
}

gc_status
gc_cleanup_add(void *obj, gc_cleanup_fn *fn, void *arg, gc_cleanup *ret)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    const char *why = fn == NULL ? "fn is NULL" : NULL;
    gc_cleanup name = { .impl_serial = 0 };
    uintptr_t object = 0;
    bool ok = false;

    if (m == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_cleanup_add: the thread is not attached");
    (void)gcrt_mutator_self("gc_cleanup_add");
    publish(m->heap, arg);
    critical_enter();
    if (why == NULL)
        why = complaint(m->heap, obj, arg, &object);
    if (why == NULL)
        ok = add(m, object, fn, arg, &name);
    critical_leave();
    GC_KEEP_ALIVE(obj);
    GC_KEEP_ALIVE(arg);
    if (why != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_cleanup_add: %s", why);
    if (!ok)
        return gcrt_error(GC_ERR_NOMEM, "gc_cleanup_add: out of memory");
    if (ret != NULL)
        *ret = name;
    return GC_OK;
}

/* ---- taking back ---- */

/* The shard is locked.  Is the record still the cleanup that was named, and can it be had? */
static bool
take_back_locked(struct gc_heap *heap, struct special_shard *shard, struct cleanup *c)
{
    if (!c->due)
        gcrt_special_unlink_locked(heap, shard, SPECIAL_CLEANUP, &c->special);
    else if (!gcrt_runner_cancel(heap, &c->job))
        return false; /* somebody is about to begin it */
    c->serial = 0;
    return true;
}

int
gc_cleanup_cancel(gc_cleanup cleanup)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_cleanup_cancel");
    struct cleanup *c = cleanup.impl_record;
    struct special_shard *shard;
    bool mine, taken;

    if (c == NULL)
        return 0;
    critical_enter();
    shard = gcrt_special_lock(m->heap, ~cleanup.impl_object);
    mine = c->heap == m->heap;
    taken = mine && c->serial == cleanup.impl_serial && take_back_locked(m->heap, shard, c);
    if (taken) {
        shade_arg(m, c->special.arg);
        gcrt_special_free_locked(shard, SPECIAL_CLEANUP, &c->special);
        aword_add_relaxed(&m->heap->cleanups.cancelled, 1);
    }
    gcrt_special_unlock(shard);
    critical_leave();
    if (!mine)
        gcrt_fatal("gc_cleanup_cancel: the cleanup is of another heap");
    return taken;
}

/* ---- finalizers ---- */

/* Critical.  The object's finalizer goes. */
static void
clear_finalizer(struct gcrt_mutator *m, uintptr_t object)
{
    struct special_shard *shard = gcrt_special_lock(m->heap, object);
    struct special *old = gcrt_special_find_locked(shard, SPECIAL_FINALIZER, object);

    if (old != NULL) {
        shade_arg(m, old->arg); /* the object is the caller's, and so is what it points to */
        gcrt_special_unlink_locked(m->heap, shard, SPECIAL_FINALIZER, old);
        gcrt_special_free_locked(shard, SPECIAL_FINALIZER, old);
    }
    gcrt_special_unlock(shard);
}

/* Critical.  False without memory; then the old one, if there was one, is still there. */
static bool
set_finalizer(struct gcrt_mutator *m, uintptr_t object, gc_finalizer_fn *fn, void *arg)
{
    struct gc_heap *heap = m->heap;
    struct special_shard *shard = gcrt_special_lock(heap, object);
    struct special *special = gcrt_special_find_locked(shard, SPECIAL_FINALIZER, object);

    if (special != NULL) {
        shade_arg(m, special->arg);
        special->arg = arg;
    } else {
        special = gcrt_special_insert_locked(heap, shard, SPECIAL_FINALIZER, object, arg);
    }
    if (special != NULL) {
        cleanup_of(special)->fn.finalizer = fn;
        cleanup_of(special)->heap = heap;
    }
    gcrt_special_unlock(shard);
    if (special == NULL)
        return false;
    shade_arg(m, arg);
    shade_arg(m, (void *)object); /* what it points to becomes a root */
    return true;
}

gc_status
gc_finalizer_set(void *obj, gc_finalizer_fn *fn, void *arg)
{
    struct gcrt_mutator *m = gc_impl_self.mutator;
    uintptr_t object = 0;
    const char *why;
    bool ok = true;

    if (m == NULL)
        return gcrt_error(GC_ERR_DETACHED, "gc_finalizer_set: the thread is not attached");
    (void)gcrt_mutator_self("gc_finalizer_set");
    publish(m->heap, arg);
    critical_enter();
    why = complaint(m->heap, obj, fn == NULL ? NULL : arg, &object);
    if (why == NULL && object != (uintptr_t)obj)
        why = "obj is not the start of its object";
    if (why == NULL && fn == NULL)
        clear_finalizer(m, object);
    else if (why == NULL)
        ok = set_finalizer(m, object, fn, arg);
    critical_leave();
    GC_KEEP_ALIVE(obj);
    GC_KEEP_ALIVE(arg);
    if (why != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_finalizer_set: %s", why);
    return ok ? GC_OK : gcrt_error(GC_ERR_NOMEM, "gc_finalizer_set: out of memory");
}

/* ---- all of them ---- */

/*
 * All of a kind in one shard become due; false if not now.  While the thread's barrier is on, an
 * object may be white and what it points to, too, and to make it a root would be to make grey from
 * nothing: after the thread's last flush nobody would look, and it would be swept.  Before its H1
 * the queue is still to be collected, and after its H5 what has a record is alive.
 */
static bool
make_shard_due(struct gc_heap *heap, struct special_shard *shard, enum special_kind kind)
{
    struct special *record;
    uint32_t at = 0;
    bool may;

    critical_enter();
    may = barrier_state(&gc_impl_self) == BARRIER_OFF;
    gcrt_lock_acquire(&shard->lock);
    while (may && (record = gcrt_special_pop_locked(heap, shard, kind, &at)) != NULL) {
        make_due_locked(kind, cleanup_of(record));
        gcrt_runner_post(heap, &cleanup_of(record)->job);
        aword_add_relaxed(&counts_of(heap, kind)->queued, 1);
    }
    gcrt_special_unlock(shard);
    critical_leave();
    return may;
}

/* Makes all of a kind due.  A shard at a time, so handshakes wait for no more. */
static void
make_all_due(struct gc_heap *heap, enum special_kind kind)
{
    for (size_t i = 0; i < SPECIAL_SHARDS; i++)
        while (!make_shard_due(heap, &heap->specials.shards[i], kind))
            GC_BLOCKING { gcrt_os_sleep_ns(CYCLE_LOOK_NS); }
}

size_t
gcrt_cleanups_run_all(struct gc_heap *heap)
{
    size_t n;

    if (gc_impl_self.mutator->in_callback)
        return 0;
    gcrt_crew_hold(heap);
    make_all_due(heap, SPECIAL_FINALIZER);
    n = gcrt_runner_run(heap, SIZE_MAX);
    make_all_due(heap, SPECIAL_CLEANUP);
    n += gcrt_runner_run(heap, SIZE_MAX);
    gcrt_crew_release(heap);
    return n;
}
