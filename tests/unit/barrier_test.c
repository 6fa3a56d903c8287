/* SPDX-License-Identifier: MIT */
/*
 * Barriers, stack scans and detaching, one step at a time: which words each store shades in
 * each state, what becomes of them, and that nothing private is left when a mutator answers
 * H4, H5 or H6, or leaves.
 */
#include "byhand.h"

#include "gc/roots.h"
#include "gc/stack.h"

#include <pthread.h>
#include <signal.h>

#include <gcrt/precise.h>

struct node {
    struct node *left, *right, *third;
};

GC_TYPE(node_type, struct node, left, right, third);

static struct raw_words raw;

/* ---- what is shaded ---- */

enum store { WRITE, RELEASE, EXCHANGE, CAS, COPY, MOVE, CLEAR, STORES };

static void
store(enum store how, struct node **slot, struct node *old, struct node *new_)
{
    struct node *source[1] = { new_ };

    switch (how) {
    case WRITE:
        gc_write(slot, new_);
        break;
    case RELEASE:
        gc_write_release(slot, new_);
        break;
    case EXCHANGE:
        cr_assert_eq(gc_exchange(slot, new_), old);
        break;
    case CAS:
        cr_assert(gc_cas(slot, old, new_));
        break;
    case COPY:
        gc_copy(&gc_pointer_type, slot, source, 1);
        break;
    case MOVE:
        gc_move(&gc_pointer_type, slot, source, 1);
        break;
    default:
        gc_clear(&gc_pointer_type, slot, 1);
        break;
    }
    cr_assert_eq(*slot, how == CLEAR ? NULL : new_, "store %d", (int)how);
}

static void
expect_shades(uint32_t barrier)
{
    for (enum store how = WRITE; how < STORES; how++) {
        struct node *object = gc_alloc(&node_type);
        struct node *old = gc_alloc(&node_type), *new_ = gc_alloc(&node_type);
        size_t news = barrier == BARRIER_HYBRID && how != CLEAR;

        object->left = old;
        self()->nbarrier = 0;
        store(how, &object->left, old, new_);
        cr_expect_eq(count_buffered(old), barrier != BARRIER_OFF, "store %d, barrier %u",
                (int)how, barrier);
        cr_expect_eq(count_buffered(new_), news, "store %d, barrier %u", (int)how, barrier);
        cr_expect_eq(self()->nbarrier, (barrier != BARRIER_OFF) + news, "store %d", (int)how);
    }
}

Test(barrier, each_store_shades_what_its_state_asks_for)
{
    begin_by_hand();
    expect_shades(BARRIER_OFF);
    handshake(ACTION_BARRIER_ON);
    expect_shades(BARRIER_HYBRID);
    handshake(ACTION_SETTLE);
    expect_shades(BARRIER_HYBRID);
    handshake(ACTION_SCAN);
    expect_shades(BARRIER_DELETION);
    handshake(ACTION_FLUSH);
    expect_shades(BARRIER_DELETION);
    handshake(ACTION_BARRIER_OFF);
    expect_shades(BARRIER_OFF);
    end_by_hand();
}

/* What a field that was NULL gets, shaded or not. */
static void
expect_fill(uint32_t shades)
{
    struct node *object = gc_alloc(&node_type), *value = gc_alloc(&node_type);

    self()->nbarrier = 0;
    gc_write(&object->left, value);
    cr_expect_eq(object->left, value);
    cr_expect_eq(count_buffered(value), shades);
    cr_expect_eq(self()->nbarrier, shades);
    gc_impl_write_slow(&object->right, value);
    cr_expect_eq(object->right, value);
    cr_expect_eq(self()->nbarrier, 2 * shades);
}

Test(barrier, an_empty_field_is_filled_without_a_shade_after_the_own_scan)
{
    begin_by_hand();
    expect_fill(0);
    handshake(ACTION_BARRIER_ON);
    expect_fill(1);
    handshake(ACTION_SETTLE);
    expect_fill(1);
    handshake(ACTION_SCAN);
    expect_fill(0);
    handshake(ACTION_FLUSH);
    expect_fill(0);
    handshake(ACTION_BARRIER_OFF);
    expect_fill(0);
    end_by_hand();
}

Test(barrier, who_fills_a_field_answers)
{
    struct node *object, *value;

    begin_by_hand();
    object = gc_alloc(&node_type);
    value = gc_alloc(&node_type);
    to_marking();
    ask(ACTION_FLUSH);
    gc_write(&object->left, value);
    cr_expect(has_answered());
    end_by_hand();
}

Test(barrier, a_field_is_not_filled_from_a_blocking_region, .signal = SIGABRT)
{
    struct node *object;

    begin_by_hand();
    object = gc_alloc(&node_type);
    to_marking();
    gc_block_enter();
    gc_write(&object->left, object);
}

Test(barrier, bulk_stores_shade_every_word)
{
    struct node *object, *from;

    begin_by_hand();
    object = gc_alloc(&node_type);
    from = gc_alloc(&node_type);
    for (int i = 0; i < 3; i++) {
        (&object->left)[i] = gc_alloc(&node_type);
        (&from->left)[i] = gc_alloc(&node_type);
    }
    handshake(ACTION_BARRIER_ON);
    for (int i = 0; i < 3; i++) {
        struct node before = *object, after = *from;

        self()->nbarrier = 0;
        gc_copy(&node_type, object, from, 1);
        for (int k = 0; k < 3; k++) {
            cr_expect_geq(count_buffered((&before.left)[k]), 1, "old word %d", k);
            cr_expect_geq(count_buffered((&after.left)[k]), 1, "new word %d", k);
        }
        from->left = gc_alloc(&node_type);
    }
    end_by_hand();
}

/* ---- tagged words ---- */

struct boxed {
    uint64_t words[4];
};

static const gc_decode high_tag = { .mask = 0xffffull << 48, .value = 0xfffcull << 48,
    .keep = (1ull << 48) - 1 };

GC_TYPE_TAGGED(boxed_type, struct boxed, high_tag, words);

static uint64_t
box(const void *p)
{
    return 0xfffcull << 48 | (uintptr_t)p;
}

Test(barrier, tagged_words_are_shaded_as_what_they_mean)
{
    struct boxed *object, *from;
    struct node *one, *two;

    begin_by_hand();
    object = gc_alloc(&boxed_type);
    from = gc_alloc(&boxed_type);
    one = gc_alloc(&node_type);
    two = gc_alloc(&node_type);
    gc_write_word(&high_tag, &object->words[0], box(one));
    handshake(ACTION_BARRIER_ON);
    gc_write_word(&high_tag, &object->words[0], box(two));
    cr_expect_eq(object->words[0], box(two));
    cr_expect_eq(count_buffered(one), 1);
    cr_expect_eq(count_buffered(two), 1);
    cr_expect_eq(self()->nbarrier, 2);
    gc_write_word(&high_tag, &object->words[0], (uintptr_t)one);
    cr_expect_eq(count_buffered(two), 2);
    cr_expect_eq(self()->nbarrier, 3, "an address without the tag is a number");
    from->words[3] = box(one);
    self()->nbarrier = 0;
    gc_copy(&boxed_type, object, from, 1);
    cr_expect_eq(count_buffered(one), 1);
    cr_expect_eq(self()->nbarrier, 1);
    gc_clear(&boxed_type, object, 1);
    cr_expect_eq(count_buffered(one), 2);
    end_by_hand();
}

/* ---- precise threads ---- */

Test(barrier, what_an_exchange_returns_is_a_root_while_it_polls)
{
    struct node *object, *old;

    begin_by_hand();
    object = gc_alloc(&node_type);
    old = gc_alloc(&node_type);
    object->left = old;
    self()->precise = true;
    ask(ACTION_SCAN);
    cr_assert_eq(gc_exchange(&object->left, NULL), old);
    cr_assert(has_answered());
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, old), 1);
    self()->precise = false;
    end_by_hand();
}

struct looking {
    const void *object;
    int seen;
};

static void
look_for(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind)
{
    struct looking *looking = arg;

    (void)at;
    looking->seen += kind == ROOT_HANDLE && word == (uintptr_t)looking->object;
}

static void
look_at_handles(gc_tracer *tracer, void *arg)
{
    (void)tracer;
    gcrt_roots_visit(the_heap, look_for, arg);
}

Test(barrier, a_new_handle_holds_its_object_before_it_polls)
{
    struct looking looking = { .seen = 0 };
    struct node *object;

    begin_by_hand();
    object = gc_alloc(&node_type);
    looking.object = object;
    cr_assert_eq(gc_root_callback(look_at_handles, &looking), GC_OK);
    self()->precise = true;
    ask(ACTION_SCAN);
    cr_assert_not_null(gc_handle_new(object));
    cr_assert(has_answered());
    cr_expect_eq(looking.seen, 1);
    gc_root_callback_remove(look_at_handles, &looking);
    self()->precise = false;
    take_raw(&raw);
    end_by_hand();
}

Test(barrier, a_precise_thread_answers_no_signal)
{
    begin_by_hand();
    self()->precise = true;
    ask(ACTION_SETTLE);
    cr_assert_eq(raise(the_heap->handshake.signal), 0);
    cr_expect_not(has_answered());
    self()->precise = false;
    cr_assert_eq(raise(the_heap->handshake.signal), 0);
    cr_expect(has_answered(), "any other does");
    end_by_hand();
}

/* ---- the buffer ---- */

Test(barrier, a_full_buffer_is_handed_over_and_not_marked_before_marking_is_open)
{
    struct node *object, *child[BARRIER_SLOTS];

    begin_by_hand();
    object = gc_alloc(&node_type);
    for (int i = 0; i < BARRIER_SLOTS; i++)
        child[i] = gc_alloc(&node_type);
    handshake(ACTION_BARRIER_ON);
    for (int i = 0; i < BARRIER_SLOTS; i++) {
        cr_assert_eq(self()->nbarrier, (uint32_t)i);
        object->left = NULL;
        gc_write(&object->left, child[i]);
    }
    cr_expect_eq(self()->nbarrier, 0, "it was flushed when it was full, not later");
    cr_expect_eq(self()->marker.heap, the_heap, "nothing was written behind it");
    take_raw(&raw);
    cr_expect_eq(raw.n, BARRIER_SLOTS);
    for (int i = 0; i < BARRIER_SLOTS; i++) {
        cr_expect_eq(count_raw(&raw, child[i]), 1, "word %d", i);
        cr_expect_not(is_marked(child[i]), "word %d is marked before H3", i);
    }
    end_by_hand();
}

/* The bound is one from below: sleeping takes at least so long. */
static uint64_t
time_of_full_buffer(struct node *object)
{
    uint64_t start = gcrt_os_now_ns();

    do {
        object->left = NULL;
        gc_write(&object->left, object);
    } while (self()->nbarrier != 0);
    return gcrt_os_now_ns() - start;
}

/* Somebody does not answer; nobody empties what barriers fill. */
Test(barrier, who_stores_much_before_marking_is_open_is_slowed_down)
{
    aword *early;
    struct node *object;
    gc_handle *handle;
    uint64_t start;

    begin_by_hand();
    early = &the_heap->marking.early;
    object = gc_alloc(&node_type);
    handle = gc_handle_new(object);
    handshake(ACTION_BARRIER_ON);
    (void)time_of_full_buffer(object);
    cr_expect_eq(aword_load_relaxed(early), (BARRIER_SLOTS + WORKBUF_SLOTS - 1) / WORKBUF_SLOTS);
    aword_store_relaxed(early, UINT64_MAX / 2);
    cr_expect_geq(time_of_full_buffer(object), 1000000);
    GC_BLOCKING {
        start = gcrt_os_now_ns();
        gc_handle_set(handle, object);
        cr_expect_geq(gcrt_os_now_ns() - start, 1000000);
    }
    take_raw(&raw);
    end_by_hand();
}

Test(barrier, h4_leaves_nothing_private_and_says_that_there_was_something)
{
    struct node *object, *child;

    begin_by_hand();
    object = gc_alloc(&node_type);
    child = gc_alloc(&node_type);
    object->left = child;
    to_marking();
    take_raw(&raw);
    gc_write(&object->left, NULL);
    cr_assert_eq(self()->nbarrier, 1);
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    handshake(ACTION_FLUSH);
    cr_expect(is_marked(child));
    cr_expect_eq(self()->nbarrier, 0);
    cr_expect_null(self()->marker.queue.cur);
    cr_expect_eq(self()->marker.marked, 0);
    cr_expect(is_public_work());
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 1);
    ahalf_store_full(&the_heap->handshake.flushed, 0);
    handshake(ACTION_FLUSH);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 0, "nothing was left");
    /* A word whose object is marked already is no work, or stores would never let it end. */
    object->left = child;
    gc_write(&object->left, NULL);
    cr_assert_eq(self()->nbarrier, 1);
    handshake(ACTION_FLUSH);
    cr_expect_eq(self()->nbarrier, 0);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 0);
    /* What is queued without a mark, an ephemeron whose key has come, is work. */
    gcrt_mark_queue_unmarked(the_heap, &self()->marker.queue, (uintptr_t)object);
    handshake(ACTION_FLUSH);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.flushed), 1);
    end_by_hand();
}

Test(barrier, h3_makes_allocation_black_in_the_spans_of_this_cycle_only)
{
    unsigned sweepgen;

    begin_by_hand();
    use(gc_alloc(&node_type));
    sweepgen = ahalf_load_relaxed(&the_heap->mheap.sweepgen);
    handshake(ACTION_BARRIER_ON);
    cr_expect(the_heap->registry.marking, "detached threads know it");
    cr_expect_not(self()->p->cache.black);
    handshake(ACTION_SCAN);
    cr_expect(self()->p->cache.black);
    cr_expect_eq(self()->p->cache.black_gen, sweepgen + 3);
    cr_expect_eq(the_heap->registry.black_gen, sweepgen, "newcomers are told the same");
    cr_expect(is_marked(gc_alloc(&node_type)), "out of the old run");
    for (int i = 0; i < 1000; i++)
        cr_expect(is_marked(gc_alloc(&node_type)), "out of new runs");
    handshake(ACTION_BARRIER_OFF);
    cr_expect_not(the_heap->registry.marking);
    end_by_hand();
}

static unsigned
count_cached(const struct mcache *mc)
{
    unsigned n = 0;

    for (uint32_t i = 0; i <= mc->table->mask; i++)
        n += mc->table->cold[i].span != NULL;
    return n;
}

Test(barrier, h5_and_h6_leave_nothing_of_the_cycle_behind)
{
    struct node *object;

    begin_by_hand();
    object = gc_alloc(&node_type);
    object->left = gc_alloc(&node_type);
    to_marking();
    gc_write(&object->left, NULL);
    cr_assert_eq(self()->nbarrier, 1);
    handshake(ACTION_BARRIER_OFF);
    cr_expect_eq(self()->nbarrier, 0);
    cr_expect_eq(count_cached(&self()->p->cache), 1);
    handshake(ACTION_FLUSH_CACHE);
    cr_expect_eq(count_cached(&self()->p->cache), 0);
    cr_expect_not(self()->p->cache.black);
    end_by_hand();
}

/* ---- roots ---- */

/* One past a struct that ends in a word is the next one, and that alone. */
Test(barrier, a_root_that_is_one_past_an_array_means_that_too)
{
    static void *root;

    begin_by_hand();
    cr_assert_eq(gc_root_add(&root, sizeof(root)), GC_OK);
    root = (struct node *)gc_alloc(&node_type) + 1;
    use(gc_alloc(&node_type));
    handshake(ACTION_BARRIER_ON);
    self()->nbarrier = 0;
    gc_write(&root, NULL);
    cr_expect_eq(self()->nbarrier, 1);
    root = (char *)gc_alloc_array(&node_type, 1) + sizeof(struct node);
    self()->nbarrier = 0;
    gc_write(&root, NULL);
    cr_expect_eq(self()->nbarrier, 2);
    self()->nbarrier = 0;
    gc_root_remove(&root);
    end_by_hand();
}

static struct node *global[4];

Test(barrier, roots_that_come_and_go_while_marking_are_shaded)
{
    struct node *child;

    begin_by_hand();
    child = gc_alloc(&node_type);
    handshake(ACTION_BARRIER_ON);
    global[3] = child;
    cr_assert_eq(gc_root_add(global, sizeof(global)), GC_OK);
    cr_expect_eq(aword_load_relaxed(&the_heap->roots.bytes), sizeof(global));
    cr_expect_eq(count_buffered(child), 1, "added");
    self()->nbarrier = 0;
    gc_root_remove(global);
    cr_expect_eq(aword_load_relaxed(&the_heap->roots.bytes), 0);
    cr_expect_eq(count_buffered(child), 1, "removed");
    self()->nbarrier = 0;
    gc_handle_free(gc_handle_new(child));
    cr_expect_eq(count_buffered(child), 2, "stored and overwritten");
    end_by_hand();
}

Test(barrier, every_handle_is_collected)
{
    enum { N = 300 }; /* three chunks of them */
    gc_handle *handle[N];

    begin_by_hand();
    for (int i = 0; i < N; i++)
        handle[i] = gc_handle_new(gc_alloc(&node_type));
    (void)gcrt_roots_collect(the_heap);
    take_raw(&raw);
    cr_expect_eq(raw.n, N);
    for (int i = 0; i < N; i++)
        cr_expect_eq(count_raw(&raw, gc_handle_get(handle[i])), 1, "handle %d", i);
    end_by_hand();
}

static void *
set_handle(void *arg)
{
    void **args = arg;

    gc_handle_set(args[0], args[1]);
    return NULL;
}

/* Who has no buffer, or not this heap's, hands the words over. */
Test(barrier, stores_by_others_than_the_heaps_inside_mutators_are_handed_over)
{
    struct node *one, *two;
    gc_handle *handle;
    pthread_t thread;
    void *args[2];

    begin_by_hand();
    one = gc_alloc(&node_type);
    two = gc_alloc(&node_type);
    handle = gc_handle_new(one);
    handshake(ACTION_BARRIER_ON);
    args[0] = handle;
    args[1] = two;
    cr_assert_eq(pthread_create(&thread, NULL, set_handle, args), 0);
    pthread_join(thread, NULL);
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, one), 1, "detached: the old value");
    cr_expect_eq(count_raw(&raw, two), 1, "detached: the new value");
    cr_expect_eq(raw.nexact, raw.n, "and not the objects before them");
    GC_BLOCKING {
        gc_handle_set(handle, one);
        cr_expect_eq(self()->nbarrier, 0, "outside the buffer is not ours");
    }
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, one), 1);
    cr_expect_eq(count_raw(&raw, two), 1);
    handshake(ACTION_BARRIER_OFF);
    gc_handle_set(handle, NULL);
    take_raw(&raw);
    cr_expect_eq(raw.n, 0, "between cycles nothing is");
    end_by_hand();
}

/* While everybody is held there are still threads that nobody holds. */
Test(barrier, handles_set_by_detached_threads_while_all_are_stopped_are_handed_over)
{
    struct node *one;
    gc_handle *handle;
    pthread_t thread;
    void *args[2];

    begin_by_hand();
    the_heap->options.mode = GC_MODE_STW;
    one = gc_alloc(&node_type);
    handle = gc_handle_new(one);
    args[0] = handle;
    args[1] = NULL;
    GC_BLOCKING {
        gcrt_stop_all(the_heap);
        take_raw(&raw); /* what the scan has found */
        cr_assert_eq(pthread_create(&thread, NULL, set_handle, args), 0);
        pthread_join(thread, NULL);
        take_raw(&raw);
        cr_expect_eq(count_raw(&raw, one), 1, "the old value");
        gcrt_resume_all(the_heap);
        gc_handle_set(handle, one);
        take_raw(&raw);
        cr_expect_eq(raw.n, 0, "marking is over");
    }
    end_by_hand();
}

Test(barrier, a_handle_of_another_heap_is_not_shaded_for_the_own_one)
{
    struct gc_heap *first, *second = heap_by_hand();
    gc_handle *handle;
    struct node *child;

    begin_by_hand();
    first = the_heap;
    child = gc_alloc(&node_type);
    handle = gc_handle_new(child);
    gc_thread_detach();
    cr_assert_eq(gc_thread_attach(second), GC_OK);
    the_heap = first;
    gcrt_handshake_run(the_heap, ACTION_BARRIER_ON); /* nobody is attached to it */
    gc_handle_set(handle, NULL);
    cr_expect_eq(self()->nbarrier, 0);
    take_raw(&raw);
    cr_expect_eq(count_raw(&raw, child), 1);
    gcrt_handshake_run(the_heap, ACTION_BARRIER_OFF);
    the_heap = second;
    end_by_hand();
    the_heap = first;
    end_by_hand();
}

/* ---- stacks ---- */

#define WORDS 600 /* more than two buffers' worth */

static struct gc_impl_thread fake_self;
static struct gcrt_mutator fake = { .self = &fake_self }; /* whose stack is an array */

static void
expect_collected(const uintptr_t *words, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_geq(count_raw(&raw, (const void *)words[i]), 1, "%s: word %zu of %zu is lost",
                what, i, n);
}

Test(barrier, a_scan_finds_every_word_of_a_stack)
{
    static uintptr_t stack[WORDS];
    struct own_held held;
    uintptr_t top;

    begin_by_hand();
    use(gc_alloc(&node_type));
    top = the_heap->mheap.base + aword_load_relaxed(&the_heap->mheap.limit);
    for (size_t i = 0; i < WORDS; i++)
        stack[i] = top - i * 24; /* the first is one past the end of the last object */
    fake.heap = the_heap;
    fake.stack_hi = (uintptr_t)(stack + WORDS);
    ahalf_store_relaxed(&fake.state, MUTATOR_INSIDE);
    fake_self.hot_n = 3;
    own_hold(&fake.own, &held, NULL);
    cr_expect_eq(gcrt_stack_collect(&fake, (uintptr_t)stack), sizeof(stack) + (2 + 3) * WORD,
            "and the words that a call returns and holds, and the items that the thread keeps");
    take_raw(&raw);
    cr_expect_eq(raw.n, WORDS);
    expect_collected(stack, WORDS, "stack");
    for (size_t i = 0; i < WORDS; i++)
        stack[i] = i % 2 ? top + 8 + i : the_heap->mheap.base - 2 - i;
    (void)gcrt_stack_collect(&fake, (uintptr_t)stack);
    take_raw(&raw);
    cr_expect_eq(raw.n, 0, "words outside the heap");
    own_release(&fake.own, &held);
    end_by_hand();
}

Test(barrier, a_scan_of_who_is_outside_finds_registers_and_window_too)
{
    static uintptr_t stack[2];

    begin_by_hand();
    use(gc_alloc(&node_type));
    for (size_t i = 0; i < SAVED_REGISTERS; i++)
        fake.regs[i] = the_heap->mheap.base + 8 * i;
    for (size_t i = 0; i < WINDOW_WORDS; i++)
        fake.window[i] = the_heap->mheap.base + 4096 + 8 * i;
    fake.heap = the_heap;
    fake.nwindow = WINDOW_WORDS;
    fake.stack_hi = (uintptr_t)(stack + 2);
    ahalf_store_relaxed(&fake.state, MUTATOR_HELD);
    (void)gcrt_stack_collect(&fake, (uintptr_t)stack);
    take_raw(&raw);
    cr_expect_eq(raw.n, SAVED_REGISTERS + WINDOW_WORDS);
    expect_collected(fake.regs, SAVED_REGISTERS, "registers");
    expect_collected(fake.window, WINDOW_WORDS, "window");
    end_by_hand();
}

Test(barrier, who_goes_outside_leaves_a_copy_of_its_stacks_top_and_no_runs)
{
    begin_by_hand();
    use(gc_alloc(&node_type));
    cr_assert_neq(gc_impl_self.run_mask, 0);
    gc_block_enter();
    cr_expect_eq(gc_impl_self.run_mask, 0);
    cr_expect_eq(gc_impl_self.runs->key, 0);
    cr_expect_eq(self()->nwindow, WINDOW_WORDS);
    cr_expect_gt(self()->sp, self()->stack_lo);
    cr_expect_lt(self()->sp, self()->stack_hi);
    /* What lies below our own frame's variables has not changed since. */
    cr_expect_eq(self()->window[WINDOW_WORDS - 1],
            RACY_READ(self()->sp + (WINDOW_WORDS - 1) * WORD));
    gc_block_leave();
    cr_expect_neq(gc_impl_self.run_mask, 0);
    end_by_hand();
}

/* ---- leaving ---- */

Test(barrier, who_leaves_while_marking_takes_nothing_along)
{
    struct node *object, *child, *last;
    struct mspan *s;
    unsigned freeindex;
    struct p *p;

    begin_by_hand();
    object = gc_alloc(&node_type);
    child = gc_alloc(&node_type);
    object->left = child;
    to_marking();
    take_raw(&raw);
    last = gc_alloc(&node_type);
    s = mheap_span_of(&the_heap->mheap, (uintptr_t)last);
    freeindex = ahalf_load_relaxed(&s->freeindex);
    p = self()->p;
    gc_write(&object->left, NULL);
    gc_thread_detach();
    cr_expect(is_marked(child), "its barrier buffer is marked");
    cr_expect(is_public_work(), "and what that made grey is there for others");
    cr_expect_eq(ahalf_load_relaxed(&s->freeindex), freeindex,
            "marked slots of its run are not free");
    cr_expect_eq(count_cached(&p->cache), 0);
    cr_expect_not(p->cache.black);
    end_by_hand();
}

Test(barrier, who_leaves_answers_what_it_was_asked)
{
    struct gcrt_mutator *m;
    unsigned epoch;

    begin_by_hand();
    m = self();
    epoch = ahalf_load_relaxed(&the_heap->handshake.epoch) + 1;
    the_heap->handshake.action = ACTION_SETTLE;
    ahalf_store_relaxed(&the_heap->handshake.epoch, epoch);
    ahalf_store_relaxed(&the_heap->handshake.pending, 1);
    ahalf_store_release(&m->request, epoch);
    gc_thread_detach();
    cr_expect_eq(ahalf_load_relaxed(&the_heap->handshake.pending), 0);
    end_by_hand();
}

static void *
end_attached(void *arg)
{
    if (gc_thread_attach(the_heap) != GC_OK)
        abort();
    use(gc_alloc(&node_type));
    if (arg != NULL)
        gc_block_enter();
    return NULL;
}

Test(barrier, who_ends_while_attached_leaves)
{
    pthread_t thread;

    the_heap = heap_by_hand();
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&thread, NULL, end_attached, i % 2 ? &thread : NULL), 0);
        pthread_join(thread, NULL);
        cr_expect_eq(the_heap->registry.count, 0);
    }
    end_by_hand();
}

Test(barrier, a_record_that_is_used_again_is_clean)
{
    struct gcrt_mutator *m;

    begin_by_hand();
    m = self();
    use(gc_alloc(&node_type));
    m->credit = -12345;
    m->over_goal = true;
    m->nwindow = 77;
    m->marker.scanned = 5;
    gc_thread_detach();
    cr_assert_eq(gc_thread_attach(the_heap), GC_OK);
    cr_assert_eq(self(), m, "it is the same record");
    cr_expect_eq(m->credit, 0);
    cr_expect_not(m->over_goal);
    cr_expect_eq(m->nwindow, 0);
    cr_expect_eq(m->marker.scanned, 0);
    end_by_hand();
}
