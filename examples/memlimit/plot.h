/* SPDX-License-Identifier: MIT */
#ifndef MEMLIMIT_PLOT_H
#define MEMLIMIT_PLOT_H

#include "sample.h"

/* Draws the runs side by side, those of one percentage together, as SVG.  0, or 1 after a
   message. */
int plot_runs(const char *path, const struct run *runs, int n);

#endif
