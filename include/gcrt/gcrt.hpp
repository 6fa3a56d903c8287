/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GCRT_HPP
#define GCRT_GCRT_HPP

/*
 * gcrt for C++11 and later; works with -fno-exceptions and -fno-rtti.  docs/cxx.md says how
 * the pieces fit.
 *
 *     struct node {
 *         gc::ptr<node> left, right;
 *         long key;
 *         GC_FIELDS(node, left, right);
 *     };
 *     gc::root<node> top(gc_new<node>());
 *     top->left = gc_new<node>();      the assignment carries the barrier
 *
 * Everything here is inline and does what the C functions do; what they say of threads and
 * failure holds.  Nothing here takes a heap object's address apart or keeps it hidden.
 */

#include <gcrt/arena.hpp>
#include <gcrt/object.hpp>
#include <gcrt/scoped.hpp>

#endif
