/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_CXX_THROW_H
#define GCRT_TESTS_CXX_THROW_H

#include <gcrt/gcrt.h>

GC_IMPL_BEGIN
/* fn(arg) from a C function that has a GC_FRAME. */
void call_in_frame(void (*fn)(void *), void *arg);
GC_IMPL_END

#endif
