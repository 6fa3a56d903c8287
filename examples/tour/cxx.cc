/* SPDX-License-Identifier: MIT */
/* cxx: fields that carry the barrier, roots that end themselves, constructors that throw. */
#include <gcrt/gcrt.hpp>

#include <cstdio>
#include <stdexcept>
#include <vector>

struct tree {
    gc::ptr<tree> left, right;
    long key;

    explicit tree(long k) : key(k)
    {
        if (k < 0)
            throw std::invalid_argument("negative");
    }
    GC_FIELDS(tree, left, right);
};

static void
insert(gc::ptr<tree> *at, long key)
{
    while (*at != nullptr)
        at = key < (*at)->key ? &(*at)->left : &(*at)->right;
    *at = gc_new<tree>(key); /* the assignment is gc_write */
}

static long
sum(const tree *t)
{
    return t == nullptr ? 0 : sum(t->left) + t->key + sum(t->right);
}

int
main()
{
    gc::runtime heap;
    gc::root<tree> top(gc_new<tree>(50000));
    std::vector<gc::handle<tree>> kept; /* a container of roots: handles, not gc::ptr */

    for (long i = 0; i < 1000; i++) {
        insert(&top->left, (i * 7919) % 50000);
        if (i % 100 == 0) {
            kept.emplace_back(gc_new<tree>(i));
            gc_collect(nullptr);
        }
    }
    try {
        insert(&top->left, -1);
    } catch (const std::invalid_argument &) {} /* what was half made is garbage */
    long want = 50000 + 4500, got = sum(top);
    for (long i = 0; i < 1000; i++)
        want += (i * 7919) % 50000;
    for (auto &h : kept)
        got += h->key;
    std::printf("sum of the tree and the handles: %ld\n", got);
    return got == want ? 0 : 1;
}
