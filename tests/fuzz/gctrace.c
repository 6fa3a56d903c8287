/* SPDX-License-Identifier: MIT */
/*
 * The gctrace line: any report, any buffer size.
 *
 * Oracle: a parser of the line's form written from docs/observability.md, which reads the
 * numbers back; each must be the report's, rounded down as the form says.  With too little
 * room the line is cut and its whole length returned, as snprintf does.
 */
#include "fuzz.h"

#include "metrics/gctrace.h"

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct cycle_report c;
    uint64_t field[sizeof(c) / sizeof(uint64_t)];
    char whole[GCTRACE_LINE_MAX], cut[GCTRACE_LINE_MAX + 1];
    size_t room, length;

    room = take_below(&in, GCTRACE_LINE_MAX + 1);
    for (size_t i = 0; i < COUNT_OF(field); i++)
        field[i] = take_number(&in);
    memcpy(&c, field, sizeof(c));
    length = gcrt_gctrace_format(whole, sizeof(whole), &c);
    FUZZ_CHECK(length < GCTRACE_LINE_MAX && strlen(whole) == length, "length %zu", length);
    check_line(whole, &c);

    memset(cut, '#', sizeof(cut));
    FUZZ_CHECK(
            gcrt_gctrace_format(cut, room, &c) == length, "the length depends on the room");
    FUZZ_CHECK(cut[room] == '#', "wrote beyond the %zu bytes there are", room);
    if (room > 0) {
        size_t kept = length < room ? length : room - 1;

        FUZZ_CHECK(cut[kept] == '\0' && memcmp(cut, whole, kept) == 0, "cut to: %s", cut);
    }
    return 0;
}
