/* SPDX-License-Identifier: MIT */
/*
 * From data to a tree of nodes.
 *
 * Purpose: the special forms; finding each variable's binding.
 * Place: compile() calls it, then resolve and emit.  Fails (vm_raise) on bad syntax.
 * Memory: nodes are heap objects that the compiler's list holds; the datum is held by who
 * called compile().  A node is known to that list from its birth on, so all stores to it are
 * gc_write.  Both types are traced by functions: raw pointers and a tagged word in one.
 *
 * Loops.  A named let whose name is only called, only with the right number of arguments and
 * only where nothing is left to do afterwards (at->loop leads through c to all loops for
 * which that is true) stays a NODE_LOOP: its turns are jumps, its variables stay in the frame.
 * All others become closures that call themselves.  Whether it is one is known when its body
 * has been read; then, too, turns of loops around it that were made inside are no jumps.
 */
#include "syntax.h"

#include "symbol.h"

#include <stdio.h>

struct at { /* where a datum stands */
    struct var *scope;
    struct node *loop; /* the innermost one that a call here could be a turn of */
    bool top;          /* define makes a global variable */
};

typedef struct node *parse_fn(struct compiler *c, value x, struct at at);

static value word_define; /* a registered root */
static bool sealed;       /* from here on a definition ends the inlining of its name */

const struct inlined inlined[] = {
    { NULL, 0, OP_COUNT, OP_COUNT, OP_COUNT, false },
    { "+", 2, OP_ADD, OP_ADD_LOCAL, OP_ADD_INT, false },
    { "-", 2, OP_SUB, OP_SUB_LOCAL, OP_ADD_INT, false },
    { "*", 2, OP_MUL, OP_COUNT, OP_COUNT, false },
    { "<", 2, OP_IF_LT, OP_IF_LT_LOCAL, OP_IF_LT_INT, true },
    { "<=", 2, OP_IF_LE, OP_IF_LE_LOCAL, OP_IF_LE_INT, true },
    { ">", 2, OP_IF_GT, OP_IF_GT_LOCAL, OP_IF_GT_INT, true },
    { ">=", 2, OP_IF_GE, OP_IF_GE_LOCAL, OP_IF_GE_INT, true },
    { "=", 2, OP_IF_SAME, OP_IF_SAME_LOCAL, OP_IF_SAME_INT, true },
    { "zero?", 1, OP_IF_SAME_INT, OP_COUNT, OP_COUNT, true },
    { "eq?", 2, OP_IF_EQ, OP_IF_EQ_LOCAL, OP_COUNT, true },
    { "null?", 1, OP_IF_NULL, OP_COUNT, OP_COUNT, true },
    { "pair?", 1, OP_IF_PAIR, OP_COUNT, OP_COUNT, true },
    { "not", 1, OP_JUMP_TRUE, OP_COUNT, OP_COUNT, true },
    { "cons", 2, OP_CONS, OP_COUNT, OP_COUNT, false },
    { "car", 1, OP_CAR, OP_COUNT, OP_COUNT, false },
    { "cdr", 1, OP_CDR, OP_COUNT, OP_COUNT, false },
    { "cadr", 1, OP_CADR, OP_COUNT, OP_COUNT, false },
    { "cddr", 1, OP_CDDR, OP_COUNT, OP_COUNT, false },
    { "vector-ref", 2, OP_VECTOR_REF, OP_COUNT, OP_COUNT, false },
    { "vector-set!", 3, OP_VECTOR_SET, OP_COUNT, OP_COUNT, false },
};
enum { INLINED = sizeof(inlined) / sizeof(inlined[0]) };

/* ---- nodes ---- */

static void
trace_node(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct node *n = obj;

    (void)bytes;
    gc_trace_words(tracer, n, offsetof(struct node, datum) / sizeof(value));
    gc_trace_tagged(tracer, &value_decode, &n->datum, 1);
}
GC_TYPE_TRACED(node_type, struct node, trace_node);

static void
trace_var(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct var *v = obj;

    (void)bytes;
    gc_trace_words(tracer, v, offsetof(struct var, name) / sizeof(value));
    gc_trace_tagged(tracer, &value_decode, &v->name, 1);
}
GC_TYPE_TRACED(var_type, struct var, trace_var);

struct node *
node_new(struct compiler *c, enum node_kind kind)
{
    struct node *n = gc_alloc(&node_type);

    n->kind = kind;
    n->older = c->all;
    c->all = n;
    return n;
}

static struct node *
node_of(struct compiler *c, enum node_kind kind, struct node *a)
{
    struct node *n = node_new(c, kind);

    gc_write(&n->a, a);
    return n;
}

static struct node *
node_datum(struct compiler *c, enum node_kind kind, value datum)
{
    struct node *n = node_new(c, kind);

    word_store(&n->datum, datum);
    return n;
}

static struct node *
node_var(struct compiler *c, enum node_kind kind, struct var *v)
{
    struct node *n = node_new(c, kind);

    gc_write(&n->var, v);
    return n;
}

/* last is where the list's end is kept; NULL at first. */
static void
append(struct node *owner, struct node **last, struct node *n)
{
    gc_write(*last == NULL ? &owner->a : &(*last)->next, n);
    owner->n++;
    *last = n;
}

/* One more variable for the node; the scope in which it is visible. */
static struct var *
bind(struct compiler *c, struct node *owner, value name, struct var *scope)
{
    struct var *v, *last = owner->vars;

    if (!is_kind(name, SYMBOL))
        vm_fail(c->vm, name, "syntax: not the name of a variable");
    v = gc_alloc(&var_type);
    v->name = name;
    v->scope = scope;
    v->older = c->all;
    c->all = v;
    while (last != NULL && last->sibling != NULL)
        last = last->sibling;
    gc_write(last == NULL ? &owner->vars : &last->sibling, v);
    return v;
}

/* ---- data ---- */

/* How many elements the form has; fails unless it is a list of that length. */
static uint32_t
want(struct compiler *c, value form, uint32_t min, uint32_t max)
{
    uint32_t n = 0;
    value x = form;

    for (; is_pair(x); x = cdr(x))
        n++;
    if (x != NIL || n < min || n > max)
        vm_fail(c->vm, form, "bad syntax");
    return n;
}

static bool
is_define(value x)
{
    return is_pair(x) && car(x) == word_define;
}

static struct node *parse(struct compiler *c, value x, struct at at);

static struct at
inside(struct var *scope, struct node *loop)
{
    return (struct at){ scope, loop, false };
}

/* Something is left to do after it. */
static struct node *
parse_inner(struct compiler *c, value x, struct at at)
{
    return parse(c, x, inside(at.scope, NULL));
}

static void
parse_list(struct compiler *c, struct node *owner, value list, struct at at)
{
    struct node *last = NULL;

    want(c, list, 0, UINT32_MAX);
    for (; is_pair(list); list = cdr(list))
        append(owner, &last, parse_inner(c, car(list), at));
}

/* The same, but the last one is what the whole does last. */
static struct node *
parse_last(struct compiler *c, enum node_kind kind, value list, struct at at)
{
    struct node *n, *last = NULL;

    if (want(c, list, 0, UINT32_MAX) == 1)
        return parse(c, car(list), at);
    n = node_new(c, kind);
    for (; is_pair(list); list = cdr(list))
        append(n, &last,
                cdr(list) == NIL || at.top ? parse(c, car(list), at)
                                           : parse_inner(c, car(list), at));
    return n;
}

/* ---- bodies ---- */

static struct node *parse_body(struct compiler *c, value body, struct at at);

static struct node *
parse_procedure(struct compiler *c, value name, value params, value body, struct at at)
{
    struct node *n = node_datum(c, NODE_LAMBDA, name);
    struct var *scope = at.scope;

    for (; is_pair(params); params = cdr(params), n->n++)
        scope = bind(c, n, car(params), scope);
    if (params != NIL) {
        scope = bind(c, n, params, scope);
        n->rest = true;
        n->n++;
    }
    gc_write(&n->a, parse_body(c, body, inside(scope, NULL)));
    return n;
}

/* (define name value), (define (name . params) body ...), or (name value) of a letrec */
static value
defined_name(struct compiler *c, value item)
{
    value target = is_define(item) ? car(cdr(item)) : car(item);

    if (is_define(item) && is_pair(target))
        return car(target);
    want(c, item, 2, is_define(item) ? 3 : 2);
    return target;
}

static struct node *
defined_value(struct compiler *c, value item, struct at at)
{
    struct node *n;
    value target = car(cdr(item));

    if (is_define(item)) {
        if (is_pair(target))
            return parse_procedure(c, car(target), cdr(target), cdr(cdr(item)), at);
        item = cdr(item);
        if (cdr(item) == NIL)
            return node_datum(c, NODE_CONST, NOTHING);
    }
    n = parse_inner(c, car(cdr(item)), at);
    if (n->kind == NODE_LAMBDA && n->datum == NIL)
        word_store(&n->datum, car(item));
    return n;
}

/* Variables that all know one another, set one by one; lambdas that stand in a row together. */
static struct node *
parse_recursive(struct compiler *c, value items, value end, value body, struct at at)
{
    struct node *rec = node_new(c, NODE_REC), *seq = node_new(c, NODE_SEQ);
    struct node *last = NULL, *fix = NULL, *last_fixed = NULL;
    struct var *var;

    for (value x = items; x != end; x = cdr(x))
        at.scope = bind(c, rec, defined_name(c, car(x)), at.scope);
    var = rec->vars;
    for (value x = items; x != end; x = cdr(x), var = var->sibling) {
        struct node *v = defined_value(c, car(x), at), *set = node_of(c, NODE_SET, v);

        gc_write(&set->var, var);
        set->n = 1;
        if (v->kind != NODE_LAMBDA) {
            fix = NULL;
            append(seq, &last, set);
            continue;
        }
        gc_write(&v->var, var);
        if (fix == NULL) {
            last_fixed = NULL;
            append(seq, &last, fix = node_new(c, NODE_FIX));
        }
        append(fix, &last_fixed, set);
    }
    append(seq, &last, parse_last(c, NODE_SEQ, body, at));
    gc_write(&rec->b, seq);
    return rec;
}

static struct node *
parse_body(struct compiler *c, value body, struct at at)
{
    value end = body;

    want(c, body, 1, UINT32_MAX);
    at.top = false;
    while (is_pair(end) && is_define(car(end))) {
        want(c, car(end), 2, UINT32_MAX);
        end = cdr(end);
    }
    if (end == NIL)
        vm_fail(c->vm, body, "syntax: a body of definitions only");
    if (end == body)
        return parse_last(c, NODE_SEQ, body, at);
    return parse_recursive(c, body, end, end, at);
}

/* ---- names and calls ---- */

static struct var *
lookup(struct var *scope, value name)
{
    while (scope != NULL && scope->name != name)
        scope = scope->scope;
    return scope;
}

static struct node *
parse_name(struct compiler *c, value name, struct at at)
{
    struct var *v = lookup(at.scope, name);

    if (v != NULL) {
        v->escapes = true;
        return node_var(c, NODE_REF, v);
    }
    if (symbol_of(name)->syntax != 0)
        vm_fail(c->vm, name, "syntax: a special form's name alone");
    return node_datum(c, NODE_GLOBAL, name);
}

/* A call of a loop's name where the loop could go on. */
static struct node *
parse_turn(struct compiler *c, struct var *v, value args, struct at at)
{
    struct node *loop = at.loop, *turn;

    while (loop != NULL && loop != v->loop)
        loop = loop->c;
    if (loop == NULL || loop->n != want(c, args, 0, UINT32_MAX) || loop->n > 127)
        return NULL;
    turn = node_new(c, NODE_TURN);
    parse_list(c, turn, args, at);
    gc_write(&turn->b, node_var(c, NODE_REF, v)); /* for when it is no loop after all */
    gc_write(&turn->c, loop);
    v->last_turn = ++c->serial;
    return turn;
}

/* (+ a b c) is (+ (+ a b) c). */
static struct node *
parse_inlined(struct compiler *c, uint16_t which, value args, struct at at)
{
    uint32_t n = want(c, args, 0, UINT32_MAX);
    bool folds = inlined[which].op == OP_ADD || inlined[which].op == OP_MUL;
    struct node *all = node_new(c, NODE_INLINE), *last = NULL;

    if (n != inlined[which].args && !(folds && n > 2))
        return NULL;
    for (uint32_t i = 0; i < n; i++, args = cdr(args)) {
        if (i > 1 && folds) {
            all->n = which;
            all = node_of(c, NODE_INLINE, last = all);
        }
        append(all, &last, parse_inner(c, car(args), at));
    }
    all->n = which;
    return all;
}

static struct node *
parse_call(struct compiler *c, value x, struct at at)
{
    value head = car(x);
    struct var *v = is_kind(head, SYMBOL) ? lookup(at.scope, head) : NULL;
    struct node *n = NULL;

    if (v != NULL && v->loop != NULL)
        n = parse_turn(c, v, cdr(x), at);
    else if (v == NULL && is_kind(head, SYMBOL) && symbol_of(head)->inlined != 0)
        n = parse_inlined(c, symbol_of(head)->inlined, cdr(x), at);
    if (n != NULL)
        return n;
    n = node_new(c, NODE_CALL);
    parse_list(c, n, cdr(x), at);
    gc_write(&n->b, parse_inner(c, head, at));
    return n;
}

/* ---- special forms ---- */

static struct node *
parse_quote(struct compiler *c, value x, struct at at)
{
    (void)at;
    want(c, x, 2, 2);
    return node_datum(c, NODE_CONST, car(cdr(x)));
}

static struct node *
parse_if(struct compiler *c, value x, struct at at)
{
    bool two = want(c, x, 3, 4) == 3;
    struct node *n = node_of(c, NODE_IF, parse_inner(c, car(cdr(x)), at));

    at.top = false;
    x = cdr(cdr(x));
    gc_write(&n->b, parse(c, car(x), at));
    gc_write(&n->c, two ? node_datum(c, NODE_CONST, NOTHING) : parse(c, car(cdr(x)), at));
    return n;
}

static struct node *
parse_begin(struct compiler *c, value x, struct at at)
{
    if (cdr(x) == NIL)
        return node_datum(c, NODE_CONST, NOTHING);
    return parse_last(c, NODE_SEQ, cdr(x), at);
}

static struct node *
parse_and_or(struct compiler *c, value x, struct at at)
{
    bool and = string_of(symbol_of(car(x))->name)->byte[0] == 'a';

    at.top = false;
    if (cdr(x) == NIL)
        return node_datum(c, NODE_CONST, boolean(and));
    return parse_last(c, and ? NODE_AND : NODE_OR, cdr(x), at);
}

static struct node *
parse_lambda(struct compiler *c, value x, struct at at)
{
    want(c, x, 3, UINT32_MAX);
    return parse_procedure(c, NIL, car(cdr(x)), cdr(cdr(x)), at);
}

static struct node *
parse_define(struct compiler *c, value x, struct at at)
{
    struct node *n;
    value name;

    want(c, x, 2, UINT32_MAX);
    if (!at.top)
        vm_fail(c->vm, x, "syntax: define stands neither at the top nor first in a body");
    name = defined_name(c, x);
    if (!is_kind(name, SYMBOL) || symbol_of(name)->syntax != 0)
        vm_fail(c->vm, name, "define: not a name that can be defined");
    if (sealed)
        symbol_of(name)->inlined = 0;
    n = node_of(c, NODE_DEFINE, defined_value(c, x, at));
    word_store(&n->datum, name);
    return n;
}

static struct node *
parse_set(struct compiler *c, value x, struct at at)
{
    struct node *n;
    struct var *v;
    value name;

    want(c, x, 3, 3);
    name = car(cdr(x));
    if (!is_kind(name, SYMBOL))
        vm_fail(c->vm, x, "bad syntax");
    n = node_of(c, NODE_ASSIGN, parse_inner(c, car(cdr(cdr(x))), at));
    if ((v = lookup(at.scope, name)) == NULL) {
        symbol_of(name)->inlined = 0;
        word_store(&n->datum, name);
        return n;
    }
    v->mutated = v->escapes = true;
    n->kind = NODE_SET;
    gc_write(&n->var, v);
    return n;
}

/* No loop after all: (letrec ((name (lambda (vars) body))) (name inits ...)) */
static struct node *
unloop(struct compiler *c, struct node *loop)
{
    struct node *lambda = node_of(c, NODE_LAMBDA, loop->b), *set = node_of(c, NODE_SET, lambda);
    struct node *fix = node_of(c, NODE_FIX, set), *seq = node_of(c, NODE_SEQ, fix);
    struct node *call = node_of(c, NODE_CALL, loop->a), *rec = node_new(c, NODE_REC);

    word_store(&lambda->datum, loop->var->name);
    lambda->n = call->n = loop->n;
    gc_write(&lambda->vars, loop->vars);
    gc_write(&lambda->var, loop->var);
    gc_write(&set->var, loop->var);
    set->n = 1;
    gc_write(&fix->next, call);
    gc_write(&call->b, node_var(c, NODE_REF, loop->var));
    gc_write(&rec->vars, loop->var);
    gc_write(&rec->b, seq);
    return rec;
}

static struct node *
parse_named_let(struct compiler *c, value name, value bindings, value body, struct at at)
{
    struct node *loop = node_new(c, NODE_LOOP), *last = NULL, *names = node_new(c, NODE_REC);
    struct var *scope = bind(c, names, name, at.scope);
    uint32_t start = c->serial;

    gc_write(&loop->c, at.loop);
    gc_write(&loop->var, scope);
    gc_write(&scope->loop, loop);
    for (; is_pair(bindings); bindings = cdr(bindings)) {
        want(c, car(bindings), 2, 2);
        append(loop, &last, parse_inner(c, car(cdr(car(bindings))), at));
        scope = bind(c, loop, car(car(bindings)), scope);
    }
    gc_write(&loop->b, parse_body(c, body, inside(scope, loop)));
    if (!loop->var->escapes)
        return loop;
    for (struct node *o = loop->c; o != NULL; o = o->c)
        if (o->var->last_turn > start)
            o->var->escapes = true;
    return unloop(c, loop);
}

static struct node *
parse_let(struct compiler *c, value x, struct at at)
{
    struct node *let, *last = NULL;
    struct var *scope = at.scope;
    bool named = is_pair(cdr(x)) && is_kind(car(cdr(x)), SYMBOL);
    value list;

    want(c, x, named ? 4 : 3, UINT32_MAX);
    list = car(named ? cdr(cdr(x)) : cdr(x));
    want(c, list, 0, UINT32_MAX);
    if (named)
        return parse_named_let(c, car(cdr(x)), list, cdr(cdr(cdr(x))), at);
    let = node_new(c, NODE_LET);
    for (; is_pair(list); list = cdr(list)) {
        want(c, car(list), 2, 2);
        append(let, &last, parse_inner(c, car(cdr(car(list))), at));
        scope = bind(c, let, car(car(list)), scope);
    }
    gc_write(&let->b, parse_body(c, cdr(cdr(x)), inside(scope, at.loop)));
    return let;
}

/* One binding after the other. */
static struct node *
parse_nested(struct compiler *c, value bindings, value body, struct at at)
{
    struct node *let;

    if (!is_pair(bindings))
        return parse_body(c, body, at);
    want(c, car(bindings), 2, 2);
    let = node_of(c, NODE_LET, parse_inner(c, car(cdr(car(bindings))), at));
    let->n = 1;
    at.scope = bind(c, let, car(car(bindings)), at.scope);
    gc_write(&let->b, parse_nested(c, cdr(bindings), body, at));
    return let;
}

static struct node *
parse_let_star(struct compiler *c, value x, struct at at)
{
    want(c, x, 3, UINT32_MAX);
    want(c, car(cdr(x)), 0, UINT32_MAX);
    return parse_nested(c, car(cdr(x)), cdr(cdr(x)), at);
}

static struct node *
parse_letrec(struct compiler *c, value x, struct at at)
{
    want(c, x, 3, UINT32_MAX);
    want(c, car(cdr(x)), 0, UINT32_MAX);
    at.top = false;
    return parse_recursive(c, car(cdr(x)), NIL, cdr(cdr(x)), at);
}

/* (guard (name handler ...) body ...) */
static struct node *
parse_guard(struct compiler *c, value x, struct at at)
{
    struct node *n;
    value clause;

    want(c, x, 3, UINT32_MAX);
    clause = car(cdr(x));
    want(c, clause, 2, UINT32_MAX);
    n = node_of(c, NODE_GUARD, parse_body(c, cdr(cdr(x)), inside(at.scope, NULL)));
    at.scope = bind(c, n, car(clause), at.scope);
    gc_write(&n->b, parse_body(c, cdr(clause), at));
    return n;
}

/* (with-escape f): call/ec is a procedure that does it */
static struct node *
parse_escape(struct compiler *c, value x, struct at at)
{
    want(c, x, 2, 2);
    return node_of(c, NODE_ESCAPE, parse_inner(c, car(cdr(x)), at));
}

/* (define-macro (name . params) body ...): called with the form's parts, it gives another */
static struct node *
parse_macro(struct compiler *c, value x, struct at at)
{
    struct node *n = node_datum(c, NODE_CONST, cons(word_define, cdr(x)));

    n = parse_define(c, n->datum, at);
    n->n = 1;
    return n;
}

static const struct {
    const char *name;
    parse_fn *parse;
} forms[] = { { NULL, NULL }, { "quote", parse_quote }, { "if", parse_if },
    { "begin", parse_begin }, { "and", parse_and_or }, { "or", parse_and_or },
    { "lambda", parse_lambda }, { "define", parse_define }, { "set!", parse_set },
    { "let", parse_let }, { "let*", parse_let_star }, { "letrec", parse_letrec },
    { "letrec*", parse_letrec }, { "guard", parse_guard }, { "with-escape", parse_escape },
    { "define-macro", parse_macro } };
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* ---- any datum ---- */

/* The macro runs on this VM, in a run of its own; what it raises goes on from here. */
static value
expand(struct compiler *c, value macro, value form)
{
    value result;

    if (!vm_apply(c->vm, box_of(macro)->value, cdr(form), &result))
        vm_raise(c->vm, result);
    return node_datum(c, NODE_CONST, result)->datum; /* a node holds it */
}

static struct node *
parse_pair(struct compiler *c, value x, struct at at)
{
    value head = car(x), macro;

    if (!is_kind(head, SYMBOL) || lookup(at.scope, head) != NULL)
        return parse_call(c, x, at);
    if (symbol_of(head)->syntax != 0)
        return forms[symbol_of(head)->syntax].parse(c, x, at);
    macro = word_load(&symbol_of(head)->global);
    if (!is_kind(macro, MACRO))
        return parse_call(c, x, at);
    return parse(c, expand(c, macro, x), at);
}

static struct node *
parse(struct compiler *c, value x, struct at at)
{
    struct node *n;

    if (is_kind(x, SYMBOL))
        return parse_name(c, x, at);
    if (x == NIL)
        vm_fail(c->vm, x, "bad syntax");
    if (!is_pair(x))
        return node_datum(c, NODE_CONST, x);
    if (++c->depth > DEPTH_MAX)
        vm_fail(c->vm, NOTHING, "syntax: nested too deeply");
    n = parse_pair(c, x, at);
    c->depth--;
    return n;
}

struct node *
syntax_parse(struct compiler *c, value datum)
{
    struct node *n = node_new(c, NODE_LAMBDA);

    gc_write(&n->a, parse(c, datum, (struct at){ NULL, NULL, true }));
    return n;
}

static struct symbol *
known(const char *name)
{
    value s = symbol(name);

    GC_FRAME(s);
    symbol_keep(s);
    return symbol_of(s);
}

bool
syntax_init(void)
{
    if (gc_root_add(&word_define, sizeof(word_define)) != GC_OK)
        return false;
    word_store(&word_define, symbol("define"));
    for (uint16_t i = 1; i < FORMS; i++)
        known(forms[i].name)->syntax = i;
    for (uint16_t i = 1; i < INLINED; i++)
        known(inlined[i].name)->inlined = i;
    return true;
}

void
syntax_seal(void)
{
    sealed = true;
}
