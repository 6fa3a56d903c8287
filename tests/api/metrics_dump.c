/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program whose numbers are not all 0, for openmetrics_test.py: writes its metrics in
 * each form to the folder that it is given.
 *
 * Place: public interface only.
 */
#include <gcrt/gcrt.h>

#include <stdio.h>

struct node {
    struct node *next;
    long key;
};
GC_TYPE(node_type, struct node, next);

static struct node *list;

static int
to_file(void *arg, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) != n;
}

static int
dump(const char *folder, const char *name, gc_status (*write)(gc_heap *, const gc_sink *))
{
    char path[4096];
    gc_sink sink = { to_file, NULL };
    FILE *f;
    gc_status status;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "w");
    if (f == NULL)
        return 1;
    sink.arg = f;
    status = write(NULL, &sink);
    return fclose(f) != 0 || status != GC_OK;
}

static void
make_numbers(void)
{
    for (int i = 0; i < 20000; i++) {
        struct node *node = gc_alloc(&node_type);

        node->key = i;
        gc_write(&node->next, i % 7 == 0 ? list : NULL);
        if (i % 7 == 0)
            gc_write(&list, node);
    }
    for (size_t bytes = 1; bytes < 100000; bytes += bytes / 3 + 1)
        GC_KEEP_ALIVE(gc_alloc_bytes(bytes));
    gc_collect(NULL);
}

int
main(int argc, char **argv)
{
    gc_options opt;
    int bad;

    gc_options_default(&opt);
    if (argc != 2 || gc_init(&opt) != GC_OK || gc_root_add(&list, sizeof list) != GC_OK)
        return 1;
    make_numbers();
    bad = dump(argv[1], "prometheus", gc_metrics_write_prometheus)
        | dump(argv[1], "openmetrics", gc_metrics_write_openmetrics)
        | dump(argv[1], "json", gc_metrics_write_json);
    gc_shutdown();
    return bad;
}
