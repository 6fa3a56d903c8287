/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back, by the public interface: gc_free_os_memory, its metrics, the scavtrace
 * line.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "heapkit.h"

#define MIB ((size_t)1 << 20)

static char lines[1 << 16];

static void
keep_line(const char *line, size_t len, void *arg)
{
    size_t used = strlen(lines);

    (void)arg;
    if (used + len + 2 > sizeof lines)
        return;
    memcpy(lines + used, line, len);
    memcpy(lines + used + len, "\n", 2);
}

static uint64_t
value_of(const char *name)
{
    gc_metric_sample m = { .name = name };

    T_OK(gc_metrics_read(NULL, &m, 1));
    cr_assert_eq(m.kind, GC_METRIC_U64, "%s", name);
    return m.value.u64;
}

static void
start(uint32_t release_ms)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.release_ms = release_ms;
    opt.debug_scavtrace = 1;
    opt.log = keep_line;
    T_OK(gc_init(&opt));
}

static __attribute__((noinline)) void
make_garbage(size_t bytes)
{
    for (size_t done = 0; done < bytes; done += MIB)
        memset(gc_alloc_bytes(MIB), 1, MIB);
}

Test(release, all_that_is_free_goes_back_at_once)
{
    uint64_t before;
    size_t bytes;

    start(0);
    make_garbage(32 * MIB);
    before = value_of("/memory/classes/heap/released:bytes");
    bytes = gc_free_os_memory(NULL);
    cr_expect_gt(bytes, MIB);
    cr_expect_eq(value_of("/gc/scavenge/forced:bytes"), bytes);
    cr_expect_eq(value_of("/gc/scavenge/total:bytes"), bytes);
    cr_expect_eq(value_of("/gc/scavenge/background:bytes"), 0);
    cr_expect_eq(value_of("/memory/classes/heap/released:bytes"), before + bytes);
    cr_expect_eq(value_of("/memory/classes/heap/free:bytes"), 0);
    cr_expect_eq(value_of("/gc/cycles/forced:gc-cycles"), 1);
    cr_expect_eq(gc_free_os_memory(NULL), 0, "there is no more");
    gc_shutdown();
}

Test(release, a_detached_thread_may_ask_for_any_heap)
{
    gc_heap *heap;

    T_OK(gc_heap_create(NULL, &heap));
    cr_expect_eq(gc_free_os_memory(heap), 0);
    T_OK(gc_heap_destroy(heap));
}

Test(release, the_forced_line_says_what_is_not_backed)
{
    char want[128];

    start(0);
    make_garbage(16 * MIB);
    (void)gc_free_os_memory(NULL);
    (void)snprintf(want, sizeof want, "scav 0 KiB work (bg), 0 KiB work (eager), %zu KiB now, ",
            (size_t)(value_of("/memory/classes/heap/released:bytes") >> 10));
    cr_expect_not_null(strstr(lines, want), "%s is not in\n%s", want, lines);
    cr_expect_not_null(strstr(lines, "% util (forced)\n"), "%s", lines);
    gc_shutdown();
}

Test(release, each_cycle_has_a_line)
{
    size_t n = 0;

    start(0);
    for (int i = 0; i < 3; i++)
        gc_collect(NULL);
    gc_shutdown(); /* the last cycle's line comes after gc_collect has returned */
    for (const char *at = lines; (at = strstr(at, "scav ")) != NULL; at++)
        n++;
    cr_expect_eq(n, 3, "%s", lines);
}

Test(release, memory_of_objects_stays)
{
    uint64_t *p;

    start(5000);
    make_garbage(8 * MIB);
    p = gc_alloc_bytes(3 * MIB);
    for (size_t i = 0; i < 3 * MIB / sizeof *p; i++)
        p[i] = i;
    make_garbage(8 * MIB);
    (void)gc_free_os_memory(NULL);
    for (size_t i = 0; i < 3 * MIB / sizeof *p; i++)
        cr_assert_eq(p[i], i);
    GC_KEEP_ALIVE(p);
    gc_shutdown();
}

/* ---- ahead of need ---- */

/* More and more memory, all of it alive until the end. */
static __attribute__((noinline)) void
grow(size_t bytes)
{
    void **newest = NULL;

    for (size_t done = 0; done < bytes; done += 4096) {
        void **next = gc_alloc_array(&gc_pointer_type, 512);

        gc_write(&next[0], newest);
        newest = next;
    }
    GC_KEEP_ALIVE(newest);
}

static bool
has_populator(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    bool found = false;

    cr_assert_not_null(tasks);
    while ((task = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *f;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        f = fopen(path, "r");
        if (f == NULL)
            continue;
        if (fgets(name, sizeof name, f) != NULL)
            found |= strcmp(name, "gcrt-populate\n") == 0;
        (void)fclose(f);
    }
    (void)closedir(tasks);
    return found;
}

static uint64_t
populated(void)
{
    return value_of("/gc/populate/total:bytes");
}

static void
start_with(gc_hugepages wish, int gogc)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.hugepages = wish;
    opt.heap_min = 8 * MIB;
    opt.gogc = gogc;
    T_OK(gc_init(&opt));
}

/* Grows until more has been backed ahead, which a thread does when it comes to it. */
static void
grow_until_more(void)
{
    uint64_t before = populated();

    for (int i = 0; i < 100 && populated() == before; i++)
        grow(32 * MIB);
    cr_expect_geq(populated(), before + 2 * MIB);
}

static void
finish(void)
{
    T_OK(gc_verify(NULL));
    gc_shutdown();
    cr_expect_not(has_populator());
}

Test(release, a_growing_heap_with_huge_pages_is_backed_ahead)
{
    start_with(GC_HUGEPAGES_ALWAYS, 100);
    grow_until_more();
    gc_collect(NULL);
    (void)gc_free_os_memory(NULL);
    grow_until_more();
    cr_expect(has_populator());
    finish();
}

Test(release, so_is_one_without_a_cycle)
{
    start_with(GC_HUGEPAGES_AUTO, -1);
    grow(64 * MIB);
    grow_until_more();
    cr_expect_eq(value_of("/gc/cycles/total:gc-cycles"), 0);
    finish();
}

Test(release, a_small_heap_or_one_without_huge_pages_is_not)
{
    for (int i = 0; i < 2; i++) {
        start_with(i == 0 ? GC_HUGEPAGES_AUTO : GC_HUGEPAGES_NEVER, 100);
        grow(8 * MIB);
        gc_collect(NULL);
        grow(8 * MIB);
        cr_expect_eq(populated(), 0);
        cr_expect_not(has_populator());
        finish();
    }
}
