/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go and allocate, while others switch the flight recorder on and off, write
 * what it has, and add and take away listeners; for ThreadSanitizer.
 *
 * Place: public interface only; 0 is a pass.
 */
#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdio.h>

enum { WORKERS = 3, ROUNDS = 60, NODES = 3000 };

struct node {
    struct node *next;
    long number;
};
GC_TYPE(node_type, struct node, next);

static gc_heap *heap;
static int stop;
static unsigned long told, gone;

static void
listen(gc_heap *of, const gc_event *event, void *arg)
{
    if (of == heap && event->cycle != 0 && arg == &told)
        __atomic_add_fetch(&told, 1, __ATOMIC_RELAXED);
}

/* After gc_unlisten nobody calls it, so its argument may go. */
static void
listen_for_long(gc_heap *of, const gc_event *event, void *arg)
{
    (void)of;
    (void)event;
    (*(unsigned long *)arg)++; /* plain: no call is under way when it is read */
}

static void *
work(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct node *list = NULL;

        if (gc_thread_attach(heap) != GC_OK)
            return arg;
        for (long k = 0; k < NODES; k++) {
            struct node *n = gc_alloc(&node_type);

            n->number = k;
            gc_write(&n->next, list);
            list = n;
        }
        GC_KEEP_ALIVE(list);
        gc_thread_detach();
    }
    return NULL;
}

static int
count_bytes(void *arg, const char *bytes, size_t n)
{
    (void)bytes;
    *(size_t *)arg += n;
    return 0;
}

static void *
record(void *arg)
{
    size_t bytes = 0;
    gc_sink sink = { count_bytes, &bytes };
    gc_recorder_options opt = { .ring_bytes = 4096, .pause_ns = 1000 };

    do { /* once at least, however late it gets the CPU */
        unsigned long calls = 0;

        if (gc_recorder_start(heap, &opt) != GC_OK
                || gc_listen(heap, listen_for_long, &calls) != GC_OK
                || gc_recorder_write(heap, 0, &sink) != GC_OK)
            return NULL;
        gc_collect(heap);
        gc_unlisten(heap, listen_for_long, &calls);
        gone += calls;
        gc_recorder_stop(heap);
    } while (!__atomic_load_n(&stop, __ATOMIC_RELAXED));
    return bytes > 0 ? arg : NULL;
}

int
main(void)
{
    pthread_t workers[WORKERS], recorder;
    gc_options opt;
    void *ended;
    int failed = 0;

    gc_options_default(&opt);
    opt.heap_min = 1 << 18;
    if (gc_heap_create(&opt, &heap) != GC_OK || gc_listen(heap, listen, &told) != GC_OK)
        return 1;
    failed |= pthread_create(&recorder, NULL, record, &opt);
    for (int i = 0; i < WORKERS; i++)
        failed |= pthread_create(&workers[i], NULL, work, &opt);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], &ended);
        failed |= ended != NULL;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(recorder, &ended);
    failed |= ended == NULL;
    gc_unlisten(heap, listen, &told);
    printf("recorder: told %lu times, %lu of them for long\n", told, gone);
    return failed || told == 0 || gone == 0 || gc_heap_destroy(heap) != GC_OK;
}
