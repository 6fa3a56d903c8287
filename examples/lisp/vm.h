/* SPDX-License-Identifier: MIT */
#ifndef LISP_VM_H
#define LISP_VM_H

/*
 * One VM to a thread, with a value stack of its own outside of the heap.  A frame is
 *
 *     fp[0 .. params)      arguments
 *     fp[params]           where the caller goes on (an even word)
 *     fp[params + 1]       the caller's fp, as an offset from base (even)
 *     fp[params + 2]       the caller's closure
 *     fp[params + 3 ..)    let variables and temporaries
 *
 * trace_vm reports all words below sp and the registers kept here and in traps.  The
 * interpreter keeps its registers in locals, and brings them here before each call that may
 * need them.
 */
#include "value.h"

#include <setjmp.h>

enum op {
#define OP(name, ...) OP_##name,
#include "ops.def"
#undef OP
};

enum { LINK_WORDS = 3, VM_STACK_MAX = 1 << 24 /* words */ };

/* Where errors go: a guard's, a macro expansion's, that of a whole form. */
struct trap {
    jmp_buf env;
    struct trap *outer;
    void *frames; /* the thread's GC_FRAMEs when it was set */
    size_t sp, fp;
    struct closure *self;
    value code[2]; /* the call that the run began with, and its end */
};

struct vm {
    value *base, *sp, *fp; /* owner */
    value *limit;          /* a frame may begin below */
    const value *pc;
    struct closure *self;
    value acc;
    value thrown;          /* what was raised last, until the next */
    struct trap *trap;     /* the innermost */
    uint32_t argc;         /* with CALL_AGAIN */
    size_t capacity, capacity_max; /* words */
};

/* False without memory.  The caller is attached; vm stays where it is until vm_finish. */
bool vm_init(struct vm *vm, size_t words_max);
void vm_finish(struct vm *vm);
/* Calls f with a list of arguments.  False: something was raised, and is in *ret. */
bool vm_apply(struct vm *vm, value f, value args, value *ret);
/* A closure of the code; what it captures and the code are held by the caller. */
value vm_closure(value code, const value *captured, uint32_t n);
/* Makes room for so many words.  The stack may move. */
void vm_reserve(struct vm *vm, size_t words);
/* Pushes a list's elements; their number.  The stack may move. */
uint32_t vm_spread(struct vm *vm, value list);
/* The same for C code that may fail. */
bool vm_protect(struct vm *vm, value (*body)(struct vm *, void *), void *arg, value *ret);

/* An error with a message, and the value that it is about, if that is not NOTHING. */
_Noreturn void vm_fail(struct vm *vm, value about, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* (error message irritants name ...): names of the procedures of now, innermost first. */
value vm_condition(struct vm *vm, value message, value irritants);
_Noreturn void vm_raise(struct vm *vm, value thrown);
/* For primitives: v must be of the kind, or the named procedure fails. */
void *vm_want(struct vm *vm, const char *who, enum kind kind, value v);
int64_t vm_want_index(struct vm *vm, const char *who, value v, uint64_t below);

/*
 * compile.c: a closure without arguments that does what the datum says.  Fails as VMs do.
 * compile_init makes the special forms known.
 */
value compile(struct vm *vm, value datum);
void compile_init(void);

/* ---- reader.c ---- */

struct reader {
    struct vm *vm;
    const char *at, *end; /* the text stays where it is, and is held by the caller */
    const char *name;     /* for messages: "file" or NULL */
    uint32_t line;        /* of at, from 1 */
};

/*
 * The next datum, or END_OF_FILE.  Fails for what is no datum; the message of one that only
 * lacks its end is READER_MORE.
 */
value reader_next(struct reader *r);
#define READER_MORE "unexpected end of the text"
/* A copy but of what is quoted: no other thread can change it, and the compiler may. */
value reader_copy(struct vm *vm, value x);

extern unsigned thread_unjoined; /* threads that nobody has joined; atomic */

/* ---- primitives ---- */

#define MANY UINT32_MAX
#define PRIM(name)                                                                         \
    static value prim_##name(struct vm *vm __attribute__((unused)),                        \
            value *arg __attribute__((unused)), uint32_t n __attribute__((unused)))

/* Each ends with a NULL.  prims_define makes them the values of global variables. */
extern const struct prim_spec data_prims[], thread_prims[];
void prims_define(const struct prim_spec *spec);

#endif
