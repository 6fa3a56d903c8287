/* SPDX-License-Identifier: MIT */
/*
 * Chrome traces.
 *
 * Purpose: what the flight recorder has kept, as a timeline with a row for each thread.
 * Place: behind gc_recorder_write; gc/trace.c has the events.
 * Invariants: every slice is written whole, as a complete event with its duration, so what the
 * rings have forgotten leaves no open ends.  A phase lasts until the next one; the last one is
 * still going on.  What the collector did for a thread that was outside is in that thread's row,
 * where the thread's own wait or blocking call surrounds it.
 * Concurrency: works on a copy.
 * Cost: a sort, and some 150 bytes of text an event.
 *
 * Source: the format is Google's "Trace Event Format"; of it X, i, C and M events are used.
 */
#include "metrics/chrometrace.h"

#include "gc/actions.h"
#include "gc/cycle.h"
#include "metrics/out.h"

#include <stdlib.h>

struct about {
    const char *name, *title, *a, *b;
};

static const struct about about[TRACE_KINDS] = {
#define X(name, title, a, b) { #name, title, a, b },
#include "gc/trace.def"
#undef X
};

static const char *const phases[] = {
    [PHASE_IDLE] = "idle",
    [PHASE_STARTING] = "starting",
    [PHASE_MARKING] = "marking",
    [PHASE_ENDING] = "ending",
    [PHASE_SWEEPING] = "sweeping",
};

struct writer {
    struct out out;
    uint64_t origin_ns, from_ns, now_ns;
    unsigned pid;
    bool more; /* something has been written */
};

static int
compare_starts(const void *x, const void *y)
{
    const struct trace_event *a = x, *b = y;

    if (a->start_ns != b->start_ns)
        return a->start_ns < b->start_ns ? -1 : 1;
    return a->duration_ns > b->duration_ns ? -1 : a->duration_ns < b->duration_ns;
}

/* Whose row an event is in. */
static int
row_of(const struct trace_event *e)
{
    return e->kind == TRACE_proxy ? (int)e->a : e->tid;
}

static int
compare_rows(const void *x, const void *y)
{
    int a = row_of(x), b = row_of(y);

    return a != b ? (a < b ? -1 : 1) : compare_starts(x, y);
}

/* ---- one event ---- */

/* Microseconds with three decimals. */
static void
put_us(struct out *o, uint64_t ns)
{
    out_number(o, ns / 1000);
    out_char(o, '.');
    out_char(o, (char)('0' + ns / 100 % 10));
    out_char(o, (char)('0' + ns / 10 % 10));
    out_char(o, (char)('0' + ns % 10));
}

static void
put_field(struct out *o, const char *name, uint64_t x)
{
    out_text(o, ",\"");
    out_text(o, name);
    out_text(o, "\":");
    out_number(o, x);
}

/* The head of an event: up to its row. */
static void
open_event(struct writer *w, const char *shape, int tid)
{
    struct out *o = &w->out;

    out_text(o, w->more ? ",\n{\"ph\":\"" : "\n{\"ph\":\"");
    w->more = true;
    out_text(o, shape);
    out_text(o, "\",\"cat\":\"gc\"");
    put_field(o, "pid", w->pid);
    put_field(o, "tid", (uint64_t)(unsigned)tid);
}

static void
put_name(struct out *o, const char *name)
{
    out_text(o, ",\"name\":\"");
    out_text(o, name);
    out_char(o, '"');
}

static void
put_time(struct writer *w, const char *name, uint64_t ns)
{
    out_text(&w->out, ",\"");
    out_text(&w->out, name);
    out_text(&w->out, "\":");
    put_us(&w->out, ns);
}

static void
put_start(struct writer *w, uint64_t ns)
{
    put_time(w, "ts", ns > w->origin_ns ? ns - w->origin_ns : 0);
}

static void
put_args(struct out *o, const struct trace_event *e)
{
    const struct about *what = &about[e->kind];

    out_text(o, ",\"args\":{\"event\":\"");
    out_text(o, what->name);
    out_char(o, '"');
    if (*what->a != '\0')
        put_field(o, what->a, e->a);
    if (*what->b != '\0')
        put_field(o, what->b, e->b);
    out_text(o, "}}");
}

/* Handshakes and answers are called after their action, phases after themselves. */
static const char *
name_of(const struct trace_event *e)
{
    switch (e->kind) {
    case TRACE_phase:
        return phases[e->b];
    case TRACE_answer:
    case TRACE_proxy:
        return gcrt_action_name((enum action)e->b);
    default:
        return about[e->kind].title;
    }
}

static bool
is_instant(const struct trace_event *e)
{
    return e->kind == TRACE_signal || e->kind == TRACE_attach || e->kind == TRACE_detach;
}

static void
put_event(struct writer *w, const struct trace_event *e)
{
    bool instant = is_instant(e);

    open_event(w, instant ? "i" : "X", row_of(e));
    put_name(&w->out, name_of(e));
    put_start(w, e->start_ns);
    if (instant)
        out_text(&w->out, ",\"s\":\"t\"");
    else
        put_time(w, "dur", e->duration_ns);
    put_args(&w->out, e);
}

/* Two lines in one diagram: bytes allocated, and the goal. */
static void
put_heap(struct writer *w, const struct trace_event *e)
{
    open_event(w, "C", e->tid);
    put_name(&w->out, "heap");
    put_start(w, e->start_ns);
    out_text(&w->out, ",\"args\":{\"allocated\":");
    out_number(&w->out, e->a);
    put_field(&w->out, "goal", (uint64_t)e->b << 10);
    out_text(&w->out, "}}");
}

static void
put_any(struct writer *w, const struct trace_event *e)
{
    bool over = e->kind == TRACE_phase
        && (e->b == PHASE_IDLE || e->start_ns + e->duration_ns < w->from_ns);

    if (e->kind == TRACE_heap)
        put_heap(w, e);
    else if (!over)
        put_event(w, e);
}

/* ---- all of them ---- */

/* From last to first: each phase ends where the next one of its thread begins. */
static void
measure_phases(const struct writer *w, struct trace_event *events, size_t n)
{
    uint64_t end = w->now_ns;

    for (size_t i = n; i-- > 0;) {
        struct trace_event *e = &events[i];

        if (e->kind != TRACE_phase)
            continue;
        e->duration_ns = end > e->start_ns ? end - e->start_ns : 0;
        end = e->start_ns;
    }
}

static void
put_thread(struct writer *w, int tid)
{
    char name[OS_THREAD_NAME];

    open_event(w, "M", tid);
    out_text(&w->out, ",\"name\":\"thread_name\",\"args\":{\"name\":");
    if (gcrt_os_thread_name_of(tid, name))
        out_string(&w->out, name);
    else
        out_text(&w->out, "\"ended\"");
    out_text(&w->out, "}}");
}

/* Events are in the order of their rows. */
static void
put_rows(struct writer *w, const struct trace_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (i == 0 || row_of(&events[i]) != row_of(&events[i - 1]))
            put_thread(w, row_of(&events[i]));
}

gc_status
gcrt_chrometrace_write(struct gc_heap *heap, struct trace_event *events, size_t n,
        uint64_t from_ns, const gc_sink *sink)
{
    struct writer w = { .out.sink = sink, .origin_ns = heap->counters.start_ns,
        .from_ns = from_ns, .now_ns = gcrt_os_now_ns(), .pid = gcrt_os_process_id() };

    out_text(&w.out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    if (n != 0)
        qsort(events, n, sizeof(*events), compare_rows);
    put_rows(&w, events, n);
    if (n != 0)
        qsort(events, n, sizeof(*events), compare_starts);
    measure_phases(&w, events, n);
    for (size_t i = 0; i < n; i++)
        put_any(&w, &events[i]);
    out_text(&w.out, "\n],\"otherData\":{\"source\":\"gcrt\"");
    put_field(&w.out, "lost", aword_load_relaxed(&heap->tracing.lost));
    out_text(&w.out, "}}\n");
    out_flush(&w.out);
    return w.out.failed ? GC_ERR_SINK : GC_OK;
}
