/* SPDX-License-Identifier: MIT */
/* The shadow of heaps; see shadow.h. */
#include "shadow.h"

struct shadow shadow;
void *range_words[RANGES][RANGE_WORDS];

/* A tagged word is an address plus 1. */
static void
trace_tagged(const void *obj, size_t bytes, gc_tracer *tracer)
{
    for (size_t i = 0; i < bytes / sizeof(void *); i++) {
        uintptr_t word = __atomic_load_n((const uintptr_t *)obj + i, __ATOMIC_RELAXED);

        if (word % 8 == 1)
            gc_trace(tracer, (void *)(word - 1));
    }
}

struct six {
    void *word[6];
};

struct four {
    void *word[4];
};

GC_TYPE(node_type_, struct node, left, right, more);
GC_TYPE_FLEX(chain_type_, struct chain, slot, gc_pointer_type, outer);
GC_TYPE_CONSERVATIVE(words_type_, struct six);
GC_TYPE_TRACED(tagged_type_, struct four, trace_tagged);

const gc_type *const node_type = &node_type_, *const chain_type = &chain_type_,
                     *const words_type = &words_type_, *const tagged_type = &tagged_type_;

struct ref
nothing(void)
{
    return (struct ref){.object = NOBODY};
}

void
shadow_clear(void)
{
    memset(&shadow, 0, sizeof(shadow));
    memset(range_words, 0, sizeof(range_words));
    shadow.at = NOBODY;
    for (size_t i = 0; i < RANGES; i++)
        shadow.range[i].heap = NOBODY;
    for (size_t i = 0; i < LOCALS; i++)
        shadow.local[i] = nothing();
}

void *
address_of(const struct object *o)
{
    return t_reveal(o->hidden);
}

void *
value_of(struct ref ref)
{
    if (ref.object == NOBODY)
        return NULL;
    return (char *)address_of(&shadow.object[ref.object]) + ref.offset;
}

/* ---- where things are in an object ---- */

/* Of n things the first and last half of `kept` are known. */
static size_t
ends(size_t i, size_t n, size_t kept)
{
    return n <= kept || i < kept / 2 ? i : n - kept + i;
}

size_t
node_of(const struct object *o, size_t i)
{
    return ends(i, o->n, NODES_MAX);
}

size_t
word_of_slot(const struct object *o, size_t i)
{
    static const size_t node_words[] = {0, 1, 3, 4};

    switch (o->shape) {
    case NODES:
        return node_of(o, i / 4) * (sizeof(struct node) / 8) + node_words[i % 4];
    case POINTERS:
        return ends(i, o->n, SLOTS);
    case CHAIN:
        return i == 0 ? 0 : 1 + i;
    default:
        return i;
    }
}

size_t
slots_in_row(const struct object *o, size_t i)
{
    size_t n = 1;

    while (i + n < o->nslots && word_of_slot(o, i + n) == word_of_slot(o, i) + n)
        n++;
    return n;
}

bool
is_tiny(const struct object *o)
{
    return o->shape == BYTES && o->bytes < 8;
}

/* ---- what is reachable ---- */

static void
reach(struct ref ref, int *stack, size_t *top)
{
    if (ref.object == NOBODY || shadow.object[ref.object].reachable)
        return;
    shadow.object[ref.object].reachable = true;
    stack[(*top)++] = ref.object;
}

static void
reach_roots(int *stack, size_t *top)
{
    for (size_t i = 0; i < LOCALS; i++)
        reach(shadow.local[i], stack, top);
    for (size_t i = 0; i < HANDLES; i++)
        if (shadow.cell[i].handle != NULL)
            reach(shadow.cell[i].ref, stack, top);
    for (size_t i = 0; i < RANGES; i++)
        for (size_t j = 0; j < shadow.range[i].n; j++)
            reach(shadow.range[i].ref[j], stack, top);
}

/* A tiny object's end is its block's, which others may keep. */
static void
bury(struct object *o)
{
    o->used = false;
    if (is_tiny(o))
        return;
    if (shadow.ndead < DEAD_MAX)
        shadow.dead[shadow.ndead++] = (struct dead){ o->hidden, o->bytes, o->heap };
    else
        shadow.inexact = true;
}

void
shadow_trace(void)
{
    int stack[OBJECTS];
    size_t top = 0;

    for (size_t i = 0; i < OBJECTS; i++)
        shadow.object[i].reachable = false;
    reach_roots(stack, &top);
    while (top > 0) {
        const struct object *o = &shadow.object[stack[--top]];

        for (size_t i = 0; i < o->nslots; i++)
            reach(o->slot[i], stack, &top);
    }
    for (size_t i = 0; i < OBJECTS; i++)
        if (shadow.object[i].used && !shadow.object[i].reachable)
            bury(&shadow.object[i]);
}

/* ---- what must be there ---- */

static void
check_slots(const struct object *o, const uintptr_t *words)
{
    for (size_t i = 0; i < o->nslots; i++) {
        uintptr_t want = (uintptr_t)value_of(o->slot[i]), got = words[word_of_slot(o, i)];

        if (want != 0 && o->shape == TAGGED)
            want++;
        FUZZ_CHECK(got == want, "slot %zu of shape %d holds %#zx, not %#zx", i,
                (int)o->shape, (size_t)got, (size_t)want);
    }
}

/* The part of a long array that has no slots stays as it was made. */
static void
check_rest(const struct object *o, const uintptr_t *words)
{
    if (o->shape == POINTERS)
        for (size_t i = SLOTS / 2; i + SLOTS / 2 < o->n && o->n > SLOTS; i++)
            FUZZ_CHECK(words[i] == 0, "word %zu of %zu is not zero", i, o->n);
    if (o->shape == CHAIN)
        FUZZ_CHECK(words[1] == o->n, "the chain's length");
    for (size_t i = 0; o->shape == NODES && i < o->n && i < NODES_MAX; i++) {
        const struct node *node = (const struct node *)(const void *)words + node_of(o, i);

        FUZZ_CHECK(node->stamp == o->stamp[i], "the stamp of node %zu", i);
        FUZZ_CHECK(node->seal == (o->stamp[i] == 0 ? 0 : ~o->stamp[i]), "seal of %zu", i);
    }
    for (size_t i = 0; o->shape == BYTES && i < o->bytes; i++)
        FUZZ_CHECK(((const uint8_t *)words)[i] == o->fill, "byte %zu of %zu", i, o->bytes);
}

/* Only objects of the attached heap are looked at; the others wait. */
void
shadow_check(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *o = &shadow.object[i];

        if (!o->used || o->heap != shadow.at)
            continue;
        FUZZ_CHECK(gc_base(address_of(o)) == address_of(o), "object %zu is lost", i);
        FUZZ_CHECK(is_tiny(o) ? gc_usable_size(address_of(o)) == 1
                              : gc_usable_size(address_of(o)) >= o->bytes,
                "object %zu of %zu bytes shrank", i, o->bytes);
        check_slots(o, address_of(o));
        check_rest(o, address_of(o));
    }
}

/* An object of no bytes takes one. */
static size_t
room_of(size_t bytes)
{
    return bytes > 0 ? bytes : 1;
}

/*
 * Has the dead object's memory been given to a new one?  Perhaps to a block of tiny objects,
 * which the shadow does not all know; the dead ones that it remembers are none.
 */
static bool
is_reused(const struct dead *d)
{
    uintptr_t at = (uintptr_t)t_reveal(d->hidden);

    if (gc_usable_size((void *)at) == 1)
        return true;
    for (size_t i = 0; i < OBJECTS; i++) {
        const struct object *o = &shadow.object[i];
        uintptr_t start = (uintptr_t)address_of(o) & ~(uintptr_t)15;

        if (o->used && at < (uintptr_t)address_of(o) + room_of(o->bytes)
                && start < at + room_of(d->bytes))
            return true;
    }
    return false;
}

static bool
is_root_value(const void *p)
{
    for (size_t i = 0; i < LOCALS; i++)
        if (value_of(shadow.local[i]) == p)
            return true;
    for (size_t i = 0; i < HANDLES; i++)
        if (shadow.cell[i].handle != NULL && value_of(shadow.cell[i].ref) == p)
            return true;
    for (size_t i = 0; i < RANGES; i++)
        for (size_t j = 0; j < shadow.range[i].n; j++)
            if (value_of(shadow.range[i].ref[j]) == p)
                return true;
    return false;
}

/* A root that points to an object counts for the one that ends there, too. */
static bool
is_excused(const struct dead *d)
{
    char *p = t_reveal(d->hidden);

    return gc_base(p) == p && is_root_value(p + gc_usable_size(p));
}

static bool
any_is_excused(void)
{
    for (size_t i = 0; i < shadow.ndead; i++)
        if (shadow.dead[i].heap == shadow.at && is_excused(&shadow.dead[i]))
            return true;
    return false;
}

static void
check_count(void)
{
    uint64_t objects = 0, tiny = 0;
    gc_stats stats;

    for (size_t i = 0; i < OBJECTS; i++)
        if (shadow.object[i].used && shadow.object[i].heap == shadow.at)
            *(is_tiny(&shadow.object[i]) ? &tiny : &objects) += 1;
    gc_stats_read(NULL, &stats);
    FUZZ_CHECK(stats.heap_objects >= objects + (tiny > 0), "%llu counted of %llu",
            (unsigned long long)stats.heap_objects, (unsigned long long)(objects + tiny));
    /* The block that the next tiny object may go to lives through each cycle. */
    FUZZ_CHECK(shadow.inexact || stats.heap_objects <= objects + tiny + 1, "%llu counted of %llu",
            (unsigned long long)stats.heap_objects, (unsigned long long)(objects + tiny));
}

/* If one of the dead is excused, so is what it leads to: they all wait for the next time. */
void
shadow_check_dead(void *unused)
{
    size_t kept = 0;

    (void)unused;
    if (any_is_excused())
        return;
    for (size_t i = 0; i < shadow.ndead; i++) {
        const struct dead *d = &shadow.dead[i];

        if (d->heap != shadow.at)
            shadow.dead[kept++] = *d;
        else if (!shadow.inexact && !is_reused(d))
            FUZZ_CHECK(gc_base(t_reveal(d->hidden)) == NULL, "a dead object was kept");
    }
    shadow.ndead = kept;
    check_count();
}
