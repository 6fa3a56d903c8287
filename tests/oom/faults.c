/* SPDX-License-Identifier: MIT */
/*
 * Purpose: ladders of faults over each operation by itself.  Its first call to the system
 * fails, in the next run its second, and so on until the operation makes no further call
 * (failat); then the same with all calls from the n-th on (failfrom), and both for calls of
 * malloc, in whatever library.  Each time: what fails says why; the heap verifies, and works
 * as soon as the faults are over; its end leaves no address space, thread or malloc block
 * behind, but for what the system was made to refuse, and then it says how much that is.
 *
 * Place: looks into struct os, to learn where an operation's calls begin and end and to end
 * the faults; public interface otherwise.
 *
 * Invariants: the calls of a thread are numbered in its program's order.  Those of the
 * collector's threads may come in between, so a ladder goes some rungs beyond the end.
 *
 * Concurrency: each rung is a forked child; this process has no heap and only one thread
 * when it forks.  Before that it runs the operation without faults, often enough that what
 * the C library keeps for ever (stacks, cached blocks) is there; the child runs it twice
 * with faults, and only the second time is measured.
 *
 * Arguments: NAME=0 leaves an operation out, beyond=2 rungs beyond the end, all=1 every rung,
 * trace=1.
 */

#define _GNU_SOURCE

#include "gc/heap.h"
#include "heapkit.h"

#include "mallocs.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB  ((size_t)1 << 20)
#define MANY 12000

#if defined(__SANITIZE_ADDRESS__)
# define LEAK_SANITIZER 1
int __lsan_do_recoverable_leak_check(void);
#else
# define LEAK_SANITIZER 0
static int __lsan_do_recoverable_leak_check(void) { return 0; }
#endif

struct pair {
    struct pair *left, *right;
    uint64_t value;
};

struct bag {
    struct pair *first;
    uint64_t n;
    struct pair items[];
};

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE_FLEX(bag_type, struct bag, items, pair_type, first);

/* ---- a child's state ---- */

enum fault { FAIL_AT, FAIL_FROM, MALLOC_AT, MALLOC_FROM, FAULTS };

static const char *const fault_names[FAULTS] = { "failat", "failfrom", "malloc",
    "malloc from" };

struct rung {
    const struct operation *op;
    enum fault fault;
    uint64_t n; /* 0: none */
};

static gc_heap *heap;
static unsigned failures;
static int faulty; /* faults may strike now */
static char failed_step[64] = "nothing";

static void
end_faults(void)
{
    mallocs_fail(0, 0);
    __atomic_store_n(&heap->os.fail_at, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&heap->os.fail_from, 0, __ATOMIC_RELAXED);
    faulty = 0;
}

/* Puts a text there that no failing call may leave. */
static void
forget_last_error(void)
{
    T_CHECK(gc_root_add(NULL, 0) == GC_ERR_INVAL, "a range at NULL");
}

static void
failed(const char *step)
{
    T_CHECK(faulty, "%s failed without a fault: %s", step, gc_last_error());
    T_CHECK(gc_last_error()[0] != '\0' && !t_mentions(gc_last_error(), "start is NULL"),
            "%s failed and did not say why", step);
    if (failures++ == 0)
        (void)snprintf(failed_step, sizeof failed_step, "%s", step);
    if (t_arg("trace", 0) > 1)
        t_note("%s: %s", step, gc_last_error());
}

static int
worked(const char *step, gc_status status)
{
    if (status != GC_OK) {
        T_CHECK(status == GC_ERR_NOMEM || status == GC_ERR_THREAD || status == GC_ERR_LIMIT,
                "%s gave %s", step, gc_status_string(status));
        failed(step);
    }
    forget_last_error();
    return status == GC_OK;
}

static void *
got(const char *step, void *p)
{
    if (p == NULL)
        failed(step);
    forget_last_error();
    return p;
}

/* ---- operations ---- */

static void
op_nothing(void)
{
}

static void
op_attach(void)
{
    gc_thread_detach();
    if (!worked("attach", gc_thread_attach(heap))) {
        T_CHECK(gc_thread_heap() == NULL, "attach failed, yet attached");
        end_faults();
        T_OK(gc_thread_attach(heap));
    }
}

static void
op_alloc(void)
{
    struct pair *pair = got("gc_try_alloc", gc_try_alloc(&pair_type));
    struct bag *bag = got("gc_try_alloc_flex", gc_try_alloc_flex(&bag_type, 10));
    char *tiny = got("gc_try_alloc_bytes tiny", gc_try_alloc_bytes(5));
    char *bytes = got("gc_try_alloc_bytes", gc_try_alloc_bytes(1000));
    char *raw = got("gc_try_alloc_bytes_uninit", gc_try_alloc_bytes_uninit(3000));
    struct pair *array = got("gc_try_alloc_array", gc_try_alloc_array(&pair_type, 100));

    if (pair != NULL && array != NULL) {
        gc_write(&pair->left, &array[99]);
        array[99].value = 77;
    }
    gc_collect(NULL);
    T_CHECK(pair == NULL || array == NULL || pair->left->value == 77, "an object is altered");
    T_CHECK(bag == NULL || (bag->items[9].value == 0 && bag->first == NULL), "not zeroed");
    T_CHECK(tiny == NULL || tiny[4] == 0, "not zeroed");
    T_CHECK(bytes == NULL || bytes[999] == 0, "not zeroed");
    GC_KEEP_ALIVE(raw);
    GC_KEEP_ALIVE(array);
}

static void
op_large(void)
{
    const size_t n = MIB / 4;
    char *bytes = got("5 MiB of bytes", gc_try_alloc_bytes(5 * MIB));
    struct pair *array = got("6 MiB of pairs", gc_try_alloc_array(&pair_type, n));
    struct bag *bag = got("a bag of 6 MiB", gc_try_alloc_flex(&bag_type, n));

    if (bytes != NULL)
        bytes[5 * MIB - 1] = 1;
    if (array != NULL && bag != NULL) {
        gc_write(&array[n - 1].left, &bag->items[n - 1]);
        bag->items[n - 1].value = 5;
        gc_collect(NULL);
        T_CHECK(array[n - 1].left->value == 5, "an object is altered");
    }
}

/* Every size class, and more kinds than a first run table holds. */
static void
op_classes(void)
{
    for (size_t bytes = 8; bytes <= 32768; bytes += bytes < 1024 ? 8 : 512) {
        char *p = got("bytes of a class", gc_try_alloc_bytes(bytes));
        void **array = got("array of a class",
                gc_try_alloc_array(&gc_pointer_type, bytes / sizeof(void *)));

        T_CHECK(p == NULL || p[bytes - 1] == 0, "not zeroed");
        T_CHECK(array == NULL || array[bytes / sizeof(void *) - 1] == NULL, "not zeroed");
    }
}

/* More than the first growth step. */
static void
op_grow(void)
{
    struct pair *list = NULL;
    uint64_t n = 0;

    for (uint64_t i = 0; i < 300 && failures < 5; i++) {
        struct pair *block = got("32 KiB, many", gc_try_alloc_array(&pair_type, 1365));

        if (block == NULL)
            continue;
        block->value = n++;
        gc_write(&block->left, list);
        list = block;
    }
    for (; list != NULL; list = list->left)
        T_CHECK(list->value == --n, "a list is altered");
    T_CHECK(n == 0, "a list has lost %llu blocks", (unsigned long long)n);
}

static void
op_handles(void)
{
    static gc_handle *handles[MANY];

    for (size_t i = 0; i < MANY; i++) {
        handles[i] = got("gc_handle_new", gc_handle_new(NULL));
        if (handles[i] != NULL)
            T_CHECK(gc_handle_get(handles[i]) == NULL, "a new handle is not empty");
    }
    for (size_t i = 0; i < MANY; i++)
        gc_handle_free(handles[i]);
}

static void
op_roots(void)
{
    static void *cells[4][2];
    int added[4];

    for (int i = 0; i < 4; i++)
        added[i] = worked("gc_root_add", gc_root_add(cells[i], sizeof cells[i]));
    gc_collect(NULL);
    for (int i = 0; i < 4; i++)
        if (added[i])
            gc_root_remove(cells[i]);
}

static void
op_types(void)
{
    const gc_field field = { 8, 8 };
    const gc_type_spec spec = { .name = "made", .size = 64, .form = GC_FORM_FIELDS,
        .fields = &field, .nfields = 1 };

    for (int i = 0; i < 2500; i++) {
        const gc_type *type = NULL;
        int made = worked("gc_type_create", gc_type_create(NULL, &spec, &type));

        T_CHECK(made == (type != NULL), "gc_type_create and its result disagree");
        if (made && i % 8 == 0)
            (void)got("gc_try_alloc of a made type", gc_try_alloc(type));
    }
}

static void *
child_main(void *arg)
{
    struct pair *pair = arg;

    T_CHECK(pair->value == 42, "the new thread's argument is altered");
    (void)!gc_try_alloc_array(&pair_type, 10);
    return NULL;
}

static void
op_threads(void)
{
    struct pair *pair = got("an argument", gc_try_alloc(&pair_type));
    pthread_t threads[3];
    int started[3];

    if (pair == NULL)
        return;
    pair->value = 42;
    for (int i = 0; i < 3; i++)
        started[i] = worked("gc_pthread_create",
                gc_pthread_create(&threads[i], NULL, child_main, pair));
    for (int i = 0; i < 3; i++)
        if (started[i])
            GC_BLOCKING (void)pthread_join(threads[i], NULL);
}

/* Marking workers are started by the first cycle: with none, the coordinator marks alone. */
static void
op_collect(void)
{
    struct pair *list = NULL;
    uint64_t n = 0;

    for (uint64_t i = 0; i < 5000; i++) {
        struct pair *pair = got("gc_try_alloc", gc_try_alloc(&pair_type));

        if (pair == NULL)
            continue;
        pair->value = n++;
        gc_write(&pair->left, list);
        list = pair;
    }
    for (int i = 0; i < 3; i++)
        gc_collect(NULL);
    for (; list != NULL; list = list->left)
        T_CHECK(list->value == --n, "a list is altered");
    T_CHECK(n == 0, "a list has lost %llu nodes", (unsigned long long)n);
}

static unsigned due, done; /* of the heap; atomic: done */

static void
clean(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&done, 1, __ATOMIC_RELEASE);
}

static void
finalize(void *obj, void *arg)
{
    (void)obj;
    clean(arg);
}

static void
run_cleanups(void)
{
    t_wipe_stack();
    gc_collect(NULL);
    (void)gc_run_cleanups(NULL, SIZE_MAX);
}

/* What could be added runs, once there are threads again; stale words may keep a few. */
static void
op_cleanups(void)
{
    for (int i = 0; i < 80; i++) {
        struct pair *pair = got("gc_try_alloc", gc_try_alloc(&pair_type));

        if (pair == NULL)
            continue;
        due += (unsigned)worked("gc_cleanup_add", gc_cleanup_add(pair, clean, NULL, NULL));
        if (i % 8 == 0)
            due += (unsigned)worked("gc_finalizer_set", gc_finalizer_set(pair, finalize, NULL));
    }
    gc_collect(NULL);
    end_faults();
    for (int i = 0; i < 100 && __atomic_load_n(&done, __ATOMIC_ACQUIRE) + 16 < due; i++)
        run_cleanups();
    T_CHECK(done <= due && done + 16 >= due, "%u callbacks of %u have run", done, due);
}

#define WEAKS 2000 /* the table of records grows several times */

/* What could be made gives its object, and is the only one of it, whatever fails meanwhile. */
static void
op_weak(void)
{
    struct pair **pairs = got("gc_try_alloc_array", gc_try_alloc_array(&gc_pointer_type, WEAKS));
    gc_weak **weaks = got("gc_try_alloc_array", gc_try_alloc_array(&gc_pointer_type, WEAKS));
    unsigned made = 0;

    for (int i = 0; i < WEAKS && pairs != NULL && weaks != NULL; i++) {
        gc_write(&pairs[i], got("gc_try_alloc", gc_try_alloc(&pair_type)));
        if (pairs[i] != NULL)
            gc_write(&weaks[i], got("gc_try_weak_new", gc_try_weak_new(pairs[i])));
        made += weaks[i] != NULL;
        if (i == WEAKS / 2)
            gc_collect(NULL);
    }
    end_faults();
    gc_collect(NULL);
    for (int i = 0; i < WEAKS && made != 0; i++)
        if (weaks[i] != NULL) {
            T_CHECK(gc_weak_get(weaks[i]) == pairs[i], "weak reference %d gives another object", i);
            T_CHECK(gc_weak_new(pairs[i]) == weaks[i], "object %d has two weak references", i);
        }
}

static int
count_bytes(void *arg, const char *text, size_t bytes)
{
    (void)text;
    *(size_t *)arg += bytes;
    return 0;
}

static void
op_metrics(void)
{
    size_t written = 0, n = 0;
    const gc_metric_desc *all = gc_metrics_all(&n);
    gc_sink sink = { .write = count_bytes, .arg = &written };
    gc_stats stats;

    T_OK(gc_metrics_write_prometheus(NULL, &sink));
    T_OK(gc_metrics_write_openmetrics(NULL, &sink));
    T_OK(gc_metrics_write_json(NULL, &sink));
    gc_stats_read(NULL, &stats);
    T_CHECK(written > 1000 && stats.sys > 0, "exports of %zu bytes", written);
    for (size_t i = 0; i < n; i++)
        if (all[i].kind == GC_METRIC_HISTOGRAM)
            gc_histogram_free(got("gc_histogram_create", gc_histogram_create(all[i].name)));
}

struct operation {
    const char *name;
    void (*run)(void);
    int whole; /* faults begin with the heap's creation and last until its end */
};

static const struct operation operations[] = {
    { "heap", op_nothing, 1 },
    { "attach", op_attach, 0 },
    { "alloc", op_alloc, 0 },
    { "large", op_large, 0 },
    { "classes", op_classes, 0 },
    { "grow", op_grow, 0 },
    { "handles", op_handles, 0 },
    { "roots", op_roots, 0 },
    { "types", op_types, 0 },
    { "threads", op_threads, 0 },
    { "collect", op_collect, 0 },
    { "cleanups", op_cleanups, 0 },
    { "weak", op_weak, 0 },
    { "metrics", op_metrics, 0 },
};
#define OPERATIONS (sizeof operations / sizeof operations[0])

/* ---- a run of one operation ---- */

/* What a faulty heap's end may leave: as much as it says.  KiB. */
static size_t kept_kib;

static void
note_kept(const char *text)
{
    const char *at = strstr(text, " bytes stay mapped");

    if (at == NULL)
        return;
    while (at > text && at[-1] >= '0' && at[-1] <= '9')
        at--;
    kept_kib += strtoul(at, NULL, 10) / 1024;
}

static void
end_heap(void)
{
    gc_status status;

    gc_thread_detach();
    forget_last_error();
    status = gc_heap_destroy(heap);
    note_kept(gc_last_error());
    T_CHECK(status == GC_OK || kept_kib != 0, "destroy: %s, %s", gc_status_string(status),
            gc_last_error());
    failures += status != GC_OK; /* perhaps of an unmapping while faults were on */
    heap = NULL;
}

/* Calls to the system that an operation makes: numbers of the first and the last. */
struct calls {
    uint64_t first, last;
    uint64_t mallocs;
};

/* Faults in malloc begin with the operation, those of the system by the call's number. */
static void
start_malloc_faults(const struct rung *rung)
{
    if (rung->fault >= MALLOC_AT)
        mallocs_fail(rung->n, rung->fault == MALLOC_FROM);
}

/* The operation between creation and end. */
static void
run_once(const struct rung *rung, struct calls *calls)
{
    uint64_t mallocs = mallocs_calls();
    gc_options opt;
    gc_status status;

    gc_options_default(&opt);
    opt.debug_failat = rung->fault == FAIL_AT ? rung->n : 0;
    opt.debug_failfrom = rung->fault == FAIL_FROM ? rung->n : 0;
    opt.debug_clobberfree = 1;
    opt.reserve = 512 * MIB;
    opt.heap_min = MIB;
    due = done = 0; /* what stale words have kept of the last heap went with it */
    forget_last_error();
    if (rung->op->whole)
        start_malloc_faults(rung);
    status = gc_heap_create(&opt, &heap);
    if (status != GC_OK)
        note_kept(gc_last_error());
    if (!worked("gc_heap_create", status)) {
        T_CHECK(heap == NULL, "a failed gc_heap_create has set its result");
        return;
    }
    status = gc_thread_attach(heap);
    if (!worked("gc_thread_attach", status)) {
        end_faults();
        T_OK(gc_thread_attach(heap));
    }
    calls->first = aword_load_relaxed(&heap->os.calls) + 1;
    if (!rung->op->whole) {
        mallocs = mallocs_calls();
        start_malloc_faults(rung);
    }
    rung->op->run();
    calls->last = aword_load_relaxed(&heap->os.calls);
    calls->mallocs = mallocs_calls() - mallocs;
    t_verify(NULL);
    if (!rung->op->whole) { /* the heap works when the faults are over */
        end_faults();
        rung->op->run();
        t_collect_twice(NULL);
        t_verify(NULL);
    }
    end_heap();
    if (rung->op->whole) {
        calls->first = 1;
        calls->last += 10; /* those of its end: the count went with the heap */
    }
}

struct usage {
    size_t vm_kib, threads;
    int64_t blocks; /* of malloc */
};

static struct usage
usage_now(void)
{
    return (struct usage){ t_proc_status_kib("VmSize"), t_proc_threads(),
        mallocs_live() };
}

static void
compare_usage(const struct usage *before, const struct usage *after)
{
    T_CHECK(after->threads <= before->threads, "%zu threads, then %zu", before->threads,
            after->threads);
    if (LEAK_SANITIZER && failures == 0)
        return; /* its look takes half a second */
    if (LEAK_SANITIZER) { /* its own allocator's sizes are no measure */
        T_CHECK(__lsan_do_recoverable_leak_check() == 0, "LeakSanitizer found leaks");
        return;
    }
    T_CHECK(after->blocks <= before->blocks, "malloc: %lld blocks, then %lld",
            (long long)before->blocks, (long long)after->blocks);
    /* What the system kept is told in bytes; it comes in whole pages. */
    T_CHECK(after->vm_kib <= before->vm_kib + kept_kib + (kept_kib ? 64 : 0)
                    && after->vm_kib + 64 >= before->vm_kib + kept_kib,
            "VmSize: %zu KiB, then %zu; %zu were said to stay", before->vm_kib, after->vm_kib,
            kept_kib);
}

static void
rung_main(void *arg)
{
    const struct rung *rung = arg;
    struct usage before, after;
    struct calls calls;

    t_hang_after(120);
    for (int i = 0; i < 2; i++) {
        before = usage_now(); /* the last of them counts */
        kept_kib = 0;
        faulty = 1;
        run_once(rung, &calls);
        mallocs_fail(0, 0);
        faulty = 0;
    }
    after = usage_now();
    compare_usage(&before, &after);
    (void)fprintf(stderr, "%s", failed_step);
    _exit(failures > 0 ? 10 : 0);
}

/* ---- the ladders ---- */

static struct {
    unsigned rungs, telling; /* telling: a call failed */
    unsigned aborts;         /* in liburcu */
} total;

/*
 * liburcu ends the process itself, by assert, when malloc fails while it makes a hash table
 * (and assert says only "Unexpected error" when malloc goes on failing).
 */
static int
is_known_abort(const struct rung *rung, int status, const char *text)
{
    return rung->op->whole && rung->fault >= MALLOC_AT && WIFSIGNALED(status)
        && WTERMSIG(status) == SIGABRT && t_mentions(text, "rculfhash|Unexpected error");
}

static int
climb(const struct operation *op, enum fault fault, uint64_t n)
{
    struct rung rung = { .op = op, .fault = fault, .n = n };
    unsigned long long number = n;
    char text[2048];
    int status = t_child(rung_main, &rung, text, sizeof text);

    total.rungs++;
    if (is_known_abort(&rung, status, text)) {
        total.aborts++;
        return 0;
    }
    T_CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 10),
            "%s, %s %llu: wait status 0x%x: %s", op->name, fault_names[fault], number,
            (unsigned)status, text);
    if (t_arg("trace", 0))
        t_note("%s, %s %llu: %s failed", op->name, fault_names[fault], number, text);
    total.telling += WEXITSTATUS(status) == 10;
    return WEXITSTATUS(status) == 10;
}

static unsigned
ladder(const struct operation *op, enum fault fault, uint64_t first, uint64_t last)
{
    uint64_t beyond = (uint64_t)t_arg("beyond", 2);
    unsigned telling = 0;

    /* Beyond some thirty uses the calls are the same again and again: ever fewer of them. */
    for (uint64_t n = first; n <= last + beyond; n += t_arg("all", 0) ? 1 : 1 + (n - first) / 32)
        telling += (unsigned)climb(op, fault, n);
    return telling;
}

/*
 * The runs without faults tell how many calls there are; they are as many as the C library
 * caches blocks of one size, and some.
 */
static void
ladders(const struct operation *op)
{
    struct rung calm = { .op = op };
    unsigned rungs = total.rungs, telling[FAULTS] = { 0 };
    struct calls calls;

    for (int i = 0; i < 10; i++)
        run_once(&calm, &calls);
    for (int f = FAIL_AT; f <= FAIL_FROM; f++)
        telling[f] = ladder(op, (enum fault)f, calls.first, calls.last);
    for (int f = MALLOC_AT; f <= MALLOC_FROM && mallocs_counted(); f++)
        telling[f] = ladder(op, (enum fault)f, 1, calls.mallocs);
    T_CHECK(calls.last < calls.first || telling[FAIL_FROM] > 0,
            "%s makes calls %llu to %llu, and no failing one is told", op->name,
            (unsigned long long)calls.first, (unsigned long long)calls.last);
    t_note("%s: %u rungs; a call failed in %u + %u, malloc: %u + %u", op->name,
            total.rungs - rungs, telling[0], telling[1], telling[2], telling[3]);
}

int
main(int argc, char **argv)
{
    t_start("faults", argc, argv);
    (void)mallopt(M_ARENA_MAX, 1); /* another one may come at any time, and be 64 MiB */
    for (size_t i = 0; i < OPERATIONS; i++)
        if (t_arg(operations[i].name, 1))
            ladders(&operations[i]);
    t_note("rungs=%u, %u of them failed a call, %u ended in liburcu", total.rungs,
            total.telling, total.aborts);
    return 0;
}
