/* SPDX-License-Identifier: MIT */
/* foreign: a library that knows nothing of gcrt calls back, on a thread of its own too. */
#include <gcrt/gcrt.h>

struct event {
    struct event *next;
    long number;
};
GC_TYPE(event_type, struct event, next);

static struct event *events; /* a registered root */

/* What the library calls for each of its events. */
static void
on_event(long number)
{
    gc_callback cb;
    struct event *e;

    if (gc_callback_enter(NULL, &cb) != GC_OK) /* from here on the thread is attached */
        return;
    e = gc_alloc(&event_type);
    e->number = number;
    do
        gc_write(&e->next, gc_read_acquire(&events));
    while (!gc_cas(&events, e->next, e));
    if (number % 500 == 0)
        gc_collect(NULL);
    gc_callback_leave(&cb); /* from here on it is what it was */
}

static void *
library_main(void *first)
{
    for (intptr_t i = 0; i < 1000; i++)
        on_event((intptr_t)first + i);
    return NULL;
}

int
main(void)
{
    pthread_t thread;
    long sum = 0;

    if (gc_init(NULL) != GC_OK || gc_root_add(&events, sizeof(events)) != GC_OK)
        return 1;
    if (pthread_create(&thread, NULL, library_main, (void *)1000) != 0)
        return 1;
    GC_BLOCKING
    {
        library_main((void *)0); /* it calls back on this very thread too */
        pthread_join(thread, NULL);
    }
    for (const struct event *e = events; e != NULL; e = e->next)
        sum += e->number;
    gc_shutdown();
    return sum == 1999L * 2000 / 2 ? 0 : 1;
}
