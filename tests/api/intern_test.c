/* SPDX-License-Identifier: MIT */
/*
 * Interning: equal bytes are one pointer while anybody holds it, and nothing is held by the
 * table.  Threads are precise, so what is not in `roots` is not held.
 */
#define WORDS         5000
#define MODEKIT_ROOTS WORDS

#include "fatal.h"
#include "modekit.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of very different lengths. */
static size_t
word(char *buf, size_t i)
{
    size_t n = (size_t)sprintf(buf, "%zu", i);

    for (size_t k = 0; k < i % 61; k++)
        buf[n++] = (char)('a' + (i + k) % 26);
    buf[n] = '\0';
    return n;
}

IN_BOTH_MODES(intern, equal_bytes_are_one_pointer, NULL)
{
    char buf[128];

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < WORDS; i++) {
            size_t n = word(buf, i);
            char *p = gc_intern(NULL, buf, n);

            cr_assert(round == 0 || p == roots[i]);
            cr_assert(memcmp(p, buf, n + 1) == 0);
            gc_write(&roots[i], p);
        }
        gc_collect(NULL);
        cr_assert_eq(t_heap_objects(NULL), WORDS);
    }
    for (size_t i = 1; i < WORDS; i++)
        cr_assert_neq(roots[i], roots[i - 1]);
}

IN_BOTH_MODES(intern, what_nobody_holds_is_dropped, NULL)
{
    char buf[128];

    for (size_t i = 0; i < WORDS; i++)
        gc_write(&roots[i], gc_intern(NULL, buf, word(buf, i)));
    for (size_t i = 0; i < WORDS; i += 2)
        gc_write(&roots[i], NULL);
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), WORDS / 2);
    for (size_t i = 0; i < WORDS; i++)
        cr_assert_eq(gc_intern_find(NULL, buf, word(buf, i)), roots[i]);
    for (size_t i = 0; i < WORDS; i++) {
        char *p = gc_intern(NULL, buf, word(buf, i));

        cr_assert(roots[i] == NULL || p == roots[i]);
        gc_write(&roots[i], p);
    }
    gc_collect(NULL);
    cr_assert_eq(t_heap_objects(NULL), WORDS);
}

IN_BOTH_MODES(intern, lengths_and_places_do_not_matter, NULL)
{
    static char zeroes[64], big[GC_INTERN_MAX];
    char *copy;

    gc_write(&roots[0], gc_intern(NULL, NULL, 0));
    cr_assert_eq(gc_intern(NULL, "", 0), roots[0]);
    cr_assert_eq(*(char *)roots[0], 0);
    for (size_t n = 1; n < 64; n++) { /* a 0 byte is a byte */
        gc_write(&roots[n], gc_intern(NULL, zeroes, n));
        cr_assert_neq(roots[n], roots[n - 1]);
        cr_assert_eq((uintptr_t)roots[n] % 8, 0);
    }
    memset(big, 'x', sizeof(big));
    gc_write(&roots[64], gc_intern(NULL, big, sizeof(big)));
    cr_assert_eq(gc_intern(NULL, (char *)roots[64], sizeof(big)), roots[64]);
    copy = gc_intern(NULL, (char *)roots[64] + 3, 100); /* from the heap, unaligned */
    cr_assert(memcmp(copy, big, 100) == 0);
    gc_write(&roots[65], (void *)(uintptr_t)gc_intern_str("car"));
    cr_assert_eq(gc_intern_str("car"), roots[65]);
    cr_assert_str_eq(roots[65], "car");
}

/* ---- threads ---- */

#define THREADS 3

static void *
race(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;
    void *mine[64] = { NULL };

    T_OK(gc_thread_attach_precise(NULL));
    {
        GC_FRAME(mine);
        for (size_t round = 0; round < 3000; round++) {
            char buf[128];
            size_t i = round * 7 % 64, n = word(buf, i);
            char *p = gc_intern(NULL, buf, n);

            cr_assert(mine[i] == NULL || mine[i] == p, "two copies of one word");
            cr_assert(memcmp(p, buf, n) == 0);
            mine[i] = round % 5 == 0 ? NULL : p;
            if (round % 700 == 699 && me == 0)
                gc_collect(NULL);
        }
        for (size_t i = 0; i < 64; i++) {
            char buf[128];

            mine[i] = gc_intern(NULL, buf, word(buf, i));
        }
        for (size_t i = 0; i < 64; i++) /* as long as others may compare */
            gc_write(&roots[me * 64 + i], mine[i]);
    }
    gc_thread_detach();
    return NULL;
}

IN_BOTH_MODES(intern, threads_agree, NULL)
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, race, (void *)i), 0);
    gc_block_enter();
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    gc_block_leave();
    gc_collect(NULL);
    for (size_t t = 0; t < THREADS; t++)
        for (size_t i = 0; i < 64; i++) {
            char buf[128];
            void *now = gc_intern(NULL, buf, word(buf, i));

            cr_assert_eq(now, roots[t * 64 + i]);
        }
}

Test(intern, a_forked_child_has_the_table)
{
    char buf[128];
    int status;
    pid_t pid;

    begin_in_mode(GC_MODE_CONCURRENT, NULL);
    for (size_t i = 0; i < 100; i++)
        gc_write(&roots[i], gc_intern(NULL, buf, word(buf, i)));
    pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < 100; i++)
            if (gc_intern(NULL, buf, word(buf, i)) != roots[i])
                _exit(1);
        memset(roots, 0, sizeof(roots)); /* no cycle is marking */
        gc_collect(NULL);
        _exit(gc_intern_find(NULL, buf, word(buf, 7)) != NULL || gc_verify(NULL) != GC_OK);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", (unsigned)status);
    end_of_mode();
}

/* ---- misuse ---- */

static void
too_long(void *unused)
{
    (void)unused;
    GC_KEEP_ALIVE(gc_intern(NULL, roots, GC_INTERN_MAX + 1));
}

static void
null_bytes(void *unused)
{
    (void)unused;
    GC_KEEP_ALIVE(gc_intern(NULL, NULL, 1));
}

static void
foreign_heap(void *heap)
{
    GC_KEEP_ALIVE(gc_intern(heap, "x", 1));
}

Test(intern, misuse_is_named)
{
    gc_options opt;
    gc_heap *other;

    begin_in_mode(GC_MODE_CONCURRENT, NULL);
    gc_options_default(&opt);
    T_OK(gc_heap_create(&opt, &other));
    expect_fatal(too_long, NULL, "gc_intern|GC_INTERN_MAX");
    expect_fatal(null_bytes, NULL, "gc_intern|NULL");
    expect_fatal(foreign_heap, other, "gc_intern|heap is not the calling thread's");
    cr_assert_null(gc_try_intern(NULL, roots, GC_INTERN_MAX + 1));
    T_OK(gc_heap_destroy(other));
    end_of_mode();
}
