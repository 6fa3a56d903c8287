/* SPDX-License-Identifier: MIT */
/*
 * Options: the defaults, every valid and malformed value of each environment variable,
 * which variable goes before which, and that a failure leaves the caller's options alone.
 * Criterion runs each test in a process of its own, so setenv reaches nobody else.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "alloc/base/base.h"
#include "options.h"

#include <gcrt/gcrt.h>

static void
clean_environment(void)
{
    static const char *const names[] = { "GCRT_GOGC", "GOGC", "GCRT_HEAPMIN", "GCRT_MEMLIMIT",
        "GCRT_MEMLIMIT_HARD", "GCRT_LIMITER", "GOMEMLIMIT", "GCRT_THREADS", "GCRT_NICE",
        "GCRT_HUGEPAGES", "GCRT_DEBUG" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

TestSuite(options, .init = clean_environment);

static gc_options
defaults(void)
{
    gc_options opt;

    memset(&opt, 0, sizeof(opt));
    gc_options_default(&opt);
    return opt;
}

static int
same(const gc_options *a, const gc_options *b)
{
    return a->struct_size == b->struct_size && a->gogc == b->gogc
        && a->heap_min == b->heap_min && a->reserve == b->reserve && a->threads == b->threads
        && a->worker_percent_max == b->worker_percent_max && a->nice == b->nice
        && a->grace_us == b->grace_us && a->signal == b->signal
        && a->mode == b->mode
        && a->periodic_ms == b->periodic_ms && a->memory_limit == b->memory_limit
        && a->memory_limit_hard == b->memory_limit_hard && a->cgroup_percent == b->cgroup_percent
        && a->limiter_percent == b->limiter_percent && a->on_limit == b->on_limit
        && a->on_limit_arg == b->on_limit_arg
        && a->oom == b->oom && a->oom_arg == b->oom_arg
        && a->log == b->log && a->log_arg == b->log_arg
        && a->debug_gctrace == b->debug_gctrace && a->debug_verify == b->debug_verify
        && a->debug_checkmark == b->debug_checkmark
        && a->debug_clobberfree == b->debug_clobberfree && a->debug_stress == b->debug_stress
        && a->debug_chaos == b->debug_chaos && a->debug_tiny == b->debug_tiny
        && a->debug_failat == b->debug_failat && a->debug_failfrom == b->debug_failfrom
        && a->debug_wbcheck == b->debug_wbcheck
        && a->debug_gcpacertrace == b->debug_gcpacertrace
        && a->debug_scavtrace == b->debug_scavtrace && a->debug_pool == b->debug_pool
        && a->debug_arena == b->debug_arena
        && a->release_ms == b->release_ms
        && a->hugepages == b->hugepages && a->cleanup_threads == b->cleanup_threads
        && a->cleanup_slow_ms == b->cleanup_slow_ms
        && a->profile_rate == b->profile_rate;
}

/* With the variable set so, the options are `want`. */
static void
expect_parsed(const char *name, const char *value, const gc_options *want)
{
    gc_options have;

    memset(&have, 0x5a, sizeof(have));
    setenv(name, value, 1);
    cr_expect_eq(gc_options_from_env(&have), GC_OK, "%s=%s: %s", name, value, gc_last_error());
    cr_expect(same(&have, want), "%s=%s says something else", name, value);
    unsetenv(name);
}

/* With the variable set so, nothing is touched and the text names variable and value. */
static void
expect_refused(const char *name, const char *value)
{
    gc_options have, before;

    memset(&have, 0x5a, sizeof(have));
    before = have;
    setenv(name, value, 1);
    cr_expect_eq(gc_options_from_env(&have), GC_ERR_ENV, "%s=%s", name, value);
    cr_expect_eq(memcmp(&have, &before, sizeof(have)), 0, "%s=%s touches options", name, value);
    cr_expect_not_null(strstr(gc_last_error(), name), "%s", gc_last_error());
    cr_expect_not_null(strstr(gc_last_error(), value), "%s", gc_last_error());
    unsetenv(name);
}

/* ---- defaults ---- */

Test(options, defaults_are_the_documented_ones)
{
    gc_options opt, from_env;

    memset(&opt, 0x5a, sizeof(opt));
    gc_options_default(&opt);
    cr_expect_eq(opt.struct_size, sizeof(opt));
    cr_expect_eq(opt.gogc, 100);
    cr_expect_eq(opt.heap_min, (size_t)4 << 20);
    cr_expect_eq(opt.reserve, 0);
    cr_expect_eq(opt.threads, 0);
    cr_expect_eq(opt.worker_percent_max, 50);
    cr_expect_eq(opt.nice, 0);
    cr_expect_eq(opt.grace_us, 100);
    cr_expect_eq(opt.signal, 0);
    cr_expect_eq(opt.periodic_ms, 120000);
    cr_expect_eq(opt.memory_limit, GC_MEMORY_LIMIT_OFF);
    cr_expect_eq(opt.memory_limit_hard, GC_MEMORY_LIMIT_OFF);
    cr_expect(opt.limiter_percent == 50 && opt.cgroup_percent == 0 && opt.on_limit == NULL);
    cr_expect(opt.oom == NULL && opt.oom_arg == NULL && opt.log == NULL && opt.log_arg == NULL);
    cr_expect(opt.debug_gctrace == 0 && opt.debug_verify == 0 && opt.debug_clobberfree == 0);
    cr_expect_eq(opt.debug_checkmark, 0);
    cr_expect(opt.debug_stress == 0 && opt.debug_chaos == 0 && opt.debug_tiny == 0);
    cr_expect_eq(opt.debug_failat, 0);
    cr_expect_eq(opt.debug_wbcheck, 0);
    cr_expect_eq(opt.debug_failfrom, 0);
    cr_expect_eq(opt.debug_gcpacertrace, 0);
    cr_expect_eq(opt.debug_scavtrace, 0);
    cr_expect_eq(opt.debug_pool, 0);
    cr_expect_eq(opt.debug_arena, 0);
    cr_expect_eq(opt.release_ms, 5000);
    cr_expect_eq(opt.hugepages, GC_HUGEPAGES_AUTO);
    cr_expect_eq(opt.cleanup_threads, 1);
    cr_expect_eq(opt.cleanup_slow_ms, 1000);
    cr_expect_eq(opt.profile_rate, 524288);
    cr_expect_eq(gc_options_from_env(&from_env), GC_OK);
    cr_expect(same(&opt, &from_env), "an empty environment says nothing");
    gc_options_default(NULL);
    cr_expect_eq(gc_options_from_env(NULL), GC_ERR_INVAL);
}

Test(options, a_variable_set_to_nothing_is_not_set)
{
    gc_options want = defaults();

    expect_parsed("GCRT_GOGC", "", &want);
    expect_parsed("GOGC", "", &want);
    expect_parsed("GCRT_HEAPMIN", "", &want);
    expect_parsed("GCRT_MEMLIMIT", "", &want);
    expect_parsed("GCRT_MEMLIMIT_HARD", "", &want);
    expect_parsed("GOMEMLIMIT", "", &want);
    expect_parsed("GCRT_LIMITER", "", &want);
    expect_parsed("GCRT_THREADS", "", &want);
    expect_parsed("GCRT_NICE", "", &want);
    expect_parsed("GCRT_DEBUG", "", &want);
}

/* ---- GOGC ---- */

Test(options, gogc_is_a_percentage_or_off)
{
    static const struct {
        const char *text;
        int64_t value;
    } valid[] = { { "0", 0 }, { "1", 1 }, { "50", 50 }, { "100", 100 }, { "0100", 100 },
        { "2147483647", INT32_MAX }, { "off", GC_GOGC_OFF } };
    gc_options want = defaults();

    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        want.gogc = valid[i].value;
        expect_parsed("GCRT_GOGC", valid[i].text, &want);
        expect_parsed("GOGC", valid[i].text, &want);
    }
}

static const char *const no_number[] = { "-1", "+1", " 1", "1 ", "1.5", "1e2", "0x10", "ten",
    "1,2", "1%", "18446744073709551616", "99999999999999999999999", "\xc2\xb2", "1\n" };
#define NO_NUMBERS (sizeof(no_number) / sizeof(no_number[0]))

Test(options, anything_else_is_no_gogc)
{
    static const char *const others[] = { "OFF", "Off", "off ", "offf", "of", "on", "none",
        "2147483648", "4294967296", "9223372036854775808" };

    for (size_t i = 0; i < NO_NUMBERS; i++) {
        expect_refused("GCRT_GOGC", no_number[i]);
        expect_refused("GOGC", no_number[i]);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        expect_refused("GCRT_GOGC", others[i]);
        expect_refused("GOGC", others[i]);
    }
}

Test(options, our_own_gogc_goes_before_gos)
{
    gc_options want = defaults();

    setenv("GOGC", "200", 1);
    want.gogc = 300;
    expect_parsed("GCRT_GOGC", "300", &want);
    want.gogc = 200;
    expect_parsed("GCRT_GOGC", "", &want);
    setenv("GOGC", "rubbish", 1);
    want.gogc = GC_GOGC_OFF;
    expect_parsed("GCRT_GOGC", "off", &want);
    setenv("GOGC", "200", 1);
    expect_refused("GCRT_GOGC", "rubbish");
}

/* ---- GCRT_HEAPMIN ---- */

Test(options, heap_minimum_is_bytes_or_a_number_with_a_unit)
{
    static const struct {
        const char *text;
        size_t value;
    } valid[] = { { "0", 0 }, { "1", 1 }, { "4194304", (size_t)4 << 20 },
        { "4194304B", (size_t)4 << 20 }, { "0B", 0 }, { "0TiB", 0 },
        { "512KiB", (size_t)512 << 10 }, { "64MiB", (size_t)64 << 20 },
        { "007MiB", (size_t)7 << 20 }, { "1GiB", (size_t)1 << 30 },
        { "3TiB", (size_t)3 << 40 }, { "16777215TiB", (size_t)16777215 << 40 },
        { "17179869183GiB", (size_t)17179869183u << 30 },
        { "18446744073709551615", SIZE_MAX }, { "18446744073709551615B", SIZE_MAX } };
    gc_options want = defaults();

    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        want.heap_min = valid[i].value;
        expect_parsed("GCRT_HEAPMIN", valid[i].text, &want);
    }
}

Test(options, anything_else_is_no_heap_minimum)
{
    static const char *const others[] = { "B", "MiB", "-4MiB", "+4MiB", " 4MiB",
        "4MiB ", "4 MiB", "4mib",
        "4MIB", "4MB", "4M", "4K", "4k", "4kB", "4KB", "4KiBB", "4KiBs", "4BB",
        "4b", "4i", "4Ki", "4PiB", "1.5GiB", "0x4MiB", "4MiB,", "off", "16777216TiB",
        "17179869184GiB", "17592186044416MiB", "18014398509481984KiB", "18446744073709551616B",
        "99999999999999999999GiB" };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_refused("GCRT_HEAPMIN", others[i]);
    for (size_t i = 0; i < NO_NUMBERS; i++)
        expect_refused("GCRT_HEAPMIN", no_number[i]);
}

/* ---- memory limits ---- */

static const struct {
    const char *text;
    int64_t value;
} limits[] = { { "1048576", 1048576 }, { "1MiB", 1048576 }, { "1024KiB", 1048576 },
    { "3221225472B", 3221225472 }, { "512MiB", 536870912 }, { "2GiB", 2147483648 },
    { "8388607TiB", 9223370937343148032 }, { "9223372036854775806", INT64_MAX - 1 },
    { "off", GC_MEMORY_LIMIT_OFF } };

static const char *const no_limits[] = { "0", "-1", "-512MiB", "1048575", "1023KiB", "512",
    "8388608TiB", "9223372036854775807", "18446744073709551616", "512MB", "512M", "512mib",
    "512 MiB", " 512MiB", "512MiB ", "MiB", "1.5GiB", "0x100000MiB", "OFF", "max", "infinity" };

Test(options, memory_limits_are_sizes_or_off)
{
    gc_options want = defaults();

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        want.memory_limit = limits[i].value;
        expect_parsed("GCRT_MEMLIMIT", limits[i].text, &want);
        expect_parsed("GOMEMLIMIT", limits[i].text, &want);
        want = defaults();
        want.memory_limit_hard = limits[i].value;
        expect_parsed("GCRT_MEMLIMIT_HARD", limits[i].text, &want);
        want = defaults();
    }
    for (size_t i = 0; i < ARRAY_LEN(no_limits); i++) {
        expect_refused("GCRT_MEMLIMIT", no_limits[i]);
        expect_refused("GOMEMLIMIT", no_limits[i]);
        expect_refused("GCRT_MEMLIMIT_HARD", no_limits[i]);
    }
}

Test(options, the_cgroup_may_say_the_limit_with_a_reserve)
{
    static const char *const bad[] = { "cgroup-", "cgroup-%", "cgroup-100%", "cgroup-10",
        "cgroup10%", "cgroup+10%", "cgroup--1%", "cgroup-1.5%", "cgroup-10%%", "Cgroup",
        "cgroups" };
    gc_options want = defaults();

    want.cgroup_percent = 90;
    expect_parsed("GCRT_MEMLIMIT", "cgroup", &want);
    expect_parsed("GCRT_MEMLIMIT", "cgroup-10%", &want);
    want.cgroup_percent = 100;
    expect_parsed("GCRT_MEMLIMIT", "cgroup-0%", &want);
    want.cgroup_percent = 1;
    expect_parsed("GCRT_MEMLIMIT", "cgroup-99%", &want);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_refused("GCRT_MEMLIMIT", bad[i]);
    expect_refused("GOMEMLIMIT", "cgroup");
    expect_refused("GCRT_MEMLIMIT_HARD", "cgroup");
}

Test(options, our_memory_limit_counts_before_gos)
{
    gc_options want = defaults();

    want.memory_limit = (int64_t)64 << 20;
    setenv("GOMEMLIMIT", "not even looked at", 1);
    expect_parsed("GCRT_MEMLIMIT", "64MiB", &want);
    unsetenv("GOMEMLIMIT");
}

Test(options, the_limiter_is_1_to_100_percent)
{
    gc_options want = defaults();

    want.limiter_percent = 1;
    expect_parsed("GCRT_LIMITER", "1", &want);
    want.limiter_percent = 100;
    expect_parsed("GCRT_LIMITER", "100", &want);
    expect_refused("GCRT_LIMITER", "0");
    expect_refused("GCRT_LIMITER", "101");
    expect_refused("GCRT_LIMITER", "off");
    for (size_t i = 0; i < NO_NUMBERS; i++)
        expect_refused("GCRT_LIMITER", no_number[i]);
}

/* ---- GCRT_THREADS ---- */

Test(options, threads_are_1_to_64)
{
    gc_options want = defaults();
    char text[8];

    for (uint32_t n = 1; n <= GCRT_THREADS_MAX; n++) {
        snprintf(text, sizeof(text), "%u", n);
        want.threads = n;
        expect_parsed("GCRT_THREADS", text, &want);
    }
    expect_refused("GCRT_THREADS", "0");
    expect_refused("GCRT_THREADS", "65");
    expect_refused("GCRT_THREADS", "4294967297");
    expect_refused("GCRT_THREADS", "off");
    for (size_t i = 0; i < NO_NUMBERS; i++)
        expect_refused("GCRT_THREADS", no_number[i]);
}

/* ---- GCRT_NICE ---- */

Test(options, nice_is_minus_20_to_19)
{
    gc_options want = defaults();
    char text[16];

    for (int n = -20; n <= 19; n++) {
        snprintf(text, sizeof(text), "%d", n);
        want.nice = n;
        expect_parsed("GCRT_NICE", text, &want);
    }
    expect_refused("GCRT_NICE", "-21");
    expect_refused("GCRT_NICE", "20");
    expect_refused("GCRT_NICE", "--1");
    expect_refused("GCRT_NICE", "-");
    for (size_t i = 1; i < NO_NUMBERS; i++)
        expect_refused("GCRT_NICE", no_number[i]);
}

/* ---- GCRT_DEBUG ---- */

/* The defaults, but for one field. */
#define EXPECT_KNOB(text, field, value)                     \
    do {                                                    \
        gc_options want = defaults();                       \
                                                            \
        want.field = value;                                 \
        expect_parsed("GCRT_DEBUG", text, &want);           \
    } while (0)

Test(options, each_debug_knob_sets_its_own_field)
{
    EXPECT_KNOB("gctrace=1", debug_gctrace, 1);
    EXPECT_KNOB("verify=1", debug_verify, 1);
    EXPECT_KNOB("verify=2", debug_verify, 2);
    EXPECT_KNOB("checkmark=1", debug_checkmark, 1);
    EXPECT_KNOB("checkmark=2", debug_checkmark, 2);
    EXPECT_KNOB("clobberfree=1", debug_clobberfree, 1);
    EXPECT_KNOB("stress=4294967295", debug_stress, UINT32_MAX);
    EXPECT_KNOB("chaos=18446744073709551615", debug_chaos, UINT64_MAX);
    EXPECT_KNOB("tiny=1", debug_tiny, 1);
    EXPECT_KNOB("failat=12345", debug_failat, 12345);
    EXPECT_KNOB("wbcheck=1", debug_wbcheck, 1);
    EXPECT_KNOB("stw=1", mode, GC_MODE_STW);
    EXPECT_KNOB("failfrom=12345", debug_failfrom, 12345);
    EXPECT_KNOB("gcpacertrace=1", debug_gcpacertrace, 1);
    EXPECT_KNOB("scavtrace=1", debug_scavtrace, 1);
    EXPECT_KNOB("profilerate=1", profile_rate, 1);
    EXPECT_KNOB("profilerate=0", profile_rate, 0);
    EXPECT_KNOB("pool=1", debug_pool, 1);
    EXPECT_KNOB("arena=1", debug_arena, 1);
}

Test(options, hugepages_is_one_of_three_words)
{
    gc_options want = defaults();
    gc_heap *heap = NULL;

    expect_parsed("GCRT_HUGEPAGES", "auto", &want);
    want.hugepages = GC_HUGEPAGES_ALWAYS;
    expect_parsed("GCRT_HUGEPAGES", "always", &want);
    want.hugepages = GC_HUGEPAGES_NEVER;
    expect_parsed("GCRT_HUGEPAGES", "never", &want);
    expect_refused("GCRT_HUGEPAGES", "on");
    expect_refused("GCRT_HUGEPAGES", "Auto");
    expect_refused("GCRT_HUGEPAGES", "never ");
    expect_refused("GCRT_HUGEPAGES", "1");
    want.hugepages = (gc_hugepages)3;
    cr_expect_eq(gc_heap_create(&want, &heap), GC_ERR_INVAL);
    cr_expect_not_null(strstr(gc_last_error(), "hugepages"), "%s", gc_last_error());
}

Test(options, debug_knobs_can_be_combined_in_any_order)
{
    gc_options want = defaults();

    expect_parsed("GCRT_DEBUG", "gctrace=0,verify=0,stress=0", &want);
    want.debug_gctrace = want.debug_clobberfree = want.debug_tiny = 1;
    want.debug_verify = 2;
    want.debug_stress = 10;
    want.debug_chaos = 7;
    want.debug_failat = 3;
    want.debug_wbcheck = 1;
    expect_parsed("GCRT_DEBUG",
            "gctrace=1,verify=2,clobberfree=1,stress=10,chaos=7,tiny=1,failat=3,wbcheck=1",
            &want);
    expect_parsed("GCRT_DEBUG",
            "wbcheck=1,failat=3,tiny=1,chaos=7,stress=10,clobberfree=1,verify=2,gctrace=1",
            &want);
    want = defaults();
    want.debug_verify = 1;
    expect_parsed("GCRT_DEBUG", "verify=2,verify=1", &want); /* the last one counts */
}

Test(options, anything_else_is_no_debug_knob)
{
    static const char *const others[] = { "gctrace", "gctrace=", "=1", "=", ",", "gctrace=1,",
        ",gctrace=1", "gctrace=1,,tiny=1", "gctrace=2", "tiny=2", "verify=3",
        "checkmark=3", "wbcheck=2", "stw=2", "clobberfree=2", "stress=4294967296",
        "chaos=18446744073709551616", "failat=-1", "gctrace=on", "gctrace=1;tiny=1",
        "gctrace=1 tiny=1", "gctrace =1", "gctrace= 1", "GCTRACE=1", "gctrac=1", "gctracee=1",
        "unknown=1", "gctrace=1=1", "verify=1,unknown=1", "gcpacertrace=2", "scavtrace=2",
        "pool=2",
        "arena=2",
        "pacertrace=1", "gctrace:1", "1", "all",
        "schedtrace=1000" };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_refused("GCRT_DEBUG", others[i]);
    for (size_t i = 0; i < NO_NUMBERS; i++) {
        char text[64];

        snprintf(text, sizeof(text), "stress=%s", no_number[i]);
        expect_refused("GCRT_DEBUG", text);
    }
}

Test(options, one_malformed_variable_spoils_all)
{
    gc_options want = defaults();

    setenv("GCRT_GOGC", "50", 1);
    setenv("GCRT_THREADS", "3", 1);
    expect_refused("GCRT_DEBUG", "gctrace=1,verify=9");
    want.gogc = 50;
    want.threads = 3;
    want.debug_gctrace = 1;
    expect_parsed("GCRT_DEBUG", "gctrace=1", &want);
}

Test(options, a_very_long_value_is_refused_like_a_short_one)
{
    static char text[100001];
    gc_options opt = defaults(), before = opt;

    memset(text, '9', sizeof(text) - 1);
    setenv("GCRT_GOGC", text, 1);
    cr_expect_eq(gc_options_from_env(&opt), GC_ERR_ENV);
    cr_expect(same(&opt, &before));
    cr_expect_lt(strlen(gc_last_error()), 256);
}

/* ---- checks when a heap is made ---- */

static void
expect_checked(const gc_options *opt, const char *culprit)
{
    gc_heap *heap = NULL;

    cr_expect_eq(gcrt_options_check(opt), GC_ERR_INVAL, "%s", culprit);
    cr_expect_not_null(strstr(gc_last_error(), culprit), "%s", gc_last_error());
    cr_expect_eq(gc_heap_create(opt, &heap), GC_ERR_INVAL, "%s", culprit);
    cr_expect_null(heap);
}

#define EXPECT_BAD(field, value, culprit)                   \
    do {                                                    \
        gc_options opt = defaults();                        \
                                                            \
        opt.field = value;                                  \
        expect_checked(&opt, culprit);                      \
    } while (0)

Test(options, options_that_make_no_sense_make_no_heap)
{
    const gc_options good = defaults();

    cr_expect_eq(gcrt_options_check(&good), GC_OK);
    EXPECT_BAD(struct_size, sizeof(gc_options) - 1, "struct_size");
    EXPECT_BAD(gogc, (int64_t)INT32_MAX + 1, "gogc");
    EXPECT_BAD(threads, GCRT_THREADS_MAX + 1, "threads");
    EXPECT_BAD(signal, -1, "signal");
    EXPECT_BAD(signal, 65, "signal");
    EXPECT_BAD(periodic_ms, -1, "periodic_ms");
    EXPECT_BAD(worker_percent_max, 0, "worker_percent_max");
    EXPECT_BAD(worker_percent_max, 101, "worker_percent_max");
    EXPECT_BAD(nice, -21, "nice");
    EXPECT_BAD(nice, 20, "nice");
    EXPECT_BAD(memory_limit, -1, "memory_limit -1");
    EXPECT_BAD(memory_limit, GCRT_LIMIT_MIN - 1, "memory_limit 1048575");
    EXPECT_BAD(memory_limit_hard, 0, "memory_limit_hard 0");
    EXPECT_BAD(limiter_percent, 0, "limiter_percent 0");
    EXPECT_BAD(limiter_percent, 101, "limiter_percent 101");
    EXPECT_BAD(cgroup_percent, 101, "cgroup_percent 101");
    EXPECT_BAD(debug_verify, 3, "debug_verify");
    EXPECT_BAD(debug_checkmark, 3, "debug_checkmark");
}

Test(options, extremes_that_make_sense_make_a_heap)
{
    gc_options opt = defaults();
    gc_heap *heap = NULL;

    opt.gogc = INT64_MIN;
    cr_expect_eq(gcrt_options_check(&opt), GC_OK, "below -1 is off");
    opt.gogc = 0;
    opt.threads = GCRT_THREADS_MAX;
    opt.signal = SIGUSR1;
    opt.periodic_ms = INT_MAX;
    opt.reserve = (size_t)64 << 20;
    opt.heap_min = 0;
    opt.nice = 19;
    opt.worker_percent_max = 100;
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_OK, "%s", gc_last_error());
    cr_expect_eq(gc_heap_destroy(heap), GC_OK);
}

/* Threads of this process, the caller left out, that have the nice level. */
static int
threads_of_level(int level)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *d;
    int n = 0;

    cr_assert_not_null(tasks);
    while ((d = readdir(tasks)) != NULL) {
        int tid = atoi(d->d_name);

        n += tid > 0 && tid != getpid() && getpriority(PRIO_PROCESS, (id_t)tid) == level;
    }
    closedir(tasks);
    return n;
}

Test(options, the_collectors_threads_have_their_nice_level)
{
    gc_options opt = defaults();
    int own = getpriority(PRIO_PROCESS, 0);
    gc_heap *heap = NULL;

    opt.nice = 3;
    opt.threads = 2;
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_OK, "%s", gc_last_error());
    gc_collect(heap); /* the coordinator has run, and workers start with the first cycle */
    for (int i = 0; i < 10000 && threads_of_level(own + 3) < 3; i++)
        usleep(1000);
    cr_expect_eq(threads_of_level(own + 3), 3);
    cr_expect_eq(getpriority(PRIO_PROCESS, 0), own);
    cr_expect_eq(gc_heap_destroy(heap), GC_OK);
}

Test(options, a_nice_level_that_the_system_refuses_makes_no_heap)
{
    gc_options opt = defaults();
    int own = getpriority(PRIO_PROCESS, 0);
    gc_heap *heap = NULL;
    gc_status status;

    opt.nice = -1;
    opt.debug_failat = 2; /* the first is the heap's own record */
    cr_assert_eq(gc_heap_create(&opt, &heap), GC_ERR_THREAD);
    cr_expect_not_null(strstr(gc_last_error(), "nice -1: "), "%s", gc_last_error());
    opt.debug_failat = 0;
    status = gc_heap_create(&opt, &heap); /* as the user may */
    cr_expect(status == GC_ERR_THREAD || status == GC_OK, "%s", gc_last_error());
    cr_expect_eq(getpriority(PRIO_PROCESS, 0), own, "the caller keeps its level");
    if (status == GC_OK)
        cr_expect_eq(gc_heap_destroy(heap), GC_OK);
}

Test(options, a_heap_without_options_takes_the_environment)
{
    gc_heap *heap = NULL;

    setenv("GCRT_GOGC", "77", 1);
    setenv("GCRT_HEAPMIN", "3MiB", 1);
    cr_assert_eq(gc_heap_create(NULL, &heap), GC_OK, "%s", gc_last_error());
    cr_expect_eq(gc_set_gogc(heap, 100), 77);
    cr_expect_eq(gc_set_heap_min(heap, 1), (size_t)3 << 20);
    cr_expect_eq(gc_heap_destroy(heap), GC_OK);
    setenv("GCRT_GOGC", "x", 1);
    heap = NULL;
    cr_expect_eq(gc_heap_create(NULL, &heap), GC_ERR_ENV);
    cr_expect_null(heap);
}

Test(options, what_is_wrong_is_named_however_long_the_value)
{
    char text[400] = "tiny=1,verfy=2,";

    memset(text + 15, 'x', sizeof(text) - 16);
    (void)setenv("GCRT_DEBUG", text, 1);
    cr_assert_eq(gc_options_from_env(&(gc_options){ 0 }), GC_ERR_ENV);
    cr_expect_not_null(strstr(gc_last_error(), "\"verfy\""), "%s", gc_last_error());
    cr_expect_not_null(strstr(gc_last_error(), "arena"), "%s", gc_last_error());
    memset(text, '9', sizeof(text) - 1);
    (void)setenv("GCRT_THREADS", text, 1);
    cr_assert_eq(gc_options_from_env(&(gc_options){ 0 }), GC_ERR_ENV);
    cr_expect_not_null(strstr(gc_last_error(), "expected"), "%s", gc_last_error());
}

Test(options, signals_of_faults_are_refused)
{
    gc_options opt = defaults();

    opt.signal = SIGSEGV;
    cr_expect_eq(gcrt_options_check(&opt), GC_ERR_INVAL);
    cr_expect_not_null(strstr(gc_last_error(), "signal 11"), "%s", gc_last_error());
    opt.signal = SIGUSR1;
    cr_expect_eq(gcrt_options_check(&opt), GC_OK);
}
