/* SPDX-License-Identifier: MIT */
/*
 * The scavtrace line, letter by letter: scripts read it.
 */
#include "metrics/scavtrace.h"

#include <criterion/criterion.h>
#include <string.h>

static void
expect_line(const struct scavenge_report *r, const char *line)
{
    char buf[SCAVTRACE_LINE_MAX];
    size_t n = gcrt_scavtrace_format(buf, sizeof(buf), r);

    cr_expect_str_eq(buf, line);
    cr_expect_eq(n, strlen(line));
}

Test(scavtrace, line_is_frozen)
{
    struct scavenge_report r = { .background = 3 << 20, .assist = 65536, .released = 400 << 20,
        .in_use = 99, .retained = 110 };

    expect_line(&r, "scav 3072 KiB work (bg), 64 KiB work (eager), 409600 KiB now, 90% util");
    r.forced = true;
    expect_line(&r, "scav 3072 KiB work (bg), 64 KiB work (eager), 409600 KiB now, 90% util "
                    "(forced)");
}

Test(scavtrace, each_number_is_its_field)
{
    static const struct {
        const char *line;
        struct scavenge_report report;
    } table[] = {
        { "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 0% util", { 0 } },
        { "scav 1 KiB work (bg), 0 KiB work (eager), 0 KiB now, 0% util",
            { .background = 2047 } },
        { "scav 0 KiB work (bg), 2 KiB work (eager), 0 KiB now, 0% util", { .assist = 2048 } },
        { "scav 0 KiB work (bg), 0 KiB work (eager), 3 KiB now, 0% util",
            { .released = 4095 } },
        { "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 66% util",
            { .in_use = 2, .retained = 3 } },
        { "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 0% util", { .retained = 3 } },
        { "scav 0 KiB work (bg), 0 KiB work (eager), 17179869184 KiB now, 50% util (forced)",
            { .released = (uint64_t)1 << 44, .in_use = 1, .retained = 2, .forced = true } },
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        expect_line(&table[i].report, table[i].line);
}

Test(scavtrace, shares_are_rounded_down_and_never_above_all)
{
    struct scavenge_report r = { .background = 1023, .in_use = 7, .retained = 7 };

    expect_line(&r, "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 100% util");
    r.in_use = 8; /* read a moment later */
    expect_line(&r, "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 100% util");
    r.in_use = r.retained = 0;
    expect_line(&r, "scav 0 KiB work (bg), 0 KiB work (eager), 0 KiB now, 0% util");
}

Test(scavtrace, longest_line_fits_and_a_short_buffer_is_cut)
{
    struct scavenge_report r = { UINT64_MAX, UINT64_MAX, UINT64_MAX, 9, 9, true };
    char line[SCAVTRACE_LINE_MAX], cut[8];
    size_t n = gcrt_scavtrace_format(line, sizeof(line), &r);

    cr_expect_lt(n, sizeof(line));
    cr_expect_eq(gcrt_scavtrace_format(cut, sizeof(cut), &r), n);
    cr_expect_str_eq(cut, "scav 18");
}
