/* SPDX-License-Identifier: MIT */
/*
 * Threads and mutexes.
 *
 * Purpose: (spawn thunk) runs on a thread of its own, with a VM of its own, in the same heap;
 * (join t) gives its value, or raises what it raised.  There is no global lock: threads
 * meet only where they share something.
 * Concurrency: mutexes are inside the objects, which do not move, and who waits has the object
 * on its VM's stack and is in a blocking region, where others answer for it.  What a thread
 * has done is seen by who has joined it.
 * A new thread is attached by gc_pthread_create; its task, a heap object, is its argument.
 */
#include "vm.h"

unsigned thread_unjoined;

struct task {
    struct head head;     /* size: 1 if it has ended by an error */
    pthread_mutex_t lock; /* held while somebody joins it */
    pthread_t thread;
    uint64_t joined;      /* lock */
    value thunk;          /* const */
    value result;
};
GC_TYPE_TAGGED(task_type, struct task, value_decode, thunk, result);

struct mutex {
    struct head head;
    pthread_mutex_t lock;
};
GC_TYPE_NOSCAN(mutex_type, struct mutex);

static void *
run_thread(void *arg)
{
    struct task *task = arg;
    struct vm vm;
    value result = NIL;
    bool ok = false, started = vm_init(&vm, VM_STACK_MAX);
    GC_FRAME(task, result);

    if (started) {
        ok = vm_apply(&vm, task->thunk, NIL, &result);
        vm_finish(&vm);
    }
    task->head.size = !ok;
    word_store(&task->result, result);
    GC_FRAME_END;
    gc_thread_detach();
    return NULL;
}

PRIM(spawn)
{
    struct task *task = gc_alloc(&task_type);
    GC_FRAME(task);

    task->head.kind = TASK;
    task->thunk = arg[0];
    task->result = NIL;
    pthread_mutex_init(&task->lock, NULL);
    if (gc_pthread_create(&task->thread, NULL, run_thread, task) != GC_OK)
        vm_fail(vm, NOTHING, "spawn: %s", gc_last_error());
    __atomic_fetch_add(&thread_unjoined, 1, __ATOMIC_RELAXED);
    return object(task);
}

PRIM(join)
{
    struct task *task = vm_want(vm, "join", TASK, arg[0]);
    int status = 0;

    lock(&task->lock);
    if (!task->joined) {
        GC_BLOCKING { status = pthread_join(task->thread, NULL); }
        task->joined = status == 0;
        __atomic_fetch_sub(&thread_unjoined, status == 0, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&task->lock);
    if (status != 0)
        vm_fail(vm, NOTHING, "join: a thread cannot wait for itself");
    if (task->head.size == 1)
        vm_raise(vm, task->result);
    return task->result;
}

PRIM(make_mutex)
{
    struct mutex *m = gc_alloc(&mutex_type);
    pthread_mutexattr_t attr;

    m->head.kind = MUTEX;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&m->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    return object(m);
}

PRIM(mutex_lock)
{
    struct mutex *m = vm_want(vm, "mutex-lock!", MUTEX, arg[0]);
    int status = pthread_mutex_trylock(&m->lock);

    if (status != 0)
        GC_BLOCKING { status = pthread_mutex_lock(&m->lock); }
    if (status != 0)
        vm_fail(vm, NOTHING, "mutex-lock!: this thread has it already");
    return NOTHING;
}

PRIM(mutex_unlock)
{
    struct mutex *m = vm_want(vm, "mutex-unlock!", MUTEX, arg[0]);

    if (pthread_mutex_unlock(&m->lock) != 0)
        vm_fail(vm, NOTHING, "mutex-unlock!: this thread does not have it");
    return NOTHING;
}

const struct prim_spec thread_prims[] = { { "spawn", prim_spawn, 1, 1 },
    { "join", prim_join, 1, 1 }, { "make-mutex", prim_make_mutex, 0, 0 },
    { "mutex-lock!", prim_mutex_lock, 1, 1 }, { "mutex-unlock!", prim_mutex_unlock, 1, 1 },
    { NULL, NULL, 0, 0 } };
