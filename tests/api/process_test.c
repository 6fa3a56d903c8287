/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what docs/process.md promises about the process around the heap: callbacks on
 * foreign threads, libraries that come and go, longjmp, exit and its handlers.  (fork, signals and
 * silent threads have programs of their own in tests/stress.)
 *
 * Place: public interface only.
 */
#define _GNU_SOURCE

#include "fatal.h"
#include "kit.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST(name) Test(process, name, .timeout = 120)

static void
expect_exit(void (*fn)(void *), void *arg, int code)
{
    char text[4096];
    int status = t_child(fn, arg, text, sizeof text);

    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == code,
            "wait status 0x%x instead of exit %d; standard error: %s", (unsigned)status, code,
            text);
}

/* ---- callbacks ---- */

static gc_heap *the_heap;
static struct pair *shared; /* registered */

static struct pair *
chain(int n)
{
    struct pair *p = NULL;

    for (int i = 0; i < n; i++) {
        struct pair *q = gc_alloc(&pair_type);

        gc_write(&q->left, p);
        p = q;
    }
    return p;
}

static int
length(const struct pair *p)
{
    int n = 0;

    for (; p != NULL; p = p->left)
        n++;
    return n;
}

/* Nested twice, with a region of its own in between. */
static void
callback(int depth)
{
    gc_callback cb;
    struct pair *p;

    T_OK(gc_callback_enter(NULL, &cb));
    cr_assert_eq(gc_thread_heap(), the_heap);
    p = chain(100);
    if (depth > 0)
        GC_BLOCKING { callback(depth - 1); }
    if (depth > 0)
        callback(depth - 1);
    gc_collect(NULL);
    cr_assert_eq(length(p), 100);
    gc_write_release(&shared, p);
    gc_callback_leave(&cb);
}

static void *
foreign_main(void *unused)
{
    for (int i = 0; i < 20; i++) {
        callback(2);
        cr_assert_null(gc_thread_heap(), "a callback leaves the thread as it was");
    }
    return unused;
}

TEST(a_foreign_thread_is_attached_for_its_callbacks)
{
    pthread_t threads[3];
    gc_stats stats;

    start();
    the_heap = gc_thread_heap();
    T_OK(gc_root_add(&shared, sizeof shared));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, foreign_main, NULL), 0);
    GC_BLOCKING
    {
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
    }
    gc_stats_read(NULL, &stats);
    cr_assert_geq(stats.num_gc, 3 * 20);
    cr_assert_eq(length(shared), 100);
    gc_root_remove(&shared);
    stop(); /* nobody is attached any more */
}

static void *
ends_in_a_callback(void *kind)
{
    static _Thread_local gc_callback cb;

    T_OK(gc_callback_enter(NULL, &cb));
    GC_KEEP_ALIVE(chain(10));
    if (kind != NULL)
        pthread_exit(NULL);
    return NULL;
}

TEST(a_foreign_thread_may_end_in_its_callback)
{
    start();
    the_heap = gc_thread_heap();
    for (intptr_t i = 0; i < 2; i++) {
        pthread_t thread;

        cr_assert_eq(pthread_create(&thread, NULL, ends_in_a_callback, (void *)i), 0);
        GC_BLOCKING { pthread_join(thread, NULL); }
    }
    gc_collect(NULL);
    stop();
}

/*
 * The region's own pointers are in registers that foreign code saves and restores; what the
 * callback leaves on the stack is overwritten.  Three cycles, one at each stage.
 */
static __attribute__((noinline)) void
foreign_code(int depth)
{
    volatile char frame[600];

    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 0x55;
    if (depth > 0)
        foreign_code(depth - 1);
    else
        callback(1);
    cr_assert_eq(frame[300], 0x55);
}

/* ---- ends ---- */

static pthread_key_t early; /* made before the heap's own: its destructor comes first */

static __attribute__((noinline)) void
overwrite_stack(int depth)
{
    volatile char frame[600];

    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 0x55;
    if (depth > 0)
        overwrite_stack(depth - 1);
    cr_assert_eq(frame[300], 0x55);
}

static void
collects_at_its_end(void *arg)
{
    (void)arg;
    overwrite_stack(20);
    gc_collect(NULL);
}

static __attribute__((noinline)) void
ends_below_a_frame(void)
{
    struct pair *held = chain(3);
    GC_FRAME(held);

    pthread_exit(NULL); /* C code, which is not unwound: nobody leaves the frame */
}

static void *
attached_main(void *arg)
{
    T_OK(gc_thread_attach(the_heap));
    cr_assert_eq(pthread_setspecific(early, &early), 0);
    ends_below_a_frame();
    return arg;
}

TEST(a_thread_may_end_below_a_frame_and_collect_in_a_destructor)
{
    pthread_t thread;

    cr_assert_eq(pthread_key_create(&early, collects_at_its_end), 0);
    start();
    the_heap = gc_thread_heap();
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, attached_main, NULL), 0);
        GC_BLOCKING { pthread_join(thread, NULL); }
    }
    gc_collect(NULL);
    stop();
}

static void *
collect_main(void *heap)
{
    for (int i = 0; i < 3; i++)
        gc_collect(heap);
    return NULL;
}

static void
collect_elsewhere(void)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, collect_main, the_heap), 0);
    pthread_join(thread, NULL);
}

TEST(a_region_goes_on_after_a_callback_with_its_own_roots)
{
    struct pair *mine;

    start();
    the_heap = gc_thread_heap();
    T_OK(gc_root_add(&shared, sizeof shared));
    mine = chain(50);
    gc_block_enter();
    gc_block_enter();
    foreign_code(3);
    collect_elsewhere(); /* this thread must be outside, or nobody answers but by signal */
    foreign_code(5);
    collect_elsewhere();
    gc_block_leave();
    gc_block_leave();
    cr_assert_eq(length(mine), 50);
    GC_KEEP_ALIVE(chain(10));
    gc_root_remove(&shared);
    stop();
}

TEST(callbacks_work_in_precise_and_stopped_heaps)
{
    for (int i = 0; i < 2; i++) {
        gc_options opt;
        gc_callback outer, inner;

        gc_options_default(&opt);
        opt.precise_stacks = i == 0;
        opt.mode = i == 0 ? GC_MODE_CONCURRENT : GC_MODE_STW;
        T_OK(gc_init(&opt));
        gc_block_enter();
        T_OK(gc_callback_enter(NULL, &outer));
        T_OK(gc_callback_enter(gc_thread_heap(), &inner));
        gc_collect(NULL);
        cr_assert_not_null(gc_alloc(&pair_type));
        gc_callback_leave(&inner);
        gc_callback_leave(&outer);
        collect_elsewhere();
        gc_block_leave();
        gc_shutdown();
    }
}

TEST(a_callback_of_another_heap_or_of_none_is_refused)
{
    gc_options opt;
    gc_heap *other;
    gc_callback cb;

    cr_assert_eq(gc_callback_enter(NULL, &cb), GC_ERR_INVAL);
    start();
    gc_options_default(&opt);
    T_OK(gc_heap_create(&opt, &other));
    cr_assert_eq(gc_callback_enter(other, &cb), GC_ERR_ATTACHED);
    cr_assert_eq(gc_callback_enter(NULL, NULL), GC_ERR_INVAL);
    T_OK(gc_heap_destroy(other));
    stop();
}

static void
leaves_twice(void *unused)
{
    gc_callback cb;

    (void)unused;
    start();
    T_OK(gc_callback_enter(NULL, &cb));
    gc_callback_leave(&cb);
    gc_callback_leave(&cb);
}

static void
leaves_from_a_region(void *unused)
{
    gc_callback cb;

    (void)unused;
    start();
    T_OK(gc_callback_enter(NULL, &cb));
    gc_block_enter();
    gc_callback_leave(&cb);
}

static void
leaves_when_detached(void *unused)
{
    gc_callback cb;

    (void)unused;
    start();
    T_OK(gc_callback_enter(NULL, &cb));
    gc_thread_detach();
    gc_callback_leave(&cb);
}

TEST(brackets_that_are_left_wrongly_are_named)
{
    expect_fatal(leaves_twice, NULL, "gc_callback_leave");
    expect_fatal(leaves_from_a_region, NULL, "gc_callback_leave");
    expect_fatal(leaves_when_detached, NULL, "gc_callback_leave");
}

/* ---- longjmp ---- */

static jmp_buf jump;

static __attribute__((noinline)) void
jump_out_of_regions(void)
{
    gc_block_enter();
    gc_block_enter();
    longjmp(jump, 1);
}

TEST(a_region_that_longjmp_left_is_ended_where_it_landed)
{
    struct pair *p;
    volatile int rounds = 0;

    start();
    p = chain(20);
    if (setjmp(jump) != 0) {
        gc_block_leave();
        gc_block_leave();
    }
    gc_collect(NULL);
    if (rounds < 5) {
        rounds = rounds + 1;
        jump_out_of_regions();
    }
    cr_assert_eq(length(p), 20);
    GC_KEEP_ALIVE(chain(20));
    stop();
}

static void
allocates_after_longjmp(void *unused)
{
    (void)unused;
    start();
    if (setjmp(jump) == 0)
        jump_out_of_regions();
    GC_KEEP_ALIVE(chain(1));
}

TEST(a_region_that_longjmp_left_is_named)
{
    expect_fatal(allocates_after_longjmp, NULL, "blocking region");
}

/* ---- libraries that come and go ---- */

struct plugin {
    void *object;
    int (*start)(void);
    void (*stop)(void), (*add)(long);
    long (*sum)(void);
};

static void *
symbol(void *library, const char *name)
{
    void *p = dlsym(library, name);

    cr_assert_not_null(p, "%s", name);
    return p;
}

static struct plugin
load(const char *path)
{
    struct plugin p = { .object = dlopen(path, RTLD_NOW | RTLD_LOCAL) };

    cr_assert_not_null(p.object, "%s", dlerror());
    *(void **)&p.start = symbol(p.object, "plugin_start");
    *(void **)&p.stop = symbol(p.object, "plugin_stop");
    *(void **)&p.add = symbol(p.object, "plugin_add");
    *(void **)&p.sum = symbol(p.object, "plugin_sum");
    return p;
}

/* The order that docs/process.md asks for: roots, then objects, then the library. */
TEST(a_library_with_types_and_roots_is_unloaded)
{
    for (int i = 0; i < 3; i++) {
        struct plugin p;

        start();
        p = load(PLUGIN_ONE);
        cr_assert_eq(p.start(), GC_OK);
        for (long k = 1; k <= 1000; k++)
            p.add(k);
        gc_collect(NULL);
        cr_assert_eq(p.sum(), 1000 * 1001 / 2);
        p.stop();
        stop(); /* the heap ends, and with it the use of the types */
        cr_assert_eq(dlclose(p.object), 0);
    }
}

static void
unloads_with_a_root(void *unused)
{
    struct plugin p;

    (void)unused;
    start();
    p = load(PLUGIN_ONE);
    if (p.start() != GC_OK)
        _exit(1);
    gc_collect(NULL); /* its threads and memory shall not come to where the library was */
    if (dlclose(p.object) != 0)
        _exit(1);
    gc_collect(NULL);
}

TEST(a_root_that_was_unloaded_is_named)
{
    expect_fatal(unloads_with_a_root, NULL, "gc_root_remove");
}

static gc_type changing; /* what lies where a library was, and now another one is */

static void *
alloc_changed(void *unused)
{
    GC_KEEP_ALIVE(gc_alloc(&changing));
    return unused;
}

static void
changes_a_type(void *unused)
{
    pthread_t thread;

    start();
    memcpy(&changing, &pair_type, sizeof changing);
    (void)alloc_changed(unused);
    memcpy(&changing, &odd_type, sizeof changing);
    T_OK(gc_pthread_create(&thread, NULL, alloc_changed, NULL));
    GC_BLOCKING { pthread_join(thread, NULL); }
}

TEST(a_type_that_became_another_is_named)
{
    expect_fatal(changes_a_type, NULL, "was another type before");
}

/* ---- the end ---- */

static void
allocate_at_exit(void)
{
    if (length(chain(1000)) != 1000)
        _exit(5);
    gc_collect(NULL);
    gc_shutdown();
    if (gc_thread_heap() != NULL)
        _exit(6);
}

static void
exits_with_a_handler(void *unused)
{
    (void)unused;
    start();
    if (atexit(allocate_at_exit) != 0)
        _exit(4);
    exit(7);
}

static void
allocates_after_shutdown(void *unused)
{
    (void)unused;
    start();
    gc_shutdown();
    gc_shutdown(); /* no more than once counts */
    (void)allocate_at_exit();
}

TEST(handlers_of_atexit_may_use_the_heap_until_its_shutdown)
{
    expect_exit(exits_with_a_handler, NULL, 7);
    expect_fatal(allocates_after_shutdown, NULL, "not attached");
}

static void *
churn(void *unused)
{
    for (;;)
        GC_KEEP_ALIVE(chain(1000));
    return unused;
}

void __lsan_disable(void) __attribute__((weak));

/* Without gc_shutdown (LeakSanitizer would name the heap's books), while threads allocate. */
static void
exits_under_load(void *unused)
{
    pthread_t threads[3];

    (void)unused;
    if (__lsan_disable != NULL)
        __lsan_disable();
    start();
    for (int i = 0; i < 3; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, churn, NULL));
    gc_collect(NULL);
    t_sleep_us(5000);
    exit(8);
}

TEST(exit_under_load_needs_no_shutdown)
{
    for (int i = 0; i < 10; i++)
        expect_exit(exits_under_load, NULL, 8);
}

static void
shuts_down_under_load(void *unused)
{
    pthread_t thread;

    (void)unused;
    start();
    T_OK(gc_pthread_create(&thread, NULL, churn, NULL));
    gc_shutdown();
}

TEST(a_shutdown_with_threads_attached_is_named)
{
    expect_fatal(shuts_down_under_load, NULL, "gc_shutdown");
}

/* ---- out of memory ---- */

struct pressure {
    gc_heap *heap; /* who asked */
    int asked, give; /* how often it may say yes */
};

static int
on_oom(gc_heap *heap, size_t bytes, void *arg)
{
    struct pressure *p = arg;

    cr_assert(bytes >= (size_t)1 << 30);
    p->heap = heap;
    p->asked++;
    return p->give-- > 0;
}

/* Each heap has its own handler; NULL comes after it has given up. */
TEST(out_of_memory_is_each_heaps_own)
{
    struct pressure press[2] = { { .give = 3 }, { .give = 0 } };
    gc_heap *heap[2];

    for (int i = 0; i < 2; i++) {
        gc_options opt;

        gc_options_default(&opt);
        opt.reserve = (size_t)1 << 28;
        opt.oom = on_oom;
        opt.oom_arg = &press[i];
        T_OK(gc_heap_create(&opt, &heap[i]));
        T_OK(gc_thread_attach(heap[i]));
        cr_assert_null(gc_try_alloc_bytes((size_t)1 << 30));
        cr_assert_null(gc_try_alloc_array(&pair_type, (size_t)1 << 27));
        cr_assert_not_null(gc_try_alloc(&pair_type));
        gc_thread_detach();
    }
    cr_assert(press[0].heap == heap[0] && press[0].asked == 3 + 2);
    cr_assert(press[1].heap == heap[1] && press[1].asked == 2);
    for (int i = 0; i < 2; i++)
        T_OK(gc_heap_destroy(heap[i]));
}
