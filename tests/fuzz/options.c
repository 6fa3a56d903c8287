/* SPDX-License-Identifier: MIT */
/*
 * Options out of the environment, and options as a struct.
 *
 * Oracle: a second parser, written from the comments of include/gcrt/options.h.  What is
 * accepted must come out as it says; what is refused must leave the struct untouched, bit
 * by bit, and name the variable.  Then any struct must be taken or refused as the fields'
 * comments say.
 */
#define _GNU_SOURCE /* putenv */
#include "fuzz.h"

#include <gcrt/gcrt.h>

#include <signal.h>

#include "options.h"

enum {
    OWN_GOGC,
    GO_GOGC,
    THREADS,
    KNOBS,
    HEAP_MIN,
    OWN_LIMIT,
    GO_LIMIT,
    HARD_LIMIT,
    LIMITER,
    NICE,
    HUGEPAGES,
    NVARS
};

static const char *const names[NVARS] = {
        "GCRT_GOGC", "GOGC", "GCRT_THREADS", "GCRT_DEBUG", "GCRT_HEAPMIN",
        "GCRT_MEMLIMIT", "GOMEMLIMIT", "GCRT_MEMLIMIT_HARD", "GCRT_LIMITER", "GCRT_NICE",
        "GCRT_HUGEPAGES"};

#define TEXT_MAX 300

/* Strings of putenv: no copy is made, so nothing leaks from one input to the next. */
static char environment[NVARS][24 + TEXT_MAX + 1];

/* ---- the second parser ---- */

/* All of the text is a decimal number of at most `most`. */
static bool
number(const char *text, size_t len, uint64_t most, uint64_t *ret)
{
    unsigned __int128 value = 0;

    if (len == 0 || strspn(text, "0123456789") < len)
        return false;
    for (; len > 0; len--) {
        value = value * 10 + (unsigned)(*text++ - '0');
        if (value > UINT64_MAX)
            return false;
    }
    *ret = (uint64_t)value;
    return value <= most;
}

static bool
gogc(const char *text, gc_options *opt)
{
    uint64_t n;

    if (!strcmp(text, "off")) {
        opt->gogc = -1;
        return true;
    }
    if (!number(text, strlen(text), 2147483647, &n))
        return false;
    opt->gogc = (int64_t)n;
    return true;
}

/* Bytes, or a number of one of the units, which are powers of 1024. */
static bool
size_of(const char *text, uint64_t *ret)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t len = strlen(text), n;
    uint64_t value, scale = 1;

    for (size_t i = 0; i < COUNT_OF(unit); i++, scale *= 1024) {
        n = strlen(unit[i]);
        if (len <= n || strcmp(text + len - n, unit[i]) != 0 || text[len - n - 1] > '9')
            continue;
        len -= n;
        break;
    }
    if (text[len] == '\0')
        scale = 1;
    if (!number(text, len, UINT64_MAX / scale, &value))
        return false;
    *ret = value * scale;
    return true;
}

static bool
heap_min(const char *text, gc_options *opt)
{
    uint64_t value;

    if (!size_of(text, &value))
        return false;
    opt->heap_min = (size_t)value;
    return true;
}

static bool
limit(const char *text, int64_t *ret)
{
    uint64_t value;

    if (!strcmp(text, "off")) {
        *ret = INT64_MAX;
        return true;
    }
    if (!size_of(text, &value) || value < 1048576 || value >= INT64_MAX)
        return false;
    *ret = (int64_t)value;
    return true;
}

static bool
own_limit(const char *text, gc_options *opt)
{
    uint64_t reserve;
    size_t len = strlen(text);

    if (!strcmp(text, "cgroup")) {
        opt->cgroup_percent = 90;
        return true;
    }
    if (strncmp(text, "cgroup-", 7) != 0)
        return limit(text, &opt->memory_limit);
    if (text[len - 1] != '%' || !number(text + 7, len - 8, 99, &reserve))
        return false;
    opt->cgroup_percent = (uint32_t)(100 - reserve);
    return true;
}

static bool
limiter(const char *text, gc_options *opt)
{
    uint64_t n;

    if (!number(text, strlen(text), 100, &n) || n == 0)
        return false;
    opt->limiter_percent = (uint32_t)n;
    return true;
}

static bool
threads(const char *text, gc_options *opt)
{
    uint64_t n;

    if (!number(text, strlen(text), 64, &n) || n == 0)
        return false;
    opt->threads = (uint32_t)n;
    return true;
}

static bool
nice_level(const char *text, gc_options *opt)
{
    int sign = *text == '-' ? -1 : 1;
    uint64_t n;

    text += sign < 0;
    if (!number(text, strlen(text), 20, &n) || (sign > 0 && n == 20))
        return false;
    opt->nice = sign * (int)n;
    return true;
}

static bool
hugepages(const char *text, gc_options *opt)
{
    static const char *const words[] = {"auto", "always", "never"};

    for (unsigned i = 0; i < COUNT_OF(words); i++)
        if (strcmp(text, words[i]) == 0) {
            opt->hugepages = (gc_hugepages)i;
            return true;
        }
    return false;
}

/* "name=number": does it begin with this name, and is the rest such a number? */
static bool
knob(const char *item, size_t len, const char *name, uint64_t most, uint64_t *ret)
{
    size_t n = strlen(name);

    return len > n && !strncmp(item, name, n) && item[n] == '='
            && number(item + n + 1, len - n - 1, most, ret);
}

static bool
debug_item(const char *item, size_t len, gc_options *opt)
{
    uint64_t n;

    if (knob(item, len, "gctrace", 1, &n))
        opt->debug_gctrace = (int)n;
    else if (knob(item, len, "verify", 2, &n))
        opt->debug_verify = (int)n;
    else if (knob(item, len, "checkmark", 2, &n))
        opt->debug_checkmark = (int)n;
    else if (knob(item, len, "clobberfree", 1, &n))
        opt->debug_clobberfree = (int)n;
    else if (knob(item, len, "stress", 4294967295u, &n))
        opt->debug_stress = (uint32_t)n;
    else if (knob(item, len, "chaos", UINT64_MAX, &n))
        opt->debug_chaos = n;
    else if (knob(item, len, "tiny", 1, &n))
        opt->debug_tiny = (int)n;
    else if (knob(item, len, "failat", UINT64_MAX, &n))
        opt->debug_failat = n;
    else if (knob(item, len, "failfrom", UINT64_MAX, &n))
        opt->debug_failfrom = n;
    else if (knob(item, len, "wbcheck", 1, &n))
        opt->debug_wbcheck = (int)n;
    else if (knob(item, len, "gcpacertrace", 1, &n))
        opt->debug_gcpacertrace = (int)n;
    else if (knob(item, len, "stw", 1, &n))
        opt->mode = n != 0 ? GC_MODE_STW : GC_MODE_CONCURRENT;
    else if (knob(item, len, "scavtrace", 1, &n))
        opt->debug_scavtrace = (int)n;
    else if (knob(item, len, "profilerate", SIZE_MAX, &n))
        opt->profile_rate = (size_t)n;
    else if (knob(item, len, "pool", 1, &n))
        opt->debug_pool = (int)n;
    else if (knob(item, len, "arena", 1, &n))
        opt->debug_arena = (int)n;
    else
        return false;
    return true;
}

static bool
debug(const char *text, gc_options *opt)
{
    const char *comma;

    while ((comma = strchr(text, ',')) != NULL) {
        if (!debug_item(text, (size_t)(comma - text), opt))
            return false;
        text = comma + 1;
    }
    return debug_item(text, strlen(text), opt);
}

/* The variable that is malformed, or NULL. */
static const char *
reference(const char *const value[NVARS], gc_options *opt)
{
    int which = value[OWN_GOGC] != NULL ? OWN_GOGC : GO_GOGC;

    gc_options_default(opt);
    if (value[which] != NULL && !gogc(value[which], opt))
        return names[which];
    if (value[HEAP_MIN] != NULL && !heap_min(value[HEAP_MIN], opt))
        return names[HEAP_MIN];
    if (value[OWN_LIMIT] != NULL) {
        if (!own_limit(value[OWN_LIMIT], opt))
            return names[OWN_LIMIT];
    } else if (value[GO_LIMIT] != NULL && !limit(value[GO_LIMIT], &opt->memory_limit)) {
        return names[GO_LIMIT];
    }
    if (value[HARD_LIMIT] != NULL && !limit(value[HARD_LIMIT], &opt->memory_limit_hard))
        return names[HARD_LIMIT];
    if (value[LIMITER] != NULL && !limiter(value[LIMITER], opt))
        return names[LIMITER];
    if (value[HUGEPAGES] != NULL && !hugepages(value[HUGEPAGES], opt))
        return names[HUGEPAGES];
    if (value[THREADS] != NULL && !threads(value[THREADS], opt))
        return names[THREADS];
    if (value[NICE] != NULL && !nice_level(value[NICE], opt))
        return names[NICE];
    if (value[KNOBS] != NULL && !debug(value[KNOBS], opt))
        return names[KNOBS];
    return NULL;
}

/* ---- the environment ---- */

/* The bytes after some of the fields say nothing. */
static void
clear_padding(gc_options *opt)
{
    size_t from = offsetof(gc_options, debug_stress) + sizeof(opt->debug_stress);

    memset((char *)opt + from, 0, offsetof(gc_options, debug_chaos) - from);
    from = offsetof(gc_options, periodic_ms) + sizeof(opt->periodic_ms);
    memset((char *)opt + from, 0, offsetof(gc_options, memory_limit) - from);
    from = offsetof(gc_options, debug_tiny) + sizeof(opt->debug_tiny);
    memset((char *)opt + from, 0, offsetof(gc_options, debug_failat) - from);
    from = offsetof(gc_options, debug_arena) + sizeof(opt->debug_arena);
    memset((char *)opt + from, 0, sizeof(*opt) - from);
}

/* Sets or unsets the variable from the input: its text, or NULL if unset or empty. */
static const char *
set_variable(int which, struct input *in)
{
    char *text = environment[which];
    size_t len, at;

    unsetenv(names[which]);
    len = take16(in) % (TEXT_MAX + 2);
    if (len > TEXT_MAX)
        return NULL;
    at = (size_t)sprintf(text, "%s=", names[which]);
    for (size_t i = 0; i < len && more(in); i++) {
        char c = (char)take8(in);

        if (c == '\0')
            break;
        text[at + i] = c;
        text[at + i + 1] = '\0';
    }
    FUZZ_CHECK(putenv(text) == 0, "putenv");
    return text[at] == '\0' ? NULL : text + at;
}

static void
check_environment(struct input *in)
{
    const char *value[NVARS], *culprit;
    gc_options want, got, before;
    gc_status status;

    for (int i = 0; i < NVARS; i++)
        value[i] = set_variable(i, in);
    memset(&want, 0xa5, sizeof(want));
    memset(&before, 0xa5, sizeof(before));
    memset(&got, 0xa5, sizeof(got));
    culprit = reference(value, &want);
    status = gc_options_from_env(&got);
    if (culprit == NULL) {
        FUZZ_CHECK(status == GC_OK, "refused: %s", gc_last_error());
        clear_padding(&got);
        clear_padding(&want);
        FUZZ_CHECK(memcmp(&got, &want, sizeof(got)) == 0, "read something else");
        FUZZ_CHECK(
                gcrt_options_check(&got) == GC_OK, "its own options: %s", gc_last_error());
    } else {
        FUZZ_CHECK(status == GC_ERR_ENV, "%s was taken, status %d", culprit, (int)status);
        FUZZ_CHECK(memcmp(&got, &before, sizeof(got)) == 0, "the struct was touched");
        FUZZ_CHECK(strncmp(gc_last_error(), culprit, strlen(culprit)) == 0
                        && gc_last_error()[strlen(culprit)] == '=',
                "%s is not what it names: %s", culprit, gc_last_error());
    }
    for (int i = 0; i < NVARS; i++)
        unsetenv(names[i]);
}

/* ---- the struct ---- */

static bool
is_taken(int number)
{
    static const int faults[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};

    for (size_t i = 0; i < COUNT_OF(faults); i++)
        if (number == faults[i])
            return false;
    return number >= 0 && number <= 64;
}

static void
check_struct(struct input *in)
{
    gc_options opt;
    gc_status status;
    bool good;

    gc_options_default(&opt);
    if (take8(in) % 8 == 0)
        opt.struct_size = (size_t)take_number(in);
    opt.gogc = (int64_t)take_number(in);
    opt.heap_min = (size_t)take_number(in);
    opt.reserve = (size_t)take_number(in);
    opt.threads = (uint32_t)take_number(in);
    opt.grace_us = (uint32_t)take_number(in);
    opt.signal = (int)take_number(in);
    opt.periodic_ms = (int)take_number(in);
    opt.debug_verify = (int)take_number(in);
    opt.nice = (int)take_number(in) % 32;
    opt.worker_percent_max = (uint32_t)take_number(in) % 128;
    opt.memory_limit = (int64_t)take_number(in);
    opt.memory_limit_hard = (int64_t)take_number(in);
    opt.limiter_percent = (uint32_t)take_number(in);
    opt.cgroup_percent = (uint32_t)take_number(in);
    opt.hugepages = (gc_hugepages)(uint32_t)take_number(in);
    opt.cleanup_threads = (uint32_t)take_number(in) % 32;
    opt.cleanup_slow_ms = (uint32_t)take_number(in);
    good = opt.struct_size == sizeof(opt) && opt.gogc <= 2147483647 && opt.threads <= 64
            && is_taken(opt.signal) && opt.periodic_ms >= 0
            && opt.debug_verify >= 0 && opt.debug_verify <= 2
            && opt.memory_limit >= 1048576 && opt.memory_limit_hard >= 1048576
            && opt.limiter_percent >= 1 && opt.limiter_percent <= 100
            && opt.cgroup_percent <= 100 && opt.nice >= -20 && opt.nice <= 19
            && (unsigned)opt.hugepages <= 2 && opt.cleanup_threads <= 16
            && opt.worker_percent_max >= 1 && opt.worker_percent_max <= 100;
    status = gcrt_options_check(&opt);
    FUZZ_CHECK(status == (good ? GC_OK : GC_ERR_INVAL), "status %d", (int)status);
    if (!good) {
        gc_heap *heap = NULL;

        FUZZ_CHECK(gc_heap_create(&opt, &heap) == GC_ERR_INVAL && heap == NULL, "a heap");
        FUZZ_CHECK(gc_last_error()[0] != '\0', "nothing is said");
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};

    if (take8(&in) % 4 != 0)
        check_environment(&in);
    else
        check_struct(&in);
    return 0;
}
