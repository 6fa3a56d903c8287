/* SPDX-License-Identifier: MIT */
/*
 * The gctrace line and the pacer's line: any report, any buffer size.
 *
 * Oracle: parsers of the lines' forms written from docs/observability.md and
 * docs/pacing.md, which read the numbers back; each must be the report's, rounded down as
 * the form says.  With too little room a line is cut and its whole length returned, as
 * snprintf does.
 */
#include "fuzz.h"

#include "metrics/gctrace.h"
#include "metrics/pacertrace.h"

/* ---- reading the line ---- */

static void
expect(const char **at, const char *text, const char *line)
{
    size_t n = strlen(text);

    FUZZ_CHECK(strncmp(*at, text, n) == 0, "no '%s' at %td of: %s", text, *at - line, line);
    *at += n;
}

/* Digits without a leading zero; how many in *n. */
static uint64_t
digits(const char **at, size_t *n, bool fraction, const char *line)
{
    const char *start = *at;
    uint64_t value = 0;

    for (; **at >= '0' && **at <= '9'; (*at)++)
        FUZZ_CHECK(!__builtin_mul_overflow(value, (uint64_t)10, &value)
                        && !__builtin_add_overflow(value, (uint64_t)(**at - '0'), &value),
                "a number too large: %s", line);
    *n = (size_t)(*at - start);
    FUZZ_CHECK(*n > 0, "no digit at %td of: %s", start - line, line);
    FUZZ_CHECK(fraction || *n == 1 || *start != '0', "leading zero: %s", line);
    return value;
}

static void
number(const char **at, uint64_t want, const char *line)
{
    size_t n;
    uint64_t got = digits(at, &n, false, line);

    FUZZ_CHECK(got == want, "%llu is not %llu in: %s", (unsigned long long)got,
            (unsigned long long)want, line);
}

/* Milliseconds with 0, 1, 2 or 3 decimals, cut off, never rounded up. */
static void
millis(const char **at, uint64_t ns, const char *line)
{
    uint64_t us = ns / 1000, unit = 1000, got;
    size_t want = us == 0 || us >= 10000 ? 0 : us < 100 ? 3 : us < 1000 ? 2 : 1, n;

    got = digits(at, &n, false, line);
    for (size_t i = 0; i < want; i++)
        unit /= 10;
    if (want > 0) {
        expect(at, ".", line);
        for (size_t i = 0; i < want; i++)
            got *= 10;
        got += digits(at, &n, true, line);
        FUZZ_CHECK(n == want, "%zu decimals, not %zu: %s", n, want, line);
    }
    FUZZ_CHECK(
            got == us / unit, "%llu ns shown wrongly in: %s", (unsigned long long)ns, line);
}

static void
times(const char **at, const uint64_t *ns, size_t n, const char *between, const char *line)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            char separator[2] = {between[i - 1], '\0'};

            expect(at, separator, line);
        }
        millis(at, ns[i], line);
    }
}

/* Whole percent, cut off; more CPU time than there was is shown as 100. */
static void
share(const char **at, uint64_t part, uint64_t whole, const char *line)
{
    size_t n;
    uint64_t got = digits(at, &n, false, line);
    uint64_t want = whole == 0 ? 0 : (uint64_t)((unsigned __int128)part * 100 / whole);

    if (whole != 0 && part > whole)
        want = 100;
    /* Computed in floating point: one off at the edge of a percent is no lie. */
    FUZZ_CHECK(got <= 100 && got + 1 >= want && got <= want + 1, "%llu%% is not %llu%%: %s",
            (unsigned long long)got, (unsigned long long)want, line);
}

static void
check_line(const char *line, const struct cycle_report *c)
{
    const uint64_t clock[] = {c->start_wall_ns, c->mark_wall_ns, c->end_wall_ns};
    const uint64_t cpu[] = {
            c->start_cpu_ns, c->assist_ns, c->dedicated_ns, c->idle_ns, c->end_cpu_ns};
    const char *at = line;
    size_t n;
    uint64_t ms;

    expect(&at, "gc ", line);
    number(&at, c->cycle, line);
    expect(&at, " @", line);
    number(&at, c->since_start_ns / 1000000000, line);
    expect(&at, ".", line);
    ms = digits(&at, &n, true, line);
    FUZZ_CHECK(n == 3 && ms == c->since_start_ns / 1000000 % 1000, "the time in: %s", line);
    expect(&at, "s ", line);
    share(&at, c->gc_cpu_ns, c->total_cpu_ns, line);
    expect(&at, "%: ", line);
    times(&at, clock, 3, "++", line);
    expect(&at, " ms clock, ", line);
    times(&at, cpu, 5, "+//+", line);
    expect(&at, " ms cpu, ", line);
    number(&at, c->heap_start / 1048576, line);
    expect(&at, "->", line);
    number(&at, c->heap_end / 1048576, line);
    expect(&at, "->", line);
    number(&at, c->heap_live / 1048576, line);
    expect(&at, " MB, ", line);
    number(&at, c->goal / 1048576, line);
    expect(&at, " MB goal, ", line);
    number(&at, c->stacks / 1048576, line);
    expect(&at, " MB stacks, ", line);
    number(&at, c->globals / 1048576, line);
    expect(&at, " MB globals, ", line);
    number(&at, c->nps, line);
    expect(&at, " P", line);
    if (c->forced)
        expect(&at, " (forced)", line);
    FUZZ_CHECK(*at == '\0', "something follows: %s", line);
}

/* ---- the pacer's line ---- */

/* A number with so many decimals: of units of `unit`, cut off. */
static void
fixed(const char **at, uint64_t value, uint64_t unit, size_t decimals, const char *line)
{
    unsigned __int128 part = value % unit;
    uint64_t got;
    size_t n;

    number(at, value / unit, line);
    expect(at, ".", line);
    got = digits(at, &n, true, line);
    for (size_t i = 0; i < decimals; i++)
        part *= 10;
    FUZZ_CHECK(n == decimals && got == (uint64_t)(part / unit), "decimals of %llu: %s",
            (unsigned long long)value, line);
}

static void
megabytes(const char **at, uint64_t bytes, const char *behind, const char *line)
{
    if (bytes == UINT64_MAX)
        expect(at, "off", line);
    else
        fixed(at, bytes, 1048576, 2, line);
    expect(at, behind, line);
}

static void
shortfall(const char **at, const struct cycle_report *c, const char *line)
{
    if (c->goal == UINT64_MAX) {
        expect(at, "off MB, CPU ", line);
        return;
    }
    expect(at, c->heap_end >= c->goal ? "+" : "-", line);
    fixed(at, c->heap_end >= c->goal ? c->heap_end - c->goal : c->goal - c->heap_end, 1048576,
            2, line);
    expect(at, " MB, CPU ", line);
}

static void
check_plan(const char **at, const struct cycle_report *c, const char *line)
{
    const struct pace_report *p = &c->pace;

    expect(at, "pacer: gc ", line);
    number(at, c->cycle, line);
    expect(at, ": plan ", line);
    megabytes(at, p->expected, " MB in ", line);
    megabytes(at, p->planned_start, "->", line);
    megabytes(at, c->goal, " MB, assist ", line);
    fixed(at, p->assist_first, 1000000, 3, line);
    expect(at, "->", line);
    fixed(at, p->assist_last, 1000000, 3, line);
    expect(at, ", ", line);
    number(at, p->dedicated, line);
    expect(at, "+", line);
    fixed(at, p->fractional, 1000000, 2, line);
    expect(at, " workers; scanned ", line);
}

static void
check_pacer_line(const char *line, const struct cycle_report *c)
{
    const struct pace_report *p = &c->pace;
    const char *at = line;

    check_plan(&at, c, line);
    megabytes(&at, p->heap_work, "+", line);
    megabytes(&at, c->stacks, "+", line);
    megabytes(&at, c->globals, " MB, heap ", line);
    megabytes(&at, c->heap_start, "->", line);
    megabytes(&at, c->heap_end, "->", line);
    megabytes(&at, c->heap_live, " MB, goal ", line);
    shortfall(&at, c, line);
    number(&at, p->workers_share / 10000, line);
    expect(&at, "+", line);
    number(&at, p->assists_share / 10000, line);
    expect(&at, "+", line);
    number(&at, p->idle_share / 10000, line);
    expect(&at, "%; cons/mark ", line);
    fixed(&at, p->cons_mark, 1000000, 6, line);
    expect(&at, " of ", line);
    fixed(&at, p->cons_mark_used, 1000000, 6, line);
    expect(&at, ", runway ", line);
    megabytes(&at, p->runway, " MB, next ", line);
    megabytes(&at, p->next_trigger, "->", line);
    megabytes(&at, p->next_goal, " MB", line);
    FUZZ_CHECK(*at == '\0', "something follows: %s", line);
}

/* ---- both ---- */

typedef size_t format_fn(char *buf, size_t n, const struct cycle_report *c);

/* With too little room the line is cut and its whole length returned. */
static void
check_cut(format_fn *format, const char *whole, size_t room, const struct cycle_report *c)
{
    char cut[PACERTRACE_LINE_MAX + 1];
    size_t length = strlen(whole);

    memset(cut, '#', sizeof(cut));
    FUZZ_CHECK(format(cut, room, c) == length, "the length depends on the room");
    FUZZ_CHECK(cut[room] == '#', "wrote beyond the %zu bytes there are", room);
    if (room > 0) {
        size_t kept = length < room ? length : room - 1;

        FUZZ_CHECK(cut[kept] == '\0' && memcmp(cut, whole, kept) == 0, "cut to: %s", cut);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct cycle_report c;
    uint64_t field[sizeof(c) / sizeof(uint64_t)];
    char whole[PACERTRACE_LINE_MAX];
    size_t room, length;

    room = take_below(&in, GCTRACE_LINE_MAX + 1);
    for (size_t i = 0; i < COUNT_OF(field); i++)
        field[i] = take_number(&in);
    memcpy(&c, field, sizeof(c));
    length = gcrt_gctrace_format(whole, GCTRACE_LINE_MAX, &c);
    FUZZ_CHECK(length < GCTRACE_LINE_MAX && strlen(whole) == length, "length %zu", length);
    check_line(whole, &c);
    check_cut(gcrt_gctrace_format, whole, room, &c);

    length = gcrt_pacertrace_format(whole, sizeof(whole), &c);
    FUZZ_CHECK(length < PACERTRACE_LINE_MAX && strlen(whole) == length, "length %zu", length);
    check_pacer_line(whole, &c);
    check_cut(gcrt_pacertrace_format, whole, room, &c);
    return 0;
}
