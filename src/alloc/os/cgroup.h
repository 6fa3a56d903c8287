/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OS_CGROUP_H
#define GCRT_OS_CGROUP_H

/* What the process's control group lets it use. */

#include "alloc/base/base.h"

struct os_cgroup {
    uint64_t memory; /* bytes; UINT64_MAX: no limit, or none that could be read */
    unsigned cpus;   /* CPU quota rounded up, at least 1; 0: none */
};

/*
 * Reads the limits of the group and of all groups above it, of both versions, below `root`:
 * "" but in tests.  What cannot be read or understood is no limit.
 */
void gcrt_cgroup_read(const char *root, struct os_cgroup *ret);

#endif
