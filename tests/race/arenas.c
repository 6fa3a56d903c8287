/* SPDX-License-Identifier: MIT */
/*
 * Purpose: arenas that threads fill, hand to each other and free while cycles run, against an
 * exact count of what they must hold.  Each object of an arena is the only holder of a node of
 * the heap; whoever gets the arena checks every node, and takes some of them with him when the
 * arena ends.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: four threads and a collector; an arena and its list travel through slots, which
 * are a registered root, by exchange.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>

struct node {
    struct node *next;
    uint64_t key;
};

/* In an arena: its node is on the heap. */
struct link {
    struct link *next;
    struct node *node;
    uint64_t key;
};

/* What travels: on the heap. */
struct parcel {
    gc_arena *arena;
    struct link *first;
    struct node *saved; /* of arenas that have ended */
    uint64_t n;
};

GC_TYPE(node_type, struct node, next);
GC_TYPE(link_type, struct link, next, node);
GC_TYPE(parcel_type, struct parcel, arena, first, saved);

#define SLOTS   3
#define THREADS 4
#define LINKS   400

static struct parcel *slots[SLOTS];
static int stopping;
static uint64_t ended, checked;

static struct node *
node_new(uint64_t key)
{
    struct node *node = gc_alloc(&node_type);

    node->key = key;
    return node;
}

/* Fresh objects, plain stores: the node's only holder is the link. */
static void
fill(struct parcel *p, uint64_t *rng)
{
    for (uint64_t i = t_below(rng, 100); i > 0; i--) {
        struct node *node = node_new(t_rand(rng));
        GC_FRAME(node);
        struct link *link = gc_arena_alloc(p->arena, &link_type);

        link->key = node->key;
        link->node = node;
        link->next = p->first;
        t_store((void **)&p->first, link);
        p->n++;
        if (t_below(rng, 50) == 0)
            GC_KEEP_ALIVE(gc_arena_alloc_bytes(p->arena, t_below(rng, 30000)));
    }
}

static void
check(const struct parcel *p)
{
    uint64_t n = 0;

    for (const struct link *l = p->first; l != NULL; l = l->next, n++)
        T_CHECK(l->node->key == l->key, "a link's node has 0x%llx, not 0x%llx",
                (unsigned long long)l->node->key, (unsigned long long)l->key);
    T_CHECK(n == p->n, "an arena has %llu objects, not %llu", (unsigned long long)n,
            (unsigned long long)p->n);
    n = 0;
    for (const struct node *s = p->saved; s != NULL; s = s->next, n++)
        T_CHECK((s->key & 1) == 1 && n < 1000, "a saved node has 0x%llx",
                (unsigned long long)s->key);
}

/* Some nodes are loaded out of the arena, and are ours alone when it has ended. */
static void
end(struct parcel *p)
{
    struct node *saved = NULL;
    unsigned n = 0;
    GC_FRAME(saved);

    for (struct link *l = p->first; l != NULL && n < 20; l = l->next, n++)
        if (l->key & 1) {
            t_store((void **)&l->node->next, saved);
            saved = l->node;
        }
    t_store((void **)&p->first, NULL);
    p->n = 0;
    gc_arena_free(p->arena);
    t_store((void **)&p->arena, gc_arena_new("parcel"));
    t_store((void **)&p->saved, saved);
    __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
}

static struct parcel *
parcel_new(void)
{
    struct parcel *p = gc_alloc(&parcel_type);
    GC_FRAME(p);

    t_store((void **)&p->arena, gc_arena_new("parcel"));
    return p;
}

static void *
thread_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg;
    struct parcel *p = NULL;
    GC_FRAME(p);

    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        p = gc_exchange(&slots[t_below(&rng, SLOTS)], p);
        if (p == NULL)
            p = parcel_new();
        check(p);
        fill(p, &rng);
        if (p->n > LINKS || t_below(&rng, 8) == 0)
            end(p);
        __atomic_fetch_add(&checked, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    gc_options opt;

    t_start("arenas", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    opt.debug_arena = t_arg("arena", 0) != 0;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(slots, sizeof slots));
    for (size_t i = 0; i < THREADS; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, thread_main, t_thread_seed(i)));
    t_collect_until_over(&stopping);
    t_join(threads, THREADS);
    t_verify(NULL);
    T_CHECK(ended > 0 && checked > 0, "nothing happened");
    t_note("checked=%llu ended=%llu cycles=%llu", (unsigned long long)checked,
            (unsigned long long)ended, (unsigned long long)t_cycles(NULL));
    gc_root_remove(slots);
    gc_shutdown();
    return 0;
}
