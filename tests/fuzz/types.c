/* SPDX-License-Identifier: MIT */
/*
 * Type descriptors: any gc_type_spec.
 *
 * Oracle: a naive judge says whether the spec is well formed; gc_type_create must agree,
 * say why not, and leave its output alone.  A naive map says which words of an object are
 * pointers.  One object of each accepted type, single, array or flexible, gets pointers to
 * fresh targets in words that the input picks.  After a collection exactly those targets
 * must be alive that a pointer word leads to, and after the object was dropped none.
 */
#include "heap.h"

#include <pthread.h>

#define FIELDS_MAX      12
#define TYPES_MAX       4
#define OBJECT_MAX      ((size_t)300 << 10) /* above the size that is scanned in parts */
#define TARGETS_MAX     40
#define INPUTS_PER_HEAP 1000 /* kinds and created types live as long as their heap */

/* The spec of a type that was made, and the fields that it had. */
struct made {
    const gc_type *type;
    gc_type_spec spec;
    gc_field fields[FIELDS_MAX];
};

struct target {
    size_t word;      /* of the object */
    uintptr_t hidden; /* the target's address */
    bool alive;       /* a pointer word leads to it */
};

static gc_heap *heap;
static struct made made[TYPES_MAX];
static size_t nmade;
static void *root; /* the object under test */
static uintptr_t hidden_object;
static size_t object_words, count;
static struct target targets[TARGETS_MAX];
static size_t ntargets;
static struct input *input;

/* ---- element types that are there before ---- */

static const gc_field pair_fields[] = {{8, 8}};
static const gc_field overlapping[] = {{0, 16}, {8, 8}};
static const gc_type pair_type = {.name = "pair",
        .size = 16,
        .form = GC_FORM_FIELDS,
        .nfields = 1,
        .mask = 2,
        .fields = pair_fields,
        .magic = GC_IMPL_TYPE_MAGIC};
static const gc_type odd_type = {
        .name = "odd", .size = 3, .form = GC_FORM_NOSCAN, .magic = GC_IMPL_TYPE_MAGIC};
static const gc_type empty_type = {
        .name = "empty", .size = 0, .form = GC_FORM_NOSCAN, .magic = GC_IMPL_TYPE_MAGIC};
static const gc_type foreign_type = {.name = "foreign", .size = 8, .form = GC_FORM_NOSCAN};
static const gc_type broken_type = {.name = "broken",
        .size = 16,
        .form = GC_FORM_FIELDS,
        .nfields = 2,
        .mask = 3,
        .fields = overlapping,
        .magic = GC_IMPL_TYPE_MAGIC};

struct ready {
    const gc_type *type;
    bool good; /* as an element */
};

static const struct ready ready[] = {{NULL, false}, {&gc_pointer_type, true},
        {&gc_byte_type, true}, {&pair_type, true}, {&odd_type, true}, {&empty_type, false},
        {&foreign_type, false}, {&broken_type, false}};

/* ---- the judge ---- */

static bool
fields_are_good(const gc_type_spec *spec)
{
    for (size_t i = 0; i < spec->nfields; i++) {
        const gc_field *f = &spec->fields[i];

        if (f->offset % 8 != 0 || f->bytes % 8 != 0 || f->bytes == 0
                || (uint64_t)f->offset + f->bytes > spec->size)
            return false;
        for (size_t j = 0; j < i; j++) {
            uint64_t low = f->offset, low2 = spec->fields[j].offset;

            if (low < low2 + spec->fields[j].bytes && low2 < low + f->bytes)
                return false;
        }
    }
    return true;
}

/* What is both a field and elements has two readings. */
static bool
fields_end_before(const gc_type_spec *spec, size_t tail)
{
    for (size_t i = 0; i < spec->nfields; i++)
        if ((uint64_t)spec->fields[i].offset + spec->fields[i].bytes > tail)
            return false;
    return true;
}

static bool
is_good_element(const gc_type *elem, size_t tail)
{
    for (size_t i = 0; i < COUNT_OF(ready); i++)
        if (elem == ready[i].type && !ready[i].good)
            return false;
    if (elem->form == GC_FORM_FLEX || elem->form == GC_FORM_TRACED)
        return false;
    return elem->form == GC_FORM_NOSCAN || tail % 8 == 0;
}

static bool
is_good(const gc_type_spec *spec)
{
    if (spec->size == 0 || spec->size > UINT32_MAX || spec->tail > UINT32_MAX)
        return false;
    if (spec->nfields > UINT16_MAX || (spec->nfields > 0 && spec->fields == NULL))
        return false;
    if (spec->form == GC_FORM_NOSCAN)
        return true;
    if (spec->size % 8 != 0)
        return false;
    switch ((int)spec->form) {
    case GC_FORM_CONSERVATIVE:
        return true;
    case GC_FORM_TRACED:
        return spec->trace != NULL;
    case GC_FORM_FIELDS:
        return spec->nfields > 0 && fields_are_good(spec);
    case GC_FORM_FLEX:
        return fields_are_good(spec) && spec->tail <= spec->size
                && is_good_element(spec->elem, spec->tail) && fields_end_before(spec, spec->tail);
    default:
        return false;
    }
}

/* ---- the map ---- */

/* The words that every traced type's function reports. */
static bool
is_traced(size_t word)
{
    return word % 3 == 1;
}

static void
trace(const void *obj, size_t bytes, gc_tracer *tracer)
{
    for (size_t i = 0; i < bytes / 8; i++)
        if (is_traced(i))
            gc_trace(tracer, __atomic_load_n((void *const *)obj + i, __ATOMIC_RELAXED));
}

static bool
in_fields(const gc_field *fields, size_t n, size_t offset)
{
    for (size_t i = 0; i < n; i++)
        if (offset >= fields[i].offset
                && offset < (uint64_t)fields[i].offset + fields[i].bytes)
            return true;
    return false;
}

/* Is the word at this offset of one element a pointer? */
static bool
in_element(const gc_type *type, size_t offset)
{
    switch (type->form) {
    case GC_FORM_CONSERVATIVE:
        return true;
    case GC_FORM_FIELDS:
        for (size_t i = 0; i < nmade; i++)
            if (made[i].type == type)
                return in_fields(made[i].fields, made[i].spec.nfields, offset);
        return in_fields(type->fields, type->nfields, offset);
    default:
        return false;
    }
}

static bool
is_pointer(const struct made *m, size_t word)
{
    size_t offset = word * 8;

    if (m->spec.form == GC_FORM_TRACED)
        return is_traced(word);
    if (m->spec.form != GC_FORM_FLEX)
        return in_element(m->type, offset % m->spec.size);
    if (in_fields(m->fields, m->spec.nfields, offset))
        return true;
    if (offset < m->spec.tail)
        return false;
    return in_element(m->spec.elem, (offset - m->spec.tail) % m->spec.elem->size);
}

/*
 * What a header has beyond its tail's offset but no element covers is padding: nobody says
 * whether it is scanned.
 */
static bool
is_padding(const struct made *m, size_t word)
{
    return m->spec.form == GC_FORM_FLEX && word * 8 >= m->spec.tail
            && word * 8 >= m->spec.tail + count * m->spec.elem->size;
}

/* ---- one object ---- */

/* Allocates it in the form that the input says, as far as its size is sensible. */
static void *
allocate(const struct made *m)
{
    size_t room = OBJECT_MAX / m->spec.size, bytes = m->spec.size;
    size_t most = take16(input);
    void *object;

    count = 1;
    if (m->spec.size > OBJECT_MAX
            || (m->spec.form == GC_FORM_FLEX && m->spec.elem->size > OBJECT_MAX))
        return NULL;
    if (m->spec.form == GC_FORM_FLEX) {
        count = most % (OBJECT_MAX / m->spec.elem->size);
        object = gc_alloc_flex(m->type, count);
        if (m->spec.tail + count * m->spec.elem->size > bytes)
            bytes = m->spec.tail + count * m->spec.elem->size;
    } else if (m->spec.form == GC_FORM_TRACED || take8(input) % 2 == 0) {
        object = gc_alloc(m->type);
    } else {
        count = most % (room + 1);
        object = gc_alloc_array(m->type, count);
        bytes = count * m->spec.size;
    }
    object_words = bytes / 8;
    for (size_t i = 0; i < bytes; i++)
        FUZZ_CHECK(((char *)object)[i] == 0, "byte %zu of %zu is not zero", i, bytes);
    return object;
}

/* A target that says who it is; its pointer may lead into its middle. */
static void
put_target(const struct made *m, void **object, struct target *t)
{
    size_t words = 2 + take8(input) % 6;
    uint64_t *target = gc_alloc_bytes(words * 8);
    char *into = (char *)target + take8(input) % (words * 8);

    target[0] = t->word;
    target[1] = ~(uint64_t)t->word;
    t->hidden = t_hide(target);
    t->alive = is_pointer(m, t->word);
    if (t->alive)
        gc_write(&object[t->word], into);
    else
        object[t->word] = into;
}

static void
fill(void *arg)
{
    const struct made *m = arg;
    void *object = allocate(m);
    size_t want = take8(input) % TARGETS_MAX;

    ntargets = 0;
    hidden_object = 0;
    if (object == NULL)
        return;
    for (size_t i = 0; i < want && object_words > 0; i++) {
        size_t word = (i == 0                  ? 0
                                      : i == 1 ? object_words - 1
                                               : take16(input))
                % object_words;
        bool taken = is_padding(m, word);

        for (size_t j = 0; j < ntargets; j++)
            taken = taken || targets[j].word == word;
        if (taken)
            continue;
        targets[ntargets].word = word;
        put_target(m, object, &targets[ntargets++]);
    }
    gc_write(&root, object);
    if (object_words * 8 >= 16) /* smaller ones without pointers share a block */
        hidden_object = t_hide(object);
}

static void
check_targets(void *arg)
{
    const struct made *m = arg;

    for (size_t i = 0; i < ntargets; i++) {
        const struct target *t = &targets[i];
        const uint64_t *target = t_reveal(t->hidden);
        bool alive = gc_base(target) != NULL;

        FUZZ_CHECK(alive == (t->alive && root != NULL), "word %zu of form %d: %s", t->word,
                (int)m->spec.form, alive ? "kept" : "lost");
        if (alive)
            FUZZ_CHECK(target[0] == t->word && target[1] == ~target[0],
                    "target of %zu changed", t->word);
    }
    if (hidden_object != 0) {
        bool alive = gc_base(t_reveal(hidden_object)) != NULL;

        FUZZ_CHECK(alive == (root != NULL), "the object of form %d, %zu words: %s",
                (int)m->spec.form, object_words, alive ? "kept" : "lost");
    }
}

static void
drop(void *arg)
{
    (void)arg;
    gc_write(&root, NULL);
}

static void
try_type(struct made *m)
{
    deep(fill, m);
    gc_collect(heap);
    deep(check_targets, m);
    deep(drop, NULL);
    gc_collect(heap);
    deep(check_targets, m);
}

/* ---- specs ---- */

static const gc_type *
take_element(struct input *in)
{
    size_t i = take_below(in, COUNT_OF(ready) + TYPES_MAX);

    if (i < COUNT_OF(ready))
        return ready[i].type;
    return i - COUNT_OF(ready) < nmade ? made[i - COUNT_OF(ready)].type : NULL;
}

/* Mostly in order and with gaps, as real types are; now and then anything. */
static void
take_fields(struct input *in, struct made *m)
{
    uint32_t at = 0;

    for (size_t i = 0; i < m->spec.nfields; i++) {
        unsigned shape = take8(in);

        if (shape < 200) {
            m->fields[i].offset = at + shape % 8 * 8;
            m->fields[i].bytes = (shape / 8 % 4 + 1) * 8;
        } else {
            m->fields[i].offset = (uint32_t)take_number(in);
            m->fields[i].bytes = (uint32_t)take_number(in);
        }
        at = m->fields[i].offset + m->fields[i].bytes;
    }
    m->spec.fields = m->fields;
}

static void
take_spec(struct input *in, struct made *m)
{
    unsigned shape = take8(in);

    memset(m, 0, sizeof(*m));
    m->spec.name = shape % 2 != 0 ? "fuzzed" : NULL;
    m->spec.form = (enum gc_form)(shape < 240 ? shape / 2 % 7 : take16(in));
    m->spec.size = take8(in) % 4 == 0 ? (size_t)take_number(in) : take16(in) % 1200 * 8u;
    m->spec.nfields = take_below(in, FIELDS_MAX + 1);
    take_fields(in, m);
    if (shape % 16 == 15)
        m->spec.fields = NULL;
    if (shape % 32 == 17)
        m->spec.nfields = UINT16_MAX + 1 + (size_t)take_number(in) % ((size_t)1 << 60);
    m->spec.trace = take8(in) % 16 == 0 ? NULL : trace;
    m->spec.elem = take_element(in);
    m->spec.tail = take8(in) % 4 == 0 ? (size_t)take_number(in)
                                      : m->spec.size - take8(in) % 64 * 8u;
}

static void
try_spec(struct input *in)
{
    struct made *m = &made[nmade];
    const gc_type *type = &foreign_type;
    gc_status status;
    bool good;

    take_spec(in, m);
    good = is_good(&m->spec);
    status = gc_type_create(heap, &m->spec, &type);
    FUZZ_CHECK(status == (good ? GC_OK : GC_ERR_INVAL), "form %d size %zu: %d, %s",
            (int)m->spec.form, m->spec.size, (int)status, gc_last_error());
    if (!good) {
        FUZZ_CHECK(type == &foreign_type, "the output was touched");
        FUZZ_CHECK(strncmp(gc_last_error(), "gc_type_create: ", 16) == 0, "no words");
        return;
    }
    m->type = type;
    nmade++;
    try_type(m);
}

/* ---- the heap ---- */

static void
finish(void)
{
    if (heap != NULL)
        FUZZ_CHECK(gc_heap_destroy(heap) == GC_OK, "%s", gc_last_error());
    heap = NULL;
}

static void
start(void)
{
    static bool registered;
    gc_options opt;

    small_heap(&opt);
    FUZZ_CHECK(gc_heap_create(&opt, &heap) == GC_OK, "%s", gc_last_error());
    if (!registered)
        atexit(finish);
    registered = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t inputs;
    struct input in = {data, data + size};

    if (inputs++ % INPUTS_PER_HEAP == 0) {
        finish();
        start();
    }
    input = &in;
    nmade = 0;
    FUZZ_CHECK(gc_thread_attach(heap) == GC_OK, "%s", gc_last_error());
    FUZZ_CHECK(gc_root_add(&root, sizeof(root)) == GC_OK, "%s", gc_last_error());
    for (int i = 0; i < 8 && nmade < TYPES_MAX && more(&in); i++)
        try_spec(&in);
    gc_root_remove(&root);
    gc_thread_detach();
    return 0;
}
