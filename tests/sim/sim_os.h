/* SPDX-License-Identifier: MIT */
#ifndef GCRT_SIM_OS_H
#define GCRT_SIM_OS_H

/* The simulated operating system's own side: what a run sets up and looks at. */

#include "alloc/os/os.h"

/* Forgets all memory; the machine has so many CPUs; threads like to stop at two places. */
void sim_os_reset(unsigned cpus, const enum chaos_place *favourites);
/* Bytes that are mapped; 0 once every heap is destroyed. */
uint64_t sim_os_mapped(void);
/* How often a named place was passed, by all runs of the process. */
uint64_t sim_os_chaos_hits(enum chaos_place place);

#endif
