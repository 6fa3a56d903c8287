/* SPDX-License-Identifier: MIT */
/*
 * Arenas.
 *
 * Purpose: objects that end together, allocated by bumping and freed at once, which neither lose
 * what they point to nor let the heap be corrupted by pointers into them that were forgotten.
 * Place: src/arena.c checks arguments and calls in; chunks come from malloc, their memory goes
 * by alloc/drop; the coordinator calls gcrt_region_settle.
 *
 * An arena is a small object of the heap with a list of chunks.  A chunk is a large object of a
 * traced type of the library's own: a link, then objects, each behind a word that has its kind
 * and its size; a word of 0 ends them.  Its trace function reads every object by its kind.  So to
 * words, barriers, marks and sweep a chunk is one object as any other: who points to any object
 * in it keeps it and, by the link, the older ones; the slots in it are slots of the heap.  Two
 * things are new: a chunk is filled after it was made, and it ends before it is dead.
 *
 * Filling.  A fresh object's first stores may be plain (gcrt/barrier.h).  Elsewhere that is right
 * because the object has its allocator's colour: white before the thread's own scan, so what is
 * stored into it is found when it is scanned; black after, when a thread may store what it holds
 * without an insertion barrier anyhow.  Here the colour is the chunk's.  Let T store X plainly
 * into a fresh object in chunk C.
 *   T has not answered H3.  Then marking is not open, so nobody has scanned anything, C included.
 *     If C is white, whoever marks C scans it after T's store, and finds X.  C may be marked
 *     already only if it was born in this cycle, black, by a thread that had answered H3 and gave
 *     the arena to T; nobody would scan C then, T would drop X from its stack before its own
 *     scan, and X would be lost.  So a chunk that is made before marking opens is not born
 *     black but grey: white, and in its maker's barrier buffer (malloc.c, colour_large).
 *   T has answered H3.  What T holds is marked, or the deletion barrier keeps a path of whites to
 *     it from something grey; the store adds a path and takes none away, since the field was
 *     zero.  So it does not matter whether C has been scanned.
 * Which of the two it is cannot change in between: a handshake between the taking of the object
 * and the store has X on T's stack, or in its frames.
 *
 * Ending.  The words of a chunk vanish when it is dropped, with no barrier for any of them.  That
 * would break the snapshot if a marker were yet to read them, and mutators that hold what they
 * pointed to had scanned their stacks before.  So a chunk is dropped only while nobody marks:
 *   by a thread in a critical section whose barrier is off.  Marking has not been opened, because
 *     that takes the thread's answers to H1 to H3, and cannot be before the section ends; or the
 *     thread has answered H5, and all that will be scanned in that cycle has been.  In
 *     GC_MODE_STW a thread that runs is enough: marking has everybody stopped.
 *   else by the coordinator, after H5 and before the sweep, which is why a chunk that waits needs
 *     no root: it may be found dead meanwhile, but not be swept.  All that wait were put there
 *     before their threads answered H5.
 * Up to then a chunk that was freed is an ordinary object that its arena has let go of by a
 * barriered store.  So freeing is no new kind of deletion, and the model of the barrier says what
 * there is to say.
 * When the words have gone, what only they pointed to is garbage for the next cycle.
 *
 * After the end the span stays, and its addresses with it, until a sweep finds it unmarked: a
 * pointer into it marks the chunk, which has nothing in it.  Much address space that waits for
 * that makes a cycle due (gcrt_region_is_due).
 *
 * Concurrency: an arena is for one thread at a time; the host's synchronisation hands it over.
 * Scanners read headers while that thread writes them: a header is one word, and what follows it
 * is zero before and traced by its kind after.
 * Cost: 8 bytes before each object, rounding to 16; a chunk some microseconds and the page faults
 * of its first use; scanning is linear in the objects, by workers only, a chunk at once.
 *
 * Source: chunks, quarantine and faults after the free are those of Go's arena experiment
 * (runtime/arena.go); pointer bitmaps there are kinds here.
 */
#include "gc/region.h"

#include "alloc/drop.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/error.h"
#include "gc/scan.h"
#include "gc/walk.h"

#include <gcrt/alloc.h>
#include <gcrt/precise.h>

#define ALIGNMENT     ((size_t)16)
#define CHUNK_FIRST   ((size_t)64 << 10)
#define CHUNK_DOUBLES 4
/* What is larger than this part of a chunk gets one of its own. */
#define CHUNK_PART    4

/* An array's slot is not that of a single object of its type. */
#define ARRAY_AWAY 3

/* So many bytes of dropped chunks, or as many as the heap's goal, are worth a cycle ... */
#define REGION_WAIT_MIN ((uint64_t)64 << 20)
/* ... and at most this part of the address space. */
#define REGION_WAIT_PART 4

/* arena=1: how often gc_arena_free waits for a cycle to end before it leaves its chunks to it. */
#define REGION_TRIES 8

struct chunk {
    struct chunk *next; /* older */
    uintptr_t ending;   /* next in regions.ending; no root */
    size_t bytes;       /* of all of it */
    uint64_t first;     /* the first object's header */
};

_Static_assert((offsetof(struct chunk, first) + WORD) % ALIGNMENT == 0, "objects are aligned");

/* A header: the kind's index and, above it, the step to the next header in units of 16 bytes. */
#define HEADER_STEP_SHIFT 16

static inline uint64_t
make_header(unsigned kind, size_t step)
{
    return kind | (uint64_t)(step / ALIGNMENT) << HEADER_STEP_SHIFT;
}

static inline const struct kind *
header_kind(const struct gc_heap *heap, uint64_t header)
{
    return kind_at(heap, header & ((1u << HEADER_STEP_SHIFT) - 1));
}

static inline size_t
header_step(uint64_t header)
{
    return (size_t)(header >> HEADER_STEP_SHIFT) * ALIGNMENT;
}

static inline uint64_t
read_header(uintptr_t at)
{
    return __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED); /* its object is zero or more */
}

/* ---- what is in a chunk ---- */

static inline uintptr_t
first_header(uintptr_t chunk)
{
    return chunk + offsetof(struct chunk, first);
}

/* For those who want every word, one by one, and not the scanner's batches. */
struct relay {
    struct walk walk;
    struct marker *to;
};

static void
relay_word(struct walk *w, uintptr_t word, uintptr_t slot)
{
    struct relay *r = container_of_(w, struct relay, walk);

    (void)slot;
    r->to->report(r->to, word);
}

static void
report_objects(struct marker *mk, uintptr_t at, uintptr_t end)
{
    struct relay r = { .to = mk };
    uint64_t header;

    gcrt_walk_init(&r.walk, mk->heap, relay_word);
    for (; at + ALIGNMENT <= end && (header = read_header(at)) != 0; at += header_step(header))
        gcrt_walk_contents(&r.walk, header_kind(mk->heap, header)->type, at + WORD,
                header_step(header) - WORD);
}

/* The scanner's reading, and the verifier's and others'. */
static void
trace_chunk(const void *object, size_t bytes, gc_tracer *tracer)
{
    struct marker *mk = marker_of(tracer);
    uintptr_t at = first_header((uintptr_t)object), end = (uintptr_t)object + bytes;
    uint64_t header;

    gc_trace_words(tracer, &((const struct chunk *)object)->next, 1);
    if (mk->report != NULL) {
        report_objects(mk, at, end);
        return;
    }
    for (; at + ALIGNMENT <= end && (header = read_header(at)) != 0; at += header_step(header))
        gcrt_scan_contents(
                tracer, header_kind(mk->heap, header), at + WORD, at + header_step(header));
}

static const gc_type chunk_type = { .name = "gc_arena chunk", .size = sizeof(struct chunk),
    .form = GC_FORM_TRACED, .trace = trace_chunk, .magic = GC_IMPL_TYPE_MAGIC };

static const gc_field arena_fields[1] = { { offsetof(struct gc_arena, impl_chunk), WORD } };

static const gc_type arena_type = { .name = "gc_arena", .size = sizeof(struct gc_arena),
    .form = GC_FORM_FIELDS, .nfields = 1,
    .mask = (uint64_t)1 << offsetof(struct gc_arena, impl_chunk) / WORD, .fields = arena_fields,
    .magic = GC_IMPL_TYPE_MAGIC };

_Static_assert(sizeof(struct gc_arena) <= 64 * WORD, "it has a mask");

bool
gcrt_region_has_span(const struct gc_heap *heap, const struct mspan *s)
{
    return kind_of(heap, s)->type == &chunk_type;
}

bool
gcrt_region_holds(const struct gc_heap *heap, const void *p)
{
    const struct mspan *s = mheap_span_of(&heap->mheap, (uintptr_t)p);

    return s != NULL && gcrt_region_has_span(heap, s);
}

bool
gcrt_region_is_arena(struct gc_heap *heap, const void *p)
{
    const struct mheap *h = &heap->mheap;
    size_t i;
    struct mspan *s = mheap_find_object(h, (uintptr_t)p, &i);

    return s != NULL && kind_of(heap, s)->type == &arena_type
        && span_object(h, s, i) == (uintptr_t)p;
}

uintptr_t
gcrt_region_object(const struct gc_heap *heap, const struct mspan *s, uintptr_t p, size_t *bytes)
{
    uintptr_t start = span_start(&heap->mheap, s), at = first_header(start);
    uint64_t header;

    if (!span_is_ready(s))
        return 0;
    for (; at < p && (header = read_header(at)) != 0; at += header_step(header))
        if (p < at + header_step(header)) {
            *bytes = header_step(header) - WORD;
            return p < at + WORD ? 0 : at + WORD;
        }
    return 0;
}

/* ---- making ---- */

struct gc_arena *
gcrt_region_new(struct gcrt_mutator *m, const char *name, bool may_fail)
{
    struct request req = { .type = &arena_type, .bytes = sizeof(struct gc_arena), .single = true,
        .zero = true, .may_fail = may_fail };
    struct gc_arena *a = gcrt_malloc(m, &req);

    if (a == NULL)
        return NULL;
    a->impl_state = REGION_LIVE;
    a->impl_slots[0].key = 1; /* no type's, and not that of NULL, which would be here */
    a->impl_name = name;
    a->impl_number = aword_add_relaxed(&m->heap->regions.last_number, 1) + 1;
    aword_add_relaxed(&m->heap->regions.made, 1);
    return a;
}

/* ---- allocation ---- */

/* A store into a slot of the library's own; no poll. */
static void
store(struct gcrt_mutator *m, void *slot, const void *value)
{
    critical_enter();
    gcrt_barrier_store_release(m, slot, (uintptr_t)value);
    critical_clear();
}

/* Bytes of the chunk for an object that did not fit. */
static size_t
chunk_bytes(const struct gc_arena *a, size_t step)
{
    size_t bytes = CHUNK_FIRST << min_size(a->impl_chunks, CHUNK_DOUBLES);

    if (step > bytes / CHUNK_PART)
        bytes = align_up(max_size(step + sizeof(struct chunk), SMALL_MAX + 1), PAGE_SIZE);
    return bytes;
}

/* From now on it is where small objects go, unless it is for one object that is large. */
static void
link_chunk(struct gcrt_mutator *m, struct gc_arena *a, struct chunk *c, size_t step)
{
    struct mspan *s = mheap_span_of(&m->heap->mheap, (uintptr_t)c);
    struct chunk *newest = a->impl_chunk;

    s->alloc.large.owner = a->impl_number;
    s->alloc.large.owner_name = a->impl_name;
    a->impl_bytes += c->bytes;
    if (newest != NULL && step > c->bytes / CHUNK_PART) {
        c->next = newest->next;
        store(m, &newest->next, c);
        return;
    }
    c->next = newest;
    store(m, &a->impl_chunk, c);
    a->impl_chunks++;
    a->impl_next = (char *)&c->first;
    a->impl_end = (char *)c + c->bytes;
}

/* The object's header goes to the place returned; NULL without memory. */
static char *
take_chunk(struct gcrt_mutator *m, struct gc_arena *a, size_t step, const struct request *req)
{
    size_t bytes = chunk_bytes(a, step);
    struct request chunk = { .type = &chunk_type, .bytes = bytes, .zero = true, .region = true,
        .may_fail = req->may_fail, .site = req->site };
    struct chunk *c = gcrt_malloc(m, &chunk);
    char *p;

    if (c == NULL)
        return NULL;
    aword_add_relaxed(&m->heap->regions.made_bytes, bytes);
    c->bytes = bytes;
    p = (char *)&c->first;
    link_chunk(m, a, c, step);
    if (a->impl_next == p)
        a->impl_next += step;
    return p;
}

static struct kind *
find_kind(struct gcrt_mutator *m, uintptr_t key, const struct request *req)
{
    unsigned class = req->single && req->bytes <= SMALL_MAX ? class_of(req->bytes) : CLASS_LARGE;
    struct kind *kind;

    critical_enter(); /* it may take memory for the kind */
    kind = gcrt_kind_get(m->heap, key, req->type, class, req->single);
    critical_clear();
    return kind;
}

/*
 * What the next object of the request's type needs, which is kept for the inline half.  NULL
 * without memory.  Arrays share a kind with large objects: their length is not in it.
 */
static struct gc_impl_arena_slot *
slot_of(struct gcrt_mutator *m, struct gc_arena *a, const struct request *req)
{
    bool own = req->single && req->bytes <= SMALL_MAX;
    uintptr_t key = own ? (uintptr_t)req->type : kind_key(req->type, CLASS_LARGE);
    unsigned i = (unsigned)(((uintptr_t)req->type >> 6) + (own ? 0 : ARRAY_AWAY));
    struct gc_impl_arena_slot *slot = &a->impl_slots[i % GC_IMPL_ARENA_SLOTS];
    size_t step = align_up(req->bytes + WORD, ALIGNMENT);
    const struct kind *kind;

    if (slot->key != key) {
        kind = find_kind(m, key, req);
        if (kind == NULL)
            return NULL;
        slot->key = key;
        slot->header = kind->central.index;
    }
    slot->step = step;
    slot->header = make_header(slot->header & ((1u << HEADER_STEP_SHIFT) - 1), step);
    return slot;
}

static COLD void
say_why(const struct request *req)
{
    (void)gcrt_error(GC_ERR_NOMEM, "no memory for %zu bytes of type %s in an arena", req->bytes,
            req->type->name);
}

void *
gcrt_region_alloc(struct gcrt_mutator *m, struct gc_arena *arena, const struct request *req)
{
    struct gc_impl_arena_slot *slot = slot_of(m, arena, req);
    uint64_t header;
    size_t step;
    char *p = NULL;
    GC_FRAME(arena); /* a chunk's allocation polls */

    if (slot == NULL) {
        say_why(req);
        return NULL;
    }
    header = slot->header;
    step = slot->step;
    if (step <= (size_t)(arena->impl_end - arena->impl_next)) {
        p = arena->impl_next;
        arena->impl_next += step;
    } else {
        p = take_chunk(m, arena, step, req);
        if (p == NULL)
            return NULL;
    }
    __atomic_store_n((uint64_t *)(void *)p, header, __ATOMIC_RELAXED);
    return p + WORD;
}

/* ---- freeing ---- */

static void
drop(struct gc_heap *heap, struct mspan *s, bool in_live)
{
    gcrt_drop(&heap->mheap, s, heap->regions.faults, in_live);
}

/* The chunk waits for the end of marking. */
static void
leave_to_cycle(struct gc_heap *heap, struct chunk *c)
{
    aword *head = &heap->regions.ending;
    uintptr_t old;

    do {
        old = aword_load_relaxed(head);
        c->ending = old;
    } while (!aword_cas_full(head, old, (uintptr_t)c)); /* pairs: region.ending */
    aword_add_relaxed(&heap->regions.deferred, 1);
}

static void
end_chunk(struct gc_heap *heap, struct chunk *c)
{
    aword_add_relaxed(&heap->regions.freed_bytes, c->bytes);
    if (barrier_state(&gc_impl_self) == BARRIER_OFF)
        drop(heap, mheap_span_of(&heap->mheap, (uintptr_t)c), true);
    else
        leave_to_cycle(heap, c);
}

bool
gcrt_region_is_due(struct gc_heap *heap)
{
    struct mheap *h = &heap->mheap;
    uint64_t most = ((uint64_t)h->npages_max << PAGE_SHIFT) / REGION_WAIT_PART;
    uint64_t wait = aword_load_relaxed(&heap->cycles.goal);
    /* What the last cycle found pointers to is not worth another one. */
    int64_t more = (int64_t)(aword_load_relaxed(&h->dropped)
        - aword_load_relaxed(&heap->regions.kept));

    wait = wait > REGION_WAIT_MIN ? wait : REGION_WAIT_MIN;
    return more > (int64_t)(wait < most ? wait : most);
}

void
gcrt_region_swept(struct gc_heap *heap)
{
    aword_store_relaxed(&heap->regions.kept, aword_load_relaxed(&heap->mheap.dropped));
}

/* From here on the arena has nothing and does nothing.  Its newest chunk. */
static struct chunk *
detach_chunks(struct gcrt_mutator *m, struct gc_arena *a)
{
    struct chunk *c = a->impl_chunk;

    a->impl_state = REGION_FREED;
    a->impl_next = a->impl_end = NULL;
    a->impl_bytes = 0;
    gcrt_barrier_store_release(m, &a->impl_chunk, 0);
    aword_add_relaxed(&m->heap->regions.freed, 1);
    return c;
}

/* With arena=1 all goes at once, so that an access comes too late whatever the collector does. */
static void
wait_for_marking(struct gcrt_mutator *m)
{
    for (int i = 0; i < REGION_TRIES && barrier_state(m->self) != BARRIER_OFF; i++)
        gcrt_cycle_collect(m->heap);
}

/*
 * The critical section of each chunk is one of its own; in between a handshake may have our
 * stack or frame scanned, where `next` holds the rest.  With arena=1 there is one section for all.
 */
void
gcrt_region_free(struct gcrt_mutator *m, struct gc_arena *arena)
{
    struct gc_heap *heap = m->heap;
    bool at_once = heap->regions.faults;
    struct chunk *c = NULL, *next = NULL;
    GC_FRAME(arena, c, next);

    if (UNLIKELY(at_once))
        wait_for_marking(m);
    critical_enter();
    for (c = detach_chunks(m, arena); c != NULL; c = next) {
        next = c->next;
        end_chunk(heap, c);
        if (at_once)
            continue;
        critical_clear();
        GC_KEEP_ALIVE(next);
        critical_enter();
    }
    critical_clear();
    if (UNLIKELY(gcrt_region_is_due(heap)))
        (void)gcrt_cycle_request(heap, CYCLE_REGION);
}

void
gcrt_region_settle(struct gc_heap *heap)
{
    aword *head = &heap->regions.ending;
    uintptr_t first = aword_load_acquire(head); /* pairs: region.ending */
    struct chunk *c = (struct chunk *)first, *next;

    aword_store_relaxed(head, 0); /* nobody adds one before the next H1 */
    for (; c != NULL; c = next) {
        struct mspan *s = mheap_span_of(&heap->mheap, (uintptr_t)c);

        next = (struct chunk *)c->ending;
        drop(heap, s, span_test(s->mark.bits, 0)); /* live is what was marked, by now */
    }
}
