/* SPDX-License-Identifier: MIT */
/*
 * Options: defaults and the environment.
 *
 * Purpose: fill a gc_options, and refuse what makes no sense with the name of the culprit.
 * Place: the api; runtime.c checks options again when a heap is made.
 * Concurrency: reads the environment once per call, like getenv.
 * Cost: cold.
 */
#include "options.h"

#include "alloc/base/base.h"
#include "alloc/os/os.h"
#include "gc/error.h"
#include "gc/runner.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Percent of a cgroup's limit that is left to others if nothing is said. */
#define CGROUP_RESERVE 10

void
gc_options_default(gc_options *opt)
{
    if (opt == NULL)
        return;
    *opt = (gc_options){
        .struct_size = sizeof(*opt),
        .gogc = 100,
        .heap_min = (size_t)4 << 20,
        .worker_percent_max = 50,
        .grace_us = 100,
        .periodic_ms = 120000,
        .release_ms = 5000,
        .cleanup_threads = 1,
        .cleanup_slow_ms = 1000,
        .profile_rate = (size_t)512 << 10,
        .memory_limit = GC_MEMORY_LIMIT_OFF,
        .memory_limit_hard = GC_MEMORY_LIMIT_OFF,
        .limiter_percent = 50,
    };
}

/* ---- parsing ---- */

/* NULL if unset or empty. */
static const char *
variable(const char *name)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? NULL : text;
}

/* Decimal digits only, within [min, max]. */
static bool
parse_number(const char *text, size_t len, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value)
                || __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return false;
    }
    if (value < min || value > max)
        return false;
    *ret = value;
    return true;
}

/* A value in a message, cut so that what is wrong with it has room. */
#define SHOWN       "%.60s%s"
#define SHOW(value) (value), strlen(value) > 60 ? "..." : ""

static gc_status
malformed(const char *name, const char *value, const char *expected)
{
    return gcrt_error(GC_ERR_ENV, "%s=" SHOWN ": expected %s", name, SHOW(value), expected);
}

/* Decimal digits, then nothing (bytes) or one of the units; at most max bytes. */
static bool
parse_size(const char *text, uint64_t max, uint64_t *ret)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = { { "", 0 }, { "B", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 },
        { "TiB", 40 } };
    size_t len = strspn(text, "0123456789");
    uint64_t n;

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text + len, units[i].name) != 0)
            continue;
        if (!parse_number(text, len, 0, max >> units[i].shift, &n))
            return false;
        *ret = n << units[i].shift;
        return true;
    }
    return false;
}

static gc_status
parse_gogc(gc_options *opt, const char *name, const char *text)
{
    uint64_t n;

    if (strcmp(text, "off") == 0) {
        opt->gogc = GC_GOGC_OFF;
        return GC_OK;
    }
    if (!parse_number(text, strlen(text), 0, INT32_MAX, &n))
        return malformed(name, text, "a percentage from 0 to 2147483647, or off");
    opt->gogc = (int64_t)n;
    return GC_OK;
}

static gc_status
parse_threads(gc_options *opt, const char *text)
{
    uint64_t n;

    if (!parse_number(text, strlen(text), 1, GCRT_THREADS_MAX, &n))
        return malformed("GCRT_THREADS", text, "a number of threads from 1 to 64");
    opt->threads = (uint32_t)n;
    return GC_OK;
}

static gc_status
parse_heap_min(gc_options *opt, const char *text)
{
    uint64_t n;

    if (!parse_size(text, SIZE_MAX, &n))
        return malformed("GCRT_HEAPMIN", text,
                "a size like 4194304, 512KiB, 64MiB or 1GiB, below 16777216TiB");
    opt->heap_min = (size_t)n;
    return GC_OK;
}

static gc_status
parse_nice(gc_options *opt, const char *text)
{
    bool minus = *text == '-';
    uint64_t n;

    if (!parse_number(text + minus, strlen(text + minus), 0, minus ? 20 : 19, &n))
        return malformed("GCRT_NICE", text, "a nice level from -20 to 19");
    opt->nice = minus ? -(int)n : (int)n;
    return GC_OK;
}

/* A limit below 1 MiB is a unit forgotten: an empty heap takes more. */
static bool
parse_limit(const char *text, int64_t *ret)
{
    uint64_t n = GC_MEMORY_LIMIT_OFF;

    if (strcmp(text, "off") != 0
            && (!parse_size(text, GC_MEMORY_LIMIT_OFF - 1, &n) || n < GCRT_LIMIT_MIN))
        return false;
    *ret = (int64_t)n;
    return true;
}

/* "cgroup" or "cgroup-N%": all but N percent of the cgroup's limit. */
static bool
parse_cgroup(gc_options *opt, const char *text)
{
    size_t len = strlen(text);
    uint64_t reserve = CGROUP_RESERVE;

    if (strncmp(text, "cgroup", 6) != 0)
        return false;
    if (len > 6
            && (len < 9 || text[6] != '-' || text[len - 1] != '%'
                    || !parse_number(text + 7, len - 8, 0, 99, &reserve)))
        return false;
    opt->cgroup_percent = 100 - (uint32_t)reserve;
    return true;
}

static gc_status
parse_memory_limit(gc_options *opt, const char *name, const char *text, bool own)
{
    if (parse_limit(text, &opt->memory_limit) || (own && parse_cgroup(opt, text)))
        return GC_OK;
    return malformed(name, text,
            own ? "a size from 1MiB on, like 1048576, 512MiB or 2GiB, or off, or cgroup-10%"
                : "a size from 1MiB on, like 1048576, 512MiB or 2GiB, or off");
}

static gc_status
parse_limits(gc_options *opt)
{
    const char *own = variable("GCRT_MEMLIMIT"), *plain = variable("GOMEMLIMIT");
    const char *hard = variable("GCRT_MEMLIMIT_HARD"), *limiter = variable("GCRT_LIMITER");
    gc_status status = GC_OK;
    uint64_t n;

    if (own != NULL)
        status = parse_memory_limit(opt, "GCRT_MEMLIMIT", own, true);
    else if (plain != NULL)
        status = parse_memory_limit(opt, "GOMEMLIMIT", plain, false);
    if (status == GC_OK && hard != NULL && !parse_limit(hard, &opt->memory_limit_hard))
        return malformed("GCRT_MEMLIMIT_HARD", hard, "a size from 1MiB on, like 512MiB, or off");
    if (status == GC_OK && limiter != NULL) {
        if (!parse_number(limiter, strlen(limiter), 1, 100, &n))
            return malformed("GCRT_LIMITER", limiter, "a percentage from 1 to 100");
        opt->limiter_percent = (uint32_t)n;
    }
    return status;
}

static gc_status
parse_hugepages(gc_options *opt, const char *text)
{
    if (strcmp(text, "auto") == 0)
        opt->hugepages = GC_HUGEPAGES_AUTO;
    else if (strcmp(text, "always") == 0)
        opt->hugepages = GC_HUGEPAGES_ALWAYS;
    else if (strcmp(text, "never") == 0)
        opt->hugepages = GC_HUGEPAGES_NEVER;
    else
        return malformed("GCRT_HUGEPAGES", text, "auto, always or never");
    return GC_OK;
}

/* One debug knob: its name, the largest value, and where it goes. */
struct knob {
    const char *name;
    uint64_t max;
    void (*set)(gc_options *opt, uint64_t value);
};

static void set_gctrace(gc_options *opt, uint64_t v) { opt->debug_gctrace = (int)v; }
static void set_pacertrace(gc_options *opt, uint64_t v) { opt->debug_gcpacertrace = (int)v; }
static void set_pool(gc_options *opt, uint64_t v) { opt->debug_pool = (int)v; }
static void set_arena(gc_options *opt, uint64_t v) { opt->debug_arena = (int)v; }
static void set_scavtrace(gc_options *opt, uint64_t v) { opt->debug_scavtrace = (int)v; }
static void set_verify(gc_options *opt, uint64_t v) { opt->debug_verify = (int)v; }
static void set_checkmark(gc_options *opt, uint64_t v) { opt->debug_checkmark = (int)v; }
static void set_clobber(gc_options *opt, uint64_t v) { opt->debug_clobberfree = (int)v; }
static void set_stress(gc_options *opt, uint64_t v) { opt->debug_stress = (uint32_t)v; }
static void set_chaos(gc_options *opt, uint64_t v) { opt->debug_chaos = v; }
static void set_tiny(gc_options *opt, uint64_t v) { opt->debug_tiny = (int)v; }
static void set_wbcheck(gc_options *opt, uint64_t v) { opt->debug_wbcheck = (int)v; }
static void set_stw(gc_options *opt, uint64_t v)
{
    opt->mode = v != 0 ? GC_MODE_STW : GC_MODE_CONCURRENT;
}
static void set_failat(gc_options *opt, uint64_t v) { opt->debug_failat = v; }
static void set_failfrom(gc_options *opt, uint64_t v) { opt->debug_failfrom = v; }
static void set_profilerate(gc_options *opt, uint64_t v) { opt->profile_rate = (size_t)v; }

static const struct knob *
find_knob(const char *name, size_t len)
{
    static const struct knob knobs[] = {
        { "gctrace", 1, set_gctrace },
        { "gcpacertrace", 1, set_pacertrace },
        { "scavtrace", 1, set_scavtrace },
        { "pool", 1, set_pool },
        { "arena", 1, set_arena },
        { "verify", 2, set_verify },
        { "checkmark", 2, set_checkmark },
        { "clobberfree", 1, set_clobber },
        { "stress", UINT32_MAX, set_stress },
        { "chaos", UINT64_MAX, set_chaos },
        { "tiny", 1, set_tiny },
        { "failat", UINT64_MAX, set_failat },
        { "failfrom", UINT64_MAX, set_failfrom },
        { "wbcheck", 1, set_wbcheck },
        { "stw", 1, set_stw },
        { "profilerate", SIZE_MAX, set_profilerate },
    };

    for (size_t i = 0; i < ARRAY_LEN(knobs); i++)
        if (strlen(knobs[i].name) == len && memcmp(knobs[i].name, name, len) == 0)
            return &knobs[i];
    return NULL;
}

/* name=number,name=number,... */
static gc_status
parse_debug(gc_options *opt, const char *text)
{
    for (const char *at = text;;) {
        size_t len = strcspn(at, ","), name = strcspn(at, "=,");
        const struct knob *knob = find_knob(at, name);
        uint64_t value;

        if (knob == NULL)
            return gcrt_error(GC_ERR_ENV, "GCRT_DEBUG=" SHOWN ": no knob \"%.*s\"; there are "
                    "gctrace, gcpacertrace, scavtrace, verify, checkmark, clobberfree, stress, "
                    "chaos, tiny, failat, failfrom, wbcheck, stw, profilerate, pool, arena",
                    SHOW(text), (int)min_size(name, 40), at);
        if (name == len
                || !parse_number(at + name + 1, len - name - 1, 0, knob->max, &value))
            return gcrt_error(GC_ERR_ENV, "GCRT_DEBUG=" SHOWN ": %s wants a number from 0 to %llu",
                    SHOW(text), knob->name, (unsigned long long)knob->max);
        knob->set(opt, value);
        if (at[len] == '\0')
            return GC_OK;
        at += len + 1;
    }
}

/* ---- the environment ---- */

static gc_status
parse_all(gc_options *opt)
{
    const char *gogc = variable("GCRT_GOGC"), *plain = variable("GOGC");
    const char *heap_min = variable("GCRT_HEAPMIN"), *nice = variable("GCRT_NICE");
    const char *threads = variable("GCRT_THREADS"), *debug = variable("GCRT_DEBUG");
    const char *hugepages = variable("GCRT_HUGEPAGES");
    gc_status status = GC_OK;

    if (gogc != NULL)
        status = parse_gogc(opt, "GCRT_GOGC", gogc);
    else if (plain != NULL)
        status = parse_gogc(opt, "GOGC", plain);
    if (status == GC_OK && heap_min != NULL)
        status = parse_heap_min(opt, heap_min);
    if (status == GC_OK)
        status = parse_limits(opt);
    if (status == GC_OK && hugepages != NULL)
        status = parse_hugepages(opt, hugepages);
    if (status == GC_OK && threads != NULL)
        status = parse_threads(opt, threads);
    if (status == GC_OK && nice != NULL)
        status = parse_nice(opt, nice);
    if (status == GC_OK && debug != NULL)
        status = parse_debug(opt, debug);
    return status;
}

gc_status
gc_options_from_env(gc_options *opt)
{
    gc_options parsed;
    gc_status status;

    if (opt == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_options_from_env: opt is NULL");
    gc_options_default(&parsed);
    /* Somebody else's environment must not steer a privileged program. */
    status = gcrt_os_is_privileged() ? GC_OK : parse_all(&parsed);
    if (status == GC_OK)
        *opt = parsed;
    return status;
}

/* ---- checking ---- */

static gc_status
check_limits(const gc_options *opt)
{
    if (opt->memory_limit < GCRT_LIMIT_MIN)
        return gcrt_error(GC_ERR_INVAL, "gc_options: memory_limit %lld is below 1 MiB",
                (long long)opt->memory_limit);
    if (opt->memory_limit_hard < GCRT_LIMIT_MIN)
        return gcrt_error(GC_ERR_INVAL, "gc_options: memory_limit_hard %lld is below 1 MiB",
                (long long)opt->memory_limit_hard);
    if (opt->limiter_percent < 1 || opt->limiter_percent > 100)
        return gcrt_error(GC_ERR_INVAL, "gc_options: limiter_percent %u is not in 1..100",
                opt->limiter_percent);
    if (opt->cgroup_percent > 100)
        return gcrt_error(GC_ERR_INVAL, "gc_options: cgroup_percent %u is not in 0..100",
                opt->cgroup_percent);
    return GC_OK;
}

gc_status
gcrt_options_check(const gc_options *opt)
{
    if (opt->struct_size != sizeof(*opt))
        return gcrt_error(GC_ERR_INVAL,
                "gc_options: struct_size is %zu, not %zu (use gc_options_default)",
                opt->struct_size, sizeof(*opt));
    if (opt->gogc > INT32_MAX)
        return gcrt_error(GC_ERR_INVAL, "gc_options: gogc is above 2147483647");
    if (opt->threads > GCRT_THREADS_MAX)
        return gcrt_error(GC_ERR_INVAL, "gc_options: threads is above 64");
    if (opt->worker_percent_max < 1 || opt->worker_percent_max > 100)
        return gcrt_error(GC_ERR_INVAL, "gc_options: worker_percent_max is not 1 to 100");
    if (opt->nice < -20 || opt->nice > 19)
        return gcrt_error(GC_ERR_INVAL, "gc_options: nice is not -20 to 19");
    if (opt->signal < 0 || opt->signal > 64)
        return gcrt_error(GC_ERR_INVAL, "gc_options: signal %d is no signal", opt->signal);
    if (gcrt_os_signal_is_fault(opt->signal))
        return gcrt_error(GC_ERR_INVAL,
                "gc_options: signal %d says that something is wrong, and would be hidden",
                opt->signal);
    if (opt->mode != GC_MODE_CONCURRENT && opt->mode != GC_MODE_STW)
        return gcrt_error(GC_ERR_INVAL, "gc_options: mode %d is none", (int)opt->mode);
    if (opt->periodic_ms < 0)
        return gcrt_error(GC_ERR_INVAL, "gc_options: periodic_ms is negative");
    if ((unsigned)opt->hugepages > GC_HUGEPAGES_NEVER)
        return gcrt_error(GC_ERR_INVAL, "gc_options: hugepages is none of its three values");
    if (opt->cleanup_threads > RUNNER_SERVING_MAX)
        return gcrt_error(GC_ERR_INVAL, "gc_options: cleanup_threads %u is above %d",
                opt->cleanup_threads, RUNNER_SERVING_MAX);
    if (opt->debug_verify < 0 || opt->debug_verify > 2)
        return gcrt_error(GC_ERR_INVAL, "gc_options: debug_verify is not 0, 1 or 2");
    if (opt->debug_checkmark < 0 || opt->debug_checkmark > 2)
        return gcrt_error(GC_ERR_INVAL, "gc_options: debug_checkmark is not 0, 1 or 2");
    return check_limits(opt);
}
