/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TYPE_H
#define GCRT_TYPE_H

#include <gcrt/options.h>

GC_IMPL_BEGIN

/*
 * A type tells the collector where an object's pointers are.  Constant types are made
 * by the macros below, at file or block scope, and cost nothing at run time:
 *
 *     struct node { struct node *left, *right; long key; };
 *     GC_TYPE(node_type, struct node, left, right);
 *
 * Objects of one type share their spans, so no object has a header and the collector
 * learns a whole page's layout from one place.
 */
typedef struct gc_type gc_type;
typedef struct gc_tracer gc_tracer;

/*
 * Reports an object's pointers: call gc_trace() for each.  Runs on collector threads and
 * inside mutators' assists, concurrently with the host, so it reads each word once and
 * atomically, takes no lock, allocates nothing, and calls nothing of gcrt but gc_trace() and
 * the two below, which read words for it.  That holds for words that never change, too: it may
 * see an object that is all zeroes, and one whose first values are just being stored.  bytes is
 * the slot's size, at least the size asked for; what lies beyond that is zero.
 */
typedef void gc_trace_fn(const void *obj, size_t bytes, gc_tracer *tracer);

/* For use inside a gc_trace_fn: obj may be NULL, interior, or no heap pointer at all. */
GC_API void gc_trace(gc_tracer *tracer, const void *obj);

/*
 * How to read a word that is not just a pointer: w refers to an object if (w & mask) ==
 * value, and then to the address w & keep; otherwise it is a number or the like.  Low tags:
 * { 7, 1, ~7 } for pointers that end in 001.  NaN boxes: { 0xffffull << 48, 0xfffcull << 48,
 * (1ull << 48) - 1 } for pointers below the bits 0xfffc.  mask 0 takes every word.
 */
typedef struct gc_decode {
    uint64_t mask, value, keep;
} gc_decode;

GC_INLINE uintptr_t
gc_decode_word(const gc_decode *d, uint64_t word)
{
    return (word & d->mask) == d->value ? word & d->keep : 0;
}

/*
 * gc_trace for each of n words, which lie in a row; the second form reads tagged ones.  Each is
 * read once and whole, as by a relaxed atomic load.
 */
GC_API void gc_trace_words(gc_tracer *tracer, const void *words, size_t n);
GC_API void gc_trace_tagged(gc_tracer *tracer, const gc_decode *decode, const void *words,
        size_t n);

/* One pointer field: bytes / 8 consecutive pointer words starting at offset. */
typedef struct gc_field {
    uint32_t offset;
    uint32_t bytes;
} gc_field;

enum gc_form {
    GC_FORM_FIELDS = 1,   /* pointers where mask and fields say */
    GC_FORM_NOSCAN,       /* no pointers at all */
    GC_FORM_CONSERVATIVE, /* every word may be one */
    GC_FORM_TRACED,       /* the trace function says */
    GC_FORM_FLEX          /* fields, then elements of type elem from offset tail on */
};

#define GC_IMPL_TYPE_MAGIC 0x67637431u
#define GC_IMPL_TAGGED     1 /* words of the fields are decoded */

struct gc_type {
    const char *name;       /* C name, for reports; borrowed for ever */
    uint32_t size;          /* bytes of one element (the header, for GC_FORM_FLEX) */
    uint8_t form;           /* enum gc_form */
    uint8_t flags;          /* GC_IMPL_TAGGED or 0 */
    uint16_t nfields;       /* entries in fields */
    uint64_t mask;          /* bit i: word i is a pointer; the first 64 words */
    const gc_field *fields; /* all pointer fields; borrowed for ever */
    gc_trace_fn *trace;     /* GC_FORM_TRACED */
    const gc_type *elem;    /* GC_FORM_FLEX: the tail's element type; tagged: a gc_decode */
    uint32_t tail;          /* GC_FORM_FLEX: offset of the tail */
    uint32_t magic;         /* GC_IMPL_TYPE_MAGIC */
    const char *names;      /* the fields' names, "left, right", for reports, or NULL */
} __attribute__((aligned(64)));

GC_IMPL_ASSERT(sizeof(struct gc_type) == 64, "a type is one cache line");

/* The types of a single pointer word and of a byte without pointers. */
GC_API extern const gc_type gc_pointer_type;
GC_API extern const gc_type gc_byte_type;

/* GC_TYPE(name, T, field, ...): a constant type; 1 to 24 fields, each a pointer or an array
 * of pointers at a word-aligned offset. */
#define GC_TYPE(name_, T, ...)                                                              \
    GC_IMPL_MAP(GC_IMPL_CHECK, T, __VA_ARGS__)                                              \
    static const gc_field name_##_gc_fields[] = { GC_IMPL_MAP(GC_IMPL_FIELD, T,             \
            __VA_ARGS__) };                                                                 \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_FIELDS, 0,                                                                  \
        (uint16_t)(sizeof(name_##_gc_fields) / sizeof(gc_field)),                           \
        0 GC_IMPL_MAP(GC_IMPL_MASK, T, __VA_ARGS__), name_##_gc_fields, 0, 0, 0,            \
        GC_IMPL_TYPE_MAGIC, #__VA_ARGS__ }

/*
 * GC_TYPE_TAGGED(name, T, decode, field, ...): the same for tagged words; decode is a gc_decode
 * at file scope.  Stores to such fields go through gc_write_word.
 */
#define GC_TYPE_TAGGED(name_, T, decode_, ...)                                              \
    GC_IMPL_MAP(GC_IMPL_CHECK, T, __VA_ARGS__)                                              \
    static const gc_field name_##_gc_fields[] = { GC_IMPL_MAP(GC_IMPL_FIELD, T,             \
            __VA_ARGS__) };                                                                 \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_FIELDS, GC_IMPL_TAGGED,                                                     \
        (uint16_t)(sizeof(name_##_gc_fields) / sizeof(gc_field)),                           \
        0 GC_IMPL_MAP(GC_IMPL_MASK, T, __VA_ARGS__), name_##_gc_fields, 0,                  \
        (const gc_type *)(const void *)&(decode_), 0, GC_IMPL_TYPE_MAGIC, #__VA_ARGS__ }

/* GC_TYPE_NOSCAN(name, T): objects without pointers; the collector never reads them. */
#define GC_TYPE_NOSCAN(name_, T)                                                            \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_NOSCAN, 0, 0, 0, 0, 0, 0, 0, GC_IMPL_TYPE_MAGIC, 0 }

/* GC_TYPE_CONSERVATIVE(name, T): every word that looks like a heap pointer is one. */
#define GC_TYPE_CONSERVATIVE(name_, T)                                                      \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_CONSERVATIVE, 0, 0, ~(uint64_t)0, 0, 0, 0, 0, GC_IMPL_TYPE_MAGIC, 0 }

/* GC_TYPE_TRACED(name, T, fn): fn reports the pointers. */
#define GC_TYPE_TRACED(name_, T, fn)                                                        \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_TRACED, 0, 0, 0, 0, fn, 0, 0, GC_IMPL_TYPE_MAGIC, 0 }

/*
 * GC_TYPE_FLEX(name, T, tail, elem, field, ...): a header with the given pointer fields,
 * then a flexible array member of elements described by the gc_type elem, behind all of the
 * fields.  Allocate with gc_alloc_flex(&name, n).  GC_TYPE_FLEX_PLAIN is the same for a header
 * without pointers.
 */
#define GC_TYPE_FLEX(name_, T, tail_, elem_, ...)                                           \
    GC_IMPL_MAP(GC_IMPL_CHECK, T, __VA_ARGS__)                                              \
    static const gc_field name_##_gc_fields[] = { GC_IMPL_MAP(GC_IMPL_FIELD, T,             \
            __VA_ARGS__) };                                                                 \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_FLEX, 0, (uint16_t)(sizeof(name_##_gc_fields) / sizeof(gc_field)),          \
        0 GC_IMPL_MAP(GC_IMPL_MASK, T, __VA_ARGS__), name_##_gc_fields, 0, &(elem_),        \
        (uint32_t)offsetof(T, tail_), GC_IMPL_TYPE_MAGIC, #__VA_ARGS__ }
#define GC_TYPE_FLEX_PLAIN(name_, T, tail_, elem_)                                          \
    static const gc_type name_ __attribute__((unused)) = { #T, (uint32_t)sizeof(T),         \
        GC_FORM_FLEX, 0, 0, 0, 0, 0, &(elem_), (uint32_t)offsetof(T, tail_),                \
        GC_IMPL_TYPE_MAGIC, 0 }

/* What gc_type_create needs; everything is copied but elem, which must live as long as the heap. */
typedef struct gc_type_spec {
    const char *name;       /* for reports; NULL: "anonymous" */
    size_t size;            /* bytes, > 0, a multiple of 8 unless noscan */
    enum gc_form form;
    const gc_field *fields; /* GC_FORM_FIELDS and GC_FORM_FLEX */
    size_t nfields;
    gc_trace_fn *trace;     /* GC_FORM_TRACED */
    const gc_type *elem;    /* GC_FORM_FLEX */
    size_t tail;            /* GC_FORM_FLEX: its offset, behind all fields, size at the latest */
    const gc_decode *decode; /* GC_FORM_FIELDS: NULL, or how to read the fields' words */
} gc_type_spec;

/*
 * Makes a type at run time.  It belongs to the heap (NULL: the caller's) and lives as
 * long as it does; use it for that heap only.  Any thread.  GC_ERR_INVAL for
 * a spec with a misaligned, overlapping or out-of-range field, GC_ERR_NOMEM.
 */
GC_API GC_MUST_CHECK gc_status gc_type_create(gc_heap *heap, const gc_type_spec *spec,
        const gc_type **ret);

/* ---- machinery of the macros ---- */

#define GC_IMPL_CHECK(T, f)                                                                 \
    GC_IMPL_ASSERT(offsetof(T, f) % 8 == 0 && sizeof(((T *)0)->f) % 8 == 0,                 \
            "GC_TYPE: field " #f " is not one or more aligned pointer words");
#define GC_IMPL_FIELD(T, f) { (uint32_t)offsetof(T, f), (uint32_t)sizeof(((T *)0)->f) },
#define GC_IMPL_MASK(T, f)  | GC_IMPL_BITS(offsetof(T, f) / 8, sizeof(((T *)0)->f) / 8)
#define GC_IMPL_BITS(w, n)                                                                  \
    ((w) >= 64 ? (uint64_t)0                                                                \
               : ((n) >= 64 ? ~(uint64_t)0 : (((uint64_t)1 << ((n) & 63)) - 1))             \
                             << ((w) & 63))

#define GC_IMPL_CAT(a, b)  GC_IMPL_CAT_(a, b)
#define GC_IMPL_CAT_(a, b) a##b
#define GC_IMPL_COUNT(...)                                                                  \
    GC_IMPL_COUNT_(__VA_ARGS__, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, \
            9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define GC_IMPL_COUNT_(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15,    \
        a16, a17, a18, a19, a20, a21, a22, a23, a24, n, ...)                                \
    n
#define GC_IMPL_MAP(m, T, ...) \
    GC_IMPL_CAT(GC_IMPL_MAP_, GC_IMPL_COUNT(__VA_ARGS__))(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_1(m, T, a)       m(T, a)
#define GC_IMPL_MAP_2(m, T, a, ...) m(T, a) GC_IMPL_MAP_1(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_3(m, T, a, ...) m(T, a) GC_IMPL_MAP_2(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_4(m, T, a, ...) m(T, a) GC_IMPL_MAP_3(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_5(m, T, a, ...) m(T, a) GC_IMPL_MAP_4(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_6(m, T, a, ...) m(T, a) GC_IMPL_MAP_5(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_7(m, T, a, ...) m(T, a) GC_IMPL_MAP_6(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_8(m, T, a, ...) m(T, a) GC_IMPL_MAP_7(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_9(m, T, a, ...) m(T, a) GC_IMPL_MAP_8(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_10(m, T, a, ...) m(T, a) GC_IMPL_MAP_9(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_11(m, T, a, ...) m(T, a) GC_IMPL_MAP_10(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_12(m, T, a, ...) m(T, a) GC_IMPL_MAP_11(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_13(m, T, a, ...) m(T, a) GC_IMPL_MAP_12(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_14(m, T, a, ...) m(T, a) GC_IMPL_MAP_13(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_15(m, T, a, ...) m(T, a) GC_IMPL_MAP_14(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_16(m, T, a, ...) m(T, a) GC_IMPL_MAP_15(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_17(m, T, a, ...) m(T, a) GC_IMPL_MAP_16(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_18(m, T, a, ...) m(T, a) GC_IMPL_MAP_17(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_19(m, T, a, ...) m(T, a) GC_IMPL_MAP_18(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_20(m, T, a, ...) m(T, a) GC_IMPL_MAP_19(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_21(m, T, a, ...) m(T, a) GC_IMPL_MAP_20(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_22(m, T, a, ...) m(T, a) GC_IMPL_MAP_21(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_23(m, T, a, ...) m(T, a) GC_IMPL_MAP_22(m, T, __VA_ARGS__)
#define GC_IMPL_MAP_24(m, T, a, ...) m(T, a) GC_IMPL_MAP_23(m, T, __VA_ARGS__)

GC_IMPL_END

#endif
