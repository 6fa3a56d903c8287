/* SPDX-License-Identifier: MIT */
/*
 * The pacer's line, letter by letter: scripts read it.
 */
#include "metrics/pacertrace.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)

static const struct cycle_report plain = {
    .cycle = 12, .heap_start = 185 * MIB, .heap_end = 199 * MIB + MIB / 2,
    .heap_live = 100 * MIB, .goal = 200 * MIB, .stacks = 10486, .globals = 3 * MIB,
    .pace = { .planned_start = 184 * MIB, .expected = 103 * MIB, .assist_first = 6437500,
        .assist_last = 1000, .dedicated = 1, .fractional = 83333, .heap_work = 98 * MIB - 1,
        .workers_share = 249999, .assists_share = 30000, .idle_share = 100000,
        .cons_mark = 31250, .cons_mark_used = 1041000, .runway = 16 * MIB + 11000,
        .next_trigger = 185 * MIB, .next_goal = 203 * MIB },
};

static void
expect_line(const struct cycle_report *c, const char *line)
{
    char buf[PACERTRACE_LINE_MAX];
    size_t n = gcrt_pacertrace_format(buf, sizeof(buf), c);

    cr_expect_str_eq(buf, line);
    cr_expect_eq(n, strlen(line));
}

Test(pacertrace, line_is_frozen)
{
    expect_line(&plain, "pacer: gc 12: plan 103.00 MB in 184.00->200.00 MB, "
                        "assist 6.437->0.001, 1+0.08 workers; scanned 97.99+0.01+3.00 MB, "
                        "heap 185.00->199.50->100.00 MB, goal -0.50 MB, CPU 24+3+10%; "
                        "cons/mark 0.031250 of 1.041000, runway 16.01 MB, "
                        "next 185.00->203.00 MB");
}

Test(pacertrace, goal_that_was_passed_has_a_plus)
{
    struct cycle_report c = plain;
    char line[PACERTRACE_LINE_MAX];

    c.heap_end = 203 * MIB + MIB / 4;
    (void)gcrt_pacertrace_format(line, sizeof(line), &c);
    cr_expect_not_null(strstr(line, "->203.25->100.00 MB, goal +3.25 MB,"), "%s", line);
    c.heap_end = c.goal;
    (void)gcrt_pacertrace_format(line, sizeof(line), &c);
    cr_expect_not_null(strstr(line, ", goal +0.00 MB,"), "%s", line);
}

Test(pacertrace, forced_first_cycle_with_gogc_off_has_no_goal)
{
    struct cycle_report c = { .cycle = 1, .goal = UINT64_MAX, .pace = {
        .planned_start = UINT64_MAX, .next_trigger = UINT64_MAX, .next_goal = UINT64_MAX } };

    expect_line(&c, "pacer: gc 1: plan 0.00 MB in off->off MB, assist 0.000->0.000, "
                    "0+0.00 workers; scanned 0.00+0.00+0.00 MB, heap 0.00->0.00->0.00 MB, "
                    "goal off MB, CPU 0+0+0%; cons/mark 0.000000 of 0.000000, "
                    "runway 0.00 MB, next off->off MB");
}

Test(pacertrace, longest_line_fits_and_a_short_buffer_is_cut)
{
    struct cycle_report c;
    char line[PACERTRACE_LINE_MAX], cut[10];
    size_t n;

    memset(&c, 0xfe, sizeof(c));
    c.goal = 0;
    n = gcrt_pacertrace_format(line, sizeof(line), &c);
    cr_expect_lt(n, sizeof(line));
    cr_expect_eq(strlen(line), n);
    cr_expect_eq(gcrt_pacertrace_format(cut, sizeof(cut), &c), n);
    cr_expect_eq(strlen(cut), sizeof(cut) - 1);
}
