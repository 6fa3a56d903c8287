/* SPDX-License-Identifier: MIT */
/*
 * What raw_stores.py must find, and what it must leave alone.  A line with "BAD" in a
 * comment has exactly one finding, all others none; raw_stores_test.py compares.  Never run,
 * but compiled with the other headers' users' flags by hand: gcc -fsyntax-only -Iinclude.
 */
#include <gcrt/gcrt.h>

#include <stdlib.h>
#include <string.h>

struct node {
    struct node *left, *right;
    struct node *child[4];
    char *name;
    char text[16];
    long key;
};
GC_TYPE(node_type, struct node, left, right, child, name);

typedef struct item {
    struct item *next;
    struct {
        struct node *at;
    } in;
    double weight;
} item_t;
GC_TYPE(item_type, item_t, next, in.at);

struct table {
    size_t n;
    struct node *owner;
    struct node rows[];
};
GC_TYPE_FLEX(table_type, struct table, rows, node_type, owner);

struct text {
    size_t len;
    char bytes[];
};
GC_TYPE_FLEX_PLAIN(text_type, struct text, bytes, gc_byte_type);

/* Not of the heap, though its members have the same names. */
struct local {
    struct node *left;
    struct node *batch[8];
    char *name;
    int n;
};

struct index {
    struct node *tables[8];
    int count;
};

static struct node *root;
static struct node *roots[8];
static struct index index_;
static int counter;

void
start(struct index *ix)
{
    if (gc_root_add(&root, sizeof(root)) != GC_OK || gc_root_add(roots, sizeof(roots)) != GC_OK
            || gc_root_add(ix->tables, sizeof(ix->tables)) != GC_OK)
        abort();
}

struct node *
node_new(char *name)
{
    struct node *n = gc_alloc(&node_type);

    if (n == NULL)
        return NULL;
    n->name = name;
    n->left = root;
    n->child[0] = root;
    n->child[1] = root;
    n->key = 7;
    memcpy(n->text, "short", 6);
    return n;
}

void
fields(struct node *n, item_t *item, struct local *l)
{
    n->left = NULL;       /* BAD */
    n->child[2] = n;      /* BAD */
    n->key = 3;
    n->name++;            /* BAD */
    --n->name;            /* BAD */
    n->name += 2;         /* BAD */
    item->next = item;    /* BAD */
    item->in.at = n;      /* BAD */
    item->weight = 1.5;
    l->left = n;
    l->batch[l->n++] = n;
    l->name = n->name;
    gc_write(&n->left, n->right);
    n->left->right = n;   /* BAD */
    (n)->right = n;       /* BAD */
    ((struct node *)(void *)item)->right = n; /* BAD */
    if ((n->left = n->right) != NULL) /* BAD */
        counter++;
    for (n->right = NULL; counter < 3; counter++) /* BAD */
        n->key++;
    n->right = n; /* raw: before any other thread runs */
}

void
wholes(struct node *n, struct node *array, const struct node *from, struct table *t)
{
    struct node copy = *from;

    copy.left = n;
    *n = *from;                       /* BAD */
    array[3] = copy;                  /* BAD */
    t->rows[2] = copy;                /* BAD */
    t->rows[1].left = n;              /* BAD */
    memcpy(n, from, sizeof(*n));      /* BAD */
    memset(array, 0, sizeof(*array)); /* BAD */
    memmove(&t->rows[0], from, 64);   /* BAD */
    memcpy(t->rows, from, 64);        /* BAD */
    memcpy(&n->left, &from->left, 8); /* BAD */
    memcpy(n->name, "abc", 4);
    memcpy(&copy, from, sizeof(copy));
    memset(n->text, 0, sizeof(n->text));
    gc_copy(&node_type, n, from, 1);
}

void
arrays(struct node *n, size_t count, int (*compare)(const void *, const void *))
{
    struct node **a = gc_alloc_array(&gc_pointer_type, count), **b;
    struct node *on_stack[4];

    a[0] = n;
    on_stack[1] = n;
    b = gc_alloc_array(&gc_pointer_type, count);
    gc_write(&roots[0], b[0]);
    gc_write(&root, (struct node *)(void *)a);
    a[1] = n;                         /* BAD */
    b[1] = on_stack[1];
    qsort(a, count, sizeof(a[0]), compare); /* BAD */
}

void
registered(struct node *n, struct index *ix)
{
    struct node *roots_copy[8];

    root = n;            /* BAD */
    roots[3] = n;        /* BAD */
    ix->tables[1] = n;   /* BAD */
    index_.tables[1] = n; /* BAD */
    ix->count = 3;
    memset(roots, 0, sizeof(roots)); /* BAD */
    memcpy(roots_copy, roots, sizeof(roots));
    gc_write(&roots[1], n);
}

void
fresh(struct node *other)
{
    struct node *n = gc_alloc(&node_type), *m, *k = node_new(NULL);

    n->left = other;
    n->left = root;      /* BAD */
    other->right = n;    /* BAD */
    n->right = other;    /* BAD */
    m = gc_try_alloc(&node_type);
    if (m == NULL || m == other)
        return;
    m->left = n;
    gc_write(&m->right, other);
    gc_write(&other->left, m);
    m->name = NULL;      /* BAD */
    k->right = other;
    k->left = k;
    k->key = 1;
    m = gc_alloc(&node_type);
    m->name = NULL;
    fields(m, NULL, NULL);
    m->left = NULL;      /* BAD */
}

void
shadowed(struct node *n)
{
    struct node *root = n; /* not the registered one */

    root = n->left;
    (void)root;
}

/* Tagged words: their fields are pointers as far as stores go. */
static const gc_decode low_tag = { 7, 1, ~7ull };

struct boxed {
    uint64_t word;
    uint64_t plain;
};
GC_TYPE_TAGGED(boxed_type, struct boxed, low_tag, word);

struct boxed *
boxed_new(uint64_t word)
{
    struct boxed *b = gc_alloc(&boxed_type);

    GC_FRAME(b); /* which no other thread sees */
    b->word = word;
    b->plain = 1;
    return b;
}

void
boxed_set(struct boxed *b, uint64_t word)
{
    b->word = word; /* BAD */
    b->plain = word;
    gc_write_word(&low_tag, &b->word, word);
}
