/* SPDX-License-Identifier: MIT */
#ifndef LISP_VALUE_H
#define LISP_VALUE_H

/*
 * Values are words, told apart by their low bits:
 *
 *     ...xx0   integer of 63 bits; return addresses and offsets on a VM's stack are even, too
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
#define UNBOUND     CONSTANT(5) /* in a symbol: no global variable */
#define EXPANDED    CONSTANT(6) /* the compiler's: (EXPANDED . x) is x, which a macro gave */
#define CALL_AGAIN  CONSTANT(7) /* from a primitive: call vm->acc with vm->argc words */

#define SPECIAL_QUOTE 1 /* the compiler's number of quote */
#define STRING_SMALL 4096 /* bytes: allocation of less does not fail */

enum kind {
    PAIR, INTEGER, CHARACTER, OTHER, /* not in heads */
    STRING, SYMBOL, VECTOR, CLOSURE, PRIMITIVE, BOX, MACRO, TASK, MUTEX
};
extern const char *const kind_names[];

struct vm;

struct head {
    uint32_t kind; /* const: an enum kind */
    uint32_t size; /* const: elements, bytes or whatever the kind counts */
};

struct pair {
    value car, cdr;
};

/* Bytes, immutable, with a zero behind them that does not count.  A character is a byte. */
struct string {
    struct head head;
    char byte[];
};

struct symbol {
    struct head head; /* size of the name in bytes */
    const char *name; /* const: interned (gc_intern), which makes it the symbol's key */
    value global;     /* the global variable of this name, or UNBOUND */
    uint64_t special; /* the compiler's: what it knows by this name, or 0 */
};

struct vector {
    struct head head;
    value item[];
};

/* Instructions are even words, so constants stand between them (ops.def). */
struct code {
    struct symbol *name; /* const: NULL for a lambda without one */
    uint32_t params;     /* const: words that a caller leaves, a rest list included */
    uint32_t depth;      /* const: words that the frame may take above its arguments */
    uint64_t rest;       /* const: 1 if the last parameter takes a list */
    value word[];        /* const */
};

struct closure {
    struct head head;
    struct code *code; /* const */
    value free[];      /* const: captured values, or boxes of captured variables that change */
};

/* Arguments are on the VM's stack, so they are held; n is between min and max. */
typedef value primitive_fn(struct vm *vm, value *arg, uint32_t n);

struct prim_spec {
    const char *name;
    primitive_fn *fn;
    uint32_t min, max; /* arguments */
};

struct primitive {
    struct head head;
    const struct prim_spec *spec;
};

/* A variable that changes and is captured, (box v), a macro's procedure. */
struct box {
    struct head head;
    value value;
};

/* One for each kind of object: files that share a type share pages. */
extern const gc_type *const pair_type, *const string_type, *const symbol_type,
        *const vector_type, *const code_type, *const closure_type, *const primitive_type,
        *const box_type, *const word_type;
extern const gc_decode value_decode;

/* ---- words ---- */

#define is_integer(v)    (((v) & 1) == 0)
#define integer_of(v)    ((int64_t)(v) >> 1)
#define integer(i)       ((value)(i) << 1)
#define is_char(v)       (((v) & 0xff) == TAG_CHAR)
#define char_of(v)       ((char)((v) >> 8))
#define character(c)     ((value)(unsigned char)(c) << 8 | TAG_CHAR)
#define boolean(b)       ((b) ? TRUE : FALSE)
#define is_pair(v)       (((v) & TAG_BITS) == TAG_PAIR)
#define pair_of(v)       ((struct pair *)((v) - TAG_PAIR))
#define is_object(v)     (((v) & TAG_BITS) == TAG_OBJECT)
#define object_of(v)     ((void *)((v) - TAG_OBJECT))
#define object(p)        ((value)(p) + TAG_OBJECT)
#define kind_of(v)       (((const struct head *)object_of(v))->kind)
#define is_kind(v, kind) (is_object(v) && kind_of(v) == (kind))
#define string_of(v)     ((struct string *)object_of(v))
#define symbol_of(v)     ((struct symbol *)object_of(v))
#define vector_of(v)     ((struct vector *)object_of(v))
#define box_of(v)        ((struct box *)object_of(v))

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

/* An object's mutex: whoever has to wait is in a blocking region meanwhile. */
static inline void
lock(pthread_mutex_t *mutex)
{
    if (pthread_mutex_trylock(mutex) != 0)
        GC_BLOCKING { pthread_mutex_lock(mutex); }
}

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

value cons(value a, value b);
value box_new(enum kind kind, value v);
/*
 * text NULL: the caller fills the bytes in at once.  0 if memory is out, and size is not below
 * STRING_SMALL.
 */
value string_new(const char *text, size_t size);
/* 0 if memory is out. */
value vector_new(size_t n, value fill);

enum kind value_kind(value v);
/* The same for values that are equal?, which prelude.scm says. */
uint64_t value_hash(value v);

/*
 * Reader, compiler and the VM itself call themselves for nested data: this
 * says whether the thread's C stack has had enough of it, since value_depth_start.
 */
void value_depth_start(void);
bool value_too_deep(void);

/* ---- symbol.c ---- */

/* False without memory.  Once, by the first thread. */
bool symbol_init(void);
/*
 * The symbol of that name, which is shorter than STRING_SMALL: the same one for every
 * thread, for as long as anybody holds it.
 */
value symbol_intern(const char *name, size_t size);
value symbol(const char *name);
/* It lives for ever. */
void symbol_keep(value symbol);
/* Sets its global variable, and keeps it.  The second time calls of it are calls. */
void symbol_define(value symbol, value v);
/* What the compiler knows by x, if that is a symbol, or 0. */
static inline uint64_t
symbol_special(value x)
{
    return is_kind(x, SYMBOL) ? word_load(&symbol_of(x)->special) : 0;
}
/* How many live. */
size_t symbol_count(void);

#endif
