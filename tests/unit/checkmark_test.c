/* SPDX-License-Identifier: MIT */
/*
 * Checkmark, on cycles that the test takes by hand and breaks in the middle: a lost mark, an
 * object that is marked and never scanned, a root range or a stack that marking does not
 * look at, a deletion without its barrier, a white newborn.  Each must be reported, with the
 * right tag and the right path; an honest cycle must not be, nor words that prove nothing.
 */
#include "verifykit.h"

#include <sys/wait.h>
#include <unistd.h>

struct node {
    uint64_t value;
    struct node *next;
};

struct other {
    struct other *a, *b;
};

struct host {
    uintptr_t hidden; /* read by trace_host alone */
};

struct flex {
    uint64_t n;
    void *slot[];
};

static void
trace_host(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    gc_trace(tracer, (const void *)(((const struct host *)obj)->hidden ^ 1));
}

GC_TYPE(node_type, struct node, next);
GC_TYPE(other_type, struct other, a, b);
GC_TYPE_TRACED(host_type, struct host, trace_host);
GC_TYPE_FLEX_PLAIN(flex_type, struct flex, slot, gc_pointer_type);
GC_TYPE_CONSERVATIVE(words_type, struct other);

static struct node *head; /* registered */
static void *second;      /* registered */

/* What the test remembers of objects without holding them. */
static uintptr_t node_at[200];

static void
start(void)
{
    byhand_start(1);
    cr_assert_eq(gc_root_add(&head, sizeof(head)), GC_OK);
    cr_assert_eq(gc_root_add(&second, sizeof(second)), GC_OK);
}

TestSuite(checkmark, .init = start, .fini = byhand_stop, .timeout = 60);

static NOINLINE void
build_list(size_t n)
{
    for (size_t i = n; i-- > 0;) {
        struct node *node = gc_alloc(&node_type);

        node->value = i;
        node->next = head;
        node_at[i] = t_hide(node);
        gc_write(&head, node);
    }
}

static struct node *
node_of(size_t i)
{
    return t_reveal(node_at[i]);
}

static char text[CHECKMARK_TEXT], path[PATH_TEXT];

static gc_status
compare(void)
{
    gc_status status;

    t_wipe_stack();
    gc_block_enter();
    status = gcrt_checkmark_compare(heap, text, path);
    gc_block_leave();
    return status;
}

/* The cycle up to the point where marking opens; what is on this stack does not count. */
static void
open_cycle(void)
{
    t_wipe_stack();
    t_wipe_registers();
    byhand_scan();
    byhand_collect_roots();
    byhand_open();
}

static void
end_cycle(void)
{
    byhand_close();
    byhand_advance();
    byhand_sweep();
}

/* A complaint about p with this tag; want is the path, up to where it is as long as that. */
static void
expect_complaint(const char *tag, const void *p, const char *want)
{
    char name[32], at[64];
    gc_status status = compare();

    snprintf(name, sizeof(name), "[%s] ", tag);
    snprintf(at, sizeof(at), " at %p, ", p);
    cr_assert_eq(status, GC_ERR_CORRUPT);
    cr_expect_eq(strncmp(text, name, strlen(name)), 0, "%s", text);
    cr_expect_not_null(strstr(text, at), "%s: is not about %p", text, p);
    cr_expect_str_eq(path, want, "the path is\n%sbut should be\n%s", path, want);
}

/* The path from `from` to node `last` by the list. */
static char *
list_path(const char *root, const void *at, size_t first, size_t last)
{
    static char want[PATH_TEXT];
    int used = snprintf(want, sizeof(want), "%s%#lx\n", root, (unsigned long)at);

    for (size_t i = first; i <= last; i++)
        used += snprintf(want + used, sizeof(want) - (size_t)used, "struct node at %p%s\n",
                (void *)node_of(i), i == last ? "" : ", its word at +8");
    return want;
}

/* ---- what is right ---- */

Test(checkmark, an_honest_cycle_agrees_and_everything_was_looked_at)
{
    const struct checkmark *c = heap->checkmark;

    build_list(200);
    for (int i = 0; i < 3; i++) {
        open_cycle();
        GC_KEEP_ALIVE(gc_alloc_array(&node_type, 100));
        byhand_mark();
        cr_expect_eq(compare(), GC_OK, "%s", text);
        cr_expect_geq(c->reachable, 200);
        cr_expect_geq(c->reachable_end, 200);
        cr_expect_geq(c->born_since, 1);
        cr_expect_eq(c->cycles, (uint64_t)i + 1);
        end_cycle();
        cr_expect_eq(gc_verify(heap), GC_OK, "%s", gc_last_error());
    }
}

/* second -> a large array -> a flexible object -> a traced one -> words -> the list. */
static NOINLINE void
build_every_form(void)
{
    struct flex *flex = gc_alloc_flex(&flex_type, 3);
    struct host *host = gc_alloc(&host_type);
    struct other *words = gc_alloc(&words_type);
    void **array = gc_alloc_array(&gc_pointer_type, 10000);

    build_list(2);
    gc_write(&words->b, (struct other *)(void *)head);
    gc_write(&head, NULL);
    host->hidden = (uintptr_t)words ^ 1;
    gc_write(&flex->slot[2], host);
    gc_write(&array[9999], flex);
    gc_write(&second, array);
}

Test(checkmark, every_form_of_type_is_read)
{
    static const char *const want[] = { "a root range, word at 0x", "void * at 0x",
        ", its word at +79992\nstruct flex at 0x", ", its word at +24\nstruct host at 0x",
        ", by its trace function\nstruct other at 0x", ", its word at +8\nstruct node at 0x" };
    const char *at = path;

    build_every_form();
    open_cycle();
    byhand_mark();
    byhand_set_mark(node_of(1), false);
    cr_assert_eq(compare(), GC_ERR_CORRUPT);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        at = strstr(at, want[i]);
        cr_assert_not_null(at, "%s: not in\n%s", want[i], path);
    }
}

/* ---- what is wrong ---- */

Test(checkmark, a_lost_mark_is_reported_with_the_path_from_a_root_range)
{
    build_list(5);
    open_cycle();
    byhand_mark();
    byhand_set_mark(node_of(3), false);
    expect_complaint("mark.snapshot", node_of(3),
            list_path("a root range, word at ", &head, 0, 3));
}

Test(checkmark, of_a_long_path_the_middle_is_left_out)
{
    build_list(100);
    open_cycle();
    byhand_mark();
    byhand_set_mark(node_of(99), false);
    cr_assert_eq(compare(), GC_ERR_CORRUPT);
    cr_expect_not_null(strstr(path, "\n(88 more)\n"), "%s", path);
    for (size_t i = 0; i < 100; i++) {
        char at[32];

        snprintf(at, sizeof(at), " at %p", (void *)node_of(i));
        cr_expect_eq(strstr(path, at) != NULL, i < 6 || i >= 94, "node %zu in\n%s", i, path);
    }
}

Test(checkmark, an_object_that_is_marked_and_not_pushed_loses_its_child)
{
    build_list(5);
    open_cycle();
    byhand_set_mark(node_of(1), true);
    byhand_mark();
    cr_expect_not(byhand_is_marked(node_of(2)));
    expect_complaint("mark.snapshot", node_of(2),
            list_path("a root range, word at ", &head, 0, 2));
}

Test(checkmark, a_root_range_that_nobody_collects_is_missed)
{
    build_list(2);
    t_wipe_stack();
    t_wipe_registers();
    byhand_scan();
    byhand_open();
    byhand_mark();
    expect_complaint("mark.snapshot", node_of(0),
            list_path("a root range, word at ", &head, 0, 0));
}

Test(checkmark, a_handle_is_a_root)
{
    gc_handle *handle;

    build_list(2);
    handle = gc_handle_new(head);
    gc_write(&head, NULL);
    open_cycle();
    byhand_mark();
    byhand_set_mark(node_of(1), false);
    expect_complaint("mark.snapshot", node_of(1), list_path("a handle, ", handle, 0, 1));
}

/* Throws away what H3 collected. */
static void
lose_scanned_words(void)
{
    struct workbuf *b;

    while ((b = gcrt_work_pop_raw(&heap->work)) != NULL)
        gcrt_work_put_empty(&heap->work, b);
}

Test(checkmark, a_stack_that_was_scanned_in_vain_is_named)
{
    struct node *volatile held;
    char root[128];

    build_list(2);
    held = head;
    gc_write(&head, NULL);
    byhand_scan();
    lose_scanned_words();
    byhand_collect_roots();
    byhand_open();
    byhand_mark();
    snprintf(root, sizeof(root), "the stack of thread %d as it was scanned, word at ",
            byhand_self()->tid);
    cr_assert_eq(compare(), GC_ERR_CORRUPT);
    cr_expect_eq(strncmp(text, "[mark.snapshot] ", 16), 0, "%s", text);
    cr_expect_eq(strncmp(path, root, strlen(root)), 0, "%s", path);
    GC_KEEP_ALIVE(held);
}

/* The store rule, broken by the host: only the stack has the child afterwards. */
Test(checkmark, a_deletion_without_its_barrier_is_reported_though_the_link_is_gone)
{
    struct node *volatile child;

    build_list(5);
    open_cycle();
    child = head->next->next;
    head->next->next = NULL; /* no gc_write */
    byhand_mark();
    cr_expect_not(byhand_is_marked(child));
    expect_complaint("mark.snapshot", node_of(2),
            list_path("a root range, word at ", &head, 0, 2));
}

Test(checkmark, a_white_newborn_is_reported)
{
    struct other *volatile born;

    open_cycle();
    byhand_self()->p->cache.black = false;
    born = gc_alloc(&other_type); /* the first of its kind: a run of its own */
    byhand_self()->p->cache.black = true;
    byhand_mark();
    cr_expect_not(byhand_is_marked(born));
    expect_complaint("mark.born", born, "");
}

Test(checkmark, a_root_that_gets_an_unmarked_object_in_the_end_is_reported)
{
    build_list(5);
    gc_write(&head, NULL);
    open_cycle();
    byhand_mark();
    gc_write(&head, node_of(3)); /* no mutator could have held it */
    expect_complaint("mark.reach", node_of(3),
            list_path("a root range, word at ", &head, 3, 3));
}

/* ---- what proves nothing ---- */

/* Node 4 is the oldest; in the slot after it lies node 3. */
static NOINLINE void
hold_the_oldest(void)
{
    cr_assert_eq((void *)(node_of(4) + 1), (void *)node_of(3));
    gc_write(&second, node_of(4));
    gc_write(&head, NULL);
}

Test(checkmark, a_root_one_past_a_marked_object_does_not_cry_wolf)
{
    build_list(5);
    hold_the_oldest();
    open_cycle();
    gc_write(&second, (char *)second + sizeof(struct node));
    byhand_mark();
    cr_expect_not(byhand_is_marked(node_of(3)));
    cr_expect_eq(compare(), GC_OK, "%s", text);
}

Test(checkmark, a_stack_word_that_leads_to_garbage_is_only_counted)
{
    struct node *volatile stale;

    build_list(5);
    gc_write(&head, NULL);
    open_cycle();
    stale = node_of(2);
    byhand_mark();
    cr_expect_eq(compare(), GC_OK, "%s", text);
    cr_expect_geq(heap->checkmark->ambiguous, 1);
    GC_KEEP_ALIVE(stale);
}

/* The root's word becomes the stack's after the scan; for both, one past the end counts. */
Test(checkmark, a_word_one_past_an_object_may_move_from_a_root_to_the_stack)
{
    char *volatile end;

    build_list(1);
    gc_write(&second, (struct node *)gc_alloc_array(&node_type, 2) + 2);
    gc_write(&head, NULL);
    t_wipe_stack();
    t_wipe_registers();
    byhand_scan();
    end = second;
    gc_write(&second, NULL);
    byhand_collect_roots();
    byhand_open();
    byhand_mark();
    cr_expect(byhand_is_marked(end - 1));
    end_cycle();
}

/* ---- the end ---- */

static void
lose_a_mark(void *arg)
{
    (void)arg;
    start();
    build_list(2);
    open_cycle();
    byhand_mark();
    byhand_set_mark(node_of(1), false);
    gc_block_enter();
    gcrt_checkmark_close(heap);
    gc_block_leave();
}

Test(checkmark_fatal, the_last_words_are_the_path_and_one_fatal_line, .timeout = 60)
{
    char said[4096];
    int status = t_child(lose_a_mark, NULL, said, sizeof(said));
    const char *fatal = strstr(said, "gcrt: fatal: checkmark: [mark.snapshot] struct node at ");

    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_assert_not_null(fatal, "%s", said);
    cr_expect_eq(strncmp(said, "gcrt: checkmark: path: a root range, word at 0x", 47), 0, "%s",
            said);
    cr_expect_not_null(strstr(said, "\ngcrt: checkmark: path: struct node at 0x"), "%s", said);
    cr_expect_eq(strchr(fatal, '\n')[1], '\0', "it is the last line: %s", said);
}
