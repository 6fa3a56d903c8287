/* SPDX-License-Identifier: MIT */
/*
 * lisp: a small Scheme, as a language VM embeds gcrt.
 *
 *     lisp [--stats] [--stack=WORDS] [FILE [ARGUMENT...] | -e EXPRESSION]
 *
 * Without FILE or -e it reads standard input, with a prompt if that is a terminal.
 *
 * Purpose: makes the heap, loads the prelude, runs what the command line says, prints the
 * collector's statistics.
 * The heap has precise_stacks: every thread says itself what it holds.
 * The heap is shut down at the end, unless other threads still run: exit() does without.
 * Status: 0; 1 after an error that nothing caught; 2 for a bad command line.
 */
#include "prims.h"

#include "syntax.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char prelude[] =
#include "prelude.inc"
        ;

static struct vm main_vm;
static bool stats_wanted;

/* ---- statistics ---- */

static double
pause_quantile(double q)
{
    gc_metric_sample sample = { .name = "/gc/handshake/pause:seconds" };
    double answer = 0;

    sample.value.hist = gc_histogram_create(sample.name);
    if (sample.value.hist != NULL && gc_metrics_read(NULL, &sample, 1) == GC_OK)
        answer = gc_histogram_quantile(sample.value.hist, q);
    gc_histogram_free(sample.value.hist);
    return answer;
}

static void
print_stats(void)
{
    gc_stats s;
    const double mib = 1 << 20;

    gc_stats_read(NULL, &s);
    fflush(stdout);
    fprintf(stderr,
            "cycles %llu (%llu forced)   pauses: p99 %.0f us, longest %.0f us\n"
            "allocated %.1f MiB in %llu objects   live %.1f MiB   goal %.1f MiB\n"
            "collector's share of the CPUs %.1f%%   symbols %zu\n",
            (unsigned long long)s.num_gc, (unsigned long long)s.num_forced_gc,
            pause_quantile(0.99) * 1e6, (double)s.pause_max_ns / 1e3,
            (double)s.total_alloc / mib, (unsigned long long)s.mallocs,
            (double)s.heap_alloc / mib, (double)s.next_gc / mib, 100 * s.gc_cpu_fraction,
            symbol_count());
}

static _Noreturn void
finish(const struct vm *vm, int status)
{
    if (stats_wanted)
        print_stats();
    if (vm == &main_vm && thread_alone()) {
        vm_finish(&main_vm);
        gc_shutdown();
    }
    exit(fflush(stdout) == 0 ? status : 1);
}

/* ---- primitives about the program ---- */

PRIM(exit)
{
    if (n == 1)
        vm_want(vm, "exit", FIXNUM, arg[0]);
    finish(vm, n == 1 ? (int)fixnum_of(arg[0]) : 0);
}

PRIM(collect)
{
    gc_collect(NULL);
    return NOTHING;
}

/* (gc-stats): cycles, bytes allocated, bytes live, symbols */
PRIM(gc_stats)
{
    gc_stats s;

    gc_stats_read(NULL, &s);
    return cons(fixnum((int64_t)s.num_gc), cons(fixnum((int64_t)s.total_alloc),
            cons(fixnum((int64_t)s.heap_alloc), cons(fixnum((int64_t)symbol_count()), NIL))));
}

PRIM(clock)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return flonum((double)t.tv_sec + (double)t.tv_nsec / 1e9);
}

static const struct prim_spec main_prims[] = { { "exit", prim_exit, 0, 1 },
    { "collect", prim_collect, 0, 0 }, { "gc-stats", prim_gc_stats, 0, 0 },
    { "clock", prim_clock, 0, 0 }, { NULL, NULL, 0, 0 } };

/* ---- running a text ---- */

struct text {
    struct reader reader;
    bool print; /* results, as a REPL does */
    bool more;  /* set: an error, because the text only lacks its end */
};

static value
read_next(struct vm *vm, void *arg)
{
    (void)vm;
    return reader_next(arg);
}

static value
compile_next(struct vm *vm, void *arg)
{
    return compile(vm, *(const value *)arg);
}

static void
print_line(FILE *file, const char *before, value v, bool write)
{
    size_t size;
    char *text = print_text(v, write, &size);
    int most = file == stderr && size > 400 ? 400 : INT_MAX;

    fprintf(file, "%s%.*s\n", before, most, text == NULL ? "out of memory" : text);
    free(text);
}

static void
complain(const struct text *t, uint32_t line, value thrown)
{
    char where[300] = "";

    fflush(stdout);
    if (t->reader.name != NULL)
        snprintf(where, sizeof(where), "%s:%u: ", t->reader.name, line);
    fputs(where, stderr);
    print_line(stderr, is_kind(thrown, CONDITION) ? "error: " : "raised: ", thrown, true);
    if (is_kind(thrown, CONDITION) && ((struct condition *)object_of(thrown))->trace != NIL)
        print_line(stderr, "  in ", ((struct condition *)object_of(thrown))->trace, false);
}

static bool
is_incomplete(value thrown)
{
    const struct condition *c = object_of(thrown);

    return is_kind(thrown, CONDITION) && is_kind(c->message, STRING)
            && strcmp(string_of(c->message)->byte, READER_MORE) == 0;
}

/* Reads, compiles and runs one datum after the other; false at the first error. */
static bool
run_text(struct vm *vm, struct text *t)
{
    for (;;) {
        value v = NIL;
        uint32_t line;
        bool ok = vm_protect(vm, read_next, &t->reader, &v);
        GC_FRAME(v);

        t->more = !ok && is_incomplete(v);
        if (ok && v == END_OF_FILE)
            return true;
        line = t->reader.line;
        ok = ok && vm_protect(vm, compile_next, &v, &v) && vm_apply(vm, v, NIL, &v);
        if (!ok && !(t->more && t->print))
            complain(t, line, v);
        if (!ok)
            return false;
        if (t->print && v != NOTHING)
            print_line(stdout, "", v, true);
    }
}

static bool
run_bytes(const char *name, const char *text, size_t size)
{
    struct text t = { .reader = { .vm = &main_vm, .at = text, .end = text + size,
                              .name = name, .line = 1 } };

    return run_text(&main_vm, &t);
}

static int
run_file(const char *path)
{
    size_t size;
    char *text = prims_read_file(path, &size);
    bool ok;

    if (text == NULL) {
        fprintf(stderr, "lisp: %s: %s\n", path, strerror(errno));
        return 1;
    }
    ok = run_bytes(path, text, size);
    free(text);
    return ok ? 0 : 1;
}

/* ---- the REPL ---- */

static void
interrupt(int signal)
{
    (void)signal;
    vm_notice(&main_vm, "interrupted");
}

/* One more line behind the text; false at the end of the input. */
static bool
read_more(char **text, size_t *size, const char *prompt)
{
    char line[1000], *bigger;
    bool got = false;

    if (isatty(STDIN_FILENO))
        fputs(prompt, stdout);
    fflush(stdout);
    GC_BLOCKING { got = fgets(line, sizeof(line), stdin) != NULL; }
    if (!got || (bigger = realloc(*text, *size + strlen(line) + 1)) == NULL)
        return false;
    memcpy(bigger + *size, line, strlen(line) + 1);
    *text = bigger;
    *size += strlen(line);
    return true;
}

static int
repl(void)
{
    struct text t = { .print = true };
    struct sigaction action = { .sa_handler = interrupt };
    char *text = NULL;
    size_t size = 0;
    bool ok = true;

    if (isatty(STDIN_FILENO))
        sigaction(SIGINT, &action, NULL);
    while (read_more(&text, &size, t.more ? "... " : "> ")) {
        t.reader = (struct reader){ .vm = &main_vm, .at = text, .end = text + size, .line = 1 };
        ok = run_text(&main_vm, &t);
        if (!t.more)
            size = 0;
    }
    free(text);
    return ok ? 0 : 1;
}

/* ---- the heap ---- */

static bool
start_heap(size_t stack_max)
{
    gc_options opt;

    if (gc_options_from_env(&opt) != GC_OK)
        return false;
    opt.precise_stacks = 1;
    opt.oom = vm_out_of_memory;
    if (gc_init(&opt) != GC_OK || !vm_have_reserve() || !vm_init(&main_vm, stack_max)
            || !symbol_init() || !syntax_init())
        return false;
    prims_init();
    prims_define(main_prims);
    if (!run_bytes("prelude", prelude, sizeof(prelude) - 1))
        return false;
    syntax_seal();
    return true;
}

static int
usage(void)
{
    fputs("usage: lisp [--stats] [--stack=WORDS] [FILE [ARGUMENT...] | -e EXPRESSION]\n", stderr);
    return 2;
}

static void
define_arguments(char **argv)
{
    value list = NIL;
    int n = 0;
    GC_FRAME(list);

    while (argv[n] != NULL)
        n++;
    while (n-- > 0)
        list = cons(string_text(argv[n]), list);
    symbol_define(symbol("arguments"), list); /* list is held, and the symbol while it is defined */
}

int
main(int argc, char **argv)
{
    size_t stack_max = (size_t)1 << 24;
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--stats") == 0)
            stats_wanted = true;
        else if (strncmp(argv[i], "--stack=", 8) != 0
                || (stack_max = strtoul(argv[i] + 8, NULL, 10)) == 0)
            return usage();
    }
    if (i < argc && argv[i][0] == '-' && (strcmp(argv[i], "-e") != 0 || i + 2 != argc))
        return usage();
    if (!start_heap(stack_max)) {
        fprintf(stderr, "lisp: %s\n", gc_last_error());
        return 1;
    }
    define_arguments(argv + (i < argc ? i + 1 : i));
    if (i == argc)
        finish(&main_vm, repl());
    if (strcmp(argv[i], "-e") == 0)
        finish(&main_vm, run_bytes(NULL, argv[i + 1], strlen(argv[i + 1])) ? 0 : 1);
    finish(&main_vm, run_file(argv[i]));
}
