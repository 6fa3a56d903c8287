/* SPDX-License-Identifier: MIT */
/*
 * The compiler: from a datum straight to instructions.
 *
 * Purpose: special forms, scopes, closures, macros; calls of some procedures are instructions.
 * Place: the REPL, load and eval call compile().  Fails (vm_fail) on bad syntax.
 * How: compile_datum leaves a datum's value in the accumulator; with `tail` it also leaves
 * the procedure, by RETURN or a tail call.  test() branches.  The compiler knows how many
 * words stand in the frame at each moment, so variables have fixed slots, and the largest
 * number is all that the VM checks, once, when the procedure is entered.
 * Two readings: a variable that is captured and changes must be in a box from the beginning,
 * and that is known at the end.  So each form is compiled twice.  The first time makes the
 * variables and learns about them, and its code is thrown away; the second one meets the same
 * variables in the same order.  That is so because the datum is a copy of the compiler's
 * own, in which macro calls are replaced by what they gave.
 * Closures are flat: they copy what they capture, a box if there is one.  A procedure that
 * calls itself captures nothing for that, and in tail position it is a jump: loops are no more.
 * Memory: the copy and the list of variables are held by the frame of compile(), instructions
 * by that of compile_lambda; all else lies on the C stack, so an error leaves nothing behind.
 */
#include "vm.h"

#define IS_SMALL(x) (is_integer(x) && integer_of(x) == (int16_t)integer_of(x))

enum { CAPTURED_MAX = 100 };

struct var {
    struct var *next;   /* the one that was bound after it */
    struct var *outer;  /* the scope around it */
    value name;
    uint32_t level;     /* how many lambdas are around its own */
    uint32_t slot;      /* in that one's frame */
    bool ready;         /* has its first value */
    bool changes, captured, recurs;
};

/* A procedure that is being compiled. */
struct lambda {
    struct lambda *outer;
    struct var *self;  /* the variable that this procedure is the value of, or NULL */
    uint32_t level, params;
    bool rest;
    value *word;       /* code so far: on the heap */
    size_t n, capacity;
    uint32_t depth, most; /* words in the frame: now, at most */
    uint32_t ncaptured;
    struct var *captured[CAPTURED_MAX]; /* scopes hold them */
};

struct compiler {
    struct vm *vm;
    struct lambda *lambda;
    struct var *scope; /* the innermost variable */
    struct var *last;  /* the one that was bound last */
};

/* What the compiler knows by a symbol. */
struct special {
    const char *name;
    void (*form)(struct compiler *c, value x, bool tail); /* NULL: an inlined procedure */
    uint32_t args;
    enum op op, op_int; /* op_int: where the last argument is small; or 0 */
    bool test;          /* the instruction branches */
};
enum { SPECIALS = 30 };
static const struct special specials[SPECIALS];

/* The last jump to a place that is still to come, plus one; each leads to the one before. */
typedef size_t label;

static void
trace_var(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct var *v = obj;

    (void)bytes;
    gc_trace_words(tracer, v, offsetof(struct var, name) / sizeof(value));
    gc_trace_tagged(tracer, &value_decode, &v->name, 1);
}
GC_TYPE_TRACED(var_type, struct var, trace_var);

/* ---- data ---- */

/* How many elements the list has; UINT32_MAX if it is none. */
static uint32_t
length(value list)
{
    uint32_t n = 0;

    for (; is_pair(list); list = cdr(list))
        n++;
    return list == NIL ? n : UINT32_MAX;
}

/* The same; fails if it is out of range. */
static uint32_t
want(struct compiler *c, value list, uint32_t min, uint32_t max)
{
    uint32_t n = length(list);

    if (n < min || n > max)
        vm_fail(c->vm, list, "bad syntax");
    return n;
}

static struct var *
lookup(const struct compiler *c, value name)
{
    struct var *v = c->scope;

    while (v != NULL && v->name != name)
        v = v->outer;
    return v;
}

/* What the compiler knows about calls like x; NULL: nothing, or a variable hides it. */
static const struct special *
special_of(const struct compiler *c, value x)
{
    uint64_t n = is_pair(x) ? symbol_special(car(x)) : 0;

    return n == 0 || lookup(c, car(x)) != NULL ? NULL : &specials[n];
}

/* ---- instructions ---- */

static void
put(struct compiler *c, value w)
{
    struct lambda *l = c->lambda;
    value *bigger = NULL;

    if (l->n == l->capacity) {
        GC_FRAME(w, bigger);
        bigger = gc_alloc_array(word_type, 2 * l->capacity);
        gc_copy(word_type, bigger, l->word, l->n);
        l->word = bigger;
        l->capacity *= 2;
    }
    word_store(&l->word[l->n++], w);
}

static void
put_op(struct compiler *c, enum op op, uint32_t a, int64_t b)
{
    if (a > UINT16_MAX || b != (int32_t)b)
        vm_fail(c->vm, NOTHING, "syntax: a procedure is too large");
    put(c, (value)op << 1 | (value)a << 16 | (value)(uint32_t)b << 32);
}

/* An instruction that may go on at the label; NULL: it does not branch. */
static void
put_jump(struct compiler *c, enum op op, uint32_t a, label *to)
{
    put_op(c, op, a, to == NULL ? 0 : (int64_t)*to);
    if (to != NULL)
        *to = c->lambda->n;
}

/* The label is here. */
static void
here(struct compiler *c, const label *from)
{
    struct lambda *l = c->lambda;

    for (size_t at = *from; at != 0;) {
        value w = l->word[at - 1];

        word_store(&l->word[at - 1], (w & UINT32_MAX) | (value)(l->n - at) << 32);
        at = w >> 32;
    }
}

static void
grow(struct compiler *c, uint32_t words)
{
    c->lambda->depth += words;
    if (c->lambda->depth > c->lambda->most)
        c->lambda->most = c->lambda->depth;
}

static void
leave(struct compiler *c, bool tail)
{
    if (tail)
        put_op(c, OP_RETURN, c->lambda->params, 0);
}

static void
constant(struct compiler *c, value v, bool tail)
{
    put_op(c, OP_CONST, 0, 0);
    put(c, v);
    leave(c, tail);
}

/* ---- variables ---- */

static bool
is_boxed(const struct var *v)
{
    return v->changes && (v->captured || v->recurs);
}

/* A new variable, whose first value is in the slot.  The second reading meets it again. */
static void
bind(struct compiler *c, value name, uint32_t slot, bool ready)
{
    struct var *v = c->last->next;

    if (!is_kind(name, SYMBOL))
        vm_fail(c->vm, name, "syntax: not the name of a variable");
    if (v == NULL) {
        v = gc_alloc(&var_type);
        v->name = name;
        gc_write(&c->last->next, v);
        gc_write(&v->outer, c->scope);
    }
    v->level = c->lambda->level;
    v->slot = slot;
    v->ready = ready;
    c->scope = c->last = v;
    if (is_boxed(v))
        put_op(c, OP_BOX, slot, 0);
}

/* The variable's number among what the current lambda captures. */
static uint32_t
capture(struct compiler *c, struct var *v)
{
    struct lambda *l = c->lambda;
    uint32_t i = 0;

    while (i < l->ncaptured && l->captured[i] != v)
        i++;
    if (i == CAPTURED_MAX)
        vm_fail(c->vm, v->name, "syntax: too many captured variables");
    if (i == l->ncaptured)
        l->captured[l->ncaptured++] = v;
    return i;
}

/* The current lambda is the variable's value, for ever. */
static bool
is_self(const struct compiler *c, const struct var *v)
{
    return c->lambda->self == v && !v->changes;
}

/* A variable's value, or its box, if it has one and `raw` says so. */
static void
load(struct compiler *c, struct var *v, bool raw)
{
    bool unbox = is_boxed(v) && !raw;

    if (v->level == c->lambda->level) {
        put_op(c, unbox ? OP_LOCAL_BOX : OP_LOCAL, v->slot, 0);
    } else if (is_self(c, v)) {
        v->recurs = true;
        put_op(c, OP_SELF, 0, 0);
    } else {
        uint32_t i = capture(c, v);

        put_op(c, unbox ? OP_FREE_BOX : OP_FREE, i, 0);
    }
}

/* For a closure that is about to be made. */
static void
push_captured(struct compiler *c, struct var *v)
{
    if (v->level == c->lambda->level) {
        v->captured = true;
        v->changes |= !v->ready;
    }
    load(c, v, true);
    put_op(c, OP_PUSH, 0, 0);
    grow(c, 1);
}

static void
store(struct compiler *c, struct var *v)
{
    if (v->level != c->lambda->level)
        put_op(c, OP_SET_FREE_BOX, capture(c, v), 0);
    else
        put_op(c, is_boxed(v) ? OP_SET_LOCAL_BOX : OP_SET_LOCAL, v->slot, 0);
}

/* ---- bodies and procedures ---- */

static void compile_datum(struct compiler *c, value x, bool tail);
static void compile_lambda(struct compiler *c, value name, struct var *self, value params,
        value body);
static void form_define(struct compiler *c, value x, bool tail);
static void form_lambda(struct compiler *c, value x, bool tail);

static void
push(struct compiler *c, value x)
{
    struct var *v = is_kind(x, SYMBOL) ? lookup(c, x) : NULL;

    if (v != NULL && v->level == c->lambda->level && !is_boxed(v)) {
        put_op(c, OP_PUSH_LOCAL, v->slot, 0);
    } else if (v == NULL && !is_pair(x) && !is_kind(x, SYMBOL) && x != NIL) {
        put_op(c, OP_PUSH_CONST, 0, 0);
        put(c, x);
    } else {
        compile_datum(c, x, false);
        put_op(c, OP_PUSH, 0, 0);
    }
    grow(c, 1);
}

static uint32_t
push_all(struct compiler *c, value list)
{
    uint32_t n = want(c, list, 0, UINT16_MAX);

    for (; is_pair(list); list = cdr(list))
        push(c, car(list));
    return n;
}

static void
compile_row(struct compiler *c, value list, bool tail)
{
    if (list == NIL) {
        constant(c, NOTHING, tail);
        return;
    }
    for (; cdr(list) != NIL; list = cdr(list))
        compile_datum(c, car(list), false);
    compile_datum(c, car(list), tail);
}

static bool
is_form(const struct compiler *c, value x, void (*form)(struct compiler *, value, bool))
{
    const struct special *s = special_of(c, x);

    return s != NULL && s->form == form;
}

static value
defined_name(struct compiler *c, value x)
{
    want(c, x, 2, MANY - 1);
    x = car(cdr(x));
    return is_pair(x) ? car(x) : x;
}

/* (define name x), (define (name . params) body ...): the value, of self if that is not NULL. */
static void
compile_defined(struct compiler *c, value x, struct var *self)
{
    value name = car(cdr(x)), rest = cdr(cdr(x));

    if (is_pair(name)) {
        compile_lambda(c, car(name), self, cdr(name), rest);
        return;
    }
    want(c, x, 3, 3);
    compile_datum(c, car(rest), false);
}

/* Definitions, which all know one another, and then expressions. */
static void
compile_body(struct compiler *c, value body, bool tail)
{
    struct var *scope = c->scope;
    uint32_t depth = c->lambda->depth;
    value x;

    want(c, body, 1, MANY - 1);
    for (x = body; is_pair(x) && is_form(c, car(x), form_define); x = cdr(x)) {
        push(c, integer(0));
        bind(c, defined_name(c, car(x)), c->lambda->depth - 1, false);
    }
    if (x == NIL)
        vm_fail(c->vm, body, "bad syntax");
    for (value d = body; d != x; d = cdr(d)) {
        struct var *v = lookup(c, defined_name(c, car(d)));

        compile_defined(c, car(d), v);
        store(c, v);
        v->ready = true;
    }
    compile_row(c, x, tail);
    if (!tail && c->lambda->depth != depth)
        put_op(c, OP_POP, c->lambda->depth - depth, 0);
    c->lambda->depth = depth;
    c->scope = scope;
}

static uint32_t
bind_params(struct compiler *c, value params, uint32_t slot)
{
    for (; is_pair(params); params = cdr(params))
        bind(c, car(params), slot++, true);
    if (params != NIL) {
        bind(c, params, slot++, true);
        c->lambda->rest = true;
    }
    return slot;
}

/* A closure of (lambda params body ...) gets into acc. */
static void
compile_lambda(struct compiler *c, value name, struct var *self, value params, value body)
{
    struct lambda l = { .outer = c->lambda, .self = self, .capacity = 32,
        .level = c->lambda == NULL ? 0 : c->lambda->level + 1 };
    struct var *scope = c->scope;
    struct code *code = NULL;
    value closure;
    GC_FRAME(l.word, code);

    c->lambda = &l;
    l.word = gc_alloc_array(word_type, l.capacity);
    l.params = bind_params(c, params, 0);
    grow(c, l.params + LINK_WORDS);
    if (l.outer == NULL)
        compile_row(c, body, true);
    else
        compile_body(c, body, true);
    code = gc_alloc_flex(code_type, l.n);
    code->name = name == NIL ? NULL : symbol_of(name);
    code->params = l.params;
    code->rest = l.rest;
    code->depth = l.most - l.params + 1;
    gc_copy(word_type, code->word, l.word, l.n);
    c->scope = scope;
    if ((c->lambda = l.outer) == NULL) {
        c->vm->acc = object(code);
        return;
    }
    for (uint32_t i = 0; i < l.ncaptured; i++)
        push_captured(c, l.captured[i]);
    put_op(c, l.ncaptured == 0 ? OP_CONST : OP_CLOSURE, l.ncaptured, 0);
    closure = l.ncaptured == 0 ? vm_closure(object(code), NULL, 0) : object(code);
    put(c, closure);
    c->lambda->depth -= l.ncaptured;
}

/* ---- tests and inlined procedures ---- */

static const struct special *
inlined(const struct compiler *c, value x)
{
    const struct special *s = special_of(c, x);

    return s != NULL && s->form == NULL && length(cdr(x)) == s->args ? s : NULL;
}

/* The instruction of s, behind its operands: all but the last one on the stack. */
static void
operate(struct compiler *c, const struct special *s, value args, label *no)
{
    if (s->op_int != 0 && IS_SMALL(car(cdr(args)))) {
        compile_datum(c, car(args), false);
        put_jump(c, s->op_int, (uint16_t)integer_of(car(cdr(args))), no);
        return;
    }
    for (; cdr(args) != NIL; args = cdr(args))
        push(c, car(args));
    compile_datum(c, car(args), false);
    put_jump(c, s->op, 0, no);
    c->lambda->depth -= s->args - 1;
}

/* Goes on if x is true, else to `no`. */
static void
test(struct compiler *c, value x, label *no)
{
    const struct special *s = inlined(c, x);
    label yes = 0;

    if (s != NULL && s->op == OP_JUMP_TRUE) { /* (not x) */
        test(c, car(cdr(x)), &yes);
        put_jump(c, OP_JUMP, 0, no);
    } else if (s != NULL && s->test) {
        operate(c, s, cdr(x), no);
    } else {
        compile_datum(c, x, false);
        put_jump(c, OP_JUMP_FALSE, 0, no);
    }
    here(c, &yes);
}

static void
compile_inlined(struct compiler *c, const struct special *s, value x, bool tail)
{
    label no = 0, end = 0;

    if (!s->test) {
        operate(c, s, cdr(x), NULL);
        leave(c, tail);
        return;
    }
    test(c, x, &no);
    constant(c, TRUE, tail);
    if (!tail)
        put_jump(c, OP_JUMP, 0, &end);
    here(c, &no);
    constant(c, FALSE, tail);
    here(c, &end);
}

/* ---- calls ---- */

/* ((lambda (x ...) body ...) a ...), which is (let ((x a) ...) body ...): no procedure at all */
static void
compile_let(struct compiler *c, value lambda, value args, bool tail)
{
    struct var *scope = c->scope;
    uint32_t depth = c->lambda->depth;

    push_all(c, args);
    bind_params(c, car(cdr(lambda)), depth);
    compile_body(c, cdr(cdr(lambda)), tail);
    if (!tail && c->lambda->depth != depth)
        put_op(c, OP_POP, c->lambda->depth - depth, 0);
    c->lambda->depth = depth;
    c->scope = scope;
}

static void
compile_call(struct compiler *c, value x, bool tail)
{
    uint32_t n = want(c, x, 1, UINT16_MAX) - 1;
    value head = car(x);
    struct var *v = is_kind(head, SYMBOL) ? lookup(c, head) : NULL;

    if (is_form(c, head, form_lambda) && want(c, head, 3, MANY - 1) > 2
            && length(car(cdr(head))) == n) {
        compile_let(c, head, cdr(x), tail);
        return;
    }
    push_all(c, cdr(x));
    if (tail && v != NULL && is_self(c, v) && n == c->lambda->params && !c->lambda->rest) {
        v->recurs = true;
        put_op(c, OP_AGAIN, n, 0);
    } else if (v == NULL && is_kind(head, SYMBOL) && symbol_special(head) == 0) {
        put_op(c, tail ? OP_TAIL_GLOBAL : OP_CALL_GLOBAL, n, 0);
        put(c, head);
    } else {
        compile_datum(c, head, false);
        put_op(c, tail ? OP_TAIL_CALL : OP_CALL, n, 0);
    }
    c->lambda->depth -= n;
}

/* ---- special forms ---- */

static void
form_quote(struct compiler *c, value x, bool tail)
{
    x = cdr(x);
    if (!is_pair(x))
        vm_fail(c->vm, x, "bad syntax");
    constant(c, car(x), tail);
}

static void
form_if(struct compiler *c, value x, bool tail)
{
    bool otherwise = want(c, x, 3, 4) == 4;
    label no = 0, end = 0;

    x = cdr(x);
    test(c, car(x), &no);
    x = cdr(x);
    compile_datum(c, car(x), tail);
    if (!tail)
        put_jump(c, OP_JUMP, 0, &end);
    here(c, &no);
    if (otherwise)
        compile_datum(c, car(cdr(x)), tail);
    else
        constant(c, NOTHING, tail);
    here(c, &end);
}

static void
form_begin(struct compiler *c, value x, bool tail)
{
    want(c, x, 1, MANY - 1);
    compile_row(c, cdr(x), tail);
}

static void
form_and_or(struct compiler *c, value x, bool tail)
{
    enum op op = special_of(c, x)->op;
    label end = 0;

    if (want(c, x, 1, MANY - 1) == 1) {
        constant(c, boolean(op == OP_JUMP_FALSE), tail);
        return;
    }
    for (x = cdr(x); cdr(x) != NIL; x = cdr(x)) {
        compile_datum(c, car(x), false);
        put_jump(c, op, 0, &end);
    }
    compile_datum(c, car(x), tail);
    here(c, &end);
    leave(c, tail);
}

static void
form_lambda(struct compiler *c, value x, bool tail)
{
    want(c, x, 3, MANY - 1);
    compile_lambda(c, NIL, NULL, car(cdr(x)), cdr(cdr(x)));
    leave(c, tail);
}

/* (define-macro (name . params) body ...): called with the form's parts, it gives another */
static void
form_define(struct compiler *c, value x, bool tail)
{
    enum op op = special_of(c, x)->op;
    value name = defined_name(c, x);

    if (c->scope != NULL || c->lambda->outer != NULL)
        vm_fail(c->vm, x, "syntax: define stands neither at the top nor first in a body");
    if (!is_kind(name, SYMBOL) || specials[symbol_special(name)].form != NULL)
        vm_fail(c->vm, name, "define: not a name that can be defined");
    compile_defined(c, x, NULL);
    put_op(c, op, 0, 0);
    put(c, name);
    leave(c, tail);
}

static void
form_set(struct compiler *c, value x, bool tail)
{
    struct var *v;
    value name;

    want(c, x, 3, 3);
    name = car(cdr(x));
    if (!is_kind(name, SYMBOL))
        vm_fail(c->vm, x, "bad syntax");
    compile_datum(c, car(cdr(cdr(x))), false);
    v = lookup(c, name);
    if (v != NULL) {
        v->changes = true;
        store(c, v);
    } else {
            put_op(c, OP_SET_GLOBAL, 0, 0);
        put(c, name);
    }
    leave(c, tail);
}

static const struct special specials[SPECIALS] = {
    { .name = NULL },
    { "quote", form_quote, 0, 0, 0, false }, /* SPECIAL_QUOTE */
    { "if", form_if, 0, 0, 0, false },
    { "begin", form_begin, 0, 0, 0, false },
    { "and", form_and_or, 0, OP_JUMP_FALSE, 0, false },
    { "or", form_and_or, 0, OP_JUMP_TRUE, 0, false },
    { "lambda", form_lambda, 0, 0, 0, false },
    { "define", form_define, 0, OP_DEFINE, 0, false },
    { "define-macro", form_define, 0, OP_DEFINE_MACRO, 0, false },
    { "set!", form_set, 0, 0, 0, false },
    { "+", NULL, 2, OP_ADD, OP_ADD_INT, false },
    { "-", NULL, 2, OP_SUB, OP_SUB_INT, false },
    { "*", NULL, 2, OP_MUL, 0, false },
    { "quotient", NULL, 2, OP_QUOTIENT, 0, false },
    { "remainder", NULL, 2, OP_REMAINDER, 0, false },
    { "<", NULL, 2, OP_IF_LT, OP_IF_LT_INT, true },
    { "<=", NULL, 2, OP_IF_LE, OP_IF_LE_INT, true },
    { ">", NULL, 2, OP_IF_GT, OP_IF_GT_INT, true },
    { ">=", NULL, 2, OP_IF_GE, OP_IF_GE_INT, true },
    { "=", NULL, 2, OP_IF_SAME, OP_IF_SAME_INT, true },
    { "eq?", NULL, 2, OP_IF_EQ, 0, true },
    { "zero?", NULL, 1, OP_IF_ZERO, 0, true },
    { "null?", NULL, 1, OP_IF_NULL, 0, true },
    { "pair?", NULL, 1, OP_IF_PAIR, 0, true },
    { "not", NULL, 1, OP_JUMP_TRUE, 0, true },
    { "cons", NULL, 2, OP_CONS, 0, false },
    { "car", NULL, 1, OP_CAR, 0, false },
    { "cdr", NULL, 1, OP_CDR, 0, false },
    { "vector-ref", NULL, 2, OP_VECTOR_REF, 0, false },
    { "vector-set!", NULL, 3, OP_VECTOR_SET, 0, false },
};

/* ---- any datum ---- */

static void
compile_name(struct compiler *c, value name, bool tail)
{
    struct var *v = lookup(c, name);

    if (v != NULL) {
        load(c, v, false);
    } else {
        if (specials[symbol_special(name)].form != NULL)
            vm_fail(c->vm, name, "syntax: a special form's name alone");
        put_op(c, OP_GLOBAL, 0, 0);
        put(c, name);
    }
    leave(c, tail);
}

/* A macro's call becomes (EXPANDED . what it gave).  It runs on this VM, in a run of its own. */
static void
expand(struct compiler *c, value macro, value x)
{
    value result = NIL;
    GC_FRAME(result);

    if (!vm_apply(c->vm, box_of(macro)->value, cdr(x), &result))
        vm_raise(c->vm, result);
    result = reader_copy(c->vm, result);
    word_store(&pair_of(x)->car, EXPANDED);
    word_store(&pair_of(x)->cdr, result);
}

static void
compile_pair(struct compiler *c, value x, bool tail)
{
    const struct special *s = special_of(c, x), *in = inlined(c, x);

    if (s == NULL && is_kind(car(x), SYMBOL) && lookup(c, car(x)) == NULL) {
        value macro = word_load(&symbol_of(car(x))->global);

        if (is_kind(macro, MACRO))
            expand(c, macro, x);
    }
    if (car(x) == EXPANDED)
        compile_datum(c, cdr(x), tail);
    else if (s != NULL && s->form != NULL)
        s->form(c, x, tail);
    else if (in != NULL)
        compile_inlined(c, in, x, tail);
    else
        compile_call(c, x, tail);
}

static void
compile_datum(struct compiler *c, value x, bool tail)
{
    if (value_too_deep())
        vm_fail(c->vm, NOTHING, "syntax: nested too deeply");
    if (is_kind(x, SYMBOL))
        compile_name(c, x, tail);
    else if (is_pair(x))
        compile_pair(c, x, tail);
    else if (x == NIL)
        vm_fail(c->vm, x, "bad syntax");
    else
        constant(c, x, tail);
}

value
compile(struct vm *vm, value datum)
{
    struct var *first = NULL;
    GC_FRAME(datum, first);

    datum = cons(reader_copy(vm, datum), NIL);
    first = gc_alloc(&var_type);
    for (int reading = 1; reading <= 2; reading++) {
        struct compiler c = { .vm = vm, .last = first };

        compile_lambda(&c, NIL, NULL, NIL, datum);
    }
    return vm_closure(vm->acc, NULL, 0);
}

void
compile_init(void)
{
    for (size_t i = 1; i < SPECIALS; i++) {
        value s = symbol(specials[i].name);

        GC_FRAME(s);
        symbol_keep(s);
        symbol_of(s)->special = i;
    }
}
