/* SPDX-License-Identifier: MIT */
#ifndef LISP_VALUE_H
#define LISP_VALUE_H

/*
 * Values are words, told apart by their low bits:
 *
 *     ...xx0   fixnum of 63 bits; return addresses and offsets on a VM's stack are even, too
 *     ...001   pair: the address of 16 bytes, without a head
 *     ...011   the address of any other object, whose first word says what it is
 *     ...101   constant: (), #t, #f, a character
 *
 * value_decode tells the collector so: bit 0 set and bit 2 clear is a reference.  Fields of
 * this kind have tagged types, and change by word_store alone.  Tags are low bits, so a value
 * is also an interior pointer, which GC_FRAME, gc_cas and gc_write take as they are.
 *
 * A word is loaded and stored whole (relaxed): a program whose threads race sees old values
 * or new ones, never pieces.
 */
#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdbool.h>

typedef uint64_t value;

enum { TAG_PAIR = 1, TAG_OBJECT = 3, TAG_CONSTANT = 5, TAG_BITS = 7, TAG_CHAR = 13 };

#define CONSTANT(n) ((value)(n) << 8 | TAG_CONSTANT)
#define NIL         CONSTANT(0)
#define FALSE       CONSTANT(1)
#define TRUE        CONSTANT(2)
#define NOTHING     CONSTANT(3) /* what (if #f #f) gives; not printed by the REPL */
#define END_OF_FILE CONSTANT(4)
#define UNBOUND     CONSTANT(5) /* in a symbol: no global variable; in a table: a free slot */
#define DELETED     CONSTANT(6) /* in a table */
#define CALL_AGAIN  CONSTANT(7) /* from a primitive: call vm->acc with vm->argc words */

#define FIXNUM_MAX   (INT64_MAX >> 1)
#define FIXNUM_MIN   (INT64_MIN >> 1)
#define STRING_SMALL 4096 /* bytes: allocation of less does not fail */
#define DEPTH_MAX    2000 /* of nested data: reader, compiler, printer and equal? are recursive */

enum kind {
    PAIR, FIXNUM, CHARACTER, OTHER, /* not in heads */
    FLONUM, STRING, SYMBOL, VECTOR, CODE, CLOSURE, PRIMITIVE, BOX, PROMISE, MACRO, TABLE,
    CONDITION, ESCAPE, TASK, CHANNEL
};

struct vm;

struct head {
    uint32_t kind; /* const: an enum kind */
    uint32_t size; /* const: elements, bytes or whatever the kind counts */
};

struct pair {
    value car, cdr;
};

struct flonum {
    struct head head;
    double number;
};

/* UTF-8, immutable, with a zero byte behind it that does not count. */
struct string {
    struct head head; /* size in bytes */
    uint32_t chars;   /* const: characters */
    uint32_t unused;
    char byte[];
};

struct symbol {
    struct head head;
    value name;       /* const: a string */
    value global;     /* the global variable of this name, or UNBOUND */
    value next_kept;  /* the table's: 0 if it is not kept, NIL at the list's end */
    uint16_t syntax;  /* the compiler's: a special form's number, or 0 */
    uint16_t inlined; /* the compiler's: the number of an instruction for calls, or 0 */
};

struct vector {
    struct head head;
    value item[];
};

/* Instructions are even words, so constants stand between them (ops.def). */
struct code {
    struct head head;
    struct symbol *name; /* const: NULL for a lambda without one */
    uint32_t params;     /* const: words that a caller leaves, a rest list included */
    uint32_t depth;      /* const: words that the frame may take above its arguments */
    bool rest;           /* const */
    value word[];        /* const */
};

struct closure {
    struct head head;
    struct code *code; /* const */
    value free[];      /* const: captured values, or boxes of captured variables that change */
};

/* Arguments are on the VM's stack, so they are held; n is between min and max. */
typedef value primitive_fn(struct vm *vm, value *arg, uint32_t n);

struct primitive {
    struct head head; /* size: most arguments, or UINT32_MAX */
    const char *name;
    primitive_fn *fn;
    uint64_t min;
};

/* A variable that changes and is captured, (box v), a promise, a macro's procedure. */
struct box {
    struct head head; /* size: a promise's state */
    value value;
};

struct condition {
    struct head head;
    value message, irritants, trace; /* a string; a list; names of procedures, innermost first */
};

/* One for each kind of object: files that share a type share pages. */
extern const gc_type *const pair_type, *const flonum_type, *const string_type,
        *const symbol_type, *const vector_type, *const code_type, *const closure_type,
        *const primitive_type, *const box_type, *const condition_type, *const word_type;
extern const gc_decode value_decode;

/* ---- words ---- */

static inline value
word_load(const value *slot)
{
    return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

/* Objects are whole before others can see their address: nothing to do on x86, a fence else. */
static inline void
word_store(value *slot, value v)
{
#if !defined(__x86_64__)
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
    gc_write_word(&value_decode, slot, v);
}

static inline bool
is_fixnum(value v)
{
    return (v & 1) == 0;
}

static inline int64_t
fixnum_of(value v)
{
    return (int64_t)v >> 1;
}

static inline value
fixnum(int64_t i)
{
    return (value)i << 1;
}

static inline bool
is_char(value v)
{
    return (v & 0xff) == TAG_CHAR;
}

static inline value
boolean(bool b)
{
    return b ? TRUE : FALSE;
}

static inline bool
is_pair(value v)
{
    return (v & TAG_BITS) == TAG_PAIR;
}

static inline struct pair *
pair_of(value v)
{
    return (struct pair *)(v - TAG_PAIR);
}

static inline value
car(value v)
{
    return word_load(&pair_of(v)->car);
}

static inline value
cdr(value v)
{
    return word_load(&pair_of(v)->cdr);
}

static inline bool
is_object(value v)
{
    return (v & TAG_BITS) == TAG_OBJECT;
}

static inline void *
object_of(value v)
{
    return (void *)(v - TAG_OBJECT);
}

static inline value
object(const void *p)
{
    return (value)p + TAG_OBJECT;
}

static inline bool
is_kind(value v, enum kind kind)
{
    return is_object(v) && ((const struct head *)object_of(v))->kind == kind;
}

#define string_of(v) ((struct string *)object_of(v))
#define symbol_of(v) ((struct symbol *)object_of(v))
#define vector_of(v) ((struct vector *)object_of(v))
#define box_of(v)    ((struct box *)object_of(v))

/* ---- making values: each holds its own arguments, but for pair_new ---- */

/* a and b are held by the caller, on the VM's stack, say. */
static inline value
pair_new(value a, value b)
{
    struct pair *p = gc_alloc(pair_type);

    p->car = a;
    p->cdr = b;
    return (value)p + TAG_PAIR;
}

static inline value
flonum(double number)
{
    struct flonum *f = gc_alloc(flonum_type);

    f->head.kind = FLONUM;
    f->number = number;
    return object(f);
}

value cons(value a, value b);
value box_new(enum kind kind, value v);
/*
 * size bytes of valid UTF-8 (text NULL: the caller fills it in at once).  0 if memory is out, and
 * size is not below STRING_SMALL.
 */
value string_new(const char *text, size_t size);
value string_text(const char *text);
/* Counts the characters again: after the caller has filled the bytes of a new string in. */
void string_count(struct string *s);
/* 0 if memory is out. */
value vector_new(size_t n, value fill);

enum kind value_kind(value v);
/* eqv?: the same word, or flonums of the same bits. */
bool value_eqv(value a, value b);
/* equal?: 1, 0, or -1: nested too deeply. */
int value_equal(value a, value b, int depth);
/* The same for values that are equal?, or, with eq, for those that are eqv?. */
uint64_t value_hash(value v, bool eq);

#endif
