/* SPDX-License-Identifier: MIT */
/*
 * From nodes to code.
 *
 * Purpose: instructions for one lambda after the other, inner ones first.
 * Place: behind resolve; the last part of compile(), which is here too.
 * How: emit() leaves a node's value in the accumulator; with `tail` it also leaves the
 * procedure, by RETURN or a tail call.  test() branches.  The compiler knows how many words
 * stand in the frame at each moment (e->depth), so variables have fixed slots, and the largest
 * number is all that the VM checks, once, when the procedure is entered.
 * Memory: instructions gather in an array of words on the heap, constants among them, and
 * are copied to a code object of the right size at the end.
 */
#include "syntax.h"

struct emitter {
    struct compiler *c;
    struct node *lambda;
    value *word; /* held by emit_lambda's frame */
    size_t n, capacity;
    uint32_t depth, most;
};

/* The last jump to a place that is still to come, plus one; each leads to the one before. */
typedef size_t label;

static void
put(struct emitter *e, value w)
{
    value *bigger = NULL;

    if (e->n == e->capacity) {
        GC_FRAME(w, bigger);
        bigger = gc_alloc_array(word_type, 2 * e->capacity);
        gc_copy(word_type, bigger, e->word, e->n);
        e->word = bigger;
        e->capacity *= 2;
    }
    word_store(&e->word[e->n++], w);
}

static void
put_op(struct emitter *e, enum op op, uint32_t a, int64_t b)
{
    if (a > UINT16_MAX || b != (int32_t)b)
        vm_fail(e->c->vm, NOTHING, "compiler: a procedure is too large");
    put(e, (value)op << 1 | (value)a << 16 | (value)(uint32_t)b << 32);
}

static void
put_jump(struct emitter *e, enum op op, uint32_t a, label *to)
{
    put_op(e, op, a, (int64_t)*to);
    *to = e->n;
}

static void
here(struct emitter *e, label *from)
{
    for (size_t at = *from; at != 0;) {
        value w = e->word[at - 1];

        word_store(&e->word[at - 1], (w & UINT32_MAX) | (value)(e->n - at) << 32);
        at = w >> 32;
    }
}

static void
grow(struct emitter *e, uint32_t words)
{
    e->depth += words;
    if (e->depth > e->most)
        e->most = e->depth;
}

static void emit(struct emitter *e, struct node *n, bool tail);
static value emit_lambda(struct compiler *c, struct node *lambda);

/* ---- variables ---- */

/* raw: the box itself, if it is boxed; push: also onto the stack. */
static void
load(struct emitter *e, const struct var *v, bool raw, bool push)
{
    bool unbox = v->boxed && !raw;
    const struct node *f = e->lambda->b;

    if (v->owner == e->lambda) {
        put_op(e, unbox ? OP_LOCAL_BOX : push ? OP_PUSH_LOCAL : OP_LOCAL, v->slot, 0);
    } else if (e->lambda->var == v) {
        unbox = true; /* that is, not pushed yet */
        put_op(e, OP_SELF, 0, 0);
    } else {
        while (f->var != v)
            f = f->next;
        put_op(e, unbox ? OP_FREE_BOX : push ? OP_PUSH_FREE : OP_FREE, f->n, 0);
    }
    if (unbox && push)
        put_op(e, OP_PUSH, 0, 0);
    if (push)
        grow(e, 1);
}

static void
store(struct emitter *e, const struct var *v)
{
    const struct node *f = e->lambda->b;

    if (v->owner == e->lambda) {
        put_op(e, v->boxed ? OP_SET_LOCAL_BOX : OP_SET_LOCAL, v->slot, 0);
        return;
    }
    while (f->var != v)
        f = f->next;
    put_op(e, OP_SET_FREE_BOX, f->n, 0);
}

static void
push(struct emitter *e, struct node *n)
{
    if (n->kind == NODE_REF) {
        load(e, n->var, false, true);
        return;
    }
    if (n->kind == NODE_CONST) {
        put_op(e, OP_PUSH_CONST, 0, 0);
        put(e, n->datum);
    } else {
        emit(e, n, false);
        put_op(e, OP_PUSH, 0, 0);
    }
    grow(e, 1);
}

static uint32_t
push_all(struct emitter *e, struct node *n)
{
    uint32_t count = 0;

    for (; n != NULL; n = n->next, count++)
        push(e, n);
    return count;
}

/* The variables take the slots from `slot` on, whose words have been pushed. */
static void
place(struct emitter *e, struct var *v, uint32_t slot)
{
    for (; v != NULL; v = v->sibling) {
        v->slot = slot++;
        if (v->boxed)
            put_op(e, OP_BOX, v->slot, 0);
    }
}

static void
leave(struct emitter *e, bool tail)
{
    if (tail)
        put_op(e, OP_RETURN, e->lambda->n, 0);
}

/* The frame is `depth` words again. */
static void
drop_to(struct emitter *e, uint32_t depth, bool tail)
{
    if (!tail && e->depth != depth)
        put_op(e, OP_POP, e->depth - depth, 0);
    e->depth = depth;
}

/* ---- inlined procedures and tests ---- */

static bool
is_small(const struct node *n, int64_t min, int64_t max)
{
    return n->kind == NODE_CONST && is_fixnum(n->datum) && fixnum_of(n->datum) >= min
            && fixnum_of(n->datum) <= max;
}

/* In this frame, and the same now as after whatever is done before it is read. */
static bool
is_steady(const struct emitter *e, const struct node *n)
{
    return n->kind == NODE_REF && n->var->owner == e->lambda && !n->var->mutated
            && !n->var->boxed;
}

static void
two_operands(struct emitter *e, const struct inlined *in, struct node *l, label *no)
{
    struct node *r = l->next;
    int64_t sign = in->op == OP_SUB ? -1 : 1;

    if (in->op_int != OP_COUNT && is_small(r, INT16_MIN + 1, INT16_MAX)) {
        emit(e, l, false);
        if (no != NULL)
            put_jump(e, in->op_int, (uint16_t)fixnum_of(r->datum), no);
        else
            put_op(e, in->op_int, 0, sign * fixnum_of(r->datum));
    } else if (in->op_local != OP_COUNT && is_steady(e, l)) {
        emit(e, r, false);
        put_jump(e, in->op_local, l->var->slot, no != NULL ? no : &(label){ 0 });
    } else {
        push(e, l);
        emit(e, r, false);
        put_jump(e, in->op, 0, no != NULL ? no : &(label){ 0 });
        e->depth--;
    }
}

static void
operate(struct emitter *e, const struct node *n, label *no)
{
    const struct inlined *in = &inlined[n->n];

    if (in->args == 2) {
        two_operands(e, in, n->a, no);
        return;
    }
    if (in->args == 3) {
        push(e, n->a);
        push(e, n->a->next);
        emit(e, n->a->next->next, false);
        e->depth -= 2;
    } else {
        emit(e, n->a, false);
    }
    put_jump(e, in->op, 0, no != NULL ? no : &(label){ 0 });
}

/* Goes on if n is true, else to `no`. */
static void
test(struct emitter *e, struct node *n, label *no)
{
    label yes = 0;
    bool inlines = n->kind == NODE_INLINE && inlined[n->n].test;

    if (inlines && inlined[n->n].op == OP_JUMP_TRUE) {
        test(e, n->a, &yes);
        put_jump(e, OP_JUMP, 0, no);
    } else if (inlines) {
        operate(e, n, no);
    } else if (n->kind == NODE_AND) {
        for (n = n->a; n != NULL; n = n->next)
            test(e, n, no);
    } else if (n->kind == NODE_OR) {
        for (n = n->a; n->next != NULL; n = n->next) {
            label next = 0;

            test(e, n, &next);
            put_jump(e, OP_JUMP, 0, &yes);
            here(e, &next);
        }
        test(e, n, no);
    } else {
        emit(e, n, false);
        put_jump(e, OP_JUMP_FALSE, 0, no);
    }
    here(e, &yes);
}

static void
emit_const(struct emitter *e, value datum, bool tail)
{
    put_op(e, OP_CONST, 0, 0);
    put(e, datum);
    leave(e, tail);
}

static void
emit_inline(struct emitter *e, struct node *n, bool tail)
{
    label no = 0, end = 0;

    if (!inlined[n->n].test) {
        operate(e, n, NULL);
        leave(e, tail);
        return;
    }
    test(e, n, &no);
    emit_const(e, TRUE, tail);
    if (!tail)
        put_jump(e, OP_JUMP, 0, &end);
    here(e, &no);
    emit_const(e, FALSE, tail);
    here(e, &end);
}

static void
emit_if(struct emitter *e, struct node *n, bool tail)
{
    label no = 0, end = 0;

    test(e, n->a, &no);
    emit(e, n->b, tail);
    if (!tail)
        put_jump(e, OP_JUMP, 0, &end);
    here(e, &no);
    emit(e, n->c, tail);
    here(e, &end);
}

/* and, or, begin: all but the last are in the middle. */
static void
emit_row(struct emitter *e, const struct node *n, bool tail)
{
    label end = 0;

    for (struct node *x = n->a; x != NULL; x = x->next) {
        emit(e, x, tail && x->next == NULL);
        if (x->next != NULL && n->kind != NODE_SEQ)
            put_jump(e, n->kind == NODE_AND ? OP_JUMP_FALSE : OP_JUMP_TRUE, 0, &end);
    }
    here(e, &end);
    if (n->kind != NODE_SEQ)
        leave(e, tail);
}

/* ---- procedures ---- */

static void
emit_closure(struct emitter *e, struct node *lambda)
{
    uint32_t count = 0, depth = e->depth;
    value code;

    for (const struct node *f = lambda->b; f != NULL; f = f->next, count++)
        load(e, f->var, true, true);
    code = emit_lambda(e->c, lambda);
    GC_FRAME(code);
    put_op(e, count == 0 ? OP_CONST : OP_CLOSURE, count, 0);
    if (count == 0)
        code = vm_closure(code);
    put(e, code);
    e->depth = depth;
}

/* Several that may know one another are made first and told then. */
static void
emit_fix(struct emitter *e, const struct node *fix)
{
    if (fix->a->next == NULL) {
        emit_closure(e, fix->a->a);
        store(e, fix->a->var);
        return;
    }
    for (const struct node *set = fix->a; set != NULL; set = set->next) {
        value code = emit_lambda(e->c, set->a);
        uint32_t count = 0;
        GC_FRAME(code);

        for (const struct node *f = set->a->b; f != NULL; f = f->next)
            count++;
        put_op(e, OP_CLOSURE_EMPTY, count, 0);
        put(e, code);
        store(e, set->var);
    }
    for (const struct node *set = fix->a; set != NULL; set = set->next)
        for (const struct node *f = set->a->b; f != NULL; f = f->next) {
            load(e, f->var, true, false);
            put_op(e, OP_PATCH, set->var->slot, f->n);
        }
}

static void
emit_call(struct emitter *e, struct node *n, bool tail)
{
    uint32_t count = push_all(e, n->a);

    if (n->b->kind == NODE_GLOBAL) {
        put_op(e, tail ? OP_TAIL_GLOBAL : OP_CALL_GLOBAL, count, 0);
        put(e, n->b->datum);
    } else {
        emit(e, n->b, false);
        put_op(e, tail ? OP_TAIL_CALL : OP_CALL, count, 0);
    }
    e->depth -= count;
}

/* ---- bindings, loops, guards ---- */

static void
emit_let(struct emitter *e, struct node *n, bool tail)
{
    uint32_t depth = e->depth;

    if (n->kind == NODE_REC) {
        for (const struct var *v = n->vars; v != NULL; v = v->sibling) {
            put_op(e, OP_PUSH_CONST, 0, 0);
            put(e, NOTHING);
            grow(e, 1);
        }
    } else {
        push_all(e, n->a);
    }
    if (n->kind == NODE_LOOP) {
        n->n = depth;
        n->var->slot = (uint32_t)e->n;
    }
    place(e, n->vars, depth);
    emit(e, n->b, tail);
    drop_to(e, depth, tail);
}

static void
emit_turn(struct emitter *e, struct node *n)
{
    uint32_t count = push_all(e, n->a);

    put_op(e, OP_TURN, n->c->n, (int64_t)n->c->var->slot - (int64_t)e->n - 1);
    word_store(&e->word[e->n - 1], e->word[e->n - 1] | (value)count << 9);
    e->depth -= count;
}

static void
emit_guard(struct emitter *e, struct node *n, bool tail)
{
    label handler = 0, end = 0;
    uint32_t depth = e->depth;

    put_jump(e, OP_GUARD, 0, &handler);
    grow(e, RECORD_WORDS);
    emit(e, n->a, false);
    put_op(e, OP_LEAVE, 0, 0);
    e->depth = depth;
    leave(e, tail);
    if (!tail)
        put_jump(e, OP_JUMP, 0, &end);
    here(e, &handler);
    put_op(e, OP_PUSH, 0, 0);
    grow(e, 1);
    place(e, n->vars, depth);
    emit(e, n->b, tail);
    drop_to(e, depth, tail);
    here(e, &end);
}

static void
emit_escape(struct emitter *e, struct node *n, bool tail)
{
    label end = 0;

    emit(e, n->a, false);
    put_jump(e, OP_ESCAPE, 0, &end);
    grow(e, RECORD_WORDS + 1);
    e->depth -= RECORD_WORDS + 1;
    put_op(e, OP_LEAVE, 0, 0);
    here(e, &end);
    leave(e, tail);
}

/* ---- any node ---- */

static void
emit_global(struct emitter *e, struct node *n)
{
    if (n->kind != NODE_GLOBAL)
        emit(e, n->a, false);
    put_op(e, n->kind == NODE_GLOBAL ? OP_GLOBAL
                    : n->kind == NODE_ASSIGN ? OP_SET_GLOBAL : OP_DEFINE, n->n, 0);
    put(e, n->datum);
}

static void
emit(struct emitter *e, struct node *n, bool tail)
{
    switch (n->kind) {
    case NODE_IF:
        emit_if(e, n, tail);
        return;
    case NODE_AND: case NODE_OR: case NODE_SEQ:
        emit_row(e, n, tail);
        return;
    case NODE_LET: case NODE_REC: case NODE_LOOP:
        emit_let(e, n, tail);
        return;
    case NODE_TURN:
        emit_turn(e, n);
        return;
    case NODE_CALL:
        emit_call(e, n, tail);
        return;
    case NODE_INLINE:
        emit_inline(e, n, tail);
        return;
    case NODE_GUARD:
        emit_guard(e, n, tail);
        return;
    case NODE_ESCAPE:
        emit_escape(e, n, tail);
        return;
    case NODE_CONST:
        emit_const(e, n->datum, tail);
        return;
    case NODE_REF:
        load(e, n->var, false, false);
        break;
    case NODE_SET:
        emit(e, n->a, false);
        store(e, n->var);
        break;
    case NODE_GLOBAL: case NODE_ASSIGN: case NODE_DEFINE:
        emit_global(e, n);
        break;
    case NODE_LAMBDA:
        emit_closure(e, n);
        break;
    case NODE_FIX:
        emit_fix(e, n);
        break;
    case NODE_FREE:
        break;
    }
    leave(e, tail);
}

static value
emit_lambda(struct compiler *c, struct node *lambda)
{
    struct emitter e = { c, lambda, NULL, 0, 32, lambda->n + LINK_WORDS, 0 };
    struct code *code = NULL;
    GC_FRAME(e.word, code);

    e.word = gc_alloc_array(word_type, e.capacity);
    grow(&e, 0);
    place(&e, lambda->vars, 0);
    emit(&e, lambda->a, true);
    code = gc_alloc_flex(code_type, e.n);
    code->head = (struct head){ CODE, (uint32_t)e.n };
    code->name = lambda->datum == 0 || lambda->datum == NIL ? NULL : object_of(lambda->datum);
    code->params = lambda->n;
    code->rest = lambda->rest;
    code->depth = e.most - lambda->n + 1;
    gc_copy(word_type, code->word, e.word, e.n);
    return object(code);
}

value
compile(struct vm *vm, value datum)
{
    struct compiler c = { .vm = vm };
    struct node *lambda;
    value code;
    GC_FRAME(c.all);

    lambda = syntax_parse(&c, datum);
    resolve(&c, lambda);
    code = emit_lambda(&c, lambda);
    return vm_closure(code);
}
