/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program with a known graph, for snapshot_test.py: writes its heap snapshot to the
 * file that it is given.
 *
 * Place: public interface only.  The thread is precise, so only what is said is alive.
 */
#include "dumpkit.h"

#include <stdio.h>

static struct entry *list;

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
    if (argc != 2 || gc_init(&opt) != GC_OK || gc_root_add(&list, sizeof(list)) != GC_OK)
        return 2;
    for (int i = 0; i < 1000; i++)
        (void)add("a key of more than sixteen bytes");
    array = gc_alloc_array(&gc_pointer_type, 10);
    handle = gc_handle_new(array);
    gc_write(&array[7], list);
    gc_write((void **)&array[1], (void *)gc_ephemeron_new(list, gc_alloc(&odd_type)));
    gc_write((void **)&array[2], /* key and value are dead */
            (void *)gc_ephemeron_new(gc_alloc(&entry_type), gc_alloc(&odd_type)));
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
