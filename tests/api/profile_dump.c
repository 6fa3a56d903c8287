/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a program with known allocations, for pprof_test.py: writes the heap profile, the
 * allocations since the start, and those of a window, to the files that it is given.
 *
 * Place: public interface only.
 */
#include <gcrt/gcrt.h>

#include <stdio.h>

struct node {
    struct node *next;
    char pad[56];
};
GC_TYPE(node_type, struct node, next);

static struct node *list;

/* Not static, and called with what the compiler does not know: each is one function, by name. */
void keeper(int n);
void waster(int n);
void giant(int n);

__attribute__((noinline)) void
keeper(int n)
{
    while (n-- > 0) {
        struct node *x = gc_alloc(&node_type);

        x->next = list;
        gc_write(&list, x);
    }
}

__attribute__((noinline)) void
waster(int n)
{
    while (n-- > 0)
        GC_KEEP_ALIVE(gc_alloc_bytes(100));
}

__attribute__((noinline)) void
giant(int n)
{
    while (n-- > 0)
        GC_KEEP_ALIVE(gc_alloc_bytes(1000000));
}

static int
to_file(void *arg, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, arg) != n;
}

static int
closed(FILE *f, gc_status status)
{
    return fclose(f) == 0 && status == GC_OK;
}

int
main(int argc, char **argv)
{
    FILE *f;
    gc_options opt;
    gc_profile *since;
    int ok = 1, once = argc - 3;

    gc_options_default(&opt);
    opt.precise_stacks = 1; /* what is dropped is dead */
    if (argc != 4 || gc_init(&opt) != GC_OK || gc_root_add(&list, sizeof(list)) != GC_OK)
        return 2;
    for (int i = 0; i < 10; i++) {
        keeper(20000 * once);
        waster(50000 * once);
        giant(10 * once);
    }
    gc_collect(NULL);
    f = fopen(argv[1], "wb");
    ok &= f != NULL && closed(f, gc_profile_write_heap(NULL, &(gc_sink){ to_file, f }));
    f = fopen(argv[2], "wb");
    ok &= f != NULL && closed(f, gc_profile_write_allocs(NULL, NULL, &(gc_sink){ to_file, f }));
    since = gc_profile_take(NULL);
    waster(200000 * once);
    f = fopen(argv[3], "wb");
    ok &= since != NULL && f != NULL
        && closed(f, gc_profile_write_allocs(NULL, since, &(gc_sink){ to_file, f }));
    gc_profile_free(since);
    gc_shutdown();
    return ok ? 0 : 1;
}
