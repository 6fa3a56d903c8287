/* SPDX-License-Identifier: MIT */
/*
 * Purpose: objects of every kind and size that the public interface can make, with
 * contents that follow from a serial number, so that one altered bit is seen.
 *
 * Place: family.c builds graphs of them; tests/stress/oracle.c drives those.
 *
 * Invariants: a data word always has its top and its lowest bit set, so no scan of any
 * kind takes it for a pointer; a node's own address is kept hidden; the slots of an
 * object are known from its kind and the word's index alone.
 *
 * Concurrency: the type table is written once, before other threads start.  A node
 * belongs to whoever owns its family.
 */

#include "node.h"

#include <string.h>

struct cell2 { uint64_t d; void *p; };
struct cell3 { uint64_t a; void *p; uint64_t b; };
struct cell5 { void *p; uint64_t d[3]; void *q; };
struct wide { uint64_t d[70]; void *p[4]; };
struct flex { uint64_t head; void *link; uint64_t n; struct cell2 tail[]; };
struct cons { uint64_t w[4]; };
struct plain { uint64_t w[2]; };

GC_TYPE(cell2_type, struct cell2, p);
GC_TYPE(cell3_type, struct cell3, p);
GC_TYPE(cell5_type, struct cell5, p, q);
GC_TYPE(wide_type, struct wide, p);
GC_TYPE_FLEX(flex_type, struct flex, tail, cell2_type, link);
GC_TYPE_CONSERVATIVE(cons_type, struct cons);
GC_TYPE_NOSCAN(plain_type, struct plain);

static void
trace_every_third(const void *obj, size_t bytes, gc_tracer *tracer)
{
    void *const *words = obj;

    for (size_t w = 0; w < bytes / 8; w += 3)
        gc_trace(tracer, __atomic_load_n(&words[w], __ATOMIC_RELAXED));
}

/* A traced type is one object, never an array's element: some sizes, small to large. */
static const size_t traced_sizes[] = { 24, 72, 240, 1008, 8184, 32760, 40008, 300000 };
#define TRACED (sizeof traced_sizes / sizeof traced_sizes[0])
static const gc_type *traced_types[TRACED];

#define CLASSES GC_STATS_CLASSES
static struct {
    const gc_type *type;
    size_t bytes;
} class_types[CLASSES];
static unsigned nclass_types;

static size_t class_sizes[CLASSES];
static unsigned nclass_sizes;

static void
traced_types_create(gc_heap *heap)
{
    for (size_t i = 0; i < TRACED; i++) {
        gc_type_spec spec = { .name = "traced", .size = traced_sizes[i],
            .form = GC_FORM_TRACED, .trace = trace_every_third };

        T_OK(gc_type_create(heap, &spec, &traced_types[i]));
    }
}

void
node_types_create(gc_heap *heap)
{
    gc_stats stats;

    traced_types_create(heap);
    gc_stats_read(heap, &stats);
    for (unsigned i = 1; i < GC_STATS_CLASSES; i++) {
        size_t bytes = stats.by_size[i].size;
        uint32_t last = (uint32_t)bytes - 8, middle = (uint32_t)(bytes / 16 * 8);
        gc_field fields[3] = { { 0, 8 }, { middle, 8 }, { last, 8 } };
        gc_type_spec spec = { .name = "class", .size = bytes, .form = GC_FORM_FIELDS,
            .fields = fields, .nfields = 3 };

        if (bytes == 0)
            continue;
        class_sizes[nclass_sizes++] = bytes;
        if (bytes < 24 || bytes % 8 != 0)
            continue;
        T_OK(gc_type_create(heap, &spec, &class_types[nclass_types].type));
        class_types[nclass_types++].bytes = bytes;
    }
    T_CHECK(nclass_types >= 20, "gc_stats names %u size classes only", nclass_types);
}

static uint64_t
pattern(uint64_t serial, size_t word)
{
    return t_mix(serial * 0x2545f4914f6cdd1du + word) | (UINT64_C(1) << 63) | 1;
}

int
node_is_slot(const struct node *node, size_t w)
{
    size_t words = node->bytes / 8;

    switch (node->kind) {
    case NODE_PTRS:
        return 1;
    case NODE_CELL3:
        return w % 3 == 1;
    case NODE_CELL5:
        return w % 5 == 0 || w % 5 == 4;
    case NODE_WIDE:
        return w % 74 >= 70;
    case NODE_FLEX:
        return w == 1 || (w >= 3 && (w - 3) % 2 == 1);
    case NODE_CONS:
        return w % 4 == 2;
    case NODE_TRACED:
        return w % 3 == 0;
    case NODE_CLASS:
        return w == 0 || w == words / 2 || w == words - 1;
    default:
        return 0;
    }
}

int64_t
node_any_slot(const struct node *node, uint64_t *rng)
{
    size_t words = node->bytes / 8, at;

    if (node->kind < NODE_PTRS || words == 0)
        return -1;
    at = (size_t)t_below(rng, words);
    /* The borders are where mistakes live: the first and the last word more often. */
    if (t_below(rng, 8) == 0)
        at = t_below(rng, 2) ? words - 1 : 0;
    for (size_t i = 0; i < words; i++)
        if (node_is_slot(node, (at + i) % words))
            return (int64_t)((at + i) % words);
    return -1;
}

int
node_elems(const struct node *node, struct node_elems *ret)
{
    static const struct node_elems forms[NODE_KINDS] = {
        [NODE_PTRS] = { &gc_pointer_type, 0, 1, 0 },
        [NODE_CELL3] = { &cell3_type, 0, 3, 0 },
        [NODE_CELL5] = { &cell5_type, 0, 5, 0 },
        [NODE_WIDE] = { &wide_type, 0, 74, 0 },
        [NODE_FLEX] = { &cell2_type, 3, 2, 0 },
        [NODE_CONS] = { &cons_type, 0, 4, 0 },
    };

    if (node->kind == NODE_CLASS)
        *ret = (struct node_elems){ class_types[node->type].type, 0, node->bytes / 8, 0 };
    else if (node->kind == NODE_TRACED)
        *ret = (struct node_elems){ traced_types[node->type], 0, node->bytes / 8, 0 };
    else
        *ret = forms[node->kind];
    if (ret->type == NULL)
        return 0;
    ret->count = (node->bytes / 8 - ret->first) / ret->words;
    return ret->count > 0;
}

/* Bytes: mostly the borders of size classes, sometimes large, rarely some MiB. */
static size_t
pick_bytes(uint64_t *rng)
{
    uint64_t dice = t_below(rng, 1000);
    size_t border;

    if (dice == 0)
        return (size_t)(1024 * 1024 + t_below(rng, 2 * 1024 * 1024));
    if (dice < 4)
        return (size_t)(128 * 1024 + t_below(rng, 64 * 1024));
    if (dice < 12)
        return (size_t)(32 * 1024 + t_below(rng, 32 * 1024));
    /* Small classes far more often than big ones: the square of a uniform number. */
    border = (size_t)(t_below(rng, nclass_sizes) * t_below(rng, nclass_sizes)
            / nclass_sizes);
    border = class_sizes[border];
    switch (t_below(rng, 6)) {
    case 0:
        return border - 1 > 0 ? border - 1 : 1;
    case 1:
        return border + 1;
    case 2:
        return border + 8;
    case 3:
        return border > 8 ? border - 8 : 8;
    default:
        return border;
    }
}

static enum node_kind
pick_kind(uint64_t *rng, int slots)
{
    enum node_kind kind = (enum node_kind)t_below(rng, NODE_KINDS);

    if (slots)
        return (enum node_kind)(NODE_PTRS + t_below(rng, NODE_KINDS - NODE_PTRS));
    return kind == NODE_EPHEMERON ? NODE_BYTES : kind;
}

static size_t
fit(size_t bytes, size_t first, size_t words)
{
    size_t have = bytes / 8, count = have > first ? (have - first) / words : 0;

    return count > 0 ? count : 1;
}

/* Arrays of one element go through the single-object calls half of the time. */
static void *
allocate_array(const gc_type *type, size_t n, uint64_t dice)
{
    void *p;

    if (dice % 4 == 0) {
        p = n == 1 && dice % 8 == 0 ? gc_try_alloc(type) : gc_try_alloc_array(type, n);
        T_CHECK(p != NULL, "gc_try_alloc_array of %zu gave NULL: %s", n, gc_last_error());
        return p;
    }
    return n == 1 && dice % 2 != 0 ? gc_alloc(type) : gc_alloc_array(type, n);
}

static void *
allocate_array_node(struct node *node, size_t bytes, uint64_t dice)
{
    struct node_elems elems;
    size_t n;

    node->bytes = SIZE_MAX / 16;
    T_CHECK(node_elems(node, &elems), "kind %d has no elements", node->kind);
    n = fit(bytes, elems.first, elems.words);
    node->bytes = (elems.first + n * elems.words) * 8;
    if (node->kind == NODE_FLEX)
        return gc_alloc_flex(&flex_type, n);
    return allocate_array(elems.type, n, dice);
}

static void *
allocate(struct node *node, size_t bytes, struct player *player)
{
    uint64_t dice = t_rand(&player->rng);

    node->bytes = bytes;
    switch (node->kind) {
    case NODE_TINY:
        node->bytes = 1 + bytes % 7;
        return gc_alloc_bytes(node->bytes);
    case NODE_BYTES:
        /* Below 8 bytes objects may share a block. */
        if (bytes < 8)
            node->kind = NODE_TINY;
        return gc_alloc_bytes(bytes);
    case NODE_UNINIT:
        node->bytes = bytes < 8 ? 8 : bytes;
        return gc_alloc_bytes_uninit(node->bytes);
    case NODE_NOSCAN:
        node->bytes = fit(bytes, 0, 2) * 16;
        return allocate_array(&plain_type, node->bytes / 16, dice);
    case NODE_CLASS:
        node->type = (uint8_t)(dice % nclass_types);
        node->bytes = class_types[node->type].bytes;
        return gc_alloc(class_types[node->type].type);
    case NODE_TRACED:
        /* The big ones rarely. */
        node->type = (uint8_t)(dice % (dice % 16 == 0 ? TRACED : TRACED - 3));
        node->bytes = traced_sizes[node->type];
        return gc_alloc(traced_types[node->type]);
    default:
        return allocate_array_node(node, bytes, dice);
    }
}

static void
check_zeroed(const struct node *node, const unsigned char *p)
{
    /* Whole words first; a trace function may read the slack, so that is zero too. */
    size_t n = node->kind == NODE_TRACED ? node->usable : node->bytes;

    for (size_t i = 0; i < n; i++)
        T_CHECK(p[i] == 0, "fresh object of kind %d, %zu bytes: byte %zu at %p is 0x%02x",
                node->kind, node->bytes, i, (const void *)p, p[i]);
}

static void
check_placed(const struct node *node, const void *p)
{
    uintptr_t at = (uintptr_t)p;
    size_t bytes = node->bytes;
    size_t align = bytes >= 512 ? 64 : bytes >= 256 ? 32 : bytes >= 32 ? 16 : 8;

    if (node->kind == NODE_TINY)
        align = bytes % 8 == 0 ? 8 : bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;
    T_CHECK(at % align == 0, "object of %zu bytes at %p is not %zu-aligned", bytes, p,
            align);
    T_CHECK(node->usable >= bytes, "gc_usable_size %zu of an object of %zu bytes",
            node->usable, bytes);
}

void *
node_create(struct node *node, struct player *player, int slots)
{
    size_t bytes = pick_bytes(&player->rng);
    void *p;

    memset(node, 0, sizeof *node);
    node->kind = (uint8_t)pick_kind(&player->rng, slots);
    node->serial = ++player->serial;
    p = allocate(node, bytes, player);
    GC_FRAME(p);
    node->usable = node->kind == NODE_TINY ? node->bytes : gc_usable_size(p);
    node->hidden = t_hide(p);
    node->used = 1;
    check_placed(node, p);
    if (node->kind != NODE_UNINIT)
        check_zeroed(node, p);
    node_refill(node, 0, node->bytes / 8 + 1);
    player->allocs++;
    player->bytes += node->bytes;
    if (t_below(&player->rng, 4) == 0)
        node->life = life_begin(p);
    return p;
}

void *
node_create_ephemeron(struct node *node, struct player *player, void *key, void *value)
{
    void *p = gc_ephemeron_new(key, value);
    GC_FRAME(p);

    memset(node, 0, sizeof *node);
    node->kind = NODE_EPHEMERON;
    node->serial = ++player->serial;
    node->bytes = node->usable = gc_usable_size(p);
    node->hidden = t_hide(p);
    node->pair.hidden = t_hide(key);
    node->used = 1;
    player->allocs++;
    player->pairs++;
    player->bytes += node->bytes;
    if (t_below(&player->rng, 4) == 0)
        node->life = life_begin(p);
    return p;
}

/* The value first: a key that is there later was there before. */
void
node_check_ephemeron(struct node *node, struct player *player, const void *value)
{
    const gc_ephemeron *e = t_reveal(node->hidden);
    const void *seen = gc_ephemeron_value(e), *key = gc_ephemeron_key(e);
    const void *was = t_reveal(node->pair.hidden);
    unsigned long long serial = (unsigned long long)node->serial;

    if (node->pair.key != NODE_NONE) {
        T_CHECK(key == was, "ephemeron %llu: the key is reachable, and %p, not %p", serial, key,
                was);
        T_CHECK(seen == value, "ephemeron %llu: the value is %p, not %p", serial, seen, value);
        return;
    }
    T_CHECK(key == NULL || key == was, "ephemeron %llu: its key was %p, and is %p", serial, was,
            key);
    T_CHECK(!node->pair.broken || (key == NULL && seen == NULL),
            "ephemeron %llu was broken, and has key %p and value %p", serial, key, seen);
    player->broken += key == NULL && !node->pair.broken;
    node->pair.broken = key == NULL;
}

/* Whole words; tiny objects may lie at any address and are bytes only. */
static size_t
words_of(const struct node *node)
{
    return node->kind == NODE_TINY ? 0 : node->bytes / 8;
}

static unsigned char
pattern_byte(const struct node *node, size_t i)
{
    return (unsigned char)(node->serial * 31 + i * 7 + 1);
}

void
node_refill(const struct node *node, size_t first, size_t words)
{
    uint64_t *p = t_reveal(node->hidden);
    unsigned char *tail = t_reveal(node->hidden);
    size_t end = first + words, limit = words_of(node);

    for (size_t w = first; w < end && w < limit; w++)
        if (!node_is_slot(node, w))
            p[w] = pattern(node->serial, w);
    if (end > limit)
        for (size_t i = limit * 8; i < node->bytes; i++)
            tail[i] = pattern_byte(node, i);
}

static void
check_word(const struct node *node, size_t w)
{
    const uint64_t *p = t_reveal(node->hidden);

    if (!node_is_slot(node, w))
        T_CHECK(p[w] == pattern(node->serial, w),
                "object %p kind %d serial %llu of %zu bytes: word %zu is 0x%llx, not "
                "0x%llx",
                (const void *)p, node->kind, (unsigned long long)node->serial, node->bytes,
                w, (unsigned long long)p[w], (unsigned long long)pattern(node->serial, w));
}

static void
check_address(const struct node *node, size_t offset)
{
    char *p = t_reveal(node->hidden);
    char *base = gc_base(p + offset);

    if (node->kind == NODE_TINY)
        T_CHECK(base != NULL && base >= p && base - p < 16,
                "tiny object %p (serial %llu): gc_base is %p, object lost?", (void *)p,
                (unsigned long long)node->serial, (void *)base);
    else
        T_CHECK(base == p,
                "object %p kind %d serial %llu of %zu bytes: gc_base(+%zu) is %p",
                (void *)p, node->kind, (unsigned long long)node->serial, node->bytes,
                offset, (void *)base);
}

void
node_check_data(const struct node *node, struct player *player, int full)
{
    const unsigned char *p = t_reveal(node->hidden);
    size_t words = words_of(node);

    life_check(node->life);
    check_address(node, 0);
    check_address(node, (size_t)t_below(&player->rng, node->bytes));
    player->checks++;
    if (node->kind == NODE_EPHEMERON)
        return;
    for (size_t i = words * 8; i < node->bytes; i++)
        T_CHECK(p[i] == pattern_byte(node, i), "object %p serial %llu: byte %zu is altered",
                (const void *)p, (unsigned long long)node->serial, i);
    if (full || words <= 64) {
        for (size_t w = 0; w < words; w++)
            check_word(node, w);
        return;
    }
    check_word(node, 0);
    check_word(node, words - 1);
    for (int i = 0; i < 30; i++)
        check_word(node, (size_t)t_below(&player->rng, words));
}

void **
node_slot(const struct node *node, size_t word)
{
    return (void **)t_reveal(node->hidden) + word;
}

void *
node_load(const struct node *node, size_t word)
{
    return __atomic_load_n(node_slot(node, word), __ATOMIC_RELAXED);
}

size_t
node_count_slots(const struct node *node)
{
    size_t n = 0;

    if (node->kind < NODE_PTRS)
        return 0;
    for (size_t w = 0; w < node->bytes / 8; w++)
        if (node_is_slot(node, w))
            n += node_load(node, w) != NULL;
    return n;
}
