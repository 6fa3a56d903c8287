/* SPDX-License-Identifier: MIT */
/*
 * What does a process with a big heap pay for a child?
 *
 * The live heap is a table of records of 64 bytes without pointers among each other; with a
 * peer that collects, a collection has just ended, and `threads` more threads sit idle and
 * attached.  Then, `count` times: fork, exec of /bin/true, wait.  Reported are the medians of
 * the parent's time in fork, and of the whole; exec=0 leaves out the exec (the child's
 * _exit comes at once).  The malloc peer shows what the kernel and libc take by themselves.
 */
#include PEER_HEADER

#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

struct record {
    struct record *self;
    uint64_t key, spare[6];
};

PEER_TYPE(record_type, struct record, 1, self);

static sem_t go, attached;

static void *
idle_main(void *arg)
{
    peer_free(peer_alloc(sizeof(struct record), &record_type));
    sem_post(&attached);
    while (sem_wait(&go) != 0)
        continue;
    return arg;
}

static void
fill(struct record **table, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct record *record = peer_alloc(sizeof(*record), &record_type);

        record->self = record;
        record->key = i;
        peer_write(&table[i], record);
    }
}

static void
child(int exec)
{
    if (exec)
        execl("/bin/true", "true", (char *)NULL);
    _exit(exec);
}

static void
run(struct bench_hist *forks, struct bench_hist *wholes, uint64_t count, int exec)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = bench_now_ns();
        pid_t pid = fork();
        int status;

        if (pid == 0)
            child(exec);
        bench_hist_add(forks, bench_now_ns() - start);
        bench_check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child");
        bench_hist_add(wholes, bench_now_ns() - start);
    }
}

static void
report(const struct bench_arg *args, const struct bench_hist *forks,
        const struct bench_hist *wholes)
{
    struct bench_heap_stats heap;

    bench_json_begin("fork", PEER_NAME, peer_version());
    bench_json_u64("live", args[0].value);
    bench_json_u64("threads", args[1].value);
    bench_json_u64("exec", args[3].value);
    bench_json_hist("fork", forks);
    bench_json_hist("whole", wholes);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"live", (uint64_t)1 << 30, "bytes of live records"},
            {"threads", 4, "idle threads"},
            {"count", 50, "forks"},
            {"exec", 1, "0: the child exits at once"},
    };
    static struct bench_hist forks, wholes;
    pthread_t threads[BENCH_THREADS_MAX];
    struct record **table;
    uint64_t n;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    if (args[1].value > BENCH_THREADS_MAX || args[2].value == 0)
        bench_die("too many threads or no forks");
    n = args[0].value / sizeof(struct record);
    peer_init();
    peer_type_init(record_type);
    sem_init(&go, 0, 0);
    sem_init(&attached, 0, 0);
    for (uint64_t i = 0; i < args[1].value; i++) {
        peer_thread_create(&threads[i], idle_main, NULL);
        while (sem_wait(&attached) != 0)
            continue;
    }
    table = peer_alloc_pointers(n + 1);
    fill(table, n);
    peer_collect();
    run(&forks, &wholes, args[2].value, args[3].value != 0);
    BENCH_ESCAPE(table);
    report(args, &forks, &wholes);
    for (uint64_t i = 0; i < args[1].value; i++)
        sem_post(&go);
    for (uint64_t i = 0; i < args[1].value; i++)
        peer_thread_join(threads[i]);
    peer_finish();
    return 0;
}
