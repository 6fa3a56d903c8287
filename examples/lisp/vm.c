/* SPDX-License-Identifier: MIT */
/*
 * The interpreter.
 *
 * Purpose: runs compiled code (ops.def) on a value stack.
 * Place: main.c and thread.c start it; it calls primitives.  Those that end in a call (apply,
 * eval) put it on the stack and return CALL_AGAIN, and those that call many (map, sort) are
 * written in Lisp, so one run is one C frame however deep Lisp recurses; the stack grows by
 * doubling up to a limit, which is a Lisp error.  Guards and macros are runs of their own.
 * Roots: the thread is precise.  trace_vm reports the stack and the registers; SAVE() brings
 * them up to date before every call that may answer a handshake.  Between calls there is
 * gc_safepoint, at each procedure's entry and each turn of a loop, because a precise thread
 * is not interrupted.  The stack belongs to the thread, so it is written plainly.
 * Errors: raising jumps to the trap of the innermost vm_protect, which puts the stack and
 * the thread's GC_FRAMEs right.  Nothing is held across a failing call that would need to be
 * undone.
 * Cost: an instruction is a load and an indirect jump; a call three words and a poll; a
 * cycle reads the whole stack in one handshake, about a nanosecond a word.
 */
#include "vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

enum { STACK_FIRST = 1024, STACK_SLACK = 32, TRACE_MAX = 12 };

static void
trace_vm(gc_tracer *tracer, void *arg)
{
    const struct vm *vm = arg;

    gc_trace_tagged(tracer, &value_decode, vm->base, (size_t)(vm->sp - vm->base));
    gc_trace_tagged(tracer, &value_decode, &vm->acc, 1);
    gc_trace_tagged(tracer, &value_decode, &vm->thrown, 1);
    gc_trace(tracer, vm->self);
    for (const struct trap *t = vm->trap; t != NULL; t = t->outer)
        gc_trace(tracer, t->self);
}

bool
vm_init(struct vm *vm, size_t words_max)
{
    *vm = (struct vm){ .capacity = STACK_FIRST, .capacity_max = words_max };
    vm->base = malloc(STACK_FIRST * sizeof(value));
    if (vm->base == NULL)
        return false;
    vm->sp = vm->fp = vm->base;
    value_depth_start();
    vm->limit = vm->base + vm->capacity - STACK_SLACK;
    return gc_root_callback(trace_vm, vm) == GC_OK;
}

void
vm_finish(struct vm *vm)
{
    gc_root_callback_remove(trace_vm, vm);
    free(vm->base);
}

/* ---- errors ---- */

static value
trace_of(const struct vm *vm)
{
    const struct closure *self = vm->self;
    const value *fp = vm->fp;
    value first = cons(NIL, NIL), last = first, name = NIL;
    GC_FRAME(first, last, name);

    for (int n = 0; self != NULL && n < TRACE_MAX; n++) {
        const value *link = fp + self->code->params;

        name = self->code->name != NULL ? object(self->code->name) : symbol("lambda");
        name = cons(name, NIL);
        word_store(&pair_of(last)->cdr, name);
        last = name;
        fp = (value *)((char *)vm->base + link[1]);
        self = object_of(link[2]);
    }
    return cdr(first);
}

value
vm_condition(struct vm *vm, value message, value irritants)
{
    value list = NIL, error = NIL;
    GC_FRAME(message, irritants, list, error);

    list = trace_of(vm);
    list = cons(irritants, list);
    list = cons(message, list);
    error = symbol("error");
    return cons(error, list);
}

void
vm_fail(struct vm *vm, value about, const char *format, ...)
{
    char text[200];
    value message = NIL, irritants = NIL;
    va_list args;
    GC_FRAME(message, irritants);

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    irritants = about == NOTHING ? NIL : cons(about, NIL);
    message = string_new(text, strlen(text));
    vm_raise(vm, vm_condition(vm, message, irritants));
}

void
vm_raise(struct vm *vm, value thrown)
{
    vm->thrown = thrown;
    longjmp(vm->trap->env, 1);
}

void *
vm_want(struct vm *vm, const char *who, enum kind kind, value v)
{
    if (value_kind(v) != kind)
        vm_fail(vm, v, "%s: not a %s", who, kind_names[kind]);
    return is_object(v) ? object_of(v) : NULL;
}

int64_t
vm_want_index(struct vm *vm, const char *who, value v, uint64_t below)
{
    if (!is_integer(v) || (uint64_t)integer_of(v) >= below)
        vm_fail(vm, v, "%s: index out of range", who);
    return integer_of(v);
}

static _Noreturn void
wrong_integers(struct vm *vm, value l, value r)
{
    vm_want(vm, "arithmetic", INTEGER, l);
    vm_want(vm, "arithmetic", INTEGER, r);
    vm_fail(vm, NOTHING, r == integer(0) ? "division by zero" : "integer overflow");
}

static inline value *
element(struct vm *vm, const char *who, value v, value i)
{
    const struct head *head = is_kind(v, VECTOR) ? object_of(v) : vm_want(vm, who, VECTOR, v);

    return &vector_of(v)->item[vm_want_index(vm, who, i, head->size)];
}

/* ---- closures, the stack, arguments ---- */

value
vm_closure(value code, const value *captured, uint32_t n)
{
    struct closure *c = gc_alloc_flex(closure_type, n);

    c->head = (struct head){ CLOSURE, n };
    c->code = object_of(code);
    for (uint32_t i = 0; captured != NULL && i < n; i++)
        c->free[i] = captured[i];
    return object(c);
}

void
vm_reserve(struct vm *vm, size_t words)
{
    size_t sp = (size_t)(vm->sp - vm->base), fp = (size_t)(vm->fp - vm->base);
    size_t capacity = vm->capacity;
    value *base;

    while (sp + words + STACK_SLACK > capacity)
        capacity *= 2;
    if (capacity == vm->capacity)
        return;
    if (capacity > vm->capacity_max
            || (base = realloc(vm->base, capacity * sizeof(value))) == NULL)
        vm_fail(vm, NOTHING, "recursion too deep");
    vm->base = base;
    vm->sp = base + sp;
    vm->fp = base + fp;
    vm->capacity = capacity;
    vm->limit = base + capacity - STACK_SLACK;
}

/* n words below sp become what the callee, in acc, expects. */
static void
adapt_arguments(struct vm *vm, uint32_t n)
{
    const struct code *code = ((struct closure *)object_of(vm->acc))->code;
    value *arg = vm->sp - n;

    if (!code->rest || n + 1 < code->params)
        vm_fail(vm, vm->acc, "called with %u argument%s", n, n == 1 ? "" : "s");
    *vm->sp++ = NIL;
    for (uint32_t i = n; i >= code->params; i--)
        arg[i - 1] = pair_new(arg[i - 1], arg[i]);
    vm->sp = arg + code->params;
}

/* acc is no closure. */
static value
call_primitive(struct vm *vm, uint32_t n)
{
    const struct prim_spec *spec;

    if (!is_kind(vm->acc, PRIMITIVE))
        vm_fail(vm, vm->acc, "not a procedure");
    spec = ((struct primitive *)object_of(vm->acc))->spec;
    if (n < spec->min || n > spec->max)
        vm_fail(vm, vm->acc, "called with %u argument%s", n, n == 1 ? "" : "s");
    return spec->fn(vm, vm->sp - n, n);
}

/* ---- the loop ---- */

#define A      ((uint16_t)(w >> 16))
#define B      ((int32_t)(w >> 32))
#define SAVE() (vm->sp = sp, vm->fp = fp, vm->acc = acc, vm->self = self)
#define NEXT()                                                                             \
    do {                                                                                   \
        w = *pc++;                                                                         \
        goto *labels[w >> 1 & 255];                                                        \
    } while (0)
static __attribute__((noinline)) value
run(struct vm *vm)
{
    static const void *const labels[] = {
#define OP(name, ...) &&op_##name,
#include "ops.def"
#undef OP
    };
    struct closure *self, *callee;
    const value *pc;
    value *sp, *fp, acc, w, link[LINK_WORDS];
    uint32_t n = 0;
    bool tail = false;

    sp = vm->sp, fp = vm->fp, pc = vm->pc, acc = vm->acc, self = vm->self;
    NEXT();
#define OP(name, ...) op_##name : __VA_ARGS__ NEXT();
#include "ops.def"
#undef OP

call: /* acc is called with the n words below sp; if not tail, pc is where to go on */
    if (UNLIKELY(!is_kind(acc, CLOSURE))) {
        SAVE();
        acc = call_primitive(vm, n);
        sp = vm->sp, fp = vm->fp; /* it may have moved the stack */
        if (acc == CALL_AGAIN) {
            acc = vm->acc, n = vm->argc;
            goto call;
        }
        sp -= n;
        if (!tail)
            NEXT();
        n = self->code->params;
        goto leave;
    }
    callee = object_of(acc);
    if (UNLIKELY(callee->code->params != n || callee->code->rest)) {
        SAVE();
        adapt_arguments(vm, n);
        sp = vm->sp;
        n = callee->code->params;
    }
    if (tail) { /* the frame goes */
        memcpy(link, fp + self->code->params, sizeof(link));
        memmove(fp, sp - n, n * sizeof(value));
        sp = memcpy(fp + n, link, sizeof(link));
    } else {
        sp[0] = (value)pc;
        sp[1] = (value)((char *)fp - (char *)vm->base);
        sp[2] = object(self);
        fp = sp - n;
    }
    sp += LINK_WORDS;
    self = callee;
    pc = self->code->word;
    SAVE();
    if (UNLIKELY(sp + self->code->depth > vm->limit)) {
        vm_reserve(vm, self->code->depth);
        sp = vm->sp, fp = vm->fp;
    }
    gc_safepoint();
    NEXT();
leave: /* acc is the result, n the number of the frame's arguments */
    sp = fp;
    pc = (const value *)sp[n];
    fp = (value *)((char *)vm->base + sp[n + 1]);
    self = object_of(sp[n + 2]);
    NEXT();
}

/* ---- ways in ---- */

uint32_t
vm_spread(struct vm *vm, value list)
{
    uint32_t n = 0;

    for (value x = list; is_pair(x) && n < vm->capacity_max; x = cdr(x))
        n++;
    vm->acc = list; /* held while the stack grows, if that fails */
    vm_reserve(vm, n);
    for (uint32_t i = 0; i < n && is_pair(list); i++, list = cdr(list))
        *vm->sp++ = car(list);
    return n;
}

/* arg: a procedure and the list of its arguments */
static value
start(struct vm *vm, void *arg)
{
    const value *call = arg;
    value *code = vm->trap->code;

    code[0] = OP_CALL << 1 | (value)vm_spread(vm, call[1]) << 16;
    code[1] = OP_HALT << 1;
    vm->acc = call[0];
    vm->pc = code;
    vm->self = NULL;
    return run(vm);
}

bool
vm_protect(struct vm *vm, value (*body)(struct vm *, void *), void *arg, value *ret)
{
    struct trap trap = { .outer = vm->trap, .frames = gc_frames_save(), .self = vm->self,
        .sp = (size_t)(vm->sp - vm->base), .fp = (size_t)(vm->fp - vm->base) };
    volatile bool done = false;

    if (value_too_deep())
        vm_fail(vm, NOTHING, "nested too deeply");
    vm->trap = &trap;
    if (setjmp(trap.env) == 0) {
        *ret = body(vm, arg);
        done = true;
    }
    vm->trap = trap.outer;
    vm->self = trap.self;
    vm->sp = vm->base + trap.sp;
    vm->fp = vm->base + trap.fp;
    if (!done) {
        gc_frames_restore(trap.frames);
        *ret = vm->thrown;
    }
    return done;
}

bool
vm_apply(struct vm *vm, value f, value args, value *ret)
{
    value call[] = { f, args };

    GC_FRAME(call);
    return vm_protect(vm, start, call, ret);
}
