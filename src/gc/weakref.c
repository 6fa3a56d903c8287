/* SPDX-License-Identifier: MIT */
/*
 * Weak references: gc_weak.
 *
 * Purpose: the public form of a weak place, one for each object.
 * Place: the host calls it; it calls special for the record that leads from an object to its
 * gc_weak, weak for the decision, malloc for the gc_weak itself.
 * Invariants: an object has at most one record WEAK, and its gc_weak holds that object or
 * nothing.  The record holds the gc_weak weakly too: it is a weak place under the shard's lock.
 * Who finds it takes it out like any other, and if it is dead, puts a new one in its place.
 * I-weak-agree.
 * Concurrency: target and record as weak.h and special.h say.  A gc_weak is made outside of
 * any lock, and thrown away if another thread was faster.
 * Cost: get with the barrier off three loads, inline; else some 10 ns.  new is a lock, a
 * probe of the table, and the first time 16 bytes of the heap and a record of 24.
 */
#include "gc/error.h"
#include "gc/fork.h"
#include "gc/limit.h"
#include "gc/malloc.h"
#include "gc/region.h"
#include "gc/special.h"
#include "gc/weak.h"

#include <gcrt/gcrt.h>

/* The target is no field of it: nobody traces a gc_weak. */
GC_TYPE_NOSCAN(weak_type, struct gc_weak);

/* ---- looking through one ---- */

/* The barrier is on, or something is wrong. */
void *
gc_impl_weak_get(const gc_weak *weak)
{
    struct gcrt_mutator *m = gcrt_mutator_self("gc_weak_get");
    void *obj;

    if (weak->impl_heap != m->heap)
        gcrt_fatal("gc_weak_get: %p is no weak reference of the caller's heap",
                (const void *)weak);
    critical_enter();
    obj = (void *)gcrt_weak_load(m, &weak->impl_target);
    m->own.result = obj;
    critical_leave();
    m->own.result = NULL;
    return obj;
}

/* ---- making one ---- */

/* The object's gc_weak, strong, or NULL if it has none that lives; it may have a record then. */
static gc_weak *
find_locked(struct gcrt_mutator *m, struct special_shard *shard, uintptr_t object,
        struct special **record)
{
    *record = gcrt_special_find_locked(shard, SPECIAL_WEAK, object);
    if (*record == NULL || !gcrt_weak_upgrade(m, (uintptr_t)(*record)->arg))
        return NULL;
    return (*record)->arg;
}

static gc_weak *
find(struct gcrt_mutator *m, uintptr_t object)
{
    struct special_shard *shard;
    struct special *record;
    gc_weak *weak;

    critical_enter();
    shard = gcrt_special_lock(m->heap, object);
    weak = find_locked(m, shard, object, &record);
    gcrt_special_unlock(shard);
    m->own.result = weak;
    critical_leave();
    m->own.result = NULL;
    return weak;
}

/*
 * The record's gc_weak is dead in this cycle, and would be emptied by its record; but a finalizer
 * may bring it back.  Its memory stays until this thread has answered H5.
 */
static void
replace_dead(struct special *record, gc_weak *fresh)
{
    gcrt_weak_empty(&((gc_weak *)record->arg)->impl_target);
    record->arg = fresh;
}

/* Enters a fresh one, unless there is one by now.  NULL without memory for a record. */
static gc_weak *
enter(struct gcrt_mutator *m, uintptr_t object, gc_weak *fresh)
{
    struct special_shard *shard;
    struct special *record;
    gc_weak *weak;

    critical_enter();
    shard = gcrt_special_lock(m->heap, object);
    weak = find_locked(m, shard, object, &record);
    if (weak == NULL) {
        *fresh = (gc_weak){ .impl_target = (void *)object, .impl_heap = m->heap };
        weak = fresh;
        if (record != NULL)
            replace_dead(record, fresh);
        else if (gcrt_special_insert_locked(m->heap, shard, SPECIAL_WEAK, object, fresh) == NULL)
            weak = NULL;
    }
    gcrt_special_unlock(shard);
    m->own.result = weak;
    critical_leave();
    m->own.result = NULL;
    return weak;
}

static gc_weak *
make(struct gcrt_mutator *m, uintptr_t object, bool may_fail)
{
    const struct request req = { .type = &weak_type, .bytes = sizeof(gc_weak), .single = true,
        .zero = true, .may_fail = may_fail };
    gc_weak *fresh = gcrt_malloc(m, &req), *weak;

    if (fresh == NULL)
        return NULL;
    weak = enter(m, object, fresh);
    if (weak == NULL)
        (void)gcrt_error(GC_ERR_NOMEM, "no memory for the record of a weak reference");
    return weak;
}

/* NULL and an error, or a fatal line. */
static COLD gc_weak *
refuse(const char *caller, const struct gc_heap *heap, const void *obj, bool may_fail)
{
    const char *what = "points into no object of the heap";

    if (gcrt_region_holds(heap, obj))
        what = "lies in an arena";
    else if (gcrt_fork_heap_around(obj) != NULL)
        what = "is in another heap than the caller's";
    if (!may_fail)
        gcrt_fatal("%s: %p %s", caller, obj, what);
    (void)gcrt_error(GC_ERR_INVAL, "%s: %p %s", caller, obj, what);
    return NULL;
}

static gc_weak *
weak_new(const char *caller, void *obj, bool may_fail)
{
    struct gcrt_mutator *m = gcrt_mutator_self(caller);
    struct own_held held;
    uintptr_t object;
    gc_weak *weak;

    if (obj == NULL)
        return NULL;
    object = gcrt_special_object(m->heap, obj);
    if (UNLIKELY(object == 0))
        return refuse(caller, m->heap, obj, may_fail);
    own_hold(&m->own, &held, obj); /* the caller's stack need not be scanned */
    weak = find(m, object);
    if (weak == NULL)
        weak = make(m, object, may_fail);
    own_release(&m->own, &held);
    if (UNLIKELY(weak == NULL && !may_fail))
        gcrt_fatal("%s: out of memory: %s", caller, gc_last_error());
    return weak;
}

gc_weak *
gc_weak_new(void *obj)
{
    return weak_new("gc_weak_new", obj, false);
}

gc_weak *
gc_try_weak_new(void *obj)
{
    return weak_new("gc_try_weak_new", obj, true);
}
