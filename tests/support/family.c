/* SPDX-License-Identifier: MIT */
/*
 * Purpose: random operations on a small object graph and on its shadow at the same time,
 * through every store that barrier.h has, with the moves that break wrong barriers: an
 * edge is loaded, cleared in the heap and stored elsewhere later, after noise.
 *
 * Place: tests/stress/oracle.c owns families, keeps their roots in all kinds of places and
 * provides the noise.
 *
 * Invariants: between steps every used node is reachable from the root, and every slot
 * that no edge names is NULL; so an operation may touch any used node.  A node that
 * becomes unreachable is struck from the table and its memory is never touched again.
 *
 * Concurrency: one owner at a time; ownership passes with a lock or a join.
 *
 * Cost: reachability is recomputed after each removal: some 40 nodes, sparse edges.
 */

#include "family.h"

#include <string.h>

/* Makes p opaque: the compiler can no longer derive the pointer from what it came from. */
#define LAUNDER(p) __asm__ volatile("" : "+r"(p))

#define EDGES_MAX 160

static void
edge_add(struct node *node, size_t word, uint32_t target, uint32_t offset)
{
    if (node->nedges == node->room) {
        node->room = node->room ? node->room * 2 : 4;
        node->edges = realloc(node->edges, node->room * sizeof *node->edges);
        T_CHECK(node->edges != NULL, "the shadow is out of memory");
    }
    node->edges[node->nedges++] = (struct edge){ (uint32_t)word, target, offset };
}

static struct edge *
edge_at(struct node *node, size_t word)
{
    for (uint32_t i = 0; i < node->nedges; i++)
        if (node->edges[i].word == word)
            return &node->edges[i];
    return NULL;
}

static void
edges_remove(struct node *node, size_t first, size_t words)
{
    for (uint32_t i = 0; i < node->nedges;) {
        size_t word = node->edges[i].word;

        if (word >= first && word < first + words)
            node->edges[i] = node->edges[--node->nedges];
        else
            i++;
    }
}

static void
node_strike(struct node *node)
{
    free(node->edges);
    memset(node, 0, sizeof *node);
}

/* The nodes that are reachable, so far. */
struct reach {
    struct family *family;
    uint32_t queue[FAMILY_NODES], head, tail;
};

static void
reach_node(struct reach *r, uint32_t at)
{
    struct node *node = &r->family->nodes[at];

    if (!node->seen)
        r->queue[r->tail++] = at;
    node->seen = 1;
}

static void
reach_edges(struct reach *r)
{
    while (r->head < r->tail) {
        const struct node *node = &r->family->nodes[r->queue[r->head++]];

        for (uint32_t i = 0; i < node->nedges; i++)
            reach_node(r, node->edges[i].target);
    }
}

/* Values of reachable ephemerons with reachable keys. */
static void
reach_values(struct reach *r)
{
    struct node *nodes = r->family->nodes;

    for (uint32_t i = 0; i < r->tail; i++) {
        const struct pair *pair = &nodes[r->queue[i]].pair;

        if (nodes[r->queue[i]].kind == NODE_EPHEMERON && pair->key != NODE_NONE
                && pair->value != NODE_NONE && nodes[pair->key].seen)
            reach_node(r, pair->value);
    }
}

static void
strike_rest(struct family *family)
{
    for (uint32_t i = 0; i < FAMILY_NODES; i++) {
        struct node *node = &family->nodes[i];

        if (node->kind == NODE_EPHEMERON && node->pair.key != NODE_NONE
                && !family->nodes[node->pair.key].seen)
            node->pair.key = node->pair.value = NODE_NONE;
    }
    for (uint32_t i = 0; i < FAMILY_NODES; i++)
        if (family->nodes[i].used && !family->nodes[i].seen)
            node_strike(&family->nodes[i]);
}

/* Strikes what the root no longer reaches. */
static void
prune(struct family *family)
{
    struct reach r = { .family = family };

    for (uint32_t i = 0; i < FAMILY_NODES; i++)
        family->nodes[i].seen = 0;
    reach_node(&r, family->root);
    reach_edges(&r);
    for (uint32_t i = 0; i < FAMILY_NODES; i++)
        family->nodes[i].strong = family->nodes[i].seen;
    for (reach_values(&r); r.head < r.tail; reach_values(&r))
        reach_edges(&r);
    strike_rest(family);
    family->nused = r.tail;
}

void *
family_create(struct family *family, struct player *player)
{
    void *root;

    memset(family, 0, sizeof *family);
    root = node_create(&family->nodes[0], player, 1);
    family->nused = 1;
    family->nodes[0].strong = 1;
    return root;
}

void *
family_root(const struct family *family)
{
    return t_reveal(family->nodes[family->root].hidden);
}

/*
 * Not one that only ephemerons lead to: a program would have its address from gc_ephemeron_value,
 * which tells the collector.  We know it without, and nobody else would keep the object alive if
 * the ephemeron got another value next.  step_take goes the program's way.
 */
static uint32_t
any_node(struct family *family, struct player *player)
{
    uint32_t at = (uint32_t)t_below(&player->rng, FAMILY_NODES);

    while (!family->nodes[at].strong)
        at = (at + 1) % FAMILY_NODES;
    return at;
}

static int
free_entry(const struct family *family, uint32_t *ret)
{
    for (uint32_t i = 0; i < FAMILY_NODES; i++)
        if (!family->nodes[i].used) {
            *ret = i;
            return 1;
        }
    return 0;
}

/* A used node with slots and with room for edges, and one of its slots. */
static struct node *
any_slot(struct family *family, struct player *player, size_t *word)
{
    for (int i = 0; i < 8; i++) {
        struct node *node = &family->nodes[any_node(family, player)];
        int64_t at = node_any_slot(node, &player->rng);

        if (at >= 0 && node->nedges < EDGES_MAX) {
            *word = (size_t)at;
            return node;
        }
    }
    return NULL;
}

/* A slot that holds a pointer. */
static struct node *
any_edge(struct family *family, struct player *player, struct edge *ret)
{
    for (int i = 0; i < 8; i++) {
        struct node *node = &family->nodes[any_node(family, player)];

        if (node->nedges > 0) {
            *ret = node->edges[t_below(&player->rng, node->nedges)];
            return node;
        }
    }
    return NULL;
}

/* What a slot with this edge holds; offset is chosen here: mostly none. */
static uint32_t
any_offset(const struct node *target, struct player *player)
{
    switch (t_below(&player->rng, 8)) {
    case 0:
        return (uint32_t)t_below(&player->rng, target->bytes);
    case 1:
        return (uint32_t)target->bytes - 1;
    default:
        return 0;
    }
}

static void *
edge_value(const struct family *family, const struct edge *edge)
{
    return (char *)t_reveal(family->nodes[edge->target].hidden) + edge->offset;
}

/*
 * One of the single stores, chosen at random; old is what the slot must hold now, wrong a
 * live pointer that it does not hold.
 */
static void
store(struct player *player, void **slot, void *old, void *value, void *wrong)
{
    void *seen;

    switch (t_below(&player->rng, 6)) {
    case 0:
        gc_write_release(slot, value);
        return;
    case 1:
        seen = gc_exchange(slot, value);
        T_CHECK(seen == old, "gc_exchange returned %p, the slot held %p", seen, old);
        return;
    case 2:
        T_CHECK(gc_cas(slot, old, value) == 1, "gc_cas from the slot's value %p failed",
                old);
        return;
    case 3:
        /* The wrong value must be a real pointer or NULL: the barrier may shade it. */
        T_CHECK(gc_cas(slot, old == NULL ? wrong : NULL, value) == 0,
                "gc_cas from a wrong value stored");
        t_store(slot, value);
        return;
    default:
        t_store(slot, value);
        return;
    }
}

static void
set_slot(struct family *family, struct player *player, struct node *node, size_t word,
        uint32_t target, uint32_t offset)
{
    struct edge *old = edge_at(node, word);
    struct edge edge = { (uint32_t)word, target, offset };
    void *was = old != NULL ? edge_value(family, old) : NULL;

    store(player, node_slot(node, word), was, edge_value(family, &edge),
            family_root(family));
    edges_remove(node, word, 1);
    edge_add(node, word, target, offset);
    family->nodes[target].strong |= node->strong;
    if (old != NULL)
        prune(family);
}

/* A new object points at some of the family (plain stores), then is linked in. */
static void
step_grow(struct family *family, struct player *player, void (*noise)(void *), void *arg)
{
    size_t word;
    uint32_t entry;
    struct node *from = any_slot(family, player, &word), *node;
    char *p;

    if (from == NULL || !free_entry(family, &entry))
        return;
    node = &family->nodes[entry];
    p = node_create(node, player, t_below(&player->rng, 3) != 0);
    GC_FRAME(p);
    for (uint64_t i = t_below(&player->rng, 4); i > 0; i--) {
        int64_t slot = node_any_slot(node, &player->rng);
        uint32_t target = any_node(family, player), offset;

        if (slot < 0 || edge_at(node, (size_t)slot) != NULL || target == entry)
            continue;
        offset = any_offset(&family->nodes[target], player);
        edge_add(node, (size_t)slot, target, offset);
        *node_slot(node, (size_t)slot) = edge_value(family, &node->edges[node->nedges - 1]);
    }
    if (t_below(&player->rng, 4) == 0) {
        size_t in = (size_t)t_below(&player->rng, node->bytes);

        p += in;
        LAUNDER(p);
        noise(arg);
        LAUNDER(p);
        p -= in;
    } else {
        noise(arg);
    }
    T_CHECK(p == t_reveal(node->hidden), "a local pointer changed across noise");
    family->nused++;
    set_slot(family, player, from, word, entry, any_offset(node, player));
}

static void
step_link(struct family *family, struct player *player)
{
    size_t word;
    struct node *from = any_slot(family, player, &word);
    uint32_t target = any_node(family, player);

    if (from != NULL)
        set_slot(family, player, from, word, target,
                any_offset(&family->nodes[target], player));
}

static void
step_clear(struct family *family, struct player *player)
{
    struct edge edge;
    struct node *from = any_edge(family, player, &edge);

    if (from == NULL)
        return;
    store(player, node_slot(from, edge.word), edge_value(family, &edge), NULL,
            family_root(family));
    edges_remove(from, edge.word, 1);
    prune(family);
}

/* Load, clear, noise, store elsewhere: the pointer is only on the stack meanwhile. */
static void
step_move(struct family *family, struct player *player, void (*noise)(void *), void *arg)
{
    struct edge edge;
    struct node *from = any_edge(family, player, &edge), *to;
    size_t word;
    void *held;

    if (from == NULL)
        return;
    held = node_load(from, edge.word);
    GC_FRAME(held);
    T_CHECK(held == edge_value(family, &edge), "slot %u holds %p, not %p", edge.word, held,
            edge_value(family, &edge));
    store(player, node_slot(from, edge.word), held, NULL, family_root(family));
    edges_remove(from, edge.word, 1);
    LAUNDER(held);
    noise(arg);
    LAUNDER(held);
    /* Whatever is in the table still lives, if only through held. */
    to = any_slot(family, player, &word);
    if (to != NULL && edge_at(to, word) == NULL) {
        t_store(node_slot(to, word), held);
        edge_add(to, word, edge.target, edge.offset);
    }
    prune(family);
}

static void
step_swap(struct family *family, struct player *player)
{
    struct edge a, b;
    struct node *one = any_edge(family, player, &a), *two = any_edge(family, player, &b);
    void *x, *y;

    if (one == NULL || two == NULL || (one == two && a.word == b.word))
        return;
    x = node_load(one, a.word);
    y = NULL;
    GC_FRAME(x, y);
    y = gc_exchange(node_slot(two, b.word), x);
    t_store(node_slot(one, a.word), y);
    T_CHECK(y == edge_value(family, &b), "swap found %p, not %p", y,
            edge_value(family, &b));
    edges_remove(one, a.word, 1);
    edges_remove(two, b.word, 1);
    edge_add(one, a.word, b.target, b.offset);
    edge_add(two, b.word, a.target, a.offset);
    prune(family);
}

/* The shadow of copying n words: edges that the source range holds appear in dst. */
static void
shadow_copy(struct node *dst, size_t to, const struct node *src, size_t from, size_t words)
{
    struct edge moved[EDGES_MAX * 2];
    uint32_t n = 0;

    for (uint32_t i = 0; i < src->nedges; i++)
        if (src->edges[i].word >= from && src->edges[i].word < from + words)
            moved[n++] = src->edges[i];
    edges_remove(dst, to, words);
    for (uint32_t i = 0; i < n; i++)
        edge_add(dst, moved[i].word - from + to, moved[i].target, moved[i].offset);
}

static int
same_layout(const struct node *a, const struct node *b)
{
    return a->kind == b->kind && a->type == b->type;
}

/* gc_copy, gc_move or gc_clear over a range of elements of one or two nodes. */
static void
step_bulk(struct family *family, struct player *player)
{
    struct node *dst = &family->nodes[any_node(family, player)];
    struct node *src = &family->nodes[any_node(family, player)];
    struct node_elems d, s;
    size_t n, to, from, words;
    int overlap;

    if (!node_elems(dst, &d))
        return;
    if (!same_layout(dst, src) || dst->nedges + src->nedges > EDGES_MAX)
        src = dst;
    (void)node_elems(src, &s);
    n = 1 + (size_t)t_below(&player->rng, d.count < s.count ? d.count : s.count);
    to = d.first + (size_t)t_below(&player->rng, d.count - n + 1) * d.words;
    from = s.first + (size_t)t_below(&player->rng, s.count - n + 1) * s.words;
    words = n * d.words;
    overlap = src == dst && from < to + words && to < from + words;
    if (t_below(&player->rng, 6) == 0 || (src == dst && from == to)) {
        t_clear(d.type, node_slot(dst, to), n);
        edges_remove(dst, to, words);
    } else {
        if (dst->nedges + src->nedges > EDGES_MAX)
            return;
        if (!overlap && t_below(&player->rng, 3) == 0)
            gc_move(d.type, node_slot(dst, to), node_slot(src, from), n);
        else
            t_copy(d.type, node_slot(dst, to), node_slot(src, from), n);
        shadow_copy(dst, to, src, from, words);
    }
    node_refill(dst, to, words);
    prune(family);
}

/* ---- ephemerons ---- */

static struct node *
any_pair(struct family *family, struct player *player)
{
    uint32_t at = (uint32_t)t_below(&player->rng, FAMILY_NODES);

    for (uint32_t i = 0; i < FAMILY_NODES; i++) {
        struct node *node = &family->nodes[(at + i) % FAMILY_NODES];

        if (node->strong && node->kind == NODE_EPHEMERON)
            return node;
    }
    return NULL;
}

static void *
pair_value(const struct family *family, const struct node *node)
{
    const struct edge edge = { 0, node->pair.value, node->pair.offset };

    return node->pair.value == NODE_NONE ? NULL : edge_value(family, &edge);
}

/* A slot of the root, so that what it gets does not depend on other objects; or any slot. */
static struct node *
root_slot(struct family *family, struct player *player, size_t *word)
{
    struct node *root = &family->nodes[family->root];
    int64_t at = node_any_slot(root, &player->rng);

    if (at < 0 || root->nedges >= EDGES_MAX || t_below(&player->rng, 4) == 0)
        return any_slot(family, player, word);
    *word = (size_t)at;
    return root;
}

/* A new ephemeron of any two objects.  A tiny key would live as long as its neighbours. */
static void
step_pair(struct family *family, struct player *player, void (*noise)(void *), void *arg)
{
    size_t word;
    uint32_t entry, key = any_node(family, player), value = any_node(family, player);
    uint32_t in_key = any_offset(&family->nodes[key], player);
    uint32_t in_value = any_offset(&family->nodes[value], player);
    struct node *from = root_slot(family, player, &word), *node;
    const struct edge to_key = { 0, key, in_key }, to_value = { 0, value, in_value };
    void *p;

    if (from == NULL || family->nodes[key].kind == NODE_TINY || !free_entry(family, &entry))
        return;
    node = &family->nodes[entry];
    p = node_create_ephemeron(
            node, player, edge_value(family, &to_key), edge_value(family, &to_value));
    GC_FRAME(p);
    node->pair.key = key;
    node->pair.value = value;
    node->pair.offset = in_value;
    noise(arg);
    T_CHECK(p == t_reveal(node->hidden), "a local pointer changed across noise");
    family->nused++;
    set_slot(family, player, from, word, entry, any_offset(node, player));
}

/* Another value.  Of one whose key is unreachable it must not be seen, and keeps nothing. */
static void
step_value(struct family *family, struct player *player)
{
    struct node *node = any_pair(family, player);
    uint32_t target = any_node(family, player);
    struct edge edge = { 0, target, any_offset(&family->nodes[target], player) };

    if (node == NULL)
        return;
    gc_ephemeron_set_value(t_reveal(node->hidden), edge_value(family, &edge));
    if (node->pair.key == NODE_NONE)
        return;
    node->pair.value = target;
    node->pair.offset = edge.offset;
    prune(family);
}

static struct edge *
edge_to(struct node *node, uint32_t target)
{
    for (uint32_t i = 0; i < node->nedges; i++)
        if (node->edges[i].target == target)
            return &node->edges[i];
    return NULL;
}

/* All edges to a key go; then it lives by what an ephemeron with another key holds, or not. */
static void
step_lose_key(struct family *family, struct player *player)
{
    struct node *pair = any_pair(family, player);
    struct edge *edge;

    if (pair == NULL || pair->pair.key == NODE_NONE || pair->pair.key == family->root)
        return;
    for (uint32_t i = 0; i < FAMILY_NODES; i++) {
        struct node *from = &family->nodes[i];

        while ((edge = edge_to(from, pair->pair.key)) != NULL) {
            store(player, node_slot(from, edge->word), edge_value(family, edge), NULL,
                    family_root(family));
            edges_remove(from, edge->word, 1);
        }
    }
    prune(family);
}

/* As step_move: the value is taken out, and is only on the stack until it is stored again. */
static void
step_take(struct family *family, struct player *player, void (*noise)(void *), void *arg)
{
    struct node *node = any_pair(family, player), *to;
    struct edge edge;
    size_t word;
    void *held;

    if (node == NULL || node->pair.value == NODE_NONE)
        return;
    edge = (struct edge){ 0, node->pair.value, node->pair.offset };
    held = gc_ephemeron_value(t_reveal(node->hidden));
    GC_FRAME(held);
    T_CHECK(held == edge_value(family, &edge), "an ephemeron's value is %p, not %p", held,
            edge_value(family, &edge));
    gc_ephemeron_set_value(t_reveal(node->hidden), NULL);
    node->pair.value = NODE_NONE;
    LAUNDER(held);
    noise(arg);
    LAUNDER(held);
    to = any_slot(family, player, &word);
    if (to != NULL && edge_at(to, word) == NULL) {
        t_store(node_slot(to, word), held);
        edge_add(to, word, edge.target, edge.offset);
    }
    prune(family);
}

/* The root, an array of pointers, is replaced by a longer one with the same contents. */
static void *
step_regrow(struct family *family, struct player *player)
{
    struct node *old = &family->nodes[family->root], *node;
    uint32_t entry;
    void **p;
    size_t n = old->bytes / 8;

    if (old->kind != NODE_PTRS || n > 4096 || !free_entry(family, &entry))
        return NULL;
    node = &family->nodes[entry];
    p = gc_alloc_array(&gc_pointer_type, n * 2);
    GC_FRAME(p);
    *node = (struct node){ .hidden = t_hide(p), .serial = ++player->serial,
        .bytes = n * 16, .usable = gc_usable_size(p), .kind = NODE_PTRS, .used = 1 };
    t_copy(&gc_pointer_type, p, node_slot(old, 0), n);
    shadow_copy(node, 0, old, 0, n);
    player->allocs++;
    family->root = entry;
    prune(family);
    return p;
}

void *
family_step(struct family *family, struct player *player, void (*noise)(void *), void *arg)
{
    void *root = NULL;
    uint64_t dice = t_below(&player->rng, 118);

    player->steps++;
    if (dice < 40)
        step_grow(family, player, noise, arg);
    else if (dice < 50)
        step_link(family, player);
    else if (dice < 58)
        step_clear(family, player);
    else if (dice < 78)
        step_move(family, player, noise, arg);
    else if (dice < 86)
        step_swap(family, player);
    else if (dice < 98)
        step_bulk(family, player);
    else if (dice < 106)
        step_pair(family, player, noise, arg);
    else if (dice < 110)
        step_value(family, player);
    else if (dice < 114)
        step_take(family, player, noise, arg);
    else if (dice < 116)
        step_lose_key(family, player);
    else
        root = step_regrow(family, player);
    return root;
}

static void
check_slots(const struct family *family, const struct node *node, int full)
{
    for (uint32_t i = 0; i < node->nedges; i++) {
        const struct edge *edge = &node->edges[i];
        void *held = node_load(node, edge->word), *want = edge_value(family, edge);

        T_CHECK(held == want, "object %p kind %d serial %llu: slot %u holds %p, not %p",
                t_reveal(node->hidden), node->kind, (unsigned long long)node->serial,
                edge->word, held, want);
    }
    if (full || node->bytes <= 512) {
        size_t n = node_count_slots(node);

        T_CHECK(n == node->nedges, "object %p kind %d serial %llu: %zu slots set, not %u",
                t_reveal(node->hidden), node->kind, (unsigned long long)node->serial, n,
                node->nedges);
    }
}

void
family_check(struct family *family, struct player *player, int full)
{
    for (uint32_t i = 0; i < FAMILY_NODES; i++) {
        struct node *node = &family->nodes[i];

        if (!node->used)
            continue;
        node_check_data(node, player, full);
        check_slots(family, node, full);
        if (node->kind == NODE_EPHEMERON)
            node_check_ephemeron(node, player, pair_value(family, node));
    }
}

void
family_count(const struct family *family, struct census *census)
{
    for (uint32_t i = 0; i < FAMILY_NODES; i++) {
        const struct node *node = &family->nodes[i];

        if (!node->used)
            continue;
        if (node->kind == NODE_TINY) {
            census->tiny++;
            continue;
        }
        census->objects++;
        census->bytes += node->usable;
        if (node->kind == NODE_EPHEMERON && node->pair.key == NODE_NONE)
            census->loose += gc_ephemeron_key(t_reveal(node->hidden)) != NULL;
    }
}

void
family_forget(struct family *family)
{
    for (uint32_t i = 0; i < FAMILY_NODES; i++)
        if (family->nodes[i].used)
            node_strike(&family->nodes[i]);
    family->nused = 0;
}
