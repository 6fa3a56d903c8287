/* SPDX-License-Identifier: MIT */
/*
 * Purpose: several threads start programs at the same time, in every way there is (fork and
 * exec, vfork and exec, posix_spawn, system, popen), attached, in blocking regions and
 * detached, while others allocate, store and collect.  Each program runs and says so, nothing
 * is lost here, and every thread goes on.
 *
 * Place: public interface only.  The program that is started is this one, with one argument.
 *
 * Arguments: starts=10 (by each of 3 threads) and what t_options reads.
 */
#define _GNU_SOURCE

#include "heapkit.h"

#include <pthread.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct link {
    struct link *next;
    uint64_t n;
};

GC_TYPE(link_type, struct link, next);

#define STARTERS 3
#define CODE     23 /* what the started program exits with */

enum way { FORK, VFORK, SPAWN, SYSTEM, POPEN, WAYS };

static char path[4096];
static int stopping;
static uint64_t started[WAYS];

static struct link *
chain(uint64_t n)
{
    struct link *list = NULL;

    for (uint64_t i = 0; i < n; i++) {
        struct link *l = gc_alloc(&link_type);

        l->n = i;
        gc_write(&l->next, list);
        list = l;
    }
    return list;
}

static void
check_chain(const struct link *l, uint64_t n)
{
    for (; l != NULL; l = l->next)
        T_CHECK(l->n == --n, "a link holds %llu, not %llu", (unsigned long long)l->n,
                (unsigned long long)n);
    T_CHECK(n == 0, "%llu links are missing", (unsigned long long)n);
}

static int
wait_for(pid_t pid)
{
    int status = 0;

    T_CHECK(pid > 0, "no process");
    T_CHECK(waitpid(pid, &status, 0) == pid, "waitpid failed");
    return status;
}

/* Apart: what vfork's child shares is this frame. */
static __attribute__((noinline)) pid_t
vfork_and_exec(char **argv)
{
    pid_t pid = vfork();

    if (pid == 0) {
        execv(path, argv);
        _exit(127);
    }
    return pid;
}

static int
start_program(enum way way)
{
    char *argv[] = { path, "started", NULL }, command[sizeof path + 32];
    pid_t pid;

    (void)snprintf(command, sizeof command, "'%s' started", path);
    switch (way) {
    case FORK:
        pid = fork();
        if (pid == 0) {
            execv(path, argv);
            _exit(127);
        }
        return wait_for(pid);
    case VFORK:
        return wait_for(vfork_and_exec(argv));
    case SPAWN:
        T_CHECK(posix_spawn(&pid, path, NULL, NULL, argv, environ) == 0, "posix_spawn failed");
        return wait_for(pid);
    case SYSTEM:
        return system(command);
    default: {
        FILE *f = popen(command, "r");

        T_CHECK(f != NULL, "popen failed");
        return pclose(f);
    }
    }
}

static void
start_one(enum way way, unsigned how)
{
    struct link *list = how == 2 ? NULL : chain(500);
    int status = 0;

    if (how == 1)
        GC_BLOCKING { status = start_program(way); }
    else
        status = start_program(way);
    T_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CODE, "way %d: wait status 0x%x",
            (int)way, (unsigned)status);
    __atomic_fetch_add(&started[way], 1, __ATOMIC_RELAXED);
    if (how != 2)
        check_chain(list, 500);
}

/* In turn attached, attached in a blocking region, and detached. */
static void *
starter_main(void *arg)
{
    gc_heap *heap = arg;

    for (unsigned i = 0; i < (unsigned)t_arg("starts", 10); i++) {
        unsigned how = i % 3;

        if (how != 2)
            T_OK(gc_thread_attach(heap));
        start_one((enum way)(i % WAYS), how);
        if (how != 2)
            gc_thread_detach();
    }
    return NULL;
}

static void *
churn_main(void *unused)
{
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        struct link *list = chain(1000);

        gc_collect(NULL);
        check_chain(list, 1000);
    }
    return unused;
}

int
main(int argc, char **argv)
{
    pthread_t starters[STARTERS], churners[2];
    gc_options opt;
    ssize_t n;

    if (argc == 2 && strcmp(argv[1], "started") == 0)
        return CODE;
    t_start("spawn", argc, argv);
    t_hang_after(300);
    n = readlink("/proc/self/exe", path, sizeof path - 1);
    T_CHECK(n > 0, "no path to this program");
    t_options(&opt);
    T_OK(gc_init(&opt));
    for (int i = 0; i < 2; i++)
        T_OK(gc_pthread_create(&churners[i], NULL, churn_main, NULL));
    for (int i = 0; i < STARTERS; i++)
        T_CHECK(pthread_create(&starters[i], NULL, starter_main, gc_thread_heap()) == 0,
                "no thread");
    GC_BLOCKING
    {
        for (int i = 0; i < STARTERS; i++)
            (void)pthread_join(starters[i], NULL);
        __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < 2; i++)
            (void)pthread_join(churners[i], NULL);
    }
    for (int way = 0; way < WAYS; way++)
        T_CHECK(started[way] > 0, "nothing was started in way %d", way);
    t_verify(NULL);
    t_note("started %llu by fork, %llu by vfork, %llu by posix_spawn; cycles=%llu",
            (unsigned long long)started[FORK], (unsigned long long)started[VFORK],
            (unsigned long long)started[SPAWN], (unsigned long long)t_cycles(NULL));
    gc_shutdown();
    return 0;
}
