/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder: when a thread is held up for longer than the program likes, what everybody
 * did in the seconds before is written to a file for ui.perfetto.dev.  Here any pause is too long.
 */
#include <gcrt/gcrt.h>

#include <stdio.h>

struct node {
    struct node *next;
    long number;
};
GC_TYPE(node_type, struct node, next);

static unsigned dumps;

static int
to_file(void *arg, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) != n;
}

/* On the collector's thread; the program runs meanwhile. */
static void
dump(gc_heap *heap, const gc_event *event, void *arg)
{
    FILE *f = event->kind == GC_EVENT_PAUSE ? fopen(arg, "w") : NULL;
    gc_sink sink = { to_file, f };

    if (f == NULL)
        return;
    dumps += gc_recorder_write(heap, 5000000000u, &sink) == GC_OK;
    fprintf(stderr, "thread %d was held up for %.3f ms: see %s\n", event->thread,
            (double)event->duration_ns / 1e6, (const char *)arg);
    fclose(f);
}

int
main(int argc, char **argv)
{
    gc_recorder_options opt = { .pause_ns = 1 };
    char *path = argc > 1 ? argv[1] : (char[]){ "/dev/null" };
    struct node *list = NULL;

    if (gc_init(NULL) != GC_OK || gc_recorder_start(NULL, &opt) != GC_OK
            || gc_listen(NULL, dump, path) != GC_OK)
        return 1;
    for (long i = 0; i < 1000000; i++) {
        struct node *n = gc_alloc(&node_type);

        n->number = i;
        gc_write(&n->next, i % 1000 == 0 ? NULL : list);
        list = n;
    }
    GC_KEEP_ALIVE(list);
    gc_unlisten(NULL, dump, path);
    gc_shutdown();
    return dumps == 0;
}
