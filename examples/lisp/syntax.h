/* SPDX-License-Identifier: MIT */
#ifndef LISP_SYNTAX_H
#define LISP_SYNTAX_H

/*
 * What the reader gave becomes a tree of nodes (syntax.c), in which every variable has been
 * found; resolve.c learns who captures what; emit.c makes code of it.
 *
 * Nodes are objects of the heap like any other, with one root for all: each points to the
 * one that was made before it, and the compiler holds the newest.  So no function of the
 * compiler needs frames, an error leaves nothing behind, and nobody frees them.
 */
#include "vm.h"

enum node_kind {
    NODE_CONST,  /* datum */
    NODE_REF,    /* var */
    NODE_SET,    /* var = a; n: for the first time, in a body with defines */
    NODE_GLOBAL, /* datum, a symbol */
    NODE_ASSIGN, /* global datum = a */
    NODE_DEFINE, /* the same, makes it */
    NODE_IF,     /* a ? b : c */
    NODE_AND,    /* list a */
    NODE_OR,     /* list a */
    NODE_SEQ,    /* list a */
    NODE_LAMBDA, /* vars, body a; var: what it is bound to for ever, or NULL; b: captured */
    NODE_LET,    /* vars = list a in b */
    NODE_REC,    /* vars in b, which sets them */
    NODE_FIX,    /* list a of NODE_SET, all of lambdas */
    NODE_LOOP,   /* vars = list a, body b; var: its name; c: the loop around */
    NODE_TURN,   /* call of the loop c with list a */
    NODE_CALL,   /* b with list a */
    NODE_INLINE, /* number n of inlined[], with list a */
    NODE_GUARD,  /* a; an error is var's value in b */
    NODE_ESCAPE, /* a is called with an escape */
    NODE_FREE    /* captured var, n-th of its lambda */
};

struct node {
    void *older;
    struct node *a, *b, *c, *next;
    struct var *vars, *var;
    struct node *outer; /* NODE_LAMBDA: the lambda around, once resolved */
    value datum;
    enum node_kind kind;
    uint32_t n;
    bool rest;
};

struct var {
    void *older;
    struct var *scope;    /* the variables around */
    struct var *sibling;  /* the next one bound by the same node */
    struct node *owner;   /* the lambda whose frame it is in, once resolved */
    struct node *loop;    /* a loop's name: that loop */
    value name;
    uint32_t slot;        /* in the frame, when emitted */
    uint32_t last_turn;   /* a loop's name: serial number of its last NODE_TURN */
    bool mutated, captured, ready, boxed, escapes;
};

/* How a call of a global procedure that nobody has redefined is compiled. */
struct inlined {
    const char *name;
    uint32_t args;
    enum op op, op_local, op_int; /* OP_COUNT: there is no such form */
    bool test;
};

struct compiler {
    struct vm *vm;
    void *all; /* the newest node or variable */
    uint32_t serial, depth;
};

extern const struct inlined inlined[]; /* from 1 on */

/* Makes the special forms and the inlined procedures known.  False without memory. */
bool syntax_init(void);
/* The prelude has been loaded. */
void syntax_seal(void);
/* The lambda without arguments whose body the datum is. */
struct node *syntax_parse(struct compiler *c, value datum);
struct node *node_new(struct compiler *c, enum node_kind kind);
void resolve(struct compiler *c, struct node *lambda);
/* A closure without arguments that does what the datum says.  Fails as VMs do. */
value compile(struct vm *vm, value datum);

#endif
