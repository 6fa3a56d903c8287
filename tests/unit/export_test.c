/* SPDX-License-Identifier: MIT */
/*
 * The texts made of a snapshot: what stands here is compared letter by letter.
 */
#include "metricskit.h"

#include <stdio.h>

static struct timehist scans;

static struct snapshot
with_samples(void)
{
    struct snapshot s = derived();

    s.pause[ACTION_SCAN] = &scans;
    timehist_add(&scans, 1000);
    timehist_add(&scans, 1000);
    timehist_add(&scans, 70000);
    timehist_add(&scans, UINT64_C(20000000000));
    return s;
}

#define P        "gcrt_gc_handshake_pause_scan_seconds"
#define R(le, n) P "_bucket{le=\"" le "\"} " n "\n"
static const char scan_pauses[] =
    "# HELP " P " Single threads' pauses to scan their own stack and registers.\n"
    "# TYPE " P " histogram\n"
    R("0.000000511", "0") R("0.000001023", "2") R("0.000002047", "2") R("0.000004095", "2")
    R("0.000008191", "2") R("0.000016383", "2") R("0.000032767", "2") R("0.000065535", "2")
    R("0.000131071", "3") R("0.000262143", "3") R("0.000524287", "3") R("0.001048575", "3")
    R("0.002097151", "3") R("0.004194303", "3") R("0.008388607", "3") R("0.016777215", "3")
    R("0.033554431", "3") R("0.067108863", "3") R("0.134217727", "3") R("0.268435455", "3")
    R("0.536870911", "3") R("1.073741823", "3") R("2.147483647", "3") R("4.294967295", "3")
    R("8.589934591", "3") R("17.179869183", "3")
    R("+Inf", "4")
    P "_sum 20.000072\n"
    P "_count 4\n";

Test(export, prometheus_text_is_as_written_here)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_prometheus, &s);

    expect_part(&t, "# HELP gcrt_gc_heap_live_bytes "
                    "Bytes of heap that the last cycle marked.\n"
                    "# TYPE gcrt_gc_heap_live_bytes gauge\n"
                    "gcrt_gc_heap_live_bytes 4194304\n");
    expect_part(&t, "# TYPE gcrt_gc_cycles_total_gc_cycles_total counter\n"
                    "gcrt_gc_cycles_total_gc_cycles_total 5\n");
    expect_part(&t, "# TYPE gcrt_cpu_classes_gc_mark_assist_cpu_seconds_total counter\n"
                    "gcrt_cpu_classes_gc_mark_assist_cpu_seconds_total 1.5\n");
    expect_part(&t, "\ngcrt_cpu_classes_gc_total_cpu_seconds_total 1.800000035\n");
    expect_part(&t, "\ngcrt_gc_gogc_percent 18446744073709551615\n");
    expect_part(&t, scan_pauses);
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"8\"} 100\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"16\"} 100\n");
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"28672\"} 100\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"32768\"} 105\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"+Inf\"} 108\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_sum 287520\n"
                    "gcrt_gc_heap_allocs_by_size_bytes_count 108\n");
    expect_part(&t, "\ngcrt_gc_heap_frees_by_size_bytes_sum 205120\n");
    expect_part(&t, "# TYPE gcrt_gc_heap_unused_by_size_bytes gauge\n"
                    "gcrt_gc_heap_unused_by_size_bytes{size=\"8\"} 7712\n"
                    "gcrt_gc_heap_unused_by_size_bytes{size=\"16\"} 0\n");
    expect_part(&t, "{size=\"32768\"} 32768\n# HELP ");
    cr_expect_null(strstr(t.bytes, "# UNIT"));
    cr_expect_null(strstr(t.bytes, "# EOF"));
    free(t.bytes);
}

Test(export, openmetrics_text_is_as_written_here)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_openmetrics, &s);

    expect_part(&t, "# TYPE gcrt_gc_heap_live_bytes gauge\n"
                    "# UNIT gcrt_gc_heap_live_bytes bytes\n"
                    "gcrt_gc_heap_live_bytes 4194304\n");
    expect_part(&t, "# HELP gcrt_gc_cycles_total_gc_cycles "
                    "Complete cycles: automatic and forced.\n"
                    "# TYPE gcrt_gc_cycles_total_gc_cycles counter\n"
                    "# UNIT gcrt_gc_cycles_total_gc_cycles gc_cycles\n"
                    "gcrt_gc_cycles_total_gc_cycles_total 5\n");
    expect_part(&t, "# UNIT " P " seconds\n" P "_bucket{le=\"0.000000511\"} 0\n");
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"8.0\"} 100\n");
    expect_part(&t, "\ngcrt_gc_heap_allocs_by_size_bytes_bucket{le=\"+Inf\"} 108\n");
    expect_part(&t, "\ngcrt_gc_heap_unused_by_size_bytes{size=\"8\"} 7712\n");
    cr_expect_str_eq(t.bytes + t.used - 9, " 7\n# EOF\n");
    free(t.bytes);
}

Test(export, prometheus_text_names_each_family_once)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_prometheus, &s);
    size_t types = 0;

    for (char *c = t.bytes; (c = strstr(c, "# TYPE ")) != NULL; c++) {
        char again[256];

        snprintf(again, sizeof(again), "%.*s", (int)(strchr(c + 7, ' ') - c) + 1, c);
        cr_expect_null(strstr(c + 1, again), "%s", again);
        types++;
    }
    cr_expect_eq(types, gcrt_metrics_count);
    free(t.bytes);
}

Test(export, json_is_as_written_here)
{
    struct snapshot s = with_samples();
    struct text t = exported(gcrt_export_json, &s);

    expect_part(&t, "{\"/cpu/classes/gc/coordinator:cpu-seconds\":0.000000006,\n");
    cr_expect_eq(t.bytes[0], '{');
    expect_part(&t, ",\n\"/gc/heap/live:bytes\":4194304,\n");
    expect_part(&t, ",\n\"/gc/handshake/pause/scan:seconds\":{\"count\":4,"
                    "\"p50\":0.000001024,\"p99\":21.47483648,\"p999\":21.47483648,"
                    "\"max\":20},\n");
    expect_part(&t, ",\n\"/gc/assist:seconds\":"
                    "{\"count\":0,\"p50\":0,\"p99\":0,\"p999\":0,\"max\":0},\n");
    expect_part(&t, ",\n\"/gc/heap/allocs-by-size:bytes\":"
                    "{\"count\":108,\"p50\":8,\"p99\":32769,\"p999\":32769,"
                    "\"max\":32769},\n");
    cr_expect_str_eq(strrchr(t.bytes, ','), ",\n\"/sched/ps:ps\":7}\n");
    free(t.bytes);
}

static void
expect_refusal(exporter *export, size_t refuse)
{
    struct snapshot s = derived();
    struct text t = { .refuse = refuse };
    gc_sink sink = { keep, &t };

    cr_expect_eq(export(&s, &sink), GC_ERR_SINK);
    cr_expect_eq(t.calls, refuse, "a sink that refused is left alone");
    free(t.bytes);
}

Test(export, sink_that_refuses_ends_the_text_with_its_status)
{
    struct snapshot s = derived();
    struct text whole = exported(gcrt_export_json, &s);
    struct text open = exported(gcrt_export_openmetrics, &s);

    expect_refusal(gcrt_export_prometheus, 1);
    expect_refusal(gcrt_export_prometheus, 20);
    expect_refusal(gcrt_export_openmetrics, 1);
    expect_refusal(gcrt_export_openmetrics, 20);
    expect_refusal(gcrt_export_json, 1);
    expect_refusal(gcrt_export_json, whole.calls);
    expect_refusal(gcrt_export_openmetrics, open.calls);
    free(open.bytes);
    free(whole.bytes);
}

Test(export, texts_of_a_real_heap_are_complete)
{
    struct text t = { .used = 0 };
    gc_sink sink = { keep, &t };
    gc_options opt;

    gc_options_default(&opt);
    cr_assert_eq(gc_init(&opt), GC_OK, "%s", gc_last_error());
    gc_collect(NULL);
    cr_expect_eq(gc_metrics_write_prometheus(NULL, &sink), GC_OK);
    expect_part(&t, "\ngcrt_gc_cycles_forced_gc_cycles_total 1\n");
    expect_part(&t, "\n# TYPE gcrt_sched_ps_ps gauge\n");
    t.used = 0;
    cr_expect_eq(gc_metrics_write_json(NULL, &sink), GC_OK);
    expect_part(&t, ",\n\"/gc/cycles/forced:gc-cycles\":1,\n");
    free(t.bytes);
    gc_shutdown();
}
