/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_API_DUMPKIT_H
#define GCRT_TESTS_API_DUMPKIT_H

/* Types of the graphs that gdb_test.py and snapshot_test.py know: entries of a list, and an
 * object whose pointer only its trace function finds. */

#include <gcrt/gcrt.h>

struct entry {
    struct entry *next;
    char *key;
};
GC_TYPE(entry_type, struct entry, next, key);

struct odd {
    void *hidden;
};
static inline void
trace_odd(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    gc_trace(tracer, ((const struct odd *)obj)->hidden);
}
GC_TYPE_TRACED(odd_type, struct odd, trace_odd);

#endif
