/* SPDX-License-Identifier: MIT */
#ifndef GCRT_VERSION_H
#define GCRT_VERSION_H

#define GC_VERSION_MAJOR  0
#define GC_VERSION_MINOR  1
#define GC_VERSION_PATCH  0
#define GC_VERSION_STRING "0.1.0"

#endif
