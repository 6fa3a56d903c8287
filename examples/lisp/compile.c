/* SPDX-License-Identifier: MIT */
/*
 * The compiler: from a datum straight to instructions.
 *
 * Purpose: special forms, scopes, closures, macros; calls of some procedures are instructions.
 * Place: the REPL, load and eval call compile().  Fails (vm_fail) on bad syntax.
 * How: compile_datum leaves a datum's value in the accumulator; with `tail` it also leaves
 * the procedure, by RETURN or a tail call.  The compiler knows how many words stand in the
 * frame at each moment, so variables have fixed slots, and the largest number is all that the
 * VM checks, once, when the procedure is entered.
 * Two readings: a variable that is captured and changes must be in a box from the beginning,
 * and that is known at the end.  So each form is compiled twice.  The first time makes the
 * variables and learns about them, and its code is thrown away; the second one meets the same
 * variables in the same order.  That is so because the datum is a copy of the compiler's
 * own, in which macro calls are replaced by what they gave.
 * Closures are flat: they copy what they capture, a box if there is one.
 * Memory: the copy and the list of variables are held by the frame of compile(), instructions
 * by that of compile_lambda; all else lies on the C stack, so an error leaves nothing behind.
 */
#include "vm.h"

enum { CAPTURED_MAX = 100 };

struct var {
    struct var *next;   /* the one that was bound after it */
    struct var *outer;  /* the scope around it */
    struct symbol *name;
    uint32_t level;     /* how many lambdas are around its own */
    uint32_t slot;      /* in that one's frame */
    bool ready;         /* has its first value */
    bool changes, captured;
};

/* A procedure that is being compiled. */
struct lambda {
    struct lambda *outer;
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
    enum op op;
};
enum { SPECIALS = 28 };
static const struct special specials[SPECIALS];

GC_TYPE(var_type, struct var, next, outer, name);

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

    while (v != NULL && object(v->name) != name)
        v = v->outer;
    return v;
}

/* What the compiler knows about calls like x: the first special if nothing, or it is hidden. */
static const struct special *
special_of(const struct compiler *c, value x)
{
    uint64_t n = is_pair(x) ? symbol_special(car(x)) : 0;

    return n == 0 || lookup(c, car(x)) != NULL ? specials : &specials[n];
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

/* A jump to a place that is still to come; where the jump is. */
static size_t
put_jump(struct compiler *c, enum op op)
{
    put_op(c, op, 0, 0);
    return c->lambda->n;
}

/* The jump comes here. */
static void
here(struct compiler *c, size_t jump)
{
    value *w = &c->lambda->word[jump - 1];

    word_store(w, *w | (value)(c->lambda->n - jump) << 32);
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
    return v->changes && v->captured;
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
        v->name = symbol_of(name);
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
        vm_fail(c->vm, object(v->name), "syntax: too many captured variables");
    if (i == l->ncaptured)
        l->captured[l->ncaptured++] = v;
    return i;
}

/* A variable's value, or its box, if it has one and `raw` says so. */
static void
load(struct compiler *c, struct var *v, bool raw)
{
    bool unbox = is_boxed(v) && !raw;

    if (v->level == c->lambda->level)
        put_op(c, unbox ? OP_LOCAL_BOX : OP_LOCAL, v->slot, 0);
    else
        put_op(c, unbox ? OP_FREE_BOX : OP_FREE, capture(c, v), 0);
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
static void compile_lambda(struct compiler *c, value name, value params, value body);
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

static value
defined_name(struct compiler *c, value x)
{
    want(c, x, 2, MANY - 1);
    x = car(cdr(x));
    return is_pair(x) ? car(x) : x;
}

/* The value of (define name x) or (define (name . params) body ...). */
static void
compile_defined(struct compiler *c, value x)
{
    value name = car(cdr(x)), rest = cdr(cdr(x));

    if (is_pair(name)) {
        compile_lambda(c, car(name), cdr(name), rest);
        return;
    }
    want(c, x, 3, 3);
    compile_datum(c, car(rest), false);
}

/*
 * Definitions, which all know one another, and then expressions; behind them the scope and the
 * depth are those of before.
 */
static void
compile_body(struct compiler *c, value body, struct var *scope, uint32_t depth, bool tail)
{
    value x;

    want(c, body, 1, MANY - 1);
    for (x = body; is_pair(x) && special_of(c, car(x))->form == form_define; x = cdr(x)) {
        push(c, integer(0));
        bind(c, defined_name(c, car(x)), c->lambda->depth - 1, false);
    }
    if (x == NIL)
        vm_fail(c->vm, body, "bad syntax");
    for (value d = body; d != x; d = cdr(d)) {
        struct var *v = lookup(c, defined_name(c, car(d)));

        compile_defined(c, car(d));
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
compile_lambda(struct compiler *c, value name, value params, value body)
{
    struct lambda l = { .outer = c->lambda, .capacity = 32,
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
        compile_body(c, body, scope, l.depth, true);
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

/* ---- inlined procedures ---- */

/* The instruction of s, behind its operands: all but the last one on the stack. */
static void
compile_inlined(struct compiler *c, const struct special *s, value x, bool tail)
{
    value args = cdr(x);

    for (; cdr(args) != NIL; args = cdr(args))
        push(c, car(args));
    compile_datum(c, car(args), false);
    put_op(c, s->op, 0, 0);
    c->lambda->depth -= s->args - 1;
    leave(c, tail);
}

/* ---- calls ---- */

/* ((lambda (x ...) body ...) a ...), which is let, needs no procedure at all. */
static void
compile_call(struct compiler *c, value x, bool tail)
{
    uint32_t n = want(c, x, 1, UINT16_MAX) - 1;
    value head = car(x);

    if (special_of(c, head)->form == form_lambda && want(c, head, 3, MANY - 1) > 2
            && length(car(cdr(head))) == n) {
        struct var *scope = c->scope;
        uint32_t depth = c->lambda->depth;

        push_all(c, cdr(x));
        bind_params(c, car(cdr(head)), depth);
        compile_body(c, cdr(cdr(head)), scope, depth, tail);
        return;
    }
    push_all(c, cdr(x));
    compile_datum(c, head, false);
    put_op(c, tail ? OP_TAIL_CALL : OP_CALL, n, 0);
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
    size_t no, end = 0;

    x = cdr(x);
    compile_datum(c, car(x), false);
    no = put_jump(c, OP_JUMP_FALSE);
    x = cdr(x);
    compile_datum(c, car(x), tail);
    if (!tail)
        end = put_jump(c, OP_JUMP);
    here(c, no);
    if (otherwise)
        compile_datum(c, car(cdr(x)), tail);
    else
        constant(c, NOTHING, tail);
    if (!tail)
        here(c, end);
}

static void
form_begin(struct compiler *c, value x, bool tail)
{
    want(c, x, 1, MANY - 1);
    compile_row(c, cdr(x), tail);
}

static void
form_lambda(struct compiler *c, value x, bool tail)
{
    want(c, x, 3, MANY - 1);
    compile_lambda(c, NIL, car(cdr(x)), cdr(cdr(x)));
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
    compile_defined(c, x);
    put_op(c, op, 0, 0);
    put(c, name);
    leave(c, tail);
}

static void
form_set(struct compiler *c, value x, bool tail)
{
    struct var *v;
    value name = want(c, x, 3, 3) == 3 ? car(cdr(x)) : NIL;

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
    { "quote", form_quote, 0, 0 }, /* SPECIAL_QUOTE */
    { "if", form_if, 0, 0 },
    { "begin", form_begin, 0, 0 },
    { "lambda", form_lambda, 0, 0 },
    { "define", form_define, 0, OP_DEFINE },
    { "define-macro", form_define, 0, OP_DEFINE_MACRO },
    { "set!", form_set, 0, 0 },
    { "+", NULL, 2, OP_ADD },
    { "-", NULL, 2, OP_SUB },
    { "*", NULL, 2, OP_MUL },
    { "quotient", NULL, 2, OP_QUOTIENT },
    { "remainder", NULL, 2, OP_REMAINDER },
    { "<", NULL, 2, OP_LT },
    { "<=", NULL, 2, OP_LE },
    { ">", NULL, 2, OP_GT },
    { ">=", NULL, 2, OP_GE },
    { "=", NULL, 2, OP_SAME },
    { "eq?", NULL, 2, OP_EQ },
    { "zero?", NULL, 1, OP_ZERO },
    { "null?", NULL, 1, OP_NULL },
    { "pair?", NULL, 1, OP_PAIR },
    { "not", NULL, 1, OP_NOT },
    { "cons", NULL, 2, OP_CONS },
    { "car", NULL, 1, OP_CAR },
    { "cdr", NULL, 1, OP_CDR },
    { "vector-ref", NULL, 2, OP_VECTOR_REF },
    { "vector-set!", NULL, 3, OP_VECTOR_SET },
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
    const struct special *s = special_of(c, x);

    if (s == specials && is_kind(car(x), SYMBOL) && lookup(c, car(x)) == NULL) {
        value macro = word_load(&symbol_of(car(x))->global);

        if (is_kind(macro, MACRO))
            expand(c, macro, x);
    }
    if (car(x) == EXPANDED)
        compile_datum(c, cdr(x), tail);
    else if (s->form != NULL)
        s->form(c, x, tail);
    else if (s != specials && length(cdr(x)) == s->args)
        compile_inlined(c, s, x, tail);
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

        compile_lambda(&c, NIL, NIL, datum);
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
