/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder's rings: what is read is what was written, whole, the newest of it, and
 * with the number of the thread that wrote it, whoever writes meanwhile.
 */
#include "byhand.h"

#include "gc/trace.h"
#include "metrics/chrometrace.h"
#include "metrics/out.h"

#include <pthread.h>
#include <stdlib.h>

enum { RING = 4096, EVENTS = RING / 40 };

static struct trace_event *events;
static size_t n;

static void
begin_recording(void)
{
    begin_by_hand();
    cr_assert_eq(gcrt_trace_start(the_heap, RING), GC_OK);
}

static void
read_all(uint64_t from_ns)
{
    free(events);
    cr_assert_eq(gcrt_trace_read(the_heap, from_ns, &events, &n), GC_OK);
}

static void
end_recording(void)
{
    free(events);
    end_by_hand();
}

Test(trace, an_event_is_read_as_it_was_written)
{
    uint64_t before = gcrt_os_now_ns(), start;

    begin_recording();
    start = trace_begin(the_heap);
    TRACE(the_heap, refill, start, 48, 7);
    TRACE(the_heap, signal, 0, 4711, 0);
    read_all(0);
    cr_assert_eq(n, 2);
    cr_expect_eq(events[0].kind, TRACE_refill);
    cr_expect_eq(events[0].a, 48);
    cr_expect_eq(events[0].b, 7);
    cr_expect_eq(events[0].tid, gcrt_os_thread_id());
    cr_expect_eq(events[0].start_ns, start);
    cr_expect_leq(start + events[0].duration_ns, events[1].start_ns);
    cr_expect_eq(events[1].kind, TRACE_signal);
    cr_expect_eq(events[1].duration_ns, 0);
    cr_expect_geq(events[1].start_ns, before);
    end_recording();
}

Test(trace, nothing_is_kept_before_the_start_and_after_the_stop)
{
    begin_by_hand();
    cr_expect_eq(trace_begin(the_heap), 0);
    TRACE(the_heap, large, 0, 1, 0);
    read_all(0);
    cr_expect_eq(n, 0);
    cr_assert_eq(gcrt_trace_start(the_heap, RING), GC_OK);
    TRACE(the_heap, large, 0, 2, 0);
    gcrt_trace_stop(the_heap);
    TRACE(the_heap, large, 0, 3, 0);
    read_all(0);
    cr_assert_eq(n, 1);
    cr_expect_eq(events[0].a, 2);
    cr_assert_eq(gcrt_trace_start(the_heap, 0), GC_OK);
    TRACE(the_heap, large, 0, 4, 0);
    read_all(0);
    cr_expect_eq(n, 2, "what there was is kept");
    end_recording();
}

Test(trace, a_full_ring_keeps_the_newest)
{
    begin_recording();
    for (uint64_t i = 0; i < 3 * EVENTS + 5; i++)
        TRACE(the_heap, large, 0, i, 0);
    read_all(0);
    cr_assert_eq(n, EVENTS);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(events[i].a, 2 * EVENTS + 5 + i);
    end_recording();
}

Test(trace, older_events_are_left_out_if_asked)
{
    begin_recording();
    TRACE(the_heap, large, gcrt_os_now_ns(), 1, 0);
    read_all(gcrt_os_now_ns() + 1000000000u);
    cr_expect_eq(n, 0);
    TRACE(the_heap, large, 0, 2, 0);
    read_all(events == NULL ? 0 : 1);
    cr_expect_eq(n, 2);
    end_recording();
}

/* ---- threads ---- */

struct writer {
    pthread_t thread;
    struct gc_heap *heap;
    uint64_t mark;
    int tid;
};

static void *
write_some(void *arg)
{
    struct writer *w = arg;

    cr_assert_eq(gc_thread_attach(w->heap), GC_OK);
    w->tid = gcrt_os_thread_id();
    TRACE(w->heap, large, 0, w->mark, 0);
    gc_thread_detach();
    return NULL;
}

static size_t
count_of(uint64_t mark, int tid)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += events[i].kind == TRACE_large && events[i].a == mark && events[i].tid == tid;
    return found;
}

Test(trace, threads_that_have_ended_are_remembered)
{
    struct writer w[2 * TRACE_RINGS];

    begin_recording();
    TRACE(the_heap, large, 0, 1, 0);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        w[i] = (struct writer){ .heap = the_heap, .mark = 1000 + i };
        cr_assert_eq(pthread_create(&w[i].thread, NULL, write_some, &w[i]), 0);
        pthread_join(w[i].thread, NULL);
    }
    read_all(0);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        cr_expect_eq(count_of(1000 + i, w[i].tid), 1, "thread %zu", i);
    cr_expect_eq(aword_load_relaxed(&the_heap->tracing.lost), 0);
    cr_expect_eq(count_of(1, gcrt_os_thread_id()), 1);
    end_recording();
}

Test(trace, without_a_free_ring_events_are_lost_and_counted)
{
    struct writer w = { .mark = 5 };

    begin_recording();
    w.heap = the_heap;
    for (size_t i = 0; i < TRACE_RINGS; i++)
        ahalf_store_relaxed(&the_heap->tracing.rings[i].owner, 1);
    cr_assert_eq(pthread_create(&w.thread, NULL, write_some, &w), 0);
    pthread_join(w.thread, NULL);
    read_all(0);
    cr_expect_eq(n, 0);
    cr_expect_eq(aword_load_relaxed(&the_heap->tracing.lost), 3, "attach, large, detach");
    for (size_t i = 0; i < TRACE_RINGS; i++)
        ahalf_store_relaxed(&the_heap->tracing.rings[i].owner, 0);
    end_recording();
}

Test(trace, a_thread_that_is_not_attached_writes_nothing)
{
    begin_recording();
    gc_thread_detach();
    TRACE(the_heap, large, 0, 9, 0);
    read_all(0);
    cr_expect_eq(count_of(9, gcrt_os_thread_id()), 0);
    end_recording();
}

static ahalf ended;

/* Each event's numbers belong together. */
static void *
write_many(void *arg)
{
    struct writer *w = arg;

    cr_assert_eq(gc_thread_attach(w->heap), GC_OK);
    for (uint64_t i = 0; i < 400000; i++)
        TRACE(w->heap, large, i + 1, i, i);
    gc_thread_detach();
    ahalf_add_full(&ended, 1);
    return NULL;
}

Test(trace, a_reader_gets_whole_events_while_they_are_written)
{
    struct writer w[2];
    size_t seen = 0;
    bool over;

    begin_recording();
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        w[i] = (struct writer){ .heap = the_heap };
        cr_assert_eq(pthread_create(&w[i].thread, NULL, write_many, &w[i]), 0);
    }
    do {
        over = ahalf_load_acquire(&ended) == ARRAY_LEN(w);
        read_all(0);
        for (size_t i = 0; i < n; i++) {
            if (events[i].kind != TRACE_large)
                continue;
            cr_assert_eq(events[i].start_ns, events[i].a + 1);
            cr_assert_eq(events[i].b, events[i].a);
            seen++;
        }
    } while (!over);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        pthread_join(w[i].thread, NULL);
    cr_expect_gt(seen, 0);
    end_recording();
}

Test(trace, in_a_forked_child_only_its_own_ring_has_an_owner)
{
    begin_recording();
    TRACE(the_heap, large, 0, 1, 0);
    ahalf_store_relaxed(&the_heap->tracing.rings[TRACE_RINGS - 1].owner, 4711);
    gcrt_trace_forget(the_heap);
    cr_expect_eq(ahalf_load_relaxed(&the_heap->tracing.rings[0].owner),
            (unsigned)gcrt_os_thread_id());
    cr_expect_eq(ahalf_load_relaxed(&the_heap->tracing.rings[TRACE_RINGS - 1].owner), 0);
    end_recording();
}

/* ---- what a window has ---- */

static char written[4096];

static int
append(void *arg, const char *bytes, size_t count)
{
    (void)arg;
    strncat(written, bytes, count < sizeof(written) - strlen(written) - 1
            ? count : sizeof(written) - strlen(written) - 1);
    return 0;
}

Test(trace, a_phase_under_way_when_the_window_begins_is_in_it)
{
    const gc_sink sink = { append, NULL };
    struct trace_event phases[] = {
        { .kind = TRACE_phase, .start_ns = 100, .a = 1, .b = PHASE_STARTING },
        { .kind = TRACE_phase, .start_ns = 200, .a = 1, .b = PHASE_MARKING },
        { .kind = TRACE_phase, .start_ns = 300, .a = 1, .b = PHASE_SWEEPING },
    };

    begin_recording();
    TRACE(the_heap, phase, 0, 1, PHASE_MARKING);
    read_all(UINT64_MAX / 2);
    cr_assert_eq(n, 1, "how long it takes is not known yet");
    cr_assert_eq(gcrt_chrometrace_write(the_heap, phases, 3, 250, &sink), GC_OK);
    cr_expect_null(strstr(written, "starting"), "%s", written);
    cr_expect_not_null(strstr(written, "marking"), "%s", written);
    cr_expect_not_null(strstr(written, "sweeping"), "%s", written);
    end_recording();
}

Test(trace, a_name_that_was_cut_is_written_as_utf_8)
{
    static const char name[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xed\xa0\x80\xc0\xaf\xe2\x82";
    const gc_sink sink = { append, NULL };
    struct out o = { .sink = &sink };

    out_string(&o, name);
    out_flush(&o);
    cr_expect_str_eq(written, "\"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
            "\xef\xbf\xbd\xef\xbf\xbd\"");
}
