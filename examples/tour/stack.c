/* SPDX-License-Identifier: MIT */
/* stack: Treiber's lock-free stack without hazard pointers. No address is used again while
 * somebody holds it, so a top that still is what was seen has been nothing else meanwhile. */
#include <gcrt/gcrt.h>

struct cell {
    struct cell *next; /* constant once the cell is published */
    long value;
};
GC_TYPE(cell_type, struct cell, next);

static struct cell *top; /* a registered root */
static long sums[4];

static void
push(long value)
{
    struct cell *seen, *c = gc_alloc(&cell_type);

    c->value = value;
    do {
        seen = gc_read_acquire(&top);
        gc_write(&c->next, seen); /* the second time round it is no first store */
    } while (!gc_cas(&top, seen, c));
}

static long
pop(void)
{
    struct cell *seen = gc_read_acquire(&top);

    while (seen != NULL && !gc_cas(&top, seen, seen->next))
        seen = gc_read_acquire(&top);
    return seen == NULL ? 0 : seen->value;
}

static void *
work(void *sum)
{
    for (long i = 1; i <= 100000; i++, *(long *)sum += pop())
        push(i);
    return NULL;
}

int
main(void)
{
    pthread_t thread[4];

    if (gc_init(NULL) != GC_OK || gc_root_add(&top, sizeof(top)) != GC_OK)
        return 1;
    for (int i = 0; i < 4; i++)
        if (gc_pthread_create(&thread[i], NULL, work, &sums[i]) != GC_OK)
            return 1;
    for (int i = 0; i < 20; i++)
        gc_collect(NULL); /* while they work */
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    return sums[0] + sums[1] + sums[2] + sums[3] == 4 * 100000L * 100001 / 2 && !top ? 0 : 1;
}
