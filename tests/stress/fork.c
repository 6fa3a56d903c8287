/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a thread forks again and again, at moments chosen by chance and in the middle of
 * every step of a cycle, while others allocate, store, attach, detach, use handles, collect,
 * make and destroy heaps.  In each child both heaps are whole: the objects are there, all
 * that a heap can do works, what only the other threads held is gone, and no P, work
 * buffer, record or mark is left over.  The parent goes on.
 *
 * How: the main thread forks, in turn attached, attached in a blocking region, and detached.
 * It waits for a moment of the wanted kind and forks; where the cycle really stood is read
 * by a fork handler of this program, which was registered before gcrt's and so runs after it.
 * Attempts go on until each kind has been met, at most ATTEMPTS times as many as asked for.
 *
 * Place: internal, for the phases and for what must not leak.  Not for ThreadSanitizer, whose
 * runtime does not start threads in the child of a process with threads.  AddressSanitizer's
 * runtime (before LLVM 18) forks with its allocator's locks as they are, so with it no
 * other thread calls malloc while one forks: none comes, goes or makes a heap.
 *
 * Arguments: forks=60 and what t_options reads.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include "gc/barrier.h"
#include "gc/heap.h"
#include "gc/mutator.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
# define MALLOC_FORKS 0
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define MALLOC_FORKS 0
# endif
#endif
#if !defined(MALLOC_FORKS)
# define MALLOC_FORKS 1
#endif

#define WRITERS  3
#define TREES    240 /* of all writers */
#define DEPTH    5
#define NODES    ((1 << DEPTH) - 1)
#define PRIVATE  5000 /* links that only a writer's stack holds */
#define HANDLES  16
#define ATTEMPTS 40
#define POLLS    20000

struct node {
    struct node *left, *right;
    uint64_t tree, check; /* check == t_mix(tree) */
};

GC_TYPE(node_type, struct node, left, right);

/*
 * In spans of its own, which it does not fill to the end: a root that points just behind an
 * object keeps that one alive too.
 */
struct link {
    struct link *next;
    uint64_t number, spare[4];
};

GC_TYPE(link_type, struct link, next);

/* One heap and what its threads share. */
struct world {
    gc_heap *heap;
    struct node *table[TREES]; /* registered; each entry is NULL or a whole tree */
    gc_handle *handle[HANDLES];
    struct node *fixed[HANDLES]; /* registered; they stay */
};

/*
 * Moments of a cycle: while threads have not answered a handshake, which one; else the phase.
 * Nobody aims at STARTING and ENDING, which are what lies between handshakes.
 */
enum spot { IDLE, STARTING, MARKING, ENDING, SWEEPING, IN_H1, IN_H6 = IN_H1 + 5, SPOTS };

static struct world worlds[2];
static int stopping;
static int ready; /* atomic: threads that have attached and will stay */
static int waiting; /* a child runs: writers leave it some CPU */
static int wanted = SPOTS; /* atomic: enum spot; where the next fork shall happen */
static pthread_t threads[32];
static size_t nthreads;

/* What stood where when the memory was copied. */
static struct {
    enum spot spot;
    enum marks marks;
} at_fork;

static uint64_t hits[SPOTS], marks_hits[3], modes[3], grandchildren;

/* ---- where the cycle stands ---- */

static enum spot
spot_of(const struct gc_heap *heap)
{
    unsigned action = heap->handshake.action;

    if (ahalf_load_acquire(&heap->handshake.pending) != 0 && action >= ACTION_BARRIER_ON
            && action <= ACTION_FLUSH_CACHE)
        return IN_H1 + (action - ACTION_BARRIER_ON);
    return (enum spot)ahalf_load_acquire(&heap->cycles.phase);
}

/* Also, as if another thread were in the last lines of its detaching. */
static void
look_at_fork(void)
{
    struct gc_heap *heap = worlds[0].heap;

    if (heap == NULL)
        return;
    at_fork.spot = spot_of(heap);
    at_fork.marks = ahalf_load_acquire(&heap->cycles.marks);
    ahalf_add_full(&heap->registry.leaving, 1);
}

static void
go_on_after_fork(void)
{
    if (worlds[0].heap != NULL)
        ahalf_add_full(&worlds[0].heap->registry.leaving, (unsigned)-1);
}

/* Before the library's own constructor, so that the handler runs after the library's. */
static void __attribute__((constructor(101)))
register_look(void)
{
    (void)pthread_atfork(look_at_fork, go_on_after_fork, NULL);
}

/* ---- trees ---- */

static struct node *
tree_new(uint64_t tree, int depth)
{
    struct node *node = gc_alloc(&node_type);

    node->tree = tree;
    node->check = t_mix(tree);
    if (depth > 1) {
        gc_write(&node->left, tree_new(tree, depth - 1));
        gc_write(&node->right, tree_new(tree, depth - 1));
    }
    return node;
}

static size_t
tree_check(const struct node *node)
{
    if (node == NULL)
        return 0;
    T_CHECK(node->check == t_mix(node->tree), "a node of tree %llx holds %llx",
            (unsigned long long)node->tree, (unsigned long long)node->check);
    return 1 + tree_check(node->left) + tree_check(node->right);
}

/* Nodes in the table; at most this many, because subtrees may be in two trees. */
static size_t
table_check(const struct world *w)
{
    size_t n = 0;

    for (size_t i = 0; i < TREES; i++) {
        const struct node *tree = __atomic_load_n(&w->table[i], __ATOMIC_ACQUIRE);
        size_t nodes = tree_check(tree);

        T_CHECK(tree == NULL || nodes == NODES, "tree %zu has %zu nodes", i, nodes);
        n += nodes;
    }
    for (size_t i = 0; i < HANDLES; i++)
        T_CHECK(tree_check(gc_handle_get(w->handle[i])) == 1, "handle %zu", i);
    return n;
}

/* Puts a new tree into the table, or exchanges two subtrees. */
static void
table_change(struct world *w, size_t first, size_t n, uint64_t *rng)
{
    size_t i = first + t_below(rng, n), j = first + t_below(rng, n);
    struct node *left;

    if (t_below(rng, 2) || w->table[i] == NULL || w->table[j] == NULL) {
        gc_write_release(&w->table[i], tree_new(t_rand(rng), DEPTH));
        return;
    }
    left = w->table[i]->left;
    gc_write(&w->table[i]->left, w->table[j]->right);
    gc_write(&w->table[j]->right, left);
}

/* ---- other threads ---- */

static bool
is_over(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_ACQUIRE) != 0;
}

static struct link *
list_new(size_t n)
{
    struct link *list = NULL;

    for (size_t i = 0; i < n; i++) {
        struct link *link = gc_alloc(&link_type);

        link->number = i;
        link->next = list;
        list = link;
    }
    return list;
}

static size_t
list_check(const struct link *list)
{
    size_t n = 0;

    for (; list != NULL; list = list->next, n++)
        T_CHECK(list->number == PRIVATE - 1 - n, "a link holds %llu",
                (unsigned long long)list->number);
    return n;
}

/* Writer i works on its part of the table; nothing but its stack holds its list. */
static void *
writer_main(void *arg)
{
    size_t i = (size_t)(uintptr_t)arg;
    struct world *w = &worlds[i == WRITERS];
    size_t n = i == WRITERS ? TREES : TREES / WRITERS;
    size_t first = i == WRITERS ? 0 : i * n;
    uint64_t rng = t_seed() + i;
    struct node *cell[2] = { NULL, NULL };
    struct link *list;

    T_OK(gc_thread_attach(w->heap));
    T_OK(gc_root_add(cell, sizeof cell)); /* a range that goes with its thread */
    list = list_new(PRIVATE);
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    while (!is_over()) {
        if (__atomic_load_n(&waiting, __ATOMIC_RELAXED))
            t_sleep_us(1000);
        table_change(w, first, n, &rng);
        gc_write(&cell[t_below(&rng, 2)], w->table[first]);
        if (t_below(&rng, 64) == 0)
            GC_BLOCKING { t_sleep_us(200); }
        if (t_below(&rng, 256) == 0)
            GC_KEEP_ALIVE(gc_alloc_bytes(40000 + t_below(&rng, 400000)));
        if (t_below(&rng, 256) == 0)
            gc_write_release(&w->table[first], tree_new(t_rand(&rng), DEPTH));
    }
    T_CHECK(list_check(list) == PRIVATE, "a list on a stack has lost nodes");
    gc_root_remove(cell);
    gc_thread_detach();
    return NULL;
}

/* Blocks all signals, and does not answer the handshake in which the next fork shall happen. */
static void *
slow_main(void *arg)
{
    sigset_t all;

    (void)arg;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    T_OK(gc_thread_attach(worlds[0].heap));
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    while (!is_over()) {
        enum spot spot = spot_of(worlds[0].heap);

        if (spot < IN_H1 || spot != (enum spot)__atomic_load_n(&wanted, __ATOMIC_ACQUIRE))
            gc_safepoint();
        t_sleep_us(50);
    }
    gc_thread_detach();
    return NULL;
}

static void *
visitor_main(void *arg)
{
    struct world *w = &worlds[0];
    uint64_t rng = t_seed() ^ 1;

    (void)arg;
    while (!is_over()) {
        T_OK(gc_thread_attach(w->heap));
        GC_KEEP_ALIVE(tree_new(1, 3));
        gc_handle_set(w->handle[t_below(&rng, HANDLES)], tree_new(t_rand(&rng), 1));
        gc_handle_free(gc_handle_new(tree_new(1, 1)));
        gc_thread_detach();
        t_sleep_us(100);
    }
    return NULL;
}

/*
 * Detached: takes the registry's and the roots' locks.  Nothing keeps what it holds alive, so it
 * stores only what stays: what a handle gives it may be dead before it is stored.
 */
static void *
outsider_main(void *arg)
{
    struct world *w = &worlds[0];
    uint64_t rng = t_seed() ^ 2;

    (void)arg;
    while (!is_over()) {
        GC_KEEP_ALIVE(gc_handle_get(w->handle[t_below(&rng, HANDLES)]));
        gc_handle_set(w->handle[t_below(&rng, HANDLES)], w->fixed[t_below(&rng, HANDLES)]);
        (void)t_heap_objects(w->heap);
        (void)sched_yield();
    }
    return NULL;
}

static void *
collector_main(void *arg)
{
    struct world *w = arg;

    while (!is_over()) {
        gc_collect(w->heap);
        t_sleep_us(1500);
    }
    return NULL;
}

static void
use_new_heap(void)
{
    gc_options opt;
    gc_heap *heap;

    t_options(&opt);
    opt.reserve = (size_t)64 << 20;
    T_OK(gc_heap_create(&opt, &heap));
    T_OK(gc_thread_attach(heap));
    T_CHECK(tree_check(tree_new(7, 6)) == 63, "a tree in a new heap");
    gc_collect(NULL);
    gc_thread_detach();
    T_OK(gc_heap_destroy(heap));
}

static void *
founder_main(void *arg)
{
    (void)arg;
    while (!is_over()) {
        use_new_heap();
        t_sleep_us(500);
    }
    return NULL;
}

static void
start(void *(*run)(void *), void *arg)
{
    T_CHECK(pthread_create(&threads[nthreads++], NULL, run, arg) == 0, "pthread_create");
}

/* ---- in the child ---- */

/* Nobody is attached: every P is idle, and no record of a lost thread is left. */
static void
check_threads_left(struct gc_heap *heap)
{
    for (const struct p *p = heap->ps.all; p != NULL; p = p->next_all)
        T_CHECK(p->held == 0, "a P is still held by process %u (we are %u)", p->held,
                heap->ps.generation);
    T_CHECK(heap->registry.count == 0, "%u threads are attached", heap->registry.count);
    T_CHECK(cds_list_empty(&heap->registry.orphans), "records of lost threads");
}

static size_t
buffers_on(const struct work *w, const struct workstack *stack)
{
    size_t n = 0;

    for (unsigned i = (unsigned)aword_load_acquire(&stack->top); i != 0; n++)
        i = ahalf_load_relaxed(&w->pool[i].next);
    return n;
}

/* Between cycles, nobody marking: every work buffer is free. */
static void
check_buffers(struct gc_heap *heap)
{
    const struct work *w = &heap->work;
    size_t used = (size_t)aword_load_acquire(&w->used) - 1, idle = buffers_on(w, &w->free);

    T_CHECK(idle == used, "%zu of %zu work buffers are free", idle, used);
}

static void
check_metrics(gc_heap *heap)
{
    gc_stats stats;

    gc_stats_read(heap, &stats);
    T_CHECK(stats.mallocs >= stats.frees && stats.sys >= stats.heap_inuse, "statistics");
    T_CHECK(stats.gc_cpu_fraction >= 0 && stats.gc_cpu_fraction <= 1, "gc_cpu_fraction is %g",
            stats.gc_cpu_fraction);
}

/*
 * Two collections; what is left is what the table and the handles hold, and little else.  The
 * caller is detached: its stack may have words from when it helped to mark.
 */
static void
check_collected(struct world *w)
{
    size_t nodes, objects;

    t_collect_twice(w->heap);
    nodes = table_check(w) + HANDLES;
    objects = (size_t)t_heap_objects(w->heap);
    T_CHECK(objects <= nodes + 1000, "%zu objects, %zu of them known: lost threads hold some",
            objects, nodes);
    T_CHECK(objects + 32 * (size_t)TREES >= nodes, "%zu objects of %zu", objects, nodes);
    check_threads_left(w->heap);
    check_buffers(w->heap);
    check_metrics(w->heap);
    t_verify(w->heap);
}

/* The heap's own pacer must start cycles: nobody asks for one. */
static void
check_pacer(struct world *w)
{
    uint64_t cycles = t_cycles(w->heap), rng = 5;

    while (t_cycles(w->heap) < cycles + 2)
        table_change(w, 0, TREES, &rng);
}

static void *
guest_main(void *arg)
{
    struct world *w = arg;
    uint64_t rng = 3;

    T_OK(gc_thread_attach(w->heap));
    for (int i = 0; i < 300; i++)
        table_change(w, 0, TREES, &rng);
    (void)table_check(w);
    return NULL; /* attached: the thread's end detaches it */
}

static void
use_from_new_thread(struct world *w)
{
    pthread_t thread;

    T_CHECK(pthread_create(&thread, NULL, guest_main, w) == 0, "pthread_create in a child");
    GC_BLOCKING { (void)pthread_join(thread, NULL); }
}

/* own: what the calling thread's stack alone holds, or NULL. */
static void
use_heaps(unsigned dice, const struct link *own)
{
    (void)table_check(&worlds[0]);
    if (dice % 2)
        use_from_new_thread(&worlds[0]);
    if (dice % 3 == 0)
        check_pacer(&worlds[0]);
    if (dice % 5 == 0)
        t_verify(worlds[0].heap);
    gc_collect(NULL);
    (void)table_check(&worlds[0]);
    T_CHECK(own == NULL || list_check(own) == PRIVATE, "the forking thread's list");
    use_from_new_thread(&worlds[1]);
    gc_thread_detach();
    check_collected(&worlds[0]);
    check_collected(&worlds[1]);
    use_new_heap();
    T_OK(gc_heap_destroy(worlds[1].heap));
    gc_shutdown();
    T_CHECK(t_proc_threads() == 1, "%zu threads after gc_shutdown", t_proc_threads());
}

static void
await_child(pid_t pid)
{
    int status;

    T_CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
    T_CHECK(status == 0, "a child ended with status %#x (marks %d, spot %d)",
            (unsigned)status, (int)at_fork.marks, (int)at_fork.spot);
}

static void
arrive(void)
{
    const struct gcrt_mutator *m = gc_impl_self.mutator;
    const struct gc_heap *heap = worlds[0].heap;

    t_hang_after(120);
    T_CHECK(t_proc_threads() == 1, "a fork starts no thread");
    T_CHECK(!ahalf_load_acquire(&heap->marking.open) && heap->registry.barrier == 0
                    && !heap->registry.black, "a cycle goes on without a collector");
    T_CHECK(barrier_state(&gc_impl_self) == BARRIER_OFF && gc_impl_self.poll == 0,
            "barrier %u, poll %u", gc_impl_self.barrier, gc_impl_self.poll);
    T_CHECK(m == NULL || (m->tid == gettid() && !m->p->cache.black && m->nbarrier == 0),
            "the thread's record is the parent's");
    T_CHECK(m == NULL || ahalf_load_acquire(&m->request) == ahalf_load_acquire(&m->answered),
            "a handshake of the parent's is still to be answered");
}

static _Noreturn void
use_and_exit(unsigned dice, const struct link *own)
{
    if (gc_thread_heap() == NULL)
        T_OK(gc_thread_attach(NULL));
    use_heaps(dice, own);
    _exit(0);
}

/* Every fourth forks once more, before or after it has used its heaps' threads. */
static _Noreturn void
child_main(unsigned dice, const struct link *own)
{
    pid_t pid;

    arrive();
    if (dice % 4 != 0)
        use_and_exit(dice, own);
    if (dice % 8 == 0 && gc_thread_heap() != NULL)
        use_from_new_thread(&worlds[0]);
    pid = fork();
    if (pid == 0) {
        arrive();
        use_and_exit(dice / 4, own);
    }
    T_CHECK(pid > 0, "fork in a child");
    await_child(pid);
    use_and_exit(dice / 8, own);
}

/* ---- the thread that forks ---- */

static void
await_spot(enum spot spot)
{
    for (int i = 0; i < POLLS && spot_of(worlds[0].heap) != spot; i++) {
        gc_safepoint();
        (void)sched_yield();
    }
}

/* With signals blocked, so that it has often not answered the handshake itself. */
static pid_t
fork_inside(enum spot spot)
{
    sigset_t all, saved;
    pid_t pid;

    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &saved);
    await_spot(spot);
    pid = fork();
    (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);
    return pid;
}

static pid_t
fork_blocked(enum spot spot)
{
    pid_t pid;

    gc_block_enter();
    await_spot(spot);
    pid = fork();
    gc_block_leave();
    return pid;
}

static pid_t
fork_detached(enum spot spot)
{
    pid_t pid;

    gc_thread_detach();
    await_spot(spot);
    pid = fork();
    if (pid != 0)
        T_OK(gc_thread_attach(NULL));
    return pid;
}

static void
fork_once(enum spot spot, unsigned mode, uint64_t *rng)
{
    static pid_t (*const ways[])(enum spot) = { fork_inside, fork_blocked, fork_detached };
    unsigned dice = (unsigned)t_below(rng, 1 << 20);
    struct link *own = ways[mode] == fork_detached ? NULL : list_new(PRIVATE);
    pid_t pid;

    for (int i = 0; i < 100; i++) /* so that there is something in the P and the buffers */
        table_change(&worlds[0], 0, TREES, rng);
    __atomic_store_n(&wanted, (int)spot, __ATOMIC_RELEASE);
    pid = ways[mode](spot);
    __atomic_store_n(&wanted, SPOTS, __ATOMIC_RELEASE);

    if (pid == 0)
        child_main(dice, own);
    T_CHECK(pid > 0, "fork");
    hits[at_fork.spot]++;
    marks_hits[at_fork.marks]++;
    modes[mode]++;
    grandchildren += dice % 4 == 0;
    __atomic_store_n(&waiting, 1, __ATOMIC_RELAXED);
    GC_BLOCKING { await_child(pid); }
    __atomic_store_n(&waiting, 0, __ATOMIC_RELAXED);
    T_CHECK(own == NULL || list_check(own) == PRIVATE, "the parent's list");
}

/* No fork comes while a cycle holds everybody, and without barriers there is no other moment. */
static bool
is_aimed_at(enum spot spot)
{
    if (t_arg("stw", 0))
        return spot == IDLE || spot == SWEEPING || spot == IN_H6;
    return spot != STARTING && spot != ENDING;
}

static enum spot
rarest_spot(void)
{
    enum spot rarest = IDLE;

    for (enum spot s = IDLE; s < SPOTS; s++)
        if (is_aimed_at(s) && hits[s] < hits[rarest])
            rarest = s;
    return rarest;
}

static void
fork_often(uint64_t forks)
{
    uint64_t rng = t_seed() ^ 3, n;
    enum spot spot;

    for (n = 0; n < forks || hits[rarest_spot()] == 0; n++) {
        T_CHECK(n < forks * ATTEMPTS, "%llu forks never met spot %d", (unsigned long long)n,
                (int)rarest_spot());
        spot = (enum spot)t_below(&rng, SPOTS);
        if (n % 4 != 3 || (t_arg("stw", 0) && !is_aimed_at(spot)))
            spot = rarest_spot();
        fork_once(spot, (unsigned)(n % 3), &rng);
    }
}

/* ---- main ---- */

static void
make_world(struct world *w, const gc_options *opt)
{
    if (w == &worlds[0]) {
        T_OK(gc_init(opt));
        w->heap = gc_thread_heap();
    } else {
        T_OK(gc_heap_create(opt, &w->heap));
        T_OK(gc_thread_attach(w->heap));
    }
    T_OK(gc_root_add(w->table, sizeof w->table));
    T_OK(gc_root_add(w->fixed, sizeof w->fixed));
    for (size_t i = 0; i < HANDLES; i++) {
        gc_write(&w->fixed[i], tree_new(i, 1));
        w->handle[i] = gc_handle_new(tree_new(i, 1));
        T_CHECK(w->handle[i] != NULL, "gc_handle_new");
    }
    for (size_t i = 0; i < TREES; i++)
        gc_write(&w->table[i], tree_new(i, DEPTH));
    gc_thread_detach();
}

static void
start_threads(void)
{
    for (uintptr_t i = 0; i <= WRITERS; i++)
        start(writer_main, (void *)i);
    start(slow_main, NULL);
    start(outsider_main, NULL);
    start(collector_main, &worlds[0]);
    start(collector_main, &worlds[1]);
    if (MALLOC_FORKS) {
        start(visitor_main, NULL);
        start(founder_main, NULL);
    }
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < WRITERS + 2)
        t_sleep_us(1000);
    gc_collect(worlds[0].heap); /* their workers have started */
    gc_collect(worlds[1].heap);
}

static void
report(void)
{
    t_note("forks inside=%llu blocked=%llu detached=%llu, grandchildren=%llu, marks none=%llu "
           "partial=%llu final=%llu", (unsigned long long)modes[0],
            (unsigned long long)modes[1], (unsigned long long)modes[2],
            (unsigned long long)grandchildren, (unsigned long long)marks_hits[MARKS_NONE],
            (unsigned long long)marks_hits[MARKS_PARTIAL],
            (unsigned long long)marks_hits[MARKS_FINAL]);
    t_note("idle=%llu starting=%llu marking=%llu ending=%llu sweeping=%llu H1=%llu H2=%llu "
           "H3=%llu H4=%llu H5=%llu H6=%llu", (unsigned long long)hits[IDLE],
            (unsigned long long)hits[STARTING], (unsigned long long)hits[MARKING],
            (unsigned long long)hits[ENDING], (unsigned long long)hits[SWEEPING],
            (unsigned long long)hits[IN_H1], (unsigned long long)hits[IN_H1 + 1],
            (unsigned long long)hits[IN_H1 + 2], (unsigned long long)hits[IN_H1 + 3],
            (unsigned long long)hits[IN_H1 + 4], (unsigned long long)hits[IN_H6]);
}

int
main(int argc, char **argv)
{
    gc_options opt;

    t_start("fork", argc, argv);
    t_hang_after(280);
    t_options(&opt);
    make_world(&worlds[1], &opt);
    make_world(&worlds[0], &opt);
    T_OK(gc_thread_attach(NULL));
    start_threads();
    fork_often((uint64_t)t_arg("forks", 60));
    __atomic_store_n(&stopping, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < nthreads; i++)
        GC_BLOCKING { (void)pthread_join(threads[i], NULL); }
    use_heaps(1, NULL);
    report();
    return 0;
}
