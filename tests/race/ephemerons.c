/* SPDX-License-Identifier: MIT */
/*
 * Purpose: threads share a weak map, ephemerons and interned names, keep what they get for a
 * while or put it where others find it, while cycles run one after the other.  The value of
 * a key that is held is there and whole; equal names are one pointer.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: keys hang on shared roots, exchanged atomically; the main thread collects.
 *
 * Arguments: seconds=3 threads=4 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct key {
    gc_ephemeron *pair; /* its value is a value of this key */
    const char *name;
    uint64_t number;
};

struct value {
    struct key *key; /* refers back */
    const char *name;
    uint64_t number, complement;
};

GC_TYPE(key_type, struct key, pair, name);
GC_TYPE(value_type, struct value, key, name);

#define KEYS  64
#define NAMES 40

static struct key *keys[KEYS]; /* registered; atomic */
static gc_weak_map *map;       /* registered */
static int stopping;
static uint64_t news, gets;

static const char *
name_of(uint64_t number)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "name %d", (int)(number % NAMES));

    return gc_intern(NULL, text, (size_t)n);
}

static struct value *
value_new(struct key *key)
{
    struct value *value = NULL;
    GC_FRAME(key, value);

    value = gc_alloc(&value_type);
    value->key = key;
    value->number = key->number;
    value->complement = ~key->number;
    gc_write(&value->name, name_of(key->number));
    return value;
}

static void
renew(size_t i, uint64_t *rng)
{
    struct key *key = NULL;
    struct value *value = NULL;
    GC_FRAME(key, value);

    key = gc_alloc(&key_type);
    key->number = t_below(rng, UINT64_C(1) << 40);
    gc_write(&key->name, name_of(key->number));
    value = value_new(key);
    gc_write(&key->pair, gc_ephemeron_new(key, value));
    value = value_new(key);
    gc_weak_map_set(map, key, value);
    gc_write_release(&keys[i], key);
}

static void
check_value(const struct value *value, const struct key *key)
{
    T_CHECK(value != NULL, "the value of a key that is held is gone");
    T_CHECK(value->key == key && value->number == key->number
                    && value->complement == ~key->number,
            "a value is altered");
    T_CHECK(value->name == key->name, "one name has two copies");
}

static void
look(size_t i, uint64_t *rng)
{
    struct key *key = NULL;
    struct value *value = NULL;
    GC_FRAME(key, value);

    key = __atomic_load_n(&keys[i], __ATOMIC_ACQUIRE);
    if (key == NULL)
        return;
    value = gc_ephemeron_value(key->pair);
    check_value(value, key);
    T_CHECK(gc_ephemeron_key(key->pair) == key, "a key that is held is gone");
    value = gc_weak_map_get(map, key);
    check_value(value, key);
    T_CHECK(name_of(key->number) == key->name, "a name that is held has another copy");
    if (t_below(rng, 4) == 0)
        gc_ephemeron_set_value(key->pair, value);
    if (t_below(rng, 4) == 0)
        gc_weak_map_set(map, key, gc_ephemeron_value(key->pair));
}

/* Each entry that is seen is whole, whoever else holds it. */
static void
go_through(void)
{
    size_t cursor = 0;
    void *key = NULL, *value = NULL;
    GC_FRAME(key, value);

    for (int n = 0; n < 50 && gc_weak_map_next(map, &cursor, &key, &value); n++) {
        check_value(value, key);
        gc_safepoint();
    }
}

static void *
player_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0, made = 0;

    for (; !__atomic_load_n(&stopping, __ATOMIC_RELAXED); n++) {
        size_t i = (size_t)t_below(&rng, KEYS);

        if (t_below(&rng, 4) == 0) {
            renew(i, &rng);
            made++;
        } else {
            look(i, &rng);
        }
        if (t_below(&rng, 64) == 0)
            go_through();
    }
    __atomic_fetch_add(&gets, n - made, __ATOMIC_RELAXED);
    __atomic_fetch_add(&news, made, __ATOMIC_RELAXED);
    return NULL;
}

static void
finish(void)
{
    for (size_t i = 0; i < KEYS; i++)
        gc_write(&keys[i], NULL);
    t_collect_twice(NULL);
    t_verify(NULL);
    gc_write(&map, NULL);
    t_collect_twice(NULL);
    T_CHECK(t_heap_objects(NULL) < 200, "%llu objects are left",
            (unsigned long long)t_heap_objects(NULL));
}

int
main(int argc, char **argv)
{
    pthread_t threads[64];
    size_t n;
    gc_options opt;

    t_start("ephemerons", argc, argv);
    t_hang_after(400);
    n = (size_t)t_arg("threads", 4);
    T_CHECK(n >= 1 && n <= 64, "threads=1..64");
    t_options(&opt);
    opt.threads = 2;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(keys, sizeof keys));
    T_OK(gc_root_add(&map, sizeof map));
    gc_write(&map, gc_weak_map_new(0));
    for (size_t i = 0; i < n; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, player_main, t_thread_seed(i)));
    t_collect_until_over(&stopping);
    t_join(threads, n);
    finish();
    t_note("gets=%llu news=%llu cycles=%llu", (unsigned long long)gets, (unsigned long long)news,
            (unsigned long long)t_cycles(NULL));
    gc_root_remove(keys);
    gc_root_remove(&map);
    gc_shutdown();
    return 0;
}
