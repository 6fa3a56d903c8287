/* SPDX-License-Identifier: MIT */
/* Who is told what, in which order, and when a listener is gone. */
#include "byhand.h"

#include "gc/listen.h"

#include <pthread.h>

enum { TOLD_MAX = 8 };

struct ear {
    size_t n;
    gc_event told[TOLD_MAX];
};

static void
hear(gc_heap *heap, const gc_event *event, void *arg)
{
    struct ear *ear = arg;

    cr_assert_eq(heap, the_heap);
    cr_assert_lt(ear->n, (size_t)TOLD_MAX);
    ear->told[ear->n++] = *event;
}

Test(listen, those_who_listen_are_told)
{
    struct ear one = { .n = 0 }, two = { .n = 0 };

    begin_by_hand();
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_BEGIN, 0);
    cr_assert_eq(gc_listen(the_heap, hear, &one), GC_OK);
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 17);
    cr_assert_eq(gc_listen(the_heap, hear, &two), GC_OK);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_END, 18);
    gc_unlisten(the_heap, hear, &one);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_BEGIN, 0);
    cr_assert_eq(one.n, 2);
    cr_expect_eq(one.told[0].kind, GC_EVENT_MARKED);
    cr_expect_eq(one.told[0].duration_ns, 17);
    cr_expect_eq(one.told[1].kind, GC_EVENT_CYCLE_END);
    cr_assert_eq(two.n, 2);
    cr_expect_eq(two.told[1].kind, GC_EVENT_CYCLE_BEGIN);
    gc_unlisten(the_heap, hear, &two);
    end_by_hand();
}

Test(listen, the_longest_pause_is_told_first_and_once)
{
    gc_recorder_options opt = { .pause_ns = 1000 };
    struct ear ear = { .n = 0 };

    begin_by_hand();
    cr_assert_eq(gc_recorder_start(the_heap, &opt), GC_OK);
    cr_assert_eq(gc_listen(the_heap, hear, &ear), GC_OK);
    listen_note_pause(the_heap, 1, 999);
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 1);
    cr_assert_eq(ear.n, 1, "too short");
    listen_note_pause(the_heap, 2, 1000);
    listen_note_pause(the_heap, 3, 3000);
    listen_note_pause(the_heap, 4, 2000);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_END, 1);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_BEGIN, 1);
    cr_assert_eq(ear.n, 4);
    cr_expect_eq(ear.told[1].kind, GC_EVENT_PAUSE);
    cr_expect_eq(ear.told[1].duration_ns, 3000);
    cr_expect_eq(ear.told[1].thread, 3);
    cr_expect_eq(ear.told[2].kind, GC_EVENT_CYCLE_END);
    listen_note_pause(the_heap, (1 << LISTEN_TID_BITS) - 1, UINT64_MAX);
    listen_note_pause(the_heap, 6, 6000);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_BEGIN, 1);
    cr_assert_eq(ear.n, 6);
    cr_expect_eq(ear.told[4].duration_ns, LISTEN_NS_MAX, "more than an hour");
    cr_expect_eq(ear.told[4].thread, (1 << LISTEN_TID_BITS) - 1);
    gc_recorder_stop(the_heap);
    listen_note_pause(the_heap, 5, 5000);
    gcrt_listen_tell(the_heap, GC_EVENT_CYCLE_BEGIN, 1);
    cr_expect_eq(ear.n, 7, "no bound, no pause");
    gc_unlisten(the_heap, hear, &ear);
    end_by_hand();
}

Test(listen, more_than_eight_are_refused)
{
    struct ear ears[LISTENERS + 1];

    begin_by_hand();
    for (size_t i = 0; i < LISTENERS; i++)
        cr_assert_eq(gc_listen(the_heap, hear, &ears[i]), GC_OK);
    cr_expect_eq(gc_listen(the_heap, hear, &ears[LISTENERS]), GC_ERR_LIMIT);
    cr_expect_str_eq(gc_last_error(), "gc_listen: 8 listeners are all there can be");
    gc_unlisten(the_heap, hear, &ears[3]);
    cr_expect_eq(gc_listen(the_heap, hear, &ears[LISTENERS]), GC_OK);
    cr_expect_eq(gc_listen(the_heap, NULL, NULL), GC_ERR_INVAL);
    end_by_hand();
}

/* ---- a call under way ---- */

static ahalf entered, leave, over;

static void
hear_for_long(gc_heap *heap, const gc_event *event, void *arg)
{
    (void)heap;
    (void)event;
    (void)arg;
    ahalf_store_release(&entered, 1);
    while (ahalf_load_acquire(&leave) == 0)
        gcrt_os_yield();
    ahalf_store_release(&over, 1);
}

static void *
tell(void *arg)
{
    gcrt_listen_tell(arg, GC_EVENT_MARKED, 1);
    return NULL;
}

static void *
let_go(void *arg)
{
    gcrt_os_sleep_ns(20 * 1000 * 1000);
    ahalf_store_release(&leave, 1);
    return arg;
}

Test(listen, who_is_taken_out_is_not_being_called)
{
    pthread_t teller, later;

    begin_by_hand();
    cr_assert_eq(gc_listen(the_heap, hear_for_long, NULL), GC_OK);
    cr_assert_eq(pthread_create(&teller, NULL, tell, the_heap), 0);
    while (ahalf_load_acquire(&entered) == 0)
        gcrt_os_yield();
    cr_assert_eq(pthread_create(&later, NULL, let_go, NULL), 0);
    gc_unlisten(the_heap, hear_for_long, NULL);
    cr_expect_eq(ahalf_load_acquire(&over), 1);
    pthread_join(teller, NULL);
    pthread_join(later, NULL);
    end_by_hand();
}

Test(listen, pauses_that_nobody_listened_to_are_not_told)
{
    gc_recorder_options opt = { .pause_ns = 1000 };
    struct ear ear = { .n = 0 };

    begin_by_hand();
    cr_assert_eq(gc_recorder_start(the_heap, &opt), GC_OK);
    listen_note_pause(the_heap, 1, 5000);
    cr_assert_eq(gc_listen(the_heap, hear, &ear), GC_OK);
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 1);
    cr_expect_eq(ear.n, 1, "before there was a listener");
    listen_note_pause(the_heap, 1, 5000);
    gc_recorder_stop(the_heap);
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 1);
    cr_expect_eq(ear.n, 2, "of none from the stop on");
    listen_note_pause(the_heap, 1, 5000);
    the_heap->os.fail_from = 1;
    cr_expect_eq(gc_recorder_start(the_heap, &(gc_recorder_options){ .pause_ns = 7 }),
            GC_OK, "its rings are there already");
    the_heap->os.fail_from = 0;
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 1);
    cr_expect_eq(ear.n, 3, "nor of those before the start");
    gc_recorder_stop(the_heap);
    gc_unlisten(the_heap, hear, &ear);
    end_by_hand();
}

Test(listen, a_recorder_that_does_not_start_tells_of_no_pause)
{
    gc_recorder_options opt = { .pause_ns = 1000 };
    struct ear ear = { .n = 0 };

    begin_by_hand();
    cr_assert_eq(gc_listen(the_heap, hear, &ear), GC_OK);
    the_heap->os.fail_from = 1;
    cr_expect_eq(gc_recorder_start(the_heap, &opt), GC_ERR_NOMEM);
    the_heap->os.fail_from = 0;
    listen_note_pause(the_heap, 1, 5000);
    gcrt_listen_tell(the_heap, GC_EVENT_MARKED, 1);
    cr_expect_eq(ear.n, 1);
    gc_unlisten(the_heap, hear, &ear);
    end_by_hand();
}

/* ---- what may be asked there ---- */

static uint64_t trigger_seen;

static void
read_trigger(gc_heap *heap, const gc_event *event, void *arg)
{
    gc_metric_sample s = { .name = "/gc/heap/trigger:bytes" };

    (void)arg;
    if (event->kind == GC_EVENT_MARKED && gc_metrics_read(heap, &s, 1) == GC_OK)
        trigger_seen = s.value.u64;
}

Test(listen, the_trigger_is_the_last_one_while_a_cycle_runs)
{
    struct gc_heap *heap;

    cr_assert_eq(gc_heap_create(NULL, &heap), GC_OK);
    cr_assert_eq(gc_listen(heap, read_trigger, NULL), GC_OK);
    gc_collect(heap);
    cr_expect(trigger_seen > 0 && trigger_seen < (uint64_t)1 << 40, "%llu",
            (unsigned long long)trigger_seen);
    gc_unlisten(heap, read_trigger, NULL);
    cr_assert_eq(gc_heap_destroy(heap), GC_OK);
}

/* ---- the collector's own thread waits for no cycle ---- */

static int
refuse(void *arg, const char *bytes, size_t n)
{
    (void)arg;
    (void)bytes;
    (void)n;
    return 1;
}

static gc_status looked[2];
static int looks; /* atomic */

static void
look_from_listener(gc_heap *heap, const gc_event *event, void *arg)
{
    const gc_sink nowhere = { refuse, NULL };

    (void)event;
    (void)arg;
    looked[0] = gc_verify(heap);
    looked[1] = gc_heap_snapshot_write(heap, &nowhere);
    __atomic_add_fetch(&looks, 1, __ATOMIC_SEQ_CST);
}

Test(listen, who_looks_at_the_whole_heap_there_is_refused)
{
    begin_by_hand();
    cr_assert_eq(gc_listen(the_heap, look_from_listener, NULL), GC_OK);
    gc_collect(the_heap);
    gc_unlisten(the_heap, look_from_listener, NULL);
    cr_expect_gt(__atomic_load_n(&looks, __ATOMIC_SEQ_CST), 0);
    cr_expect_eq(looked[0], GC_ERR_BUSY);
    cr_expect_eq(looked[1], GC_ERR_BUSY);
    cr_expect_eq(gc_verify(the_heap), GC_OK, "%s", gc_last_error());
    end_by_hand();
}

static void
collect_from_listener(gc_heap *heap, const gc_event *event, void *arg)
{
    (void)event;
    (void)arg;
    gc_collect(heap);
}

Test(listen, who_collects_there_ends_the_process, .signal = SIGABRT)
{
    begin_by_hand();
    cr_assert_eq(gc_listen(the_heap, collect_from_listener, NULL), GC_OK);
    gc_collect(the_heap);
}

Test(listen, nobody_to_take_out_is_fatal, .signal = SIGABRT)
{
    begin_by_hand();
    gc_unlisten(the_heap, hear, NULL);
}
