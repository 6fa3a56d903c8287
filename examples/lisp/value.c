/* SPDX-License-Identifier: MIT */
/*
 * Layouts for the collector, constructors, equality.
 *
 * Purpose: what every other file needs to know of objects.
 * Place: under everything; calls gcrt only.
 * Types: fields that hold values are tagged; vectors, closures and code are a header with a
 * tail of tagged words; code and closures also have a raw pointer in their header; symbols
 * have one of each, and a function that traces them.  Strings and primitives have no
 * pointers and are never read by the collector.
 * Invariants: a new object's fields are stored plainly, before anybody can know it.  What a
 * constructor takes is held by a frame while memory is found, because that may answer a
 * handshake, and a precise thread's stack is not looked at.
 * Concurrency: any attached thread.  Objects never move, so an address is a hash.
 */
#include "value.h"

#include <string.h>

struct word {
    value value;
};

const gc_decode value_decode = { 5, 1, ~(uint64_t)7 };

GC_TYPE_TAGGED(type_of_words, struct word, value_decode, value);
GC_TYPE_TAGGED(type_of_pairs, struct pair, value_decode, car, cdr);

/*
 * A raw pointer and a tagged word in one object.  The name never changes, but gc_alloc may have
 * answered the collector on its way out, and then it is stored while this runs.
 */
static void
trace_symbol(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct symbol *s = obj;

    (void)bytes;
    gc_trace_words(tracer, &s->name, 1);
    gc_trace_tagged(tracer, &value_decode, &s->global, 1);
}
GC_TYPE_TRACED(type_of_symbols, struct symbol, trace_symbol);
GC_TYPE_TAGGED(type_of_boxes, struct box, value_decode, value);
GC_TYPE_NOSCAN(type_of_primitives, struct primitive);
GC_TYPE_FLEX_PLAIN(type_of_strings, struct string, byte, gc_byte_type);
GC_TYPE_FLEX_PLAIN(type_of_vectors, struct vector, item, type_of_words);
GC_TYPE_FLEX(type_of_code, struct code, word, type_of_words, name);
GC_TYPE_FLEX(type_of_closures, struct closure, free, type_of_words, code);

const gc_type *const pair_type = &type_of_pairs, *const string_type = &type_of_strings,
        *const symbol_type = &type_of_symbols, *const vector_type = &type_of_vectors,
        *const code_type = &type_of_code, *const closure_type = &type_of_closures,
        *const primitive_type = &type_of_primitives, *const box_type = &type_of_boxes,
        *const word_type = &type_of_words;

const char *const kind_names[] = { "pair", "integer", "char", "constant", "string", "symbol",
    "vector", "procedure", "procedure", "box", "macro", "thread", "mutex" };

value
cons(value a, value b)
{
    GC_FRAME(a, b);

    return pair_new(a, b);
}

value
box_new(enum kind kind, value v)
{
    struct box *box;

    GC_FRAME(v);
    box = gc_alloc(box_type);
    box->head.kind = kind;
    box->value = v;
    return object(box);
}

value
string_new(const char *text, size_t size)
{
    struct string *s;

    if (size >= UINT32_MAX)
        return 0;
    s = size < STRING_SMALL ? gc_alloc_flex(string_type, size + 1)
                            : gc_try_alloc_flex(string_type, size + 1);
    if (s == NULL)
        return 0;
    s->head = (struct head){ STRING, (uint32_t)size };
    if (text != NULL)
        memcpy(s->byte, text, size);
    return object(s);
}

value
vector_new(size_t n, value fill)
{
    struct vector *v;

    GC_FRAME(fill);
    if (n >= UINT32_MAX)
        return 0;
    v = gc_try_alloc_flex(vector_type, n);
    if (v == NULL)
        return 0;
    v->head = (struct head){ VECTOR, (uint32_t)n };
    for (size_t i = 0; i < n; i++)
        v->item[i] = fill;
    return object(v);
}

enum kind
value_kind(value v)
{
    if (is_object(v))
        return ((const struct head *)object_of(v))->kind;
    return is_pair(v) ? PAIR : is_integer(v) ? INTEGER : is_char(v) ? CHARACTER : OTHER;
}

/* ---- nesting ---- */

enum { C_STACK_MAX = 1 << 20 }; /* bytes */

static __thread const char *depth_start;

void
value_depth_start(void)
{
    depth_start = __builtin_frame_address(0);
}

bool
value_too_deep(void)
{
    return depth_start - (const char *)__builtin_frame_address(0) > C_STACK_MAX;
}

/* ---- hashes ---- */

static uint64_t
mix(uint64_t h)
{
    h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* Of nested data only the first elements count: others may be equal, which costs probes. */
uint64_t
value_hash(value v)
{
    uint64_t h = 17;

    for (int i = 0; is_pair(v) && i < 8; i++, v = cdr(v))
        h = h * 31 + (is_pair(car(v)) ? 5 : value_hash(car(v)));
    if (is_kind(v, VECTOR))
        return mix(h + vector_of(v)->head.size);
    if (is_kind(v, STRING)) {
        const struct string *s = string_of(v);

        for (uint32_t i = 0; i < s->head.size; i++)
            h = (h ^ (unsigned char)s->byte[i]) * 0x100000001b3u;
        return mix(h);
    }
    return mix(h ^ (is_pair(v) ? 7 : v));
}
