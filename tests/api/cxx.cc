/* SPDX-License-Identifier: MIT */
/*
 * Purpose: every public header compiles as C++ and its macros and inline functions work
 * there: types at file and block scope, allocation, stores, blocking regions.
 *
 * Place: public interface only; a plain main(): 0 is a pass.
 */

#include <gcrt/alloc.h>
#include <gcrt/attr.h>
#include <gcrt/barrier.h>
#include <gcrt/debug.h>
#include <gcrt/gcrt.h>
#include <gcrt/metrics.h>
#include <gcrt/options.h>
#include <gcrt/roots.h>
#include <gcrt/runtime.h>
#include <gcrt/status.h>
#include <gcrt/thread.h>
#include <gcrt/type.h>
#include <gcrt/version.h>

#include <cstdio>
#include <cstdlib>

namespace {

struct pair {
    pair *left;
    pair *right;
    long value;
};

struct bag {
    long n;
    pair *first;
    pair *items[1];
};

GC_TYPE(pair_type, pair, left, right);
GC_TYPE_NOSCAN(long_type, long);
GC_TYPE_CONSERVATIVE(loose_type, pair);
GC_TYPE_FLEX(bag_type, bag, items, gc_pointer_type, first);
GC_TYPE_FLEX_PLAIN(bag_plain_type, bag, items, gc_pointer_type);

void
trace_pair(const void *obj, std::size_t, gc_tracer *tracer)
{
    const pair *p = static_cast<const pair *>(obj);

    gc_trace_words(tracer, &p->left, 1);
    gc_trace_words(tracer, &p->right, 1);
}

GC_TYPE_TRACED(traced_type, pair, trace_pair);

pair *root;

#define REQUIRE(cond)                                                      \
    do {                                                                   \
        if (!(cond)) {                                                     \
            std::fprintf(stderr, "cxx: FAILED line %d: %s\n", __LINE__, #cond); \
            std::exit(1);                                                  \
        }                                                                  \
    } while (0)

pair *
make(const gc_type *type, long value)
{
    pair *p = static_cast<pair *>(gc_alloc(type));

    p->value = value;
    return p;
}

void
build()
{
    GC_TYPE(local_type, pair, left, right);

    gc_write(&root, make(&pair_type, 1));
    gc_write(&root->left, make(&traced_type, 2));
    gc_write_release(&root->left->left, make(&loose_type, 3));
    gc_write(&root->right, make(&local_type, 4));
    REQUIRE(gc_exchange(&root->right->left, root) == nullptr);
    REQUIRE(gc_cas(&root->right->left, root, root->left) == 1);
}

void
check()
{
    bag *b = static_cast<bag *>(gc_alloc_flex(&bag_type, 5));
    pair **more = static_cast<pair **>(gc_alloc_array(&gc_pointer_type, 10));

    gc_write(&b->items[4], root);
    gc_copy(&gc_pointer_type, more, b->items, 5);
    gc_collect(nullptr);
    REQUIRE(root->value == 1 && root->left->value == 2);
    REQUIRE(root->left->left->value == 3 && root->right->value == 4);
    REQUIRE(root->right->left == root->left);
    REQUIRE(more[4] == root && gc_base(&root->value) == root);
    GC_KEEP_ALIVE(more);
    b = static_cast<bag *>(gc_alloc_flex(&bag_plain_type, 2));
    REQUIRE(b->items[1] == nullptr && *static_cast<long *>(gc_alloc(&long_type)) == 0);
}

} // namespace

int
main()
{
    gc_options opt;
    gc_stats stats;
    int rounds = 0;

    gc_options_default(&opt);
    REQUIRE(gc_init(&opt) == GC_OK);
    REQUIRE(gc_root_add(&root, sizeof root) == GC_OK);
    build();
    GC_BLOCKING { rounds++; }
    gc_safepoint();
    check();
    REQUIRE(rounds == 1);
    REQUIRE(gc_verify(nullptr) == GC_OK);
    gc_stats_read(nullptr, &stats);
    REQUIRE(stats.num_gc >= 1);
    gc_handle *handle = gc_handle_new(root);
    REQUIRE(gc_handle_get(handle) == root);
    gc_handle_free(handle);
    gc_root_remove(&root);
    gc_shutdown();
    return 0;
}
