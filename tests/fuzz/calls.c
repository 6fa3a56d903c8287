/* SPDX-License-Identifier: MIT */
/*
 * Single calls of the api target: what the attached thread does to objects and roots, each
 * in the heap and in the shadow, with the call's own promises checked.
 */
#include "calls.h"

struct input *in;

/* An object of the attached heap, or NULL. */
struct object *
pick(void)
{
    size_t start = take_below(in, OBJECTS);

    for (size_t i = 0; i < OBJECTS; i++) {
        struct object *o = &shadow.object[(start + i) % OBJECTS];

        if (o->used && o->heap == shadow.at)
            return o;
    }
    return NULL;
}

static struct ref
ref_to(const struct object *o, size_t offset)
{
    return (struct ref){(int)(o - shadow.object), offset};
}

/* To an object of the attached heap, sometimes to its inside, sometimes to nothing. */
static struct ref
pick_ref(void)
{
    unsigned how = take8(in);
    const struct object *o = how < 32 ? NULL : pick();

    if (o == NULL)
        return nothing();
    return ref_to(o, how < 64 && o->bytes > 0 ? take16(in) % o->bytes : 0);
}

/* The same for what is scanned word by word, where one past the end counts too. */
static struct ref
pick_root_ref(void)
{
    struct ref ref = pick_ref();

    if (ref.object != NOBODY && take8(in) % 32 == 1) {
        ref.offset = shadow.object[ref.object].bytes;
        shadow.inexact = true;
    }
    return ref;
}

void
set_local(size_t i, struct ref ref)
{
    shadow.locals[i] = value_of(ref);
    shadow.local[i] = ref;
}

/* ---- allocation ---- */

static size_t
take_elements(size_t few, size_t many)
{
    size_t n = take8(in);

    return n < 250 ? n % (few + 1) : take16(in) % (many + 1);
}

static void *
alloc_bytes(struct object *o)
{
    unsigned how = take8(in) % 4;
    char *p;

    o->n = o->bytes = take_elements(100, 70000);
    p = how == 0       ? gc_alloc_bytes(o->n)
            : how == 1 ? gc_alloc_bytes_uninit(o->n)
            : how == 2 ? gc_try_alloc_bytes(o->n)
                       : gc_try_alloc_bytes_uninit(o->n);
    FUZZ_CHECK(p != NULL, "no memory for %zu bytes", o->n);
    for (size_t i = 0; how % 2 == 0 && i < o->n; i++)
        FUZZ_CHECK(p[i] == 0, "byte %zu of %zu is not zero", i, o->n);
    o->fill = take8(in);
    memset(p, o->fill, o->n);
    if (o->n == 0) /* counts as one byte, and the shadow looks at none */
        o->fill = 0;
    return p;
}

static void *
alloc_nodes(struct object *o)
{
    bool try = take8(in) % 2 == 0;
    struct node *p;

    o->n = take_elements(NODES_MAX, 900);
    if (o->n == 1)
        p = try ? gc_try_alloc(node_type) : gc_alloc(node_type);
    else
        p = try ? gc_try_alloc_array(node_type, o->n) : gc_alloc_array(node_type, o->n);
    FUZZ_CHECK(p != NULL, "no memory for %zu nodes", o->n);
    o->bytes = o->n * sizeof(struct node);
    o->nslots = 4 * (o->n < NODES_MAX ? o->n : NODES_MAX);
    for (size_t i = 0; i < o->nslots / 4; i++) {
        struct node *node = p + node_of(o, i);

        FUZZ_CHECK(node->stamp == 0 && node->seal == 0, "node %zu is not zero", i);
        o->stamp[i] = 1 + take8(in);
        node->stamp = o->stamp[i];
        node->seal = ~o->stamp[i];
    }
    return p;
}

static void *
alloc_shape(struct object *o)
{
    bool try = take8(in) % 2 == 0;
    void *p;

    switch (o->shape) {
    case NODES:
        return alloc_nodes(o);
    case BYTES:
        return alloc_bytes(o);
    case POINTERS:
        o->n = take_elements(SLOTS, 20000);
        o->nslots = o->n < SLOTS ? o->n : SLOTS;
        o->bytes = o->n * 8;
        return try ? gc_try_alloc_array(&gc_pointer_type, o->n)
                   : gc_alloc_array(&gc_pointer_type, o->n);
    case CHAIN:
        o->n = take_below(in, SLOTS);
        o->nslots = 1 + o->n;
        o->bytes = sizeof(struct chain) + o->n * 8;
        p = try ? gc_try_alloc_flex(chain_type, o->n) : gc_alloc_flex(chain_type, o->n);
        ((struct chain *)p)->n = o->n;
        return p;
    case WORDS:
        o->nslots = 6;
        o->bytes = 48;
        return try ? gc_try_alloc(words_type) : gc_alloc(words_type);
    default:
        o->nslots = 4;
        o->bytes = 32;
        return gc_alloc(tagged_type);
    }
}

void
allocate(void)
{
    struct object *o = shadow.object;
    void *p;

    while (o < shadow.object + OBJECTS && o->used)
        o++;
    if (o == shadow.object + OBJECTS)
        return;
    memset(o, 0, sizeof(*o));
    o->shape = (enum shape)take_below(in, SHAPES);
    o->heap = shadow.at;
    for (size_t i = 0; i < SLOTS; i++)
        o->slot[i] = nothing();
    p = alloc_shape(o);
    FUZZ_CHECK(p != NULL, "no memory");
    o->hidden = t_hide(p);
    o->used = true;
    set_local(take_below(in, LOCALS), ref_to(o, 0));
}

unsigned oom_calls;

int
on_oom(gc_heap *heap, size_t bytes, void *arg)
{
    (void)bytes;
    FUZZ_CHECK(arg == &oom_calls && heap == gc_thread_heap(), "oom's arguments");
    oom_calls++;
    return 0;
}

/* Sizes that overflow, or that no reservation holds. */
void
allocate_too_much(void)
{
    size_t n = (size_t)1 << (30 + take8(in) % 34);
    unsigned before = oom_calls;
    void *p = NULL;

    n -= take8(in);
    switch (take8(in) % 4) {
    case 0:
        p = gc_try_alloc_bytes(n);
        break;
    case 1:
        p = gc_try_alloc_bytes_uninit(n);
        break;
    case 2:
        p = gc_try_alloc_array(node_type, n);
        break;
    default:
        p = gc_try_alloc_flex(chain_type, n);
        break;
    }
    FUZZ_CHECK(p == NULL, "%zu elements", n);
    FUZZ_CHECK(oom_calls <= before + 1, "asked %u times", oom_calls - before);
}

void
duplicate(void)
{
    char text[64];
    size_t n = take_below(in, sizeof(text));
    const char *copy;

    memset(text, 'x', n);
    text[n] = '\0';
    copy = gc_strdup(text);
    FUZZ_CHECK(copy != text && strcmp(copy, text) == 0, "%s", copy);
}

/* ---- stores ---- */

static void
store_word(void **slot, void *old, void *value)
{
    int stored = 1;

    switch (take8(in) % 5) {
    case 0:
    case 1:
        gc_write(slot, value);
        break;
    case 2:
        gc_write_release(slot, value);
        break;
    case 3:
        FUZZ_CHECK(gc_exchange(slot, value) == old, "exchanged for something else");
        break;
    default:
        FUZZ_CHECK(!gc_cas(slot, (void *)((uintptr_t)old + 1), value),
                "stored although it differs");
        FUZZ_CHECK(*slot == old, "changed although it differs");
        stored = gc_cas(slot, old, value);
        break;
    }
    FUZZ_CHECK(stored == 1 && *slot == value, "not stored");
}

/* Tagged slots hold the address of a word of the target, plus 1. */
void
store(void)
{
    struct object *o = pick();
    struct ref ref = pick_ref();
    void **words, *old, *value;
    size_t i;

    if (o == NULL || o->nslots == 0)
        return;
    i = take_below(in, o->nslots);
    if (o->shape == TAGGED)
        ref.offset &= ~(size_t)7;
    words = (void **)address_of(o) + word_of_slot(o, i);
    old = value_of(o->slot[i]);
    value = value_of(ref);
    if (ref.object != NOBODY && (uintptr_t)value % 8 != 0 && o->shape == TAGGED)
        return; /* a tiny object may lie at any address */
    if (o->shape == TAGGED) {
        old = old == NULL ? NULL : (char *)old + 1;
        value = value == NULL ? NULL : (char *)value + 1;
    }
    store_word(words, old, value);
    o->slot[i] = ref;
}

/* Words in a row that the bulk forms may work on, and their shadow. */
struct row {
    void **words;
    struct ref *refs;
    size_t n;
};

static struct row
pick_row(void)
{
    struct range *r = &shadow.range[take_below(in, RANGES)];
    struct object *o = pick();
    size_t i;

    if (take8(in) % 4 == 0 && r->heap == shadow.at)
        return (struct row){&range_words[r - shadow.range][r->first], r->ref, r->n};
    if (o == NULL || o->nslots == 0 || o->shape == TAGGED)
        return (struct row){NULL, NULL, 0};
    i = take_below(in, o->nslots);
    return (struct row){
            (void **)address_of(o) + word_of_slot(o, i), &o->slot[i], slots_in_row(o, i)};
}

void
move_words(void)
{
    struct row dst = pick_row(), src = pick_row();
    size_t n = dst.n < src.n ? dst.n : src.n;

    if (n == 0)
        return;
    n = take_below(in, n + 1);
    if (take8(in) % 4 == 0) {
        gc_clear(&gc_pointer_type, dst.words, n);
        for (size_t i = 0; i < n; i++)
            dst.refs[i] = nothing();
        return;
    }
    if (dst.words + n <= src.words || src.words + n <= dst.words)
        gc_copy(&gc_pointer_type, dst.words, src.words, n);
    else
        gc_move(&gc_pointer_type, dst.words, src.words, n);
    memmove(dst.refs, src.refs, n * sizeof(src.refs[0]));
}

/* The same with whole nodes, whose stamps move along. */
void
move_nodes(void)
{
    struct object *dst = pick(), *src = pick();
    size_t i, j;

    if (dst == NULL || dst->shape != NODES || src->shape != NODES || dst->n == 0
            || src->n == 0)
        return;
    i = take_below(in, dst->nslots / 4);
    j = take_below(in, src->nslots / 4);
    if (take8(in) % 4 == 0) {
        gc_clear(node_type, (struct node *)address_of(dst) + node_of(dst, i), 1);
        dst->stamp[i] = 0;
        for (size_t k = 0; k < 4; k++)
            dst->slot[4 * i + k] = nothing();
        return;
    }
    gc_move(node_type, (struct node *)address_of(dst) + node_of(dst, i),
            (struct node *)address_of(src) + node_of(src, j), 1);
    dst->stamp[i] = src->stamp[j];
    memmove(&dst->slot[4 * i], &src->slot[4 * j], 4 * sizeof(dst->slot[0]));
}

/* ---- roots ---- */

void
change_local(void)
{
    set_local(take_below(in, LOCALS), pick_root_ref());
}

/* Each of these must be refused and change nothing. */
static void
add_bad_range(const struct range *r, void **words)
{
    gc_status status = GC_OK;

    switch (take8(in) % 6) {
    case 0:
        status = gc_root_add(NULL, 8);
        break;
    case 1:
        status = gc_root_add(words, 0);
        break;
    case 2:
        status = gc_root_add((char *)words + 1 + take8(in) % 7, 8);
        break;
    case 3:
        status = gc_root_add(words, 8 + 1 + take8(in) % 7);
        break;
    case 4:
        status = gc_root_add(words, SIZE_MAX - 7);
        break;
    default:
        if (r->heap != shadow.at)
            return;
        status = gc_root_add(&words[r->first + take8(in) % r->n], 8);
        break;
    }
    FUZZ_CHECK(
            status == GC_ERR_INVAL && gc_last_error()[0] != '\0', "status %d", (int)status);
}

/* A range may hold pointers when it comes, and when it goes. */
void
change_range(void)
{
    size_t i = take_below(in, RANGES);
    struct range *r = &shadow.range[i];

    if (take8(in) % 4 == 0) {
        add_bad_range(r, range_words[i]);
    } else if (r->heap == NOBODY) {
        r->first = take_below(in, RANGE_WORDS);
        r->n = 1 + take_below(in, RANGE_WORDS - r->first);
        for (size_t j = 0; j < r->n; j++) {
            r->ref[j] = pick_root_ref();
            range_words[i][r->first + j] = value_of(r->ref[j]);
        }
        r->heap = shadow.at;
        FUZZ_CHECK(gc_root_add(&range_words[i][r->first], r->n * 8) == GC_OK, "%s",
                gc_last_error());
    } else if (r->heap == shadow.at) {
        gc_root_remove(&range_words[i][r->first]);
        memset(range_words[i], 0, sizeof(range_words[i]));
        r->heap = NOBODY;
        r->n = 0;
    }
}

void
store_in_range(void)
{
    size_t i = take_below(in, RANGES), j;
    struct range *r = &shadow.range[i];
    struct ref ref = pick_root_ref();

    if (r->heap != shadow.at || r->n == 0)
        return;
    j = take_below(in, r->n);
    store_word(&range_words[i][r->first + j], value_of(r->ref[j]), value_of(ref));
    r->ref[j] = ref;
}

/* Handles can be read, cleared and freed by a thread that is attached elsewhere or nowhere. */
void
change_handle(void)
{
    struct cell *c = &shadow.cell[take_below(in, HANDLES)];

    if (c->handle == NULL) {
        if (shadow.at == NOBODY)
            return;
        c->ref = pick_root_ref();
        c->heap = shadow.at;
        c->handle = gc_handle_new(value_of(c->ref));
        FUZZ_CHECK(c->handle != NULL, "no handle");
        return;
    }
    FUZZ_CHECK(gc_handle_get(c->handle) == value_of(c->ref), "a handle changed");
    switch (take8(in) % 4) {
    case 0:
        gc_handle_free(c->handle);
        c->handle = NULL;
        break;
    case 1:
        gc_handle_set(c->handle, NULL);
        c->ref = nothing();
        break;
    default:
        if (c->heap != shadow.at)
            break;
        c->ref = pick_root_ref();
        gc_handle_set(c->handle, value_of(c->ref));
        break;
    }
}

/* ---- questions ---- */

static void
ask_about_foreign(const void *p)
{
    FUZZ_CHECK(gc_base(p) == NULL, "%p has a base", p);
    FUZZ_CHECK(gc_usable_size(p) == 0, "%p has a size", p);
}

void
ask(void)
{
    const struct object *o = pick();
    const char *p;
    int on_stack;

    switch (take8(in) % 6) {
    case 0:
        ask_about_foreign(NULL);
        ask_about_foreign(&on_stack);
        ask_about_foreign(range_words);
        ask_about_foreign(shadow.heap[shadow.at]);
        return;
    case 1:
        ask_about_foreign((const void *)(uintptr_t)(take64(in) | (uint64_t)1 << 63));
        return;
    case 2: /* what is dead may be there or not, but is no reason to stumble */
        if (shadow.ndead > 0) {
            p = t_reveal(shadow.dead[take_below(in, shadow.ndead)].hidden);
            p += take_number(in);
            (void)gc_base(p);
            (void)gc_usable_size(p);
        }
        return;
    default:
        if (o == NULL || o->bytes == 0)
            return;
        p = (const char *)address_of(o) + take32(in) % o->bytes;
        FUZZ_CHECK(gc_base(p) == (is_tiny(o) ? p : address_of(o)), "base of the inside");
        FUZZ_CHECK(gc_usable_size(p) == (is_tiny(o) ? 1 : gc_usable_size(address_of(o))),
                "size of the inside");
        return;
    }
}
