/* SPDX-License-Identifier: MIT */
/*
 * The gctrace line, letter by letter: scripts read it.
 */
#include "metrics/gctrace.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)

struct golden {
    const char *line;
    struct cycle_report report;
};

static const struct golden table[] = {
    { "gc 0 @0.000s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, 0 MB goal, "
      "0 MB stacks, 0 MB globals, 0 P",
        { .cycle = 0 } },
    /* each field by itself */
    { "gc 12 @3.456s 7%: 0.11+22+0.033 ms clock, 0.44+5.5/66/7.7+0.088 ms cpu, "
      "185->199->100 MB, 200 MB goal, 4 MB stacks, 5 MB globals, 6 P",
        { .cycle = 12, .since_start_ns = 3456 * MS, .nps = 6, .gc_cpu_ns = 7, .total_cpu_ns = 100,
            .start_wall_ns = 110 * US, .mark_wall_ns = 22 * MS, .end_wall_ns = 33 * US,
            .start_cpu_ns = 440 * US, .assist_ns = 5500 * US, .dedicated_ns = 66 * MS,
            .idle_ns = 7700 * US, .end_cpu_ns = 88 * US, .heap_start = 185 * MIB,
            .heap_end = 199 * MIB, .heap_live = 100 * MIB, .goal = 200 * MIB,
            .stacks = 4 * MIB, .globals = 5 * MIB } },
    { "gc 1 @0.000s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, 0 MB goal, "
      "0 MB stacks, 0 MB globals, 1 P (forced)",
        { .cycle = 1, .forced = 1, .nps = 1 } },
    /* sizes are cut off, never rounded up */
    { "gc 2 @0.000s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->1->1 MB, 2 MB goal, "
      "0 MB stacks, 2 MB globals, 1 P",
        { .cycle = 2, .nps = 1, .heap_start = MIB - 1, .heap_end = MIB, .heap_live = 2 * MIB - 1,
            .goal = 3 * MIB - 1, .stacks = 1, .globals = 2 * MIB } },
    /* times: how many digits */
    { "gc 3 @0.001s 0%: 0+0.001+0.099 ms clock, 0.10+0.99/1.0/9.9+10 ms cpu, 0->0->0 MB, "
      "0 MB goal, 0 MB stacks, 0 MB globals, 1 P",
        { .cycle = 3, .since_start_ns = 2 * MS - 1, .nps = 1, .start_wall_ns = US - 1,
            .mark_wall_ns = US, .end_wall_ns = 100 * US - 1, .start_cpu_ns = 100 * US,
            .assist_ns = MS - 1, .dedicated_ns = MS, .idle_ns = 10 * MS - 1,
            .end_cpu_ns = 10 * MS } },
    { "gc 4 @1000000.999s 100%: 0.010+99+100 ms clock, 1.2+3600000/0.019/0.12+9.0 ms cpu, "
      "0->0->0 MB, 0 MB goal, 0 MB stacks, 0 MB globals, 1 P",
        { .cycle = 4, .since_start_ns = 1000001000 * MS - 1, .nps = 1, .gc_cpu_ns = 5,
            .total_cpu_ns = 5, .start_wall_ns = 10 * US, .mark_wall_ns = 100 * MS - 1,
            .end_wall_ns = 100 * MS, .start_cpu_ns = 1299 * US, .assist_ns = 3600000 * MS,
            .dedicated_ns = 19 * US + 999, .idle_ns = 129 * US, .end_cpu_ns = 9000 * US } },
    /* clocks that disagree; shares are cut off */
    { "gc 5 @0.000s 100%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, 0 MB goal, "
      "0 MB stacks, 0 MB globals, 1 P",
        { .cycle = 5, .nps = 1, .gc_cpu_ns = 101, .total_cpu_ns = 100 } },
    { "gc 6 @0.000s 24%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, 0 MB goal, "
      "0 MB stacks, 0 MB globals, 1 P",
        { .cycle = 6, .nps = 1, .gc_cpu_ns = 2499, .total_cpu_ns = 10000 } },
    /* GOGC off: the goal is the highest number */
    { "gc 7 @0.000s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 0->0->0 MB, "
      "17592186044415 MB goal, 0 MB stacks, 0 MB globals, 1 P",
        { .cycle = 7, .nps = 1, .goal = UINT64_MAX } },
};

Test(gctrace, lines_are_frozen)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char buf[GCTRACE_LINE_MAX];
        size_t n = gcrt_gctrace_format(buf, sizeof(buf), &table[i].report);

        cr_expect_str_eq(buf, table[i].line);
        cr_expect_eq(n, strlen(table[i].line));
    }
}

Test(gctrace, longest_line_fits_and_a_short_buffer_is_cut)
{
    struct cycle_report c;
    char line[GCTRACE_LINE_MAX], cut[10];
    size_t n;

    memset(&c, 0xff, sizeof(c));
    n = gcrt_gctrace_format(line, sizeof(line), &c);
    cr_expect_lt(n, sizeof(line));
    cr_expect_eq(strlen(line), n);
    cr_expect_eq(gcrt_gctrace_format(cut, sizeof(cut), &c), n);
    cr_expect_str_eq(cut, "gc 184467");
}
