/* SPDX-License-Identifier: MIT */
/* finalizer: buffers that are dear to make go back to a free list instead of dying. */
#include <gcrt/gcrt.h>

#include <stdio.h>

struct buffer {
    struct buffer *next;
    char text[4000];
};
GC_TYPE(buffer_type, struct buffer, next);

static struct buffer *free_list; /* registered as a root */
static int made, taken_again;

static void
keep(void *obj, void *arg)
{
    struct buffer *b = obj;

    (void)arg;
    gc_write(&b->next, free_list); /* it may live on */
    gc_write(&free_list, b);
}

static struct buffer *
buffer_get(void)
{
    struct buffer *b = free_list;

    if (b != NULL) {
        gc_write(&free_list, b->next);
        gc_write(&b->next, NULL); /* or the next one in the list would wait for this one */
        taken_again++;
    } else {
        b = gc_alloc(&buffer_type), made++;
    }
    return gc_finalizer_set(b, keep, NULL) == GC_OK ? b : NULL; /* once more each time */
}

int
main(void)
{
    gc_options opt;

    gc_options_default(&opt);
    opt.cleanup_threads = 0; /* a host with one thread: callbacks run when it says so */
    if (gc_init(&opt) != GC_OK || gc_root_add(&free_list, sizeof(free_list)) != GC_OK)
        return 1;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 50; i++)
            if (buffer_get() == NULL)
                return 1;
        gc_collect(NULL);
        gc_run_cleanups(NULL, 1000);
    }
    printf("500 buffers: %d made, %d taken again\n", made, taken_again);
    gc_shutdown();
    return made < 200 ? 0 : 1;
}
