/* SPDX-License-Identifier: MIT */
/*
 * Purpose: real limits in place of injected faults: address space, data, processes, files,
 * mappings, thread-specific keys, a cgroup's memory, and signals that cannot be had.  Under
 * each one gc_init either works or says what it lacks; a heap that was made fills up, says
 * NULL, verifies, collects, works again and ends.
 *
 * Place: public interface only.
 *
 * Concurrency: each case is a forked child, for limits cannot be lifted again.
 *
 * Arguments: NAME=0 leaves a case out.  A case that this machine does not permit says so,
 * with the reason, and the others run.
 */

#define _GNU_SOURCE

#include "heapkit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

#if defined(__SANITIZE_ADDRESS__)
# define SHADOWED 1 /* a shadow of terabytes leaves limits of memory no meaning */
#else
# define SHADOWED 0
#endif

/* Exit statuses of a child: it did what it should; gc_init refused; not possible here. */
enum { WORKED = 0, REFUSED = 10, NOT_HERE = 11 };

static void
say(const char *why)
{
    (void)fprintf(stderr, "%s", why);
}

/* gc_init; ends the child when it is refused for one of the two reasons. */
static void
init_or_end(size_t reserve, gc_status reason, gc_status other)
{
    gc_options opt;
    gc_status status;

    gc_options_default(&opt);
    opt.reserve = reserve;
    status = gc_init(&opt);
    if (status == GC_OK)
        return;
    T_CHECK(status == reason || status == other, "gc_init: %s; %s", gc_status_string(status),
            gc_last_error());
    T_CHECK(gc_last_error()[0] != '\0', "gc_init failed and did not say why");
    say(gc_last_error());
    _exit(REFUSED);
}

static __attribute__((noinline)) size_t
fill(size_t bytes)
{
    void **list = NULL;
    size_t n = 0;

    for (;;) {
        void **block = gc_try_alloc_array(&gc_pointer_type, bytes / sizeof(void *));

        if (block == NULL)
            break;
        memset(block + 1, 0, bytes - sizeof(void *)); /* it is there indeed */
        gc_write(&block[0], list);
        list = block;
        n++;
    }
    T_CHECK(t_mentions(gc_last_error(), "no memory for"), "NULL, and \"%s\"",
            gc_last_error());
    for (size_t i = 0; i < n; i++) {
        void **next = list[0];

        gc_write(&list[0], NULL); /* a stale word shall not hold all of it */
        list = next;
    }
    T_CHECK(list == NULL, "a full heap has lost blocks");
    return n;
}

/* Fills the heap, empties it, fills it again: it gives as much, but for stale words. */
static void
fill_twice(void)
{
    size_t first = fill(256 << 10), second;

    t_verify(NULL);
    t_collect_twice(NULL);
    second = fill(256 << 10);
    t_verify(NULL);
    T_CHECK(second + 8 >= first, "%zu blocks, then %zu", first, second);
    gc_shutdown();
}

/* ---- memory ---- */

static size_t
vm_bytes(const char *field)
{
    return t_proc_status_kib(field) << 10;
}

static void
limit_to(int resource, size_t bytes)
{
    struct rlimit limit = { bytes, bytes };

    T_CHECK(setrlimit((__rlimit_resource_t)resource, &limit) == 0, "setrlimit: %s",
            strerror(errno));
}

static void
address_space(void *arg)
{
    t_hang_after(120);
    limit_to(RLIMIT_AS, vm_bytes("VmSize") + *(const size_t *)arg * MIB);
    init_or_end(0, GC_ERR_NOMEM, GC_ERR_THREAD);
    fill_twice();
}

static void
data(void *arg)
{
    t_hang_after(120);
    limit_to(RLIMIT_DATA, vm_bytes("VmData") + *(const size_t *)arg * MIB);
    init_or_end(0, GC_ERR_NOMEM, GC_ERR_THREAD);
    fill_twice();
}

/* ---- threads ---- */

static void *
nothing(void *arg)
{
    return arg;
}

/* Root may have as many as it likes, so be somebody else first.  0 if that is impossible. */
static int
allow_threads(unsigned n)
{
    struct rlimit limit = { n, n };
    pthread_t thread;

    if (geteuid() == 0 && setresuid(64242, 64242, 64242) != 0)
        return 0;
    if (setrlimit(RLIMIT_NPROC, &limit) != 0)
        return 0;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0)
        return 1;
    (void)pthread_join(thread, NULL);
    return 0;
}

static void
no_threads(void *arg)
{
    (void)arg;
    t_hang_after(120);
    if (!allow_threads(0))
        _exit(NOT_HERE);
    init_or_end(0, GC_ERR_THREAD, GC_ERR_THREAD);
    T_CHECK(0, "a heap without a collector's thread");
}

/* From a heap's first moment on no further thread: cycles go on, without workers. */
static void
no_more_threads(void *arg)
{
    pthread_t thread;
    gc_status status;

    (void)arg;
    t_hang_after(120);
    init_or_end(64 * MIB, GC_OK, GC_OK);
    if (!allow_threads(0))
        _exit(NOT_HERE);
    status = gc_pthread_create(&thread, NULL, nothing, NULL);
    T_CHECK(status == GC_ERR_THREAD, "gc_pthread_create: %s", gc_status_string(status));
    say(gc_last_error());
    T_CHECK(t_proc_threads() == 2, "%zu threads", t_proc_threads());
    fill_twice();
}

/* ---- other things that run out ---- */

/* The first thread's stack is looked up in /proc; other threads' are not. */
static void
no_files(void *arg)
{
    (void)arg;
    t_hang_after(120);
    limit_to(RLIMIT_NOFILE, 0);
    init_or_end(0, GC_ERR_THREAD, GC_ERR_THREAD);
    T_CHECK(0, "gc_init has found the stack's bounds without a file");
}

static void *
attached_main(void *arg)
{
    T_OK(gc_thread_attach(arg));
    T_CHECK(gc_try_alloc_bytes(100) != NULL, "%s", gc_last_error());
    gc_collect(NULL);
    gc_thread_detach();
    return NULL;
}

static void
no_files_later(void *arg)
{
    pthread_t thread;
    gc_heap *heap;

    (void)arg;
    t_hang_after(120);
    T_OK(gc_heap_create(NULL, &heap));
    limit_to(RLIMIT_NOFILE, 0);
    T_CHECK(gc_thread_attach(heap) == GC_ERR_THREAD, "attached without bounds");
    say(gc_last_error());
    T_CHECK(gc_thread_heap() == NULL, "attach failed, yet attached");
    T_CHECK(pthread_create(&thread, NULL, attached_main, heap) == 0, "pthread_create");
    (void)pthread_join(thread, NULL);
    T_OK(gc_heap_destroy(heap));
}

static void
no_keys(void *arg)
{
    pthread_key_t key;

    (void)arg;
    while (pthread_key_create(&key, NULL) == 0)
        continue;
    init_or_end(0, GC_ERR_LIMIT, GC_ERR_LIMIT);
    T_CHECK(0, "a heap without a key");
}

static void
foreign_handler(int signal)
{
    (void)signal;
}

/* A signal with a handler, one that takes none, one that is the C library's. */
static void
no_signal(void *arg)
{
    static const int signals[] = { SIGUSR1, SIGKILL, SIGSTOP, 32 };
    gc_options opt;
    gc_heap *heap = NULL;

    (void)arg;
    T_CHECK(signal(SIGUSR1, foreign_handler) != SIG_ERR, "signal");
    gc_options_default(&opt);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        opt.signal = signals[i];
        T_CHECK(gc_heap_create(&opt, &heap) == GC_ERR_THREAD, "signal %d", signals[i]);
        T_CHECK(t_mentions(gc_last_error(), i == 0 ? "has another handler" : "refuses"),
                "signal %d: %s", signals[i], gc_last_error());
        T_CHECK(heap == NULL, "a failed gc_heap_create has set its result");
    }
    opt.signal = SIGUSR2;
    T_OK(gc_heap_create(&opt, &heap));
    T_OK(gc_heap_destroy(heap));
}

/* ---- mappings ---- */

static size_t
most_mappings(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    unsigned long n = 0;

    if (file == NULL || fscanf(file, "%lu", &n) != 1)
        n = 0;
    if (file != NULL)
        (void)fclose(file);
    return n;
}

/* Every second page of a range has another protection, until no more may. */
static void
use_up_mappings(size_t most)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = 2 * most;
    char *room = mmap(NULL, pages * page, PROT_NONE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    T_CHECK(room != MAP_FAILED, "mmap");
    for (size_t i = 1; i < pages && mprotect(room + i * page, page, PROT_READ) == 0; i += 2)
        continue;
    for (size_t i = 0; i < 100; i++) /* a split takes two, and one may be left */
        if (mmap(NULL, page, i % 2 ? PROT_READ : PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                == MAP_FAILED)
            return;
    T_CHECK(0, "%zu mappings and no end", most);
}

/* Of three heaps that lie side by side the middle one ends, without a mapping to spare. */
static void
no_mappings(void *arg)
{
    size_t most = most_mappings();
    gc_heap *heaps[3], *more = NULL;
    gc_options opt;
    gc_status status;

    (void)arg;
    t_hang_after(120);
    if (most == 0 || most > 500000)
        _exit(NOT_HERE);
    gc_options_default(&opt);
    opt.reserve = 64 * MIB;
    for (int i = 0; i < 3; i++)
        T_OK(gc_heap_create(&opt, &heaps[i]));
    T_OK(gc_thread_attach(heaps[0]));
    use_up_mappings(most);
    status = gc_heap_create(&opt, &more);
    T_CHECK(status == GC_ERR_NOMEM || status == GC_ERR_THREAD, "a heap without mappings: %s",
            gc_status_string(status));
    T_CHECK(gc_last_error()[0] != '\0' && more == NULL, "an unclear failure");
    (void)fprintf(stderr, "%s; ", gc_last_error());
    for (int i = 0; i < 1000; i++)
        if (gc_try_alloc_bytes(64 << 10) == NULL)
            T_CHECK(t_mentions(gc_last_error(), "no memory"), "%s", gc_last_error());
    t_collect_twice(NULL);
    status = gc_verify(NULL); /* wants a mapping for its own books */
    T_CHECK(status == GC_OK || status == GC_ERR_NOMEM, "%s; %s", gc_status_string(status),
            gc_last_error());
    status = gc_heap_destroy(heaps[1]);
    T_CHECK(status == GC_OK || (status == GC_ERR_NOMEM
                    && t_mentions(gc_last_error(), "bytes stay mapped")),
            "%s; %s", gc_status_string(status), gc_last_error());
    say(status == GC_OK ? "destroyed" : gc_last_error());
    gc_thread_detach();
    _exit(WORKED);
}

/* ---- a cgroup ---- */

static int
put(const char *folder, const char *file, const char *text)
{
    char path[256];
    int fd, ok;

    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    fd = open(path, O_WRONLY);
    ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* A cgroup of 128 MiB with this process in it, version 2 or 1. */
static int
enter_cgroup(const char *folder, const char *limit)
{
    char self[32];

    (void)snprintf(self, sizeof self, "%d", (int)getpid());
    return mkdir(folder, 0755) == 0 && put(folder, limit, "134217728")
        && put(folder, "cgroup.procs", self);
}

/* The kernel kills at the limit, and asks nobody: a reservation below it never meets it. */
static void
cgroup(void *arg)
{
    const char *const *folders = arg;

    t_hang_after(120);
    if (!enter_cgroup(folders[0], "memory.max")
            && !enter_cgroup(folders[1], "memory.limit_in_bytes"))
        _exit(NOT_HERE);
    init_or_end(64 * MIB, GC_OK, GC_OK);
    fill_twice();
}

/* ---- all of them ---- */

/* The child's exit status; anything but a plain end is a failure. */
static int
run(const char *name, void (*fn)(void *), void *arg, const char *reason)
{
    char text[2048];
    int status = t_child(fn, arg, text, sizeof text);

    T_CHECK(WIFEXITED(status)
                    && (WEXITSTATUS(status) == WORKED || WEXITSTATUS(status) == REFUSED
                            || WEXITSTATUS(status) == NOT_HERE),
            "%s: wait status 0x%x: %s", name, (unsigned)status, text);
    if (WEXITSTATUS(status) == NOT_HERE)
        t_note("%s: left out, %s", name, reason);
    else
        t_note("%s: %s %s", name, WEXITSTATUS(status) == REFUSED ? "refused," : "works", text);
    return WEXITSTATUS(status);
}

/* Less and less memory; with the most of it a heap must be possible. */
static void
run_sizes(const char *name, void (*fn)(void *))
{
    static const size_t mibs[] = { 1024, 512, 256, 192, 128, 96, 64, 48, 32, 16, 8, 2 };
    char label[64];

    for (size_t i = 0; i < sizeof mibs / sizeof mibs[0]; i++) {
        int status;

        (void)snprintf(label, sizeof label, "%zu MiB of %s", mibs[i], name);
        status = run(label, fn, (void *)(uintptr_t)&mibs[i], "");
        T_CHECK(status == WORKED || mibs[i] < 256, "%zu MiB of %s are too few", mibs[i], name);
    }
}

static void
run_cgroup(void)
{
    char two[128], one[128];
    const char *folders[2] = { two, one };

    (void)snprintf(two, sizeof two, "/sys/fs/cgroup/gcrt-limits-%d", (int)getpid());
    (void)snprintf(one, sizeof one, "/sys/fs/cgroup/memory/gcrt-limits-%d", (int)getpid());
    (void)run("cgroup", cgroup, folders, "no cgroup with a memory limit can be made here");
    for (int i = 0; i < 2; i++)
        for (int tries = 0; rmdir(folders[i]) != 0 && errno == EBUSY && tries < 100; tries++)
            t_sleep_us(10000); /* the child has just left it */
}

int
main(int argc, char **argv)
{
    t_start("limits", argc, argv);
    if (!SHADOWED && t_arg("sizes", 1)) {
        run_sizes("address space", address_space);
        run_sizes("data", data);
    }
    (void)run("no threads", no_threads, NULL, "no limit of processes can be set");
    (void)run("no more threads", no_more_threads, NULL, "no limit of processes can be set");
    (void)run("no files", no_files, NULL, "");
    (void)run("no files later", no_files_later, NULL, "");
    (void)run("no keys", no_keys, NULL, "");
    (void)run("no signal", no_signal, NULL, "");
    if (!SHADOWED && t_arg("mappings", 1))
        (void)run("no mappings", no_mappings, NULL, "the limit of mappings is too high");
    if (!SHADOWED)
        run_cgroup();
    return 0;
}
