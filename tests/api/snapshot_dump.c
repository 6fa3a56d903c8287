/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program with a known graph, for snapshot_test.py: writes its heap snapshot to the
 * file that it is given.
 *
 * Place: public interface only.  The thread is precise, so only what is said is alive.
 */
#include "dumpkit.h"

#include <stdbool.h>
#include <stdio.h>

static struct entry *list;

/* What only a cleanup, a finalizer, a callback that is due or a pool holds. */
struct mark {
    uint64_t unused;
};
GC_TYPE_NOSCAN(mark_type, struct mark);

/* Its trace function says one pointer more often than 4 MiB of heap have words. */
struct talker {
    void *word;
};

static void
trace_talker(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    for (int i = 0; i < 530000; i++)
        gc_trace(tracer, ((const struct talker *)obj)->word);
}
GC_TYPE_TRACED(talker_type, struct talker, trace_talker);

static void
ignore(void *arg)
{
    (void)arg;
}

static void
ignore_object(void *obj, void *arg)
{
    (void)obj;
    (void)arg;
}

/* With more than a thread keeps itself, and no more than a rack holds besides. */
static gc_pool *
fill_pool(void)
{
    enum { ITEMS = 70 };
    static const gc_pool_options opt = { .type = &mark_type, .name = "marks" };
    gc_pool *pool = gc_pool_create(NULL, &opt);
    struct mark *item[ITEMS] = { NULL };

    if (pool == NULL)
        return NULL;
    GC_FRAME(item);
    for (int i = 0; i < ITEMS; i++)
        item[i] = gc_pool_get(pool);
    for (int i = 0; i < ITEMS; i++)
        gc_pool_put(pool, item[i]);
    return pool;
}

static bool
hang_on(void *obj)
{
    struct mark *dies = NULL;
    bool ok;

    GC_FRAME(dies);
    dies = gc_alloc(&mark_type);
    ok = gc_finalizer_set(dies, ignore_object, NULL) == GC_OK;
    dies = NULL;
    gc_collect(NULL);
    return ok && gc_cleanup_add(obj, ignore, gc_alloc(&mark_type), NULL) == GC_OK
            && gc_finalizer_set(obj, ignore_object, gc_alloc(&mark_type)) == GC_OK
            && fill_pool() != NULL;
}

static int
to_file(void *arg, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) != n;
}

static struct entry *
add(const char *key)
{
    struct entry *e = NULL;

    GC_FRAME(e);
    e = gc_alloc(&entry_type);
    gc_write(&e->key, gc_strdup(key));
    gc_write(&e->next, list);
    gc_write(&list, e);
    return e;
}

int
main(int argc, char **argv)
{
    gc_options opt;
    gc_sink sink = { to_file, NULL };
    struct odd *odd = NULL;
    struct entry **array;
    gc_handle *handle;
    FILE *f;
    int ok;

    gc_options_default(&opt);
    opt.precise_stacks = 1;
    opt.cleanup_threads = 0;
    if (argc != 2 || gc_init(&opt) != GC_OK || gc_root_add(&list, sizeof(list)) != GC_OK)
        return 2;
    for (int i = 0; i < 1000; i++)
        (void)add("a key of more than sixteen bytes");
    array = gc_alloc_array(&gc_pointer_type, 10);
    handle = gc_handle_new(array);
    if (!hang_on(list))
        return 2;
    gc_write(&array[7], list);
    gc_write((void **)&array[1], (void *)gc_ephemeron_new(list, gc_alloc(&odd_type)));
    gc_write((void **)&array[2], /* key and value are dead */
            (void *)gc_ephemeron_new(gc_alloc(&entry_type), gc_alloc(&odd_type)));
    gc_write((void **)&array[3], gc_alloc(&talker_type));
    gc_write(&((struct talker *)(void *)array[3])->word, (void *)list);
    GC_FRAME(odd);
    odd = gc_alloc(&odd_type);
    gc_write(&odd->hidden, (void *)gc_alloc_bytes(100000));
    GC_KEEP_ALIVE(gc_alloc_bytes(5000)); /* dead */
    f = fopen(argv[1], "w");
    if (f == NULL)
        return 2;
    sink.arg = f;
    ok = gc_heap_snapshot_write(NULL, &sink) == GC_OK && fclose(f) == 0;
    gc_handle_free(handle);
    GC_FRAME_END;
    gc_shutdown();
    return ok ? 0 : 1;
}
