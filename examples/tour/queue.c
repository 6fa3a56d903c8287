/* SPDX-License-Identifier: MIT */
/* queue: Michael and Scott's lock-free queue (PODC 1996) without counted pointers. */
#include <gcrt/gcrt.h>

struct cell {
    struct cell *next; /* changes once, from NULL */
    long value;
};
GC_TYPE(cell_type, struct cell, next);

static struct cell *ends[2]; /* a registered root: the one taken last; the last, or nearly */

static void *
put_all(void *unused)
{
    for (long i = 1; i <= 100000; i++) {
        struct cell *c = gc_alloc(&cell_type), *last, *next;

        c->value = i;
        do {
            last = gc_read_acquire(&ends[1]);
            if ((next = gc_read_acquire(&last->next)) != NULL)
                (void)gc_cas(&ends[1], last, next); /* help who is between two steps */
        } while (next != NULL || !gc_cas(&last->next, NULL, c));
        (void)gc_cas(&ends[1], last, c);
    }
    return unused;
}

static long
take(void)
{
    struct cell *first, *next;

    do
        next = gc_read_acquire(&(first = gc_read_acquire(&ends[0]))->next);
    while (next != NULL && !gc_cas(&ends[0], first, next));
    return next == NULL ? 0 : next->value;
}

int
main(void)
{
    pthread_t thread[2];
    long sum = 0;

    if (gc_init(NULL) != GC_OK || gc_root_add(ends, sizeof(ends)) != GC_OK)
        return 1;
    gc_write(&ends[0], gc_alloc(&cell_type));
    gc_write(&ends[1], ends[0]);
    if (gc_pthread_create(&thread[0], NULL, put_all, NULL) != GC_OK
            || gc_pthread_create(&thread[1], NULL, put_all, NULL) != GC_OK)
        return 1;
    for (long n = 0, value; n < 200000; n += value != 0, sum += value)
        if (value = take(), n % 10000 == 0)
            gc_collect(NULL);
    return take() != 0 || sum != 2 * 100000L * 100001 / 2;
}
