/* SPDX-License-Identifier: MIT */
#ifndef GCRT_BASE_RCU_H
#define GCRT_BASE_RCU_H

/*
 * liburcu, flavour bp (a host may use any other beside us), for what is read often and
 * changed rarely: the registries of mutators and of kinds.  Nothing is inlined (no
 * _LGPL_SOURCE), and nothing here is on a fast path or in a signal handler.
 */

#include "alloc/base/base.h"

#define URCU_API_MAP
#include <urcu/urcu-bp.h>

#include <urcu/rculfhash.h>
#include <urcu/rculist.h>

/*
 * For each record of the type that is linked into the list by `member`.  (liburcu's own
 * loops cast away const, and step through a NULL member at their end.)
 */
#define RCU_LIST_EACH(type, pos, head, member)                                            \
    for (struct cds_list_head *at_ = (head)->next;                                        \
            at_ != (head) && ((pos) = container_of_(at_, type, member), 1);               \
            at_ = at_->next)

/*
 * ThreadSanitizer does not see into liburcu's calls.  Mark what they publish: RELEASE
 * before a record is added, ACQUIRE where a lookup has found it.
 */
#if defined(__SANITIZE_THREAD__)
# define RCU_SANITIZED 1
#elif defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define RCU_SANITIZED 1
# endif
#endif
#if defined(RCU_SANITIZED)
void __tsan_acquire(void *);
void __tsan_release(void *);
# define RCU_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t)(p))
# define RCU_RELEASE(p) __tsan_release((void *)(uintptr_t)(p))
#else
# define RCU_ACQUIRE(p) ((void)(p))
# define RCU_RELEASE(p) ((void)(p))
#endif

#endif
