/* SPDX-License-Identifier: MIT */
/*
 * Disjoint ranges, in a treap.
 *
 * Purpose: find out whether a new stack overlaps one of a hundred thousand.
 * Place: fiber keeps its stacks in one.
 * Invariants: ordered by address from left to right; a node's priority, which is a mix of its
 * address, is not below those of its children.  So the tree's form depends on what is in it alone.
 * Concurrency: the owner's lock.
 * Cost: about 2 ln n steps, each a cache miss: half a microsecond for a hundred thousand.
 *
 * Seidel and Aragon, "Randomized Search Trees", Algorithmica 16 (1996).
 */
#include "gc/extent.h"

static uint64_t
priority(const struct extent *e)
{
    uint64_t z = e->lo * 0x9e3779b97f4a7c15u;

    return (z ^ (z >> 32)) * 0xbf58476d1ce4e5b9u;
}

struct extent *
gcrt_extent_find(struct extent *root, uintptr_t address)
{
    struct extent *e = root;

    while (e != NULL && (address < e->lo || address >= e->hi))
        e = address < e->lo ? e->left : e->right;
    return e;
}

static bool
overlaps(const struct extent *root, const struct extent *e)
{
    while (root != NULL && (e->hi <= root->lo || e->lo >= root->hi))
        root = e->hi <= root->lo ? root->left : root->right;
    return root != NULL;
}

/* Into those below the key and the others. */
static void
split(struct extent *t, uintptr_t key, struct extent **below, struct extent **above)
{
    while (t != NULL)
        if (t->lo < key) {
            *below = t;
            below = &t->right;
            t = t->right;
        } else {
            *above = t;
            above = &t->left;
            t = t->left;
        }
    *below = *above = NULL;
}

bool
gcrt_extent_add(struct extent **root, struct extent *e)
{
    struct extent **at = root;

    if (overlaps(*root, e))
        return false;
    while (*at != NULL && priority(*at) > priority(e))
        at = e->lo < (*at)->lo ? &(*at)->left : &(*at)->right;
    split(*at, e->lo, &e->left, &e->right);
    *at = e;
    return true;
}

void
gcrt_extent_remove(struct extent **root, struct extent *e)
{
    struct extent **at = root, *a = e->left, *b = e->right;

    while (*at != e)
        at = e->lo < (*at)->lo ? &(*at)->left : &(*at)->right;
    while (a != NULL && b != NULL)
        if (priority(a) > priority(b)) {
            *at = a;
            at = &a->right;
            a = a->right;
        } else {
            *at = b;
            at = &b->left;
            b = b->left;
        }
    *at = a != NULL ? a : b;
}
