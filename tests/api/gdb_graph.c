/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program with a known graph that ends by SIGABRT, for gdb_test.py.  Before that it
 * writes the addresses of its objects, one "NAME ADDRESS" a line.
 *
 * Place: public interface only.  The main thread is precise, so it holds what it says; the
 * other two hold an object on their stacks, one in managed code and one in a blocking region.
 */
#include "dumpkit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct vector {
    struct entry *first;
    struct entry *items[];
};
GC_TYPE_FLEX(vector_type, struct vector, items, gc_pointer_type, first);

static const gc_decode decode = { 7, 1, ~(uintptr_t)7 };
struct tagged {
    uintptr_t words[4];
};
GC_TYPE_TAGGED(tagged_type, struct tagged, decode, words);

/* Roots: that of the list, and what the others hang from. */
struct roots {
    struct entry *list;
    struct odd *odd;
    gc_ephemeron *ephemeron;
    struct tagged *tagged;
    void *key; /* the ephemeron's */
};
static struct roots roots;
static volatile int ready;

static void
say(const char *name, const void *object)
{
    printf("%s %p\n", name, object);
}

static struct entry *
entry(const char *name, struct entry *next)
{
    struct entry *e = NULL;

    GC_FRAME(e, next);
    e = gc_alloc(&entry_type);
    gc_write(&e->key, gc_strdup("a key of more than sixteen bytes"));
    gc_write(&e->next, next);
    say(name, e);
    return e;
}

static void
count_ready(void)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
}

static void *
run_inside(void *arg)
{
    struct entry *volatile mine = entry("inside", NULL);

    (void)arg;
    for (count_ready(); mine != NULL;)
        gc_safepoint();
    return NULL;
}

static void *
run_outside(void *arg)
{
    struct entry *volatile mine = entry("outside", NULL);

    (void)arg;
    GC_BLOCKING {
        count_ready();
        pause();
    }
    GC_KEEP_ALIVE(mine);
    return NULL;
}

static void
never(void *arg)
{
    (void)arg;
}

/* What hangs from registered roots. */
static int
make_rooted(void)
{
    void *value = NULL;

    GC_FRAME(value);
    for (int i = 0; i < 40; i++)
        gc_write(&roots.list, entry(i == 0 ? "last" : i == 39 ? "head" : "middle", roots.list));
    gc_write(&roots.odd, gc_alloc(&odd_type));
    gc_write(&roots.odd->hidden, (void *)gc_alloc_bytes(100000));
    say("large", (char *)roots.odd->hidden + 70000);
    gc_write(&roots.key, (void *)gc_alloc_bytes(48));
    value = entry("value", NULL);
    gc_write(&roots.ephemeron, gc_ephemeron_new(roots.key, value));
    value = NULL;
    gc_write(&roots.tagged, gc_alloc(&tagged_type));
    value = entry("tagged", NULL);
    gc_write_word(&decode, &roots.tagged->words[2], (uintptr_t)value | 1);
    return 0;
}

static void
make_others(void)
{
    gc_pool_options opt = { .name = "entries", .type = &entry_type };
    gc_pool *pool = gc_pool_create(NULL, &opt);
    struct entry *items[3] = { NULL };
    struct vector *vector = NULL;

    GC_FRAME(items, vector);
    vector = gc_alloc_flex(&vector_type, 8);
    gc_write(&vector->items[5], entry("element", NULL));
    if (gc_handle_new(vector) == NULL || pool == NULL)
        exit(2);
    say("vector", vector);
    for (int i = 0; i < 3; i++)
        items[i] = entry(i == 0 ? "pooled" : "middle", NULL);
    for (int i = 0; i < 3; i++)
        gc_pool_put(pool, items[i]);
    items[0] = entry("argument", NULL);
    if (gc_cleanup_add(roots.odd, never, items[0], NULL) != GC_OK)
        exit(2);
}

int
main(void)
{
    struct entry *local = NULL;
    pthread_t thread;
    gc_options opt;

    setvbuf(stdout, NULL, _IONBF, 0);
    gc_options_default(&opt);
    if (gc_init(&opt) != GC_OK)
        return 2;
    gc_thread_detach();
    if (gc_thread_attach_precise(NULL) != GC_OK || gc_root_add(&roots, sizeof(roots)) != GC_OK)
        return 2;
    make_rooted();
    make_others();
    GC_FRAME(local);
    local = entry("local", NULL);
    (void)entry("dead", NULL);
    if (gc_pthread_create(&thread, NULL, run_inside, NULL) != GC_OK
            || gc_pthread_create(&thread, NULL, run_outside, NULL) != GC_OK)
        return 2;
    while (ready < 2)
        gc_safepoint();
    abort();
}
