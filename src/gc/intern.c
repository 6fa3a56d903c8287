/* SPDX-License-Identifier: MIT */
/*
 * Interning.
 *
 * Purpose: equal bytes, one pointer, for as long as anybody holds it.
 * Place: the host calls it; it calls malloc for copies, weak for the decision; the cycle drops
 * entries.
 *
 * The table is liburcu's rculfhash: lookups and additions take no lock.  An entry is a weak
 * place outside of the heap.  To find it is to take its copy out (weak.c), so an entry whose
 * copy is dead does not match, even if it is still there, and its bytes get another entry.
 * One decision word for all places: two threads never disagree about which of them is dead.
 *
 * What rculfhash cannot do here, and what is done instead:
 *   - Whoever waits for a grace period waits for read-side sections of the host's own, in
 *     which it may wait for the collector.  So nobody waits: all lookups are in critical
 *     sections, and an entry that was taken out before H5 is freed when all have answered it.
 *   - It resizes by a thread of its own (which a fork would lose), and gives back buckets after
 *     a grace period.  So it only grows, the coordinator does it, between cycles and not
 *     while it rests, and until then chains are longer.
 *   - It aborts when malloc refuses a table: ask malloc first, as kind.c does.
 * Read-side sections are short, and inside of critical sections: nothing in them waits.
 *
 * Invariants: I-weak-agree; intern.live, intern.count.
 * Concurrency: the table as above, pairs: intern.table; what an entry holds is published with
 * it (RCU_RELEASE).
 * Cost: a hit is a hash of the bytes, three misses or so and a comparison; a miss allocates
 * the copy and 64 bytes from malloc; a cycle looks at every entry once, two misses each.
 */
#include "gc/intern.h"

#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/malloc.h"
#include "gc/mutator.h"
#include "gc/weak.h"

#include <gcrt/gcrt.h>

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN ((size_t)1 << 10)
#define BUCKETS_MAX ((size_t)1 << 26)
#define BUCKET_BYTES sizeof(struct cds_lfht_node)

/* Below it, copies would share a block of tiny objects, and live as long as their neighbours. */
#define COPY_MIN (TINY_MAX + 1)

/* ---- the table ---- */

static struct cds_lfht *
table_of(const struct gc_heap *heap)
{
    return (struct cds_lfht *)aword_load_acquire(&heap->interning.table); /* intern.table */
}

static bool
has_memory(struct gc_heap *heap, size_t bytes)
{
    void *probe = gcrt_os_fault(&heap->os) ? NULL : malloc(bytes);

    free(probe);
    return probe != NULL;
}

/*
 * Some megabytes of address space may be too much: it comes with the first use.  Not critical: a
 * thread that is held may be inside of malloc, and one that waits for it in a critical section
 * would never answer.  A fork in the middle finds a table or none, and leaks the other.
 */
static struct cds_lfht *
make_table(struct gc_heap *heap)
{
    struct interning *in = &heap->interning;
    struct cds_lfht *table = NULL;

    if (has_memory(heap, 4 * BUCKETS_MIN * BUCKET_BYTES))
        table = cds_lfht_new(BUCKETS_MIN, BUCKETS_MIN, 0, 0, NULL);
    if (table != NULL && !aword_cas_full(&in->table, 0, (uintptr_t)table)) { /* intern.table */
        CHECK(cds_lfht_destroy(table, NULL) == 0);
        table = table_of(heap);
    }
    return table;
}

void
gcrt_intern_init(struct gc_heap *heap)
{
    heap->interning.seed = ((uintptr_t)heap ^ gcrt_os_now_ns()) * 0x9e3779b97f4a7c15u;
    aword_store_relaxed(&heap->interning.buckets, BUCKETS_MIN);
}

size_t
gcrt_intern_visit(
        struct gc_heap *heap, void (*fn)(void *arg, const struct intern_entry *e), void *arg)
{
    struct cds_lfht *table = table_of(heap);
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    size_t n = 0;

    if (table == NULL)
        return 0;
    rcu_read_lock();
    for (cds_lfht_first(table, &iter); (node = cds_lfht_iter_get_node(&iter)) != NULL; n++) {
        fn(arg, container_of_(node, struct intern_entry, node));
        cds_lfht_next(table, &iter);
    }
    rcu_read_unlock();
    return n;
}

void
gcrt_intern_finish(struct gc_heap *heap)
{
    struct cds_lfht *table = table_of(heap);
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;

    gcrt_intern_free_gone(heap);
    if (table == NULL)
        return;
    rcu_read_lock();
    cds_lfht_first(table, &iter);
    while ((node = cds_lfht_iter_get_node(&iter)) != NULL) {
        cds_lfht_next(table, &iter);
        cds_lfht_del(table, node);
        free(container_of_(node, struct intern_entry, node));
    }
    rcu_read_unlock();
    CHECK(cds_lfht_destroy(table, NULL) == 0);
}

/* ---- the coordinator ---- */

/*
 * Deleting a node links past it, so the next one is found first.  Nobody else deletes, so the
 * iterator's next node stays.
 */
void
gcrt_intern_drop(struct gc_heap *heap)
{
    struct interning *in = &heap->interning;
    struct cds_lfht *table = table_of(heap);
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;
    uint64_t n = 0;

    if (table == NULL)
        return;
    rcu_read_lock();
    cds_lfht_first(table, &iter);
    while ((node = cds_lfht_iter_get_node(&iter)) != NULL) {
        struct intern_entry *e = container_of_(node, struct intern_entry, node);

        RCU_ACQUIRE(e);
        cds_lfht_next(table, &iter);
        if (!gcrt_weak_is_dead(heap, slot_load(&e->copy)))
            continue;
        gcrt_weak_empty(&e->copy);
        CHECK(cds_lfht_del(table, node) == 0);
        e->next = in->gone;
        in->gone = e;
        n++;
    }
    rcu_read_unlock();
    aword_add_relaxed(&in->count, (uint64_t)0 - n);
    aword_add_relaxed(&in->dropped, n);
}

void
gcrt_intern_free_gone(struct gc_heap *heap)
{
    struct interning *in = &heap->interning;

    while (in->gone != NULL) {
        struct intern_entry *e = in->gone;

        in->gone = e->next;
        free(e);
    }
}

void
gcrt_intern_grow(struct gc_heap *heap)
{
    struct interning *in = &heap->interning;
    uint64_t count = aword_load_relaxed(&in->count);
    size_t now = aword_load_relaxed(&in->buckets), buckets = now;

    while (buckets < 2 * count && buckets < BUCKETS_MAX)
        buckets *= 2;
    if (buckets == now || !has_memory(heap, 2 * buckets * BUCKET_BYTES))
        return;
    cds_lfht_resize(table_of(heap), buckets);
    aword_store_relaxed(&in->buckets, buckets);
}

/* ---- looking ---- */

/* Not for secrets: whoever can choose bytes and measure can make chains long. */
static uint64_t
hash_bytes(const unsigned char *p, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ n, w = 0;

    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    w = 0;
    if (n != 0) /* p may be NULL */
        memcpy(&w, p, n);
    h = (h ^ w) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 32;
    h *= 0x94d049bb133111ebu;
    return h ^ h >> 29;
}

/* What is looked for, and what is found. */
struct lookup {
    struct gcrt_mutator *m;
    const void *bytes;
    size_t n;
    uint64_t hash;
    uintptr_t *copy;
};

/*
 * An entry of the same hash, with the same bytes and a copy that lives, which is the caller's
 * from here on.  The bytes of a dead copy may be read: it cannot be swept before this critical
 * section ends.
 */
static int
is_same(struct cds_lfht_node *node, const void *key)
{
    const struct intern_entry *e = container_of_(node, struct intern_entry, node);
    const struct lookup *l = key;
    size_t head = min_size(l->n, INTERN_HEAD);
    uintptr_t copy;

    RCU_ACQUIRE(e);
    if (e->n != l->n || (head != 0 && memcmp(e->head, l->bytes, head) != 0))
        return 0;
    copy = slot_load_acquire(&e->copy); /* pairs: weak.emptied */
    if (copy == 0)
        return 0;
    if (l->n > head
            && memcmp((const char *)copy + head, (const char *)l->bytes + head, l->n - head))
        return 0;
    *l->copy = gcrt_weak_load(l->m, &e->copy);
    return *l->copy != 0;
}

static void *
find(struct gcrt_mutator *m, const struct lookup *l)
{
    struct cds_lfht *table = table_of(m->heap);
    struct cds_lfht_iter iter;

    *l->copy = 0;
    if (table == NULL)
        return NULL;
    critical_enter();
    rcu_read_lock();
    cds_lfht_lookup(table, l->hash, is_same, l, &iter);
    rcu_read_unlock();
    m->own.result = (void *)*l->copy;
    critical_leave();
    m->own.result = NULL;
    return (void *)*l->copy;
}

/* ---- adding ---- */

static void *
copy_of(struct gcrt_mutator *m, const struct lookup *l, bool may_fail)
{
    struct request req = { .type = &gc_byte_type, .bytes = max_size(l->n + 1, COPY_MIN),
        .may_fail = may_fail };
    char *copy = gcrt_malloc(m, &req);

    if (copy == NULL)
        return NULL;
    if (l->n != 0)
        memcpy(copy, l->bytes, l->n);
    memset(copy + l->n, 0, req.bytes - l->n);
    return copy;
}

/* The canonical copy: this one, unless another thread has been faster. */
static void *
enter(struct gcrt_mutator *m, struct cds_lfht *table, struct lookup *l, void *copy,
        struct intern_entry *e)
{
    struct interning *in = &m->heap->interning;
    struct cds_lfht_node *node;

    *e = (struct intern_entry){ .n = l->n, .copy = (uintptr_t)copy };
    memcpy(e->head, copy, min_size(l->n, INTERN_HEAD));
    critical_enter();
    RCU_RELEASE(e);
    rcu_read_lock();
    node = cds_lfht_add_unique(table, l->hash, is_same, l, &e->node);
    rcu_read_unlock();
    if (node == &e->node) {
        aword_add_relaxed(&in->count, 1);
        *l->copy = (uintptr_t)copy;
    }
    m->own.result = (void *)*l->copy;
    critical_leave();
    m->own.result = NULL;
    if (node != &e->node)
        free(e);
    return (void *)*l->copy;
}

static void *
add(struct gcrt_mutator *m, struct lookup *l, bool may_fail)
{
    struct interning *in = &m->heap->interning;
    struct cds_lfht *table = table_of(m->heap);
    struct intern_entry *e = NULL;
    void *copy = copy_of(m, l, may_fail);
    GC_FRAME(copy);

    if (copy == NULL)
        return NULL;
    if (table == NULL)
        table = make_table(m->heap);
    if (table != NULL && !gcrt_os_fault(&m->heap->os))
        e = malloc(sizeof(*e));
    if (e == NULL) {
        (void)gcrt_error(GC_ERR_NOMEM, "no memory for an entry of the intern table");
        return NULL;
    }
    copy = enter(m, table, l, copy, e);
    if (aword_load_relaxed(&in->count) > aword_load_relaxed(&in->buckets))
        (void)gcrt_cycle_request(m->heap, CYCLE_INTERN_GROW);
    return copy;
}

/* ---- the public functions ---- */

/* False if it must not be interned, and the caller only tries. */
static bool
prepare(struct lookup *l, const char *caller, gc_heap *heap, bool may_fail)
{
    l->m = gcrt_mutator_self(caller);
    if (UNLIKELY(heap != NULL && heap != l->m->heap))
        gcrt_fatal("%s: the heap is not the calling thread's", caller);
    if (UNLIKELY(l->bytes == NULL && l->n != 0))
        gcrt_fatal("%s: bytes is NULL", caller);
    if (UNLIKELY(l->n > GC_INTERN_MAX)) {
        if (!may_fail)
            gcrt_fatal("%s: %zu bytes are more than GC_INTERN_MAX", caller, l->n);
        (void)gcrt_error(GC_ERR_LIMIT, "%s: %zu bytes are more than GC_INTERN_MAX", caller, l->n);
        return false;
    }
    l->hash = hash_bytes(l->bytes, l->n, l->m->heap->interning.seed);
    return true;
}

static void *
intern(const char *caller, gc_heap *heap, const void *bytes, size_t n, bool may_fail)
{
    uintptr_t found;
    struct lookup l = { .bytes = bytes, .n = n, .copy = &found };
    struct own_held held;
    void *copy;

    if (!prepare(&l, caller, heap, may_fail))
        return NULL;
    own_hold(&l.m->own, &held, bytes); /* they may be an object's */
    copy = find(l.m, &l);
    if (copy == NULL)
        copy = add(l.m, &l, may_fail);
    own_release(&l.m->own, &held);
    if (UNLIKELY(copy == NULL && !may_fail))
        gcrt_fatal("%s: out of memory interning %zu bytes: %s", caller, n, gc_last_error());
    return copy;
}

void *
gc_intern(gc_heap *heap, const void *bytes, size_t n)
{
    return intern("gc_intern", heap, bytes, n, false);
}

void *
gc_try_intern(gc_heap *heap, const void *bytes, size_t n)
{
    return intern("gc_try_intern", heap, bytes, n, true);
}

const char *
gc_intern_str(const char *s)
{
    if (UNLIKELY(s == NULL))
        gcrt_fatal("gc_intern_str: s is NULL");
    return intern("gc_intern_str", NULL, s, strlen(s), false);
}

void *
gc_intern_find(gc_heap *heap, const void *bytes, size_t n)
{
    uintptr_t found;
    struct lookup l = { .bytes = bytes, .n = n, .copy = &found };

    if (n > GC_INTERN_MAX)
        return NULL;
    (void)prepare(&l, "gc_intern_find", heap, false);
    return find(l.m, &l);
}
