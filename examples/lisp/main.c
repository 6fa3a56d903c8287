/* SPDX-License-Identifier: MIT */
/*
 * lisp: a small Scheme, as a language VM embeds gcrt.
 *
 *     lisp [--stats] [--stack=WORDS] [FILE [ARGUMENT...] | -e EXPRESSION]
 *
 * Without FILE or -e it reads standard input, with a prompt if that is a terminal.
 *
 * Purpose: makes the heap, and runs the prelude, whose procedure main does the rest: programs
 * and the REPL are read, run and complained about in Lisp.
 * The heap has precise_stacks: every thread says itself what it holds.
 * The heap is shut down at the end, unless other threads may still run: exit() does without.
 * Status: 0; 1 after an error that nothing caught; 2 for a bad command line.
 */
#include "vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prelude[] =
#include "prelude.inc"
        ;

static struct vm main_vm;
static bool stats_wanted;
static size_t stack_max = VM_STACK_MAX;

/* ---- statistics, the end ---- */

static void
print_stats(void)
{
    gc_stats s;
    const double mib = 1 << 20;

    gc_stats_read(NULL, &s);
    fflush(stdout);
    fprintf(stderr,
            "cycles %llu (%llu forced)   longest pause %.0f us\n"
            "allocated %.1f MiB in %llu objects   live %.1f MiB   goal %.1f MiB\n"
            "collector's share of the CPUs %.1f%%   symbols %zu\n",
            (unsigned long long)s.num_gc, (unsigned long long)s.num_forced_gc,
            (double)s.pause_max_ns / 1e3, (double)s.total_alloc / mib,
            (unsigned long long)s.mallocs, (double)s.heap_alloc / mib,
            (double)s.next_gc / mib, 100 * s.gc_cpu_fraction, symbol_count());
}

static _Noreturn void
finish(const struct vm *vm, int status)
{
    if (stats_wanted)
        print_stats();
    if (vm == &main_vm && __atomic_load_n(&thread_unjoined, __ATOMIC_RELAXED) == 0) {
        vm_finish(&main_vm);
        gc_shutdown();
    }
    exit(fflush(stdout) == 0 ? status : 1);
}

/* ---- primitives about the program ---- */

PRIM(exit)
{
    if (n == 1)
        vm_want(vm, "exit", INTEGER, arg[0]);
    finish(vm, n == 1 ? (int)integer_of(arg[0]) : 0);
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
    return cons(integer(s.num_gc), cons(integer(s.total_alloc),
            cons(integer(s.heap_alloc), cons(integer(symbol_count()), NIL))));
}

static const struct prim_spec main_prims[] = { { "exit", prim_exit, 0, 1 },
    { "collect", prim_collect, 0, 0 }, { "gc-stats", prim_gc_stats, 0, 0 },
    { NULL, NULL, 0, 0 } };

/* ---- start ---- */

/* arg: the list of the command line's words, which main is called with */
static value
run_prelude(struct vm *vm, void *arg)
{
    struct reader r = { .vm = vm, .at = prelude, .end = prelude + sizeof(prelude) - 1,
        .name = "prelude", .line = 1 };
    value x = NIL, args = cons(*(const value *)arg, NIL);
    GC_FRAME(x, args);

    while ((x = reader_next(&r)) != END_OF_FILE) {
        x = compile(vm, x);
        if (!vm_apply(vm, x, NIL, &x))
            vm_raise(vm, x);
    }
    if (!vm_apply(vm, symbol_of(symbol("main"))->global, args, &x))
        vm_raise(vm, x);
    return x;
}

static bool
start_heap(void)
{
    gc_options opt;

    if (gc_options_from_env(&opt) != GC_OK)
        return false;
    opt.precise_stacks = 1;
    return gc_init(&opt) == GC_OK && vm_init(&main_vm, stack_max) && symbol_init();
}

int
main(int argc, char **argv)
{
    value args = NIL, ok = FALSE;

    for (; argc > 1 && strncmp(argv[1], "--st", 4) == 0; argc--, argv++) {
        if (strncmp(argv[1], "--stack=", 8) == 0)
            stack_max = strtoul(argv[1] + 8, NULL, 10);
        else
            stats_wanted = true;
    }
    if (!start_heap()) {
        fprintf(stderr, "lisp: %s\n", gc_last_error());
        return 1;
    }
    compile_init();
    prims_define(data_prims);
    prims_define(thread_prims);
    prims_define(main_prims);
    for (int i = argc; --i > 0;) {
        GC_FRAME(args);
        args = cons(string_new(argv[i], strlen(argv[i])), args);
    }
    GC_FRAME(args, ok);
    if (!vm_protect(&main_vm, run_prelude, &args, &ok))
        fputs("lisp: an error in the prelude\n", stderr);
    finish(&main_vm, ok == TRUE ? 0 : 1);
}
