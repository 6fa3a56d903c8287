/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the gcrt-free half of the test support, see support.h.
 *
 * Place: linked into every stress, race, oom and api program.
 *
 * Concurrency: t_start runs before any thread does; its results are read-only after.
 * t_fail may run on any thread: it writes one line with one call, so that lines of two
 * failing threads do not mix, and aborts.
 */

#define _GNU_SOURCE

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program = "test";
static int nargs;
static char **args;
static uint64_t seed_value;

void
t_fail(const char *file, int line, const char *cond, const char *format, ...)
{
    char text[1024];
    int at = snprintf(text, sizeof text, "%s: FAILED (seed=%llu) %s:%d: %s: ", program,
            (unsigned long long)seed_value, file, line, cond);
    size_t used = at < 0 ? 0 : (size_t)at < sizeof text ? (size_t)at : sizeof text - 1;
    va_list list;

    va_start(list, format);
    (void)vsnprintf(text + used, sizeof text - used, format, list);
    va_end(list);
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s\n", text);
    abort();
}

void
t_note(const char *format, ...)
{
    va_list list;

    (void)printf("%s: ", program);
    va_start(list, format);
    (void)vprintf(format, list);
    va_end(list);
    (void)printf("\n");
    (void)fflush(stdout);
}

static const char *
find_arg(const char *key)
{
    size_t n = strlen(key);

    for (int i = 1; i < nargs; i++) {
        if (strncmp(args[i], key, n) == 0 && args[i][n] == '=')
            return args[i] + n + 1;
        if (strcmp(args[i], key) == 0)
            return "1";
    }
    if (strcmp(key, "seconds") == 0)
        return getenv("GCRT_SECONDS");
    if (strcmp(key, "seed") == 0)
        return getenv("GCRT_SEED");
    return NULL;
}

int64_t
t_arg(const char *key, int64_t otherwise)
{
    const char *text = find_arg(key);
    char *end;
    long long value;

    if (text == NULL || *text == '\0')
        return otherwise;
    if (strcmp(text, "off") == 0)
        return -1;
    value = strtoll(text, &end, 0);
    T_CHECK(*end == '\0', "argument %s=%s is no number", key, text);
    return (int64_t)value;
}

void
t_start(const char *name, int argc, char **argv)
{
    const char *text;

    program = name;
    nargs = argc;
    args = argv;
    text = find_arg("seed");
    seed_value = t_now_ns() ^ (uint64_t)getpid();
    if (text != NULL)
        seed_value = (uint64_t)strtoull(text, NULL, 0);
    (void)printf("%s: seed=%llu", program, (unsigned long long)seed_value);
    for (int i = 1; i < argc; i++)
        (void)printf(" %s", argv[i]);
    (void)printf("\n");
    (void)fflush(stdout);
}

uint64_t
t_seed(void)
{
    return seed_value;
}

static void
on_alarm(int signal)
{
    static const char text[] = ": FAILED: hangs, the time set by t_hang_after is over\n";

    (void)signal;
    if (write(2, program, strlen(program)) >= 0 && write(2, text, sizeof text - 1) >= 0)
        abort();
    abort();
}

void
t_hang_after(unsigned seconds)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(seconds);
}

uint64_t
t_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t
t_now_ms(void)
{
    return t_now_ns() / 1000000u;
}

/*
 * Until a point in time, not for the rest of a length: the kernel gives each rest its slack of
 * 50 us anew, so that a thread whose signals come as often would sleep for ever.
 */
void
t_sleep_us(unsigned us)
{
    uint64_t until = t_now_ns() + (uint64_t)us * 1000;
    struct timespec end = { (time_t)(until / 1000000000), (long)(until % 1000000000) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ; /* by a handshake's signal */
}

__attribute__((noinline)) void
t_wipe_stack(void)
{
    volatile char room[32768];

    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
    __asm__ volatile("" : : "r"(room) : "memory");
}

__attribute__((noinline)) void
t_wipe_registers(void)
{
#if defined(__x86_64__)
    __asm__ volatile("xorl %%eax, %%eax; xorl %%ecx, %%ecx; xorl %%edx, %%edx;"
                     "xorl %%esi, %%esi; xorl %%edi, %%edi; xorl %%r8d, %%r8d;"
                     "xorl %%r9d, %%r9d; xorl %%r10d, %%r10d; xorl %%r11d, %%r11d;"
                     "pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2;"
                     "pxor %%xmm3, %%xmm3; pxor %%xmm4, %%xmm4; pxor %%xmm5, %%xmm5;"
                     "pxor %%xmm6, %%xmm6; pxor %%xmm7, %%xmm7; pxor %%xmm8, %%xmm8;"
                     "pxor %%xmm9, %%xmm9; pxor %%xmm10, %%xmm10; pxor %%xmm11, %%xmm11;"
                     "pxor %%xmm12, %%xmm12; pxor %%xmm13, %%xmm13;"
                     "pxor %%xmm14, %%xmm14; pxor %%xmm15, %%xmm15"
                     :
                     :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0",
                     "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                     "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
#endif
}

size_t
t_proc_maps_lines(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    size_t lines = 0;
    int c;

    T_CHECK(file != NULL, "/proc/self/maps cannot be read");
    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    (void)fclose(file);
    return lines;
}

/* The flags in its stat say so from the beginning of its end on; it may be seen after a join. */
static bool
task_is_exiting(const char *task)
{
    char path[64], line[512] = "";
    const char *at;
    unsigned flags = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", task);
    file = fopen(path, "r");
    if (file == NULL)
        return true; /* gone */
    if (fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
    at = strrchr(line, ')'); /* the name may have anything in it */
    if (at == NULL || sscanf(at, ") %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
        return true;
    return (flags & 4) != 0; /* PF_EXITING */
}

size_t
t_proc_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    size_t n = 0;
    struct dirent *entry;

    T_CHECK(dir != NULL, "/proc/self/task cannot be read");
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.' && !task_is_exiting(entry->d_name);
    (void)closedir(dir);
    return n;
}

size_t
t_proc_status_kib(const char *field)
{
    FILE *file = fopen("/proc/self/status", "r");
    size_t n = strlen(field), value = 0;
    char line[256];

    T_CHECK(file != NULL, "/proc/self/status cannot be read");
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, n) == 0 && line[n] == ':')
            value = (size_t)strtoull(line + n + 1, NULL, 10);
    (void)fclose(file);
    return value;
}

static size_t
read_all(int fd, char *text, size_t size)
{
    char drain[512];
    size_t used = 0;
    ssize_t got;

    while ((got = read(fd, drain, sizeof drain)) > 0) {
        size_t take = (size_t)got < size - 1 - used ? (size_t)got : size - 1 - used;

        memcpy(text + used, drain, take);
        used += take;
    }
    text[used] = '\0';
    return used;
}

int
t_child(void (*fn)(void *), void *arg, char *text, size_t size)
{
    int ends[2], status = 0;
    pid_t pid;

    (void)fflush(NULL);
    T_CHECK(pipe(ends) == 0, "pipe failed");
    pid = fork();
    T_CHECK(pid >= 0, "fork failed");
    if (pid == 0) {
        (void)dup2(ends[1], 2);
        (void)close(ends[0]);
        (void)close(ends[1]);
        fn(arg);
        _exit(0);
    }
    (void)close(ends[1]);
    (void)read_all(ends[0], text, size);
    (void)close(ends[0]);
    T_CHECK(waitpid(pid, &status, 0) == pid, "waitpid failed");
    return status;
}

int
t_mentions(const char *text, const char *words)
{
    char word[64];

    while (*words != '\0') {
        size_t n = strcspn(words, "|");

        T_CHECK(n < sizeof word, "word too long in %s", words);
        memcpy(word, words, n);
        word[n] = '\0';
        if (strcasestr(text, word) != NULL)
            return 1;
        words += n + (words[n] == '|');
    }
    return 0;
}
