/* SPDX-License-Identifier: MIT */
/*
 * Purpose: publication.  Writers fill fresh objects with plain stores and publish them with
 * gc_write_release, gc_exchange or gc_cas; readers load the pointer with acquire order and
 * read the fields plainly.  ThreadSanitizer sees any order that the library fails to give;
 * the values see lost or half-made objects.  Half of the objects have a trace function, which
 * may run while the first values are being stored.
 *
 * Place: public interface only; for ThreadSanitizer builds, useful without.
 *
 * Concurrency: 2 writers, 2 readers, one collector; slots are a registered root.
 *
 * Arguments: seconds=3 and what t_options reads.
 */

#include "heapkit.h"

#include <pthread.h>

struct message {
    struct message *previous;
    uint64_t a, b;
};

static void
trace_message(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    gc_trace_words(tracer, &((const struct message *)obj)->previous, 1);
}

GC_TYPE(message_type, struct message, previous);
GC_TYPE_TRACED(traced_type, struct message, trace_message);

#define SLOTS 8
#define KEY   UINT64_C(0x123456789abcdef1)

static struct message *slots[SLOTS]; /* registered; atomic: release and acquire */
static int stopping;
static uint64_t written, seen;

static int
stop_wanted(void)
{
    return __atomic_load_n(&stopping, __ATOMIC_RELAXED);
}

static struct message *
message_new(uint64_t value)
{
    struct message *message = gc_alloc(value % 2 ? &traced_type : &message_type);

    message->a = value;
    message->b = value ^ KEY;
    return message;
}

static void
message_check(const struct message *message)
{
    T_CHECK((message->a ^ message->b) == KEY, "a message holds 0x%llx and 0x%llx",
            (unsigned long long)message->a, (unsigned long long)message->b);
}

/* The chain stays two long: the one before the previous is cut off and dies. */
static void
publish(struct message **slot, uint64_t value, uint64_t way)
{
    struct message *old = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    struct message *message = message_new(value);

    switch (way) {
    case 0:
        gc_write_release(slot, message);
        break;
    case 1:
        old = gc_exchange(slot, message);
        if (old != NULL)
            message_check(old);
        break;
    default:
        message->previous = old;
        if (old != NULL)
            gc_write_release(&old->previous, NULL);
        (void)gc_cas(slot, old, message);
        break;
    }
}

static void *
writer_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;

    while (!stop_wanted()) {
        publish(&slots[t_below(&rng, SLOTS)], t_rand(&rng), t_below(&rng, 3));
        n++;
    }
    __atomic_fetch_add(&written, n, __ATOMIC_RELAXED);
    return NULL;
}

static void *
reader_main(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg, n = 0;

    while (!stop_wanted()) {
        struct message *message = __atomic_load_n(&slots[t_below(&rng, SLOTS)],
                __ATOMIC_ACQUIRE);

        if (message == NULL)
            continue;
        message_check(message);
        message = __atomic_load_n(&message->previous, __ATOMIC_ACQUIRE);
        if (message != NULL)
            message_check(message);
        gc_safepoint();
        n++;
    }
    __atomic_fetch_add(&seen, n, __ATOMIC_RELAXED);
    return NULL;
}

int
main(int argc, char **argv)
{
    static void *(*const mains[])(void *) = { writer_main, writer_main, reader_main,
        reader_main };
    pthread_t threads[4];
    gc_options opt;

    t_start("publish", argc, argv);
    t_hang_after(400);
    t_options(&opt);
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(slots, sizeof slots));
    for (size_t i = 0; i < 4; i++)
        T_OK(gc_pthread_create(&threads[i], NULL, mains[i], t_thread_seed(i)));
    t_collect_until_over(&stopping);
    t_join(threads, 4);
    t_verify(NULL);
    T_CHECK(written > 0 && seen > 0, "nothing happened");
    t_note("written=%llu seen=%llu cycles=%llu", (unsigned long long)written,
            (unsigned long long)seen, (unsigned long long)t_cycles(NULL));
    gc_root_remove(slots);
    gc_shutdown();
    return 0;
}
