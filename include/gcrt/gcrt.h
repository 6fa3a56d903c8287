/* SPDX-License-Identifier: MIT */
#ifndef GCRT_GCRT_H
#define GCRT_GCRT_H

/*
 * gcrt: a garbage-collected heap for C programs that is collected concurrently and
 * never stops the world.  This header includes the whole public interface.
 */

#include <gcrt/alloc.h>
#include <gcrt/arena.h>
#include <gcrt/attr.h>
#include <gcrt/barrier.h>
#include <gcrt/cleanup.h>
#include <gcrt/debug.h>
#include <gcrt/ephemeron.h>
#include <gcrt/intern.h>
#include <gcrt/listen.h>
#include <gcrt/metrics.h>
#include <gcrt/options.h>
#include <gcrt/pool.h>
#include <gcrt/precise.h>
#include <gcrt/profile.h>
#include <gcrt/recorder.h>
#include <gcrt/roots.h>
#include <gcrt/runtime.h>
#include <gcrt/stack.h>
#include <gcrt/status.h>
#include <gcrt/thread.h>
#include <gcrt/type.h>
#include <gcrt/version.h>
#include <gcrt/weak.h>
#include <gcrt/weakmap.h>

#endif
