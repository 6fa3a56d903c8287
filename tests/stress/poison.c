/* SPDX-License-Identifier: MIT */
/*
 * Purpose: with -Dasan_poison=true AddressSanitizer reports a host's use of an object that
 * has been swept: small, tiny and large ones, reads and writes, also in pages that went
 * back; and objects that live, or were handed out again, are not reported.
 *
 * Place: public interface only; built where the option is on.
 *
 * Concurrency: each use is a forked child, which must die of a report.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <string.h>
#include <sys/wait.h>

struct cell {
    struct cell *next;
    uint64_t value[3];
};

GC_TYPE(cell_type, struct cell, next);

#define CELLS 2000

/* Reports without names of functions: finding them takes seconds for each. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "symbolize=0";
}

static uintptr_t hidden; /* the dead object */
static void **kept;      /* a root: every second cell, so that its span stays */

/* The middle one of many dies; its neighbours live. */
static __attribute__((noinline)) void
make_cells(void)
{
    kept = gc_alloc_array(&gc_pointer_type, CELLS);
    for (int i = 0; i < CELLS; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        cell->value[0] = (uint64_t)i;
        if (i != CELLS / 2)
            gc_write(&kept[i], cell);
        else
            hidden = t_hide(cell);
    }
}

static __attribute__((noinline)) void
make_all_dead(void)
{
    for (int i = 0; i < CELLS; i++) {
        struct cell *cell = gc_alloc(&cell_type);

        if (i == CELLS / 2)
            hidden = t_hide(cell);
    }
}

static __attribute__((noinline)) void
make_large(void)
{
    hidden = t_hide(gc_alloc_bytes(1 << 20));
}

static __attribute__((noinline)) void
make_bytes(void)
{
    for (int i = 0; i < CELLS; i++) {
        char *bytes = gc_alloc_bytes(200);

        if (i == CELLS / 2)
            hidden = t_hide(bytes);
    }
}

static void
start(void (*make)(void))
{
    gc_options opt;

    t_options(&opt);
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(&kept, sizeof kept));
    make();
    t_collect_twice(NULL);
    T_CHECK(gc_base(t_reveal(hidden)) == NULL, "the object is alive");
}

static void
read_small(void *arg)
{
    (void)arg;
    start(make_cells);
    (void)*(volatile uint64_t *)&((struct cell *)t_reveal(hidden))->value[1];
}

static void
write_small(void *arg)
{
    (void)arg;
    start(make_cells);
    ((volatile struct cell *)t_reveal(hidden))->value[2] = 1;
}

static void
store_barriered(void *arg)
{
    (void)arg;
    start(make_cells);
    gc_write(&((struct cell *)t_reveal(hidden))->next, NULL);
}

static void
read_freed_pages(void *arg)
{
    (void)arg;
    start(make_all_dead);
    (void)*(volatile uint64_t *)t_reveal(hidden);
}

static void
read_bytes(void *arg)
{
    (void)arg;
    start(make_bytes);
    (void)*((volatile char *)t_reveal(hidden) + 199);
}

static void
write_large(void *arg)
{
    (void)arg;
    start(make_large);
    memset(t_reveal(hidden), 1, 1 << 20);
}

static void
beyond_large(void *arg)
{
    char *p;

    (void)arg;
    start(make_all_dead);
    p = gc_alloc_bytes((1 << 20) + 8);
    ((volatile char *)p)[(1 << 20) + 8] = 1;
}

/* Everything that is alive may be used, and a slot that is handed out again too. */
static void
use_the_living(void *arg)
{
    (void)arg;
    start(make_cells);
    for (int i = 0; i < CELLS; i++) {
        struct cell *cell = kept[i];

        T_CHECK((cell == NULL) == (i == CELLS / 2), "cell %d", i);
        if (cell != NULL)
            T_CHECK(cell->value[0] == (uint64_t)i, "cell %d is altered", i);
    }
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < CELLS; i++) {
            struct cell *cell = gc_alloc(&cell_type);

            T_CHECK(cell->value[2] == 0, "not zeroed");
            cell->value[2] = 7;
            memset(gc_alloc_bytes((size_t)(i % 300)), 1, (size_t)(i % 300));
        }
        memset(gc_alloc_bytes(300000), 1, 300000);
        gc_collect(NULL);
    }
    t_verify(NULL);
    gc_shutdown();
}

static void
must_be_reported(const char *name, void (*fn)(void *))
{
    char text[4096];
    int status = t_child(fn, NULL, text, sizeof text);

    T_CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0), "%s: not reported", name);
    T_CHECK(t_mentions(text, "use-after-poison"), "%s: wait status 0x%x: %s", name,
            (unsigned)status, text);
}

int
main(int argc, char **argv)
{
    char text[4096];
    int status;

    t_start("poison", argc, argv);
    must_be_reported("read of a small object", read_small);
    must_be_reported("write to a small object", write_small);
    must_be_reported("gc_write to a small object", store_barriered);
    must_be_reported("read in pages that went back", read_freed_pages);
    must_be_reported("read of bytes", read_bytes);
    must_be_reported("write to a large object", write_large);
    must_be_reported("write beyond a large object", beyond_large);
    status = t_child(use_the_living, NULL, text, sizeof text);
    T_CHECK(status == 0, "live objects: wait status 0x%x: %s", (unsigned)status, text);
    t_note("7 uses of dead memory are reported, none of live memory");
    return 0;
}
