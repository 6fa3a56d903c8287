/* SPDX-License-Identifier: MIT */
/*
 * Unwinding, and what is loaded.
 *
 * Purpose: say which code called us, in terms that a symboliser understands elsewhere.
 * Place: the heap profile calls it; beside os_linux.c the only user of the dynamic linker.
 * Invariants: no symbol is looked up here: a profile carries addresses and the files with
 * their build ids, and whoever reads it has the symbols, or not.
 * Concurrency: any thread.  dl_iterate_phdr holds the linker's lock while fn runs, so fn
 * allocates nothing and calls nobody who might.  A thread that takes a stack may have that lock, or
 * libunwind's own, and be held meanwhile: nobody may wait for them who is waited for (profile.c).
 *
 * Three unwinders, all by unwind tables, so that the host need not be built with frame pointers.
 * Our own (frames.c) is the cheapest, knows the frames that compilers usually make, and needs the
 * bounds of the stack.  For the rest there are two whole ones.  glibc's backtrace() reads the
 * tables of each frame each time.  libunwind's unw_backtrace keeps what it has learned of an
 * address, for each thread, and is ten times as fast.  To link it would give the host its
 * backtrace() and its exceptions' unwinder too, so it is loaded by name, for ourselves alone
 * (RTLD_LOCAL), and is not missed where it is not installed.
 *
 * Cost: 29 frames 1,060 instructions and 28 missed cache lines by frames.c, 2,370 and 56 by
 * libunwind (observability.md); 24 frames 2 to 4 us by glibc.
 */
#define _GNU_SOURCE

#include "alloc/os/unwind.h"

#include "alloc/base/atomic.h"
#include "alloc/os/frames.h"

#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == sizeof(uintptr_t), "backtrace fills our words");

typedef int backtrace_fn(void **pcs, int n);

static struct {
    pthread_once_t once;
    aword fast; /* libunwind's function, 0: there is none.  pairs: unwind.fast */
} unwinder = { .once = PTHREAD_ONCE_INIT };

#ifdef GCRT_LIBUNWIND
/*
 * Never closed: some thread may always be inside.  A program that was linked statically has no
 * dynamic linker (AT_BASE), and a library that is loaded nevertheless brings a second libc.
 */
static void
load_libunwind(void)
{
    void *library, *function = NULL;

    if (getauxval(AT_BASE) == 0)
        return;
    library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        function = dlsym(library, "unw_backtrace");
    aword_store_release(&unwinder.fast, (uintptr_t)function); /* pairs: unwind.fast */
}
#else
static void
load_libunwind(void)
{
}
#endif

/*
 * libunwind comes to cancellation points, when it opens a file for its tables or asks by msync
 * whether memory is mapped; and we may be in a critical section.
 */
static NOINLINE unsigned
whole_unwinder(uintptr_t *pcs, unsigned n)
{
    backtrace_fn *f = (backtrace_fn *)aword_load_acquire(&unwinder.fast); /* pairs: unwind.fast */
    int old, got;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    got = f != NULL ? f((void **)pcs, (int)n) : backtrace((void **)pcs, (int)n);
    (void)pthread_setcancelstate(old, NULL);
    return got < 0 ? 0 : (unsigned)got;
}

unsigned
gcrt_os_backtrace(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi)
{
    unsigned walked = gcrt_frames_walk(pcs, n, lo, hi, NULL);

    return walked != 0 ? walked : whole_unwinder(pcs, n);
}

unsigned
gcrt_os_backtrace_known(uintptr_t *pcs, unsigned n, uintptr_t lo, uintptr_t hi, uintptr_t *unknown)
{
    return gcrt_frames_walk(pcs, n, lo, hi, unknown);
}

void
gcrt_os_backtrace_learn(uintptr_t unknown)
{
    gcrt_frames_learn(unknown);
}

bool
gcrt_os_backtrace_is_fast(void)
{
    return aword_load_relaxed(&unwinder.fast) != 0;
}

/* The first calls load libraries, which allocates. */
void
gcrt_os_backtrace_warm_up(void)
{
    uintptr_t pc;

    (void)pthread_once(&unwinder.once, load_libunwind);
    (void)whole_unwinder(&pc, 1);
}

/* ---- modules ---- */

struct visit {
    void (*fn)(void *arg, const struct os_module *module);
    void *arg;
    char program[PATH_MAX];
};

/* The note "GNU" of type NT_GNU_BUILD_ID among the notes at `at`, if it is there. */
static void
find_build_id(struct os_module *module, const uint8_t *at, size_t bytes)
{
    ElfW(Nhdr) note;

    while (bytes >= sizeof(note)) {
        size_t name, desc;

        memcpy(&note, at, sizeof(note));
        name = align_up(note.n_namesz, 4);
        desc = align_up(note.n_descsz, 4);
        if (name > bytes - sizeof(note) || desc > bytes - sizeof(note) - name)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4
                && memcmp(at + sizeof(note), "GNU", 4) == 0) {
            module->build_id = at + sizeof(note) + name;
            module->build_id_bytes = note.n_descsz;
            return;
        }
        at += sizeof(note) + name + desc;
        bytes -= sizeof(note) + name + desc;
    }
}

static int
visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct visit *v = arg;
    struct os_module module = { .path = info->dlpi_name[0] != '\0' ? info->dlpi_name : v->program };

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

        if (ph->p_type == PT_NOTE)
            find_build_id(&module, (const uint8_t *)(info->dlpi_addr + ph->p_vaddr), ph->p_memsz);
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

        if (ph->p_type != PT_LOAD || (ph->p_flags & PF_X) == 0)
            continue;
        module.start = info->dlpi_addr + ph->p_vaddr;
        module.limit = module.start + ph->p_memsz;
        module.offset = ph->p_offset;
        v->fn(v->arg, &module);
    }
    v->program[0] = '\0'; /* the program is the first object without a name; the vdso another */
    return 0;
}

void
gcrt_os_each_module(void (*fn)(void *arg, const struct os_module *module), void *arg)
{
    struct visit v = { .fn = fn, .arg = arg };
    ssize_t n = readlink("/proc/self/exe", v.program, sizeof(v.program) - 1);

    v.program[n < 0 ? 0 : n] = '\0';
    (void)dl_iterate_phdr(visit_object, &v);
}
