/* SPDX-License-Identifier: MIT */
/*
 * Threads, and channels between them.
 *
 * Purpose: (spawn thunk) runs on a thread of its own, with a VM of its own, in the same heap;
 * (join t) gives its value, or raises what it raised.  A channel of n places blocks who puts
 * into a full one and who takes out of an empty one; mutexes are made of them (prelude.scm).
 * There is no global lock: threads meet only where they share something.
 * Concurrency: mutexes and conditions are inside the objects, which do not move, and who
 * waits has the object on its VM's stack and is in a blocking region, where others answer
 * for it.  Nothing fails or allocates while such a lock is held.
 * A new thread is attached by gc_pthread_create; its task, a heap object, is its argument.
 */
#include "prims.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { STACK_MAX = 1 << 24 }; /* words */

struct task {
    struct head head; /* size: 1 if it has ended by an error */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;    /* lock */
    value thunk;  /* const */
    value result; /* lock */
};
GC_TYPE_TAGGED(task_type, struct task, value_decode, thunk, result);

struct channel {
    struct head head;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t first, count; /* lock: of the ring */
    struct vector *ring;   /* const */
};
GC_TYPE(channel_type, struct channel, ring);

static void
take(pthread_mutex_t *lock)
{
    if (pthread_mutex_trylock(lock) != 0)
        GC_BLOCKING { pthread_mutex_lock(lock); }
}

/* Threads whose task is not done, and those that are about to detach since. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t gone;
    unsigned running, leaving; /* lock */
} threads = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };

static void
count(int running, int leaving)
{
    pthread_mutex_lock(&threads.lock); /* for some instructions: no blocking region */
    threads.running += (unsigned)running;
    threads.leaving += (unsigned)leaving;
    pthread_cond_broadcast(&threads.gone);
    pthread_mutex_unlock(&threads.lock);
}

bool
thread_alone(void)
{
    bool alone = false;

    GC_BLOCKING {
        pthread_mutex_lock(&threads.lock);
        while (threads.running == 0 && threads.leaving > 0)
            pthread_cond_wait(&threads.gone, &threads.lock);
        alone = threads.running == 0;
        pthread_mutex_unlock(&threads.lock);
    }
    return alone;
}

static void
run_task(struct task *task)
{
    struct vm vm;
    value result = NIL;
    bool ok = false;
    GC_FRAME(task, result);

    if (vm_init(&vm, STACK_MAX)) {
        ok = vm_apply(&vm, task->thunk, NIL, &result);
        take(&task->lock);
        word_store(&task->result, result);
        vm_finish(&vm);
    } else {
        take(&task->lock);
    }
    task->head.size = !ok;
    task->done = true;
    count(-1, 1);
    pthread_cond_broadcast(&task->ended);
    pthread_mutex_unlock(&task->lock);
}

static void *
run_thread(void *arg)
{
    run_task(arg);
    gc_thread_detach();
    count(0, -1);
    return NULL;
}

PRIM(spawn)
{
    struct task *task = gc_alloc(&task_type);
    pthread_t thread;
    GC_FRAME(task);

    task->head.kind = TASK;
    task->thunk = arg[0];
    task->result = NIL;
    pthread_mutex_init(&task->lock, NULL);
    pthread_cond_init(&task->ended, NULL);
    count(1, 0);
    if (gc_pthread_create(&thread, NULL, run_thread, task) != GC_OK) {
        count(-1, 0);
        vm_fail(vm, NOTHING, "spawn: %s", gc_last_error());
    }
    pthread_detach(thread);
    return object(task);
}

PRIM(join)
{
    struct task *task = vm_want(vm, "join", TASK, arg[0]);
    value result;

    take(&task->lock);
    GC_BLOCKING {
        while (!task->done)
            pthread_cond_wait(&task->ended, &task->lock);
    }
    result = word_load(&task->result);
    pthread_mutex_unlock(&task->lock);
    if (task->head.size == 1)
        vm_raise(vm, result);
    return result;
}

PRIM(make_channel)
{
    int64_t places = n == 0 ? 1 : vm_want_index(vm, "make-channel", arg[0], UINT32_MAX);
    value ring = vector_new(places < 1 ? 1 : (size_t)places, NIL);
    struct channel *c;
    GC_FRAME(ring);

    if (ring == 0)
        vm_fail(vm, NOTHING, "make-channel: out of memory");
    c = gc_alloc(&channel_type);
    c->head.kind = CHANNEL;
    c->ring = vector_of(ring);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    return object(c);
}

PRIM(put)
{
    struct channel *c = vm_want(vm, "channel-put!", CHANNEL, arg[0]);
    uint32_t places = c->ring->head.size;

    take(&c->lock);
    GC_BLOCKING {
        while (c->count == places)
            pthread_cond_wait(&c->changed, &c->lock);
    }
    word_store(&c->ring->item[(c->first + c->count++) % places], arg[1]);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NOTHING;
}

PRIM(take)
{
    struct channel *c = vm_want(vm, "channel-take!", CHANNEL, arg[0]);
    uint32_t places = c->ring->head.size;
    value v;

    take(&c->lock);
    GC_BLOCKING {
        while (c->count == 0)
            pthread_cond_wait(&c->changed, &c->lock);
    }
    v = word_load(&c->ring->item[c->first]);
    vm->acc = v; /* held while its place is cleared */
    word_store(&c->ring->item[c->first], NIL);
    c->first = (c->first + 1) % places;
    c->count--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return v;
}

PRIM(sleep)
{
    int64_t ms = vm_want_index(vm, "sleep", arg[0], 1000000000);
    struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

    GC_BLOCKING {
        while (nanosleep(&left, &left) != 0 && errno == EINTR)
            ;
    }
    return NOTHING;
}

const struct prim_spec thread_prims[] = { { "spawn", prim_spawn, 1, 1 },
    { "join", prim_join, 1, 1 }, { "make-channel", prim_make_channel, 0, 1 },
    { "channel-put!", prim_put, 2, 2 }, { "channel-take!", prim_take, 1, 1 },
    { "sleep", prim_sleep, 1, 1 }, { NULL, NULL, 0, 0 } };
