/* SPDX-License-Identifier: MIT */
/*
 * The pacer's line.
 *
 * Purpose: what the pacer planned for a cycle, what came of it, and what it plans next: enough
 * to see why a goal was missed or why assists were needed.
 * Place: the api layer calls it when the coordinator reports a cycle, before the gctrace line.
 * Invariants: the form is
 *     pacer: gc N: plan W MB in T->G MB, assist a->b, d+f workers; scanned h+s+r MB,
 *     heap A->B->C MB, goal E MB, CPU u+v+w%; cons/mark m of n, runway R MB, next X->Y MB
 * on one line.  docs/pacing.md explains each field.  A goal that is never reached is "off".
 * Fixed point throughout: the decimal point must not depend on the host's locale.
 * Concurrency: pure.  Cost: cold, once per cycle.
 */
#include "metrics/pacertrace.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT 32

/* 2^20 bytes and hundredths of it, rounded down. */
static void
format_mb(char *text, size_t n, uint64_t bytes)
{
    snprintf(text, n, "%" PRIu64 ".%02u", bytes >> 20,
            (unsigned)((bytes & 0xfffff) * 100 >> 20));
}

/* "off" for what is never reached. */
static const char *
mb(char text[TEXT], uint64_t bytes)
{
    if (bytes == UINT64_MAX)
        return "off";
    format_mb(text, TEXT, bytes);
    return text;
}

/* Millionths with so many decimals, rounded down. */
static const char *
ratio(char text[TEXT], uint64_t millionths, int decimals)
{
    uint64_t fraction = millionths % PACE_ONE;

    for (int i = decimals; i < 6; i++)
        fraction /= 10;
    snprintf(text, TEXT, "%" PRIu64 ".%0*" PRIu64, millionths / PACE_ONE, decimals, fraction);
    return text;
}

/* By how much the heap passed its goal, or with "-" stayed below it. */
static const char *
missed(char text[TEXT], uint64_t heap, uint64_t goal)
{
    bool over = heap >= goal;

    if (goal == UINT64_MAX)
        return "off";
    text[0] = over ? '+' : '-';
    format_mb(text + 1, TEXT - 1, over ? heap - goal : goal - heap);
    return text;
}

static uint64_t
percent(uint64_t millionths)
{
    return millionths / (PACE_ONE / 100);
}

size_t
gcrt_pacertrace_format(char *buf, size_t n, const struct cycle_report *c)
{
    const struct pace_report *p = &c->pace;
    char t[18][TEXT];
    int length = snprintf(buf, n,
            "pacer: gc %" PRIu64 ": plan %s MB in %s->%s MB, assist %s->%s, %" PRIu64
            "+%s workers; scanned %s+%s+%s MB, heap %s->%s->%s MB, goal %s MB, "
            "CPU %" PRIu64 "+%" PRIu64 "+%" PRIu64 "%%; cons/mark %s of %s, "
            "runway %s MB, next %s->%s MB",
            c->cycle, mb(t[0], p->expected), mb(t[1], p->planned_start), mb(t[2], c->goal),
            ratio(t[3], p->assist_first, 3), ratio(t[4], p->assist_last, 3), p->dedicated,
            ratio(t[5], p->fractional, 2), mb(t[6], p->heap_work), mb(t[7], c->stacks),
            mb(t[8], c->globals), mb(t[9], c->heap_start), mb(t[10], c->heap_end),
            mb(t[11], c->heap_live), missed(t[12], c->heap_end, c->goal),
            percent(p->workers_share), percent(p->assists_share), percent(p->idle_share),
            ratio(t[13], p->cons_mark, 6), ratio(t[14], p->cons_mark_used, 6),
            mb(t[15], p->runway), mb(t[16], p->next_trigger),
            mb(t[17], p->next_goal));

    return (size_t)length;
}
