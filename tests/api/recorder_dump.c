/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program with a known number of threads and cycles, for recorder_test.py: writes what
 * the flight recorder has kept to the file that it is given, and what listeners were told and
 * the metrics say to standard output.  "stw" and "precise" as second argument choose the mode.
 *
 * Place: public interface only.
 */
#define _GNU_SOURCE /* a thread's name */
#include <gcrt/gcrt.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 2, CYCLES = 5 };

struct node {
    struct node *left, *right;
};
GC_TYPE(node_type, struct node, left, right);

static unsigned long told[GC_EVENT_PAUSE + 1], wrong;
static uint64_t begun;
static int collected, asleep;
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;

static struct node *
tree(int depth)
{
    struct node *n = NULL, *child = NULL;
    GC_FRAME(n, child);

    n = gc_alloc(&node_type);
    if (depth > 0) {
        child = tree(depth - 1);
        gc_write(&n->left, child);
        child = tree(depth - 1);
        gc_write(&n->right, child);
    }
    return n;
}

static void *
work(void *arg)
{
    if (gc_thread_attach(NULL) != GC_OK)
        return arg;
    for (int i = 0; i < 4; i++)
        GC_KEEP_ALIVE(tree(12));
    gc_thread_detach();
    return NULL;
}

/* Attached and outside all the time: the recorder knows it by what the collector does for it. */
static void *
sleep_on(void *arg)
{
    if (gc_thread_attach(NULL) != GC_OK)
        return arg;
    GC_BLOCKING
    {
        __atomic_store_n(&asleep, 1, __ATOMIC_RELAXED);
        pthread_mutex_lock(&bed);
    }
    pthread_mutex_unlock(&bed);
    gc_thread_detach();
    return NULL;
}

static int
put_to_sleep(pthread_t *sleeper)
{
    if (pthread_create(sleeper, NULL, sleep_on, NULL) != 0)
        return 0;
    pthread_setname_np(*sleeper, "sleeper");
    while (!__atomic_load_n(&asleep, __ATOMIC_RELAXED))
        sched_yield();
    return 1;
}

/* Not attached. */
static void *
collect(void *arg)
{
    gc_collect(NULL);
    __atomic_store_n(&collected, 1, __ATOMIC_RELAXED);
    return arg;
}

/* On the collector's thread alone. */
static void
listen(gc_heap *heap, const gc_event *event, void *arg)
{
    (void)heap;
    wrong += arg != told;
    told[event->kind]++;
    wrong += event->kind == GC_EVENT_PAUSE && (event->duration_ns == 0 || event->thread == 0);
    wrong += event->kind == GC_EVENT_CYCLE_BEGIN && event->cycle <= begun;
    wrong += event->kind == GC_EVENT_CYCLE_END && event->cycle != begun;
    if (event->kind == GC_EVENT_CYCLE_BEGIN)
        begun = event->cycle;
}

static int
to_file(void *arg, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) != n;
}

static uint64_t
metric(const char *name)
{
    gc_metric_sample sample = { .name = name };

    return gc_metrics_read(NULL, &sample, 1) == GC_OK ? sample.value.u64 : 0;
}

static int
start_heap(const char *mode, pthread_t *sleeper)
{
    gc_recorder_options rec = { .ring_bytes = 1 << 20, .pause_ns = 1 };
    gc_options opt;

    gc_options_default(&opt);
    opt.gogc = GC_GOGC_OFF;
    opt.periodic_ms = 0;
    if (strcmp(mode, "stw") == 0)
        opt.mode = GC_MODE_STW;
    opt.precise_stacks = strcmp(mode, "precise") == 0;
    return gc_init(&opt) == GC_OK && put_to_sleep(sleeper) && gc_recorder_start(NULL, &rec) == GC_OK
        && gc_listen(NULL, listen, told) == GC_OK;
}

static int
write_trace(const char *path)
{
    FILE *f = fopen(path, "w");
    gc_sink sink = { to_file, f };

    return f != NULL && gc_recorder_write(NULL, 0, &sink) == GC_OK && fclose(f) == 0;
}

int
main(int argc, char **argv)
{
    pthread_t threads[THREADS], asker, sleeper;
    gc_handle *much;
    int ok = 1;

    pthread_mutex_lock(&bed);
    if (argc != 3 || !start_heap(argv[2], &sleeper))
        return 2;
    much = gc_handle_new(tree(15)); /* so that workers mark, too */
    for (int i = 0; i < CYCLES; i++) {
        for (int k = 0; k < THREADS; k++)
            ok &= pthread_create(&threads[k], NULL, work, NULL) == 0;
        __atomic_store_n(&collected, 0, __ATOMIC_RELAXED);
        ok &= pthread_create(&asker, NULL, collect, NULL) == 0;
        do
            GC_KEEP_ALIVE(tree(10)); /* inside, so that it answers itself */
        while (!__atomic_load_n(&collected, __ATOMIC_RELAXED));
        for (int k = 0; k < THREADS; k++)
            GC_BLOCKING { pthread_join(threads[k], NULL); }
        GC_BLOCKING { pthread_join(asker, NULL); }
    }
    gc_handle_free(much);
    gc_unlisten(NULL, listen, told);
    ok &= write_trace(argv[1]);
    printf("begin %lu marked %lu end %lu pause %lu wrong %lu cycles %llu proxies %llu\n",
            told[GC_EVENT_CYCLE_BEGIN], told[GC_EVENT_MARKED], told[GC_EVENT_CYCLE_END],
            told[GC_EVENT_PAUSE], wrong,
            (unsigned long long)metric("/gc/cycles/total:gc-cycles"),
            (unsigned long long)metric("/gc/handshake/proxy-answers:answers"));
    pthread_mutex_unlock(&bed);
    GC_BLOCKING { pthread_join(sleeper, NULL); }
    gc_shutdown();
    return !ok;
}
