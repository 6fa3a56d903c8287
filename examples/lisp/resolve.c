/* SPDX-License-Identifier: MIT */
/*
 * Who captures what.
 *
 * Purpose: gives each variable the lambda in whose frame it lives, each lambda the list of the
 * variables that it captures, and finds the ones that need a box.
 * Place: between syntax and emit.
 * Rules: closures are flat, they copy what they capture.  So a variable is boxed if it is
 * captured and set!, or captured before it has its first value (in a body with definitions).
 * Procedures that stand in a row in such a body need no box for one another: they are all made
 * before any is told what it captures (OP_PATCH); and one that calls itself captures nothing.
 */
#include "syntax.h"

static void walk(struct compiler *c, struct node *n, struct node *lambda);

static void
walk_all(struct compiler *c, struct node *n, struct node *lambda)
{
    for (; n != NULL; n = n->next)
        walk(c, n, lambda);
}

static void
own(struct var *v, struct node *lambda, bool ready)
{
    for (; v != NULL; v = v->sibling) {
        gc_write(&v->owner, lambda);
        v->ready = ready;
    }
}

/* False if the lambda captures it already. */
static bool
capture(struct compiler *c, struct node *lambda, struct var *v)
{
    struct node *f, *last = NULL;
    uint32_t n = 0;

    for (f = lambda->b; f != NULL && f->var != v; f = f->next, n++)
        last = f;
    if (f != NULL)
        return false;
    f = node_new(c, NODE_FREE);
    f->n = n;
    gc_write(&f->var, v);
    gc_write(last == NULL ? &lambda->b : &last->next, f);
    return true;
}

static void
use(struct compiler *c, struct node *lambda, struct var *v)
{
    if (v->owner == lambda || lambda->var == v)
        return;
    if (v->mutated || !v->ready)
        v->boxed = true;
    while (lambda != v->owner && lambda->var != v && capture(c, lambda, v))
        lambda = lambda->outer;
}

static void
walk_fix(struct compiler *c, struct node *fix, struct node *lambda)
{
    bool mutated = false;

    for (const struct node *set = fix->a; set != NULL; set = set->next)
        mutated |= set->var->mutated;
    if (mutated)
        fix->kind = NODE_SEQ; /* in which each is set by itself */
    for (const struct node *set = fix->a; set != NULL; set = set->next) {
        set->var->ready = !mutated;
        if (mutated)
            gc_write(&set->a->var, (struct var *)NULL);
    }
    walk_all(c, fix->a, lambda);
}

static void
walk(struct compiler *c, struct node *n, struct node *lambda)
{
    switch (n->kind) {
    case NODE_LAMBDA:
        gc_write(&n->outer, lambda);
        own(n->vars, n, true);
        walk(c, n->a, n);
        return;
    case NODE_REF:
        use(c, lambda, n->var);
        return;
    case NODE_SET:
        walk(c, n->a, lambda);
        n->var->ready = true;
        use(c, lambda, n->var);
        return;
    case NODE_TURN:
        if (n->c->var->escapes)
            n->kind = NODE_CALL;
        break;
    case NODE_FIX:
        walk_fix(c, n, lambda);
        return;
    case NODE_GUARD: case NODE_LET: case NODE_LOOP:
        own(n->vars, lambda, true);
        break;
    case NODE_REC:
        own(n->vars, lambda, false);
        break;
    default:
        break;
    }
    walk_all(c, n->a, lambda);
    if (n->kind == NODE_IF)
        walk(c, n->c, lambda);
    if (n->b != NULL && n->kind != NODE_TURN)
        walk(c, n->b, lambda);
}

void
resolve(struct compiler *c, struct node *lambda)
{
    walk(c, lambda, NULL);
}
