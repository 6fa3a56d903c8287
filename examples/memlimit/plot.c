/* SPDX-License-Identifier: MIT */
#include "plot.h"
int plot_runs(const char *path, const struct run *runs, int n) { (void)path; (void)runs; (void)n; return 0; }
