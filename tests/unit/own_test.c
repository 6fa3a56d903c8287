/* SPDX-License-Identifier: MIT */
/*
 * A precise thread's arguments: what a call is given needs no other holder.  Before each call the
 * collector asks for the stack scan, and where the thread answers it, which is the first chance
 * in the call, each argument must be found: among the thread's own roots, or already in the root
 * that the call puts it into.
 */
#include "byhand.h"

#include "gc/roots.h"

enum { WORDS = 1024 }; /* more than one step of a bulk store */

static struct raw_words raw;
static void **global; /* a registered root */
static gc_handle *handle;
static gc_pool *pool;
static gc_weak_map *map; /* in the handle */

/* ---- the calls ---- */

struct call {
    const char *name;
    void (*make)(void **a, void **b);
    bool second; /* b is an argument, too */
};

static void
store(void **a, void **b)
{
    (void)b;
    gc_write(&global, a);
}

static void
store_release(void **a, void **b)
{
    (void)b;
    gc_write_release(&global, a);
}

static void
exchange(void **a, void **b)
{
    (void)b;
    cr_assert_null(gc_exchange(&global, a));
}

static void
swap(void **a, void **b)
{
    (void)b;
    cr_assert(gc_cas(&global, NULL, a));
}

static void
copy(void **a, void **b)
{
    gc_copy(&gc_pointer_type, a, b, WORDS);
}

static void
move(void **a, void **b)
{
    gc_move(&gc_pointer_type, a, b, WORDS);
}

static void
clear(void **a, void **b)
{
    (void)b;
    gc_clear(&gc_pointer_type, a, WORDS);
}

static void
handle_new(void **a, void **b)
{
    (void)b;
    cr_assert_not_null(gc_handle_new(a));
}

static void
handle_set(void **a, void **b)
{
    (void)b;
    gc_handle_set(handle, a);
}

static void
weak_new(void **a, void **b)
{
    (void)b;
    cr_assert_not_null(gc_weak_new(a));
}

static void
ephemeron_new(void **a, void **b)
{
    cr_assert_not_null(gc_ephemeron_new(a, b));
}

static void
weak_map_set(void **a, void **b)
{
    gc_weak_map_set(map, a, b);
}

static void
intern(void **a, void **b)
{
    (void)b;
    cr_assert_not_null(gc_intern(NULL, a, WORDS));
}

static void
no_cleanup(void *arg)
{
    (void)arg;
}

static void
cleanup_add(void **a, void **b)
{
    (void)b;
    cr_assert_eq(gc_cleanup_add(map, no_cleanup, a, NULL), GC_OK);
}

static void
no_finalizer(void *obj, void *arg)
{
    (void)obj;
    (void)arg;
}

static void
finalizer_set(void **a, void **b)
{
    (void)b;
    cr_assert_eq(gc_finalizer_set(map, no_finalizer, a), GC_OK);
}

static void
pool_put(void **a, void **b)
{
    (void)b;
    gc_pool_put(pool, a);
}

/* The array as a long string, for which a call has to take memory. */
static const char *
text_in(void **a)
{
    memset(a, 'x', WORDS * sizeof(void *) - 1);
    return (const char *)a;
}

static void
string_copy(void **a, void **b)
{
    (void)b;
    use(gc_strdup(text_in(a)));
}

static void
string_to_arena(void **a, void **b)
{
    gc_arena *arena = gc_arena_new("own");

    (void)b;
    ask(ACTION_SCAN); /* again: the arena's own allocation has answered */
    use(gc_arena_strdup(arena, text_in(a)));
    gc_arena_free(arena);
}

static const struct call calls[] = {
    { "gc_write", store, false },
    { "gc_write_release", store_release, false },
    { "gc_exchange", exchange, false },
    { "gc_cas", swap, false },
    { "gc_copy", copy, true },
    { "gc_move", move, true },
    { "gc_clear", clear, false },
    { "gc_handle_new", handle_new, false },
    { "gc_handle_set", handle_set, false },
    { "gc_weak_new", weak_new, false },
    { "gc_ephemeron_new", ephemeron_new, true },
    { "gc_weak_map_set", weak_map_set, true },
    { "gc_intern", intern, false },
    { "gc_strdup", string_copy, false },
    { "gc_arena_strdup", string_to_arena, false },
    { "gc_cleanup_add", cleanup_add, false },
    { "gc_finalizer_set", finalizer_set, false },
    { "gc_pool_put", pool_put, false },
};

/* ---- looking ---- */

struct looking {
    void **object[2];
    size_t seen[2];
};

static void
look_for(void *arg, uintptr_t word, uintptr_t at, enum root_kind kind)
{
    struct looking *looking = arg;

    (void)at;
    (void)kind;
    for (int i = 0; i < 2; i++)
        looking->seen[i] += word == (uintptr_t)looking->object[i];
}

static void
look_at_roots(gc_tracer *tracer, void *arg)
{
    (void)tracer;
    gcrt_roots_visit(the_heap, look_for, arg);
}

static void *
make_nothing(void *arg)
{
    (void)arg;
    return NULL;
}

static void
begin_with(int wbcheck)
{
    gc_options opt;

    options_by_hand(&opt);
    opt.debug_wbcheck = wbcheck;
    cr_assert_eq(gc_heap_create(&opt, &the_heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_thread_attach_precise(the_heap), GC_OK, "%s", gc_last_error());
    cr_assert_eq(gc_root_add(&global, sizeof(global)), GC_OK);
    map = gc_weak_map_new(16);
    handle = gc_handle_new(map);
    pool = gc_pool_create(NULL,
            &(gc_pool_options){ .item_bytes = WORDS * sizeof(void *), .make = make_nothing });
    cr_assert_not_null(pool);
}

static void
expect_held(const struct call *call, int wbcheck)
{
    struct looking looking = { .object = { NULL } };

    begin_with(wbcheck);
    for (int i = 0; i < 2; i++)
        looking.object[i] = gc_alloc_array(&gc_pointer_type, WORDS);
    cr_assert_eq(gc_root_callback(look_at_roots, &looking), GC_OK);
    ask(ACTION_SCAN);
    call->make(looking.object[0], looking.object[1]);
    gc_safepoint(); /* an inline store answers nothing itself */
    cr_assert(has_answered());
    take_raw(&raw);
    for (int i = 0; i < (call->second ? 2 : 1); i++)
        cr_expect_geq(looking.seen[i] + count_raw(&raw, looking.object[i]), 1,
                "%s, wbcheck %d: nothing holds argument %d", call->name, wbcheck, i);
    gc_root_callback_remove(look_at_roots, &looking);
    gc_root_remove(&global);
    global = NULL;
    end_by_hand();
}

Test(own, a_call_that_polls_holds_its_arguments)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        expect_held(&calls[i], 0);
}

Test(own, so_it_does_when_missed_barriers_are_looked_for)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        expect_held(&calls[i], 1);
}

/* ---- calls within calls ---- */

static uintptr_t seen[8];
static size_t nseen;

static void
note(void *arg, uintptr_t word, uintptr_t at)
{
    cr_expect(gcrt_own_is_of_call(arg, at));
    if (word != 0 && nseen < 8)
        seen[nseen++] = word;
}

/* The host's oom function calls while a call of its own waits for memory. */
Test(own, arguments_of_calls_within_calls_are_all_found)
{
    struct own_held outer, inner;
    int a, b;

    begin_by_hand();
    own_hold(&self()->own, &outer, &a);
    own_hold(&self()->own, &inner, &b);
    (void)gcrt_own_visit(self(), note, &self()->own);
    cr_assert_eq(nseen, 2);
    cr_expect_eq(seen[0], (uintptr_t)&b);
    cr_expect_eq(seen[1], (uintptr_t)&a);
    own_release(&self()->own, &inner);
    nseen = 0;
    (void)gcrt_own_visit(self(), note, &self()->own);
    cr_assert_eq(nseen, 1);
    cr_expect_eq(seen[0], (uintptr_t)&a);
    own_release(&self()->own, &outer);
    cr_expect_null(self()->own.held);
    end_by_hand();
}
