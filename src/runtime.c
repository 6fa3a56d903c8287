/* SPDX-License-Identifier: MIT */
/*
 * Heaps: making and ending them, and the process's default one.
 *
 * Purpose: construct a heap in layer order and take it down in the reverse order.
 * Place: the api; it calls every layer's init and finish.
 * Invariants: a failed construction leaves nothing behind.  magic is set last and cleared
 * first.
 * Concurrency: a heap is published to other threads by the host.  It is listed for forks
 * when it is complete, and no more when it is closed.
 * Cost: a heap is about ten system calls and one thread.
 */
#include "alloc/os/cgroup.h"
#include "alloc/os/os.h"
#include "gc/cleanup.h"
#include "gc/crew.h"
#include "gc/cycle.h"
#include "gc/ephemeron.h"
#include "gc/error.h"
#include "gc/fiber.h"
#include "gc/fork.h"
#include "gc/handshake.h"
#include "gc/intern.h"
#include "gc/kind.h"
#include "gc/limit.h"
#include "gc/log.h"
#include "gc/mutator.h"
#include "gc/pool.h"
#include "gc/populator.h"
#include "gc/profile.h"
#include "gc/region.h"
#include "gc/trace.h"
#include "gc/roots.h"
#include "gc/wbcheck.h"
#include "gc/weakmap.h"
#include "gc/worker.h"
#include "metrics/gctrace.h"
#include "metrics/pacertrace.h"
#include "metrics/scavtrace.h"
#include "options.h"

#include <gcrt/gcrt.h>

#include <errno.h>
#include <string.h>

#define RESERVE_DEFAULT_MIN ((size_t)64 << 30)

/* ---- reports ---- */

static void
say_cycle(struct gc_heap *heap, const struct cycle_report *report)
{
    char line[PACERTRACE_LINE_MAX > GCTRACE_LINE_MAX ? PACERTRACE_LINE_MAX : GCTRACE_LINE_MAX];

    if (heap->options.debug_gcpacertrace)
        gcrt_log_line(heap, line, gcrt_pacertrace_format(line, sizeof(line), report));
    if (heap->options.debug_gctrace)
        gcrt_log_line(heap, line, gcrt_gctrace_format(line, sizeof(line), report));
}

static void
say_scavenge(struct gc_heap *heap, const struct scavenge_report *report)
{
    char line[SCAVTRACE_LINE_MAX];

    gcrt_log_line(heap, line, gcrt_scavtrace_format(line, sizeof(line), report));
}

/* ---- construction ---- */

static size_t
reserve_bytes(const gc_options *opt)
{
    if (opt->reserve != 0)
        return opt->reserve;
    return max_size(round_up_pow2(gcrt_os_ram_bytes()) * 4, RESERVE_DEFAULT_MIN);
}

/* A share of the cgroup's memory is a limit like another; its CPUs are all there are. */
static void
ask_cgroup(struct gc_heap *heap)
{
    gc_options *opt = &heap->options;
    struct os_cgroup group;
    uint64_t bytes;

    if (opt->cgroup_percent == 0)
        return;
    gcrt_cgroup_read("", &group);
    if (group.cpus != 0 && group.cpus < heap->cpus)
        heap->cpus = group.cpus;
    if (group.memory == UINT64_MAX)
        return;
    bytes = group.memory / 100 * opt->cgroup_percent;
    if (bytes < (uint64_t)opt->memory_limit)
        opt->memory_limit = (int64_t)bytes;
}

static void
init_settings(struct gc_heap *heap, const gc_options *opt)
{
    heap->options = *opt;
    heap->cpus = gcrt_os_cpus();
    ask_cgroup(heap);
    heap->counters.start_ns = gcrt_os_now_ns();
    gcrt_limit_init(heap);
    heap->handshake.grace_ns = (uint64_t)opt->grace_us * 1000;
    heap->handshake.signal = opt->signal != 0 ? opt->signal : gcrt_os_signal_default();
    heap->marking.nworkers = opt->threads != 0 ? opt->threads
        : heap->cpus > GCRT_THREADS_MAX        ? GCRT_THREADS_MAX
                                               : heap->cpus;
    if (opt->debug_gctrace || opt->debug_gcpacertrace)
        heap->on_cycle = say_cycle;
    if (opt->debug_scavtrace)
        heap->on_scavenge = say_scavenge;
}

static gc_status
init_threads(struct gc_heap *heap)
{
    if (!gcrt_workers_init(heap))
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for marking threads");
    if (!gcrt_cycles_init(heap))
        return gcrt_error(GC_ERR_THREAD, "gc_heap_create: the system refuses a thread for the "
                "collector");
    return GC_OK;
}

static void
finish_weak(struct gc_heap *heap)
{
    gcrt_intern_finish(heap);
    gcrt_weakmap_finish(heap);
    gcrt_ephemeron_finish(heap);
    gcrt_special_finish(heap);
}

/* Layer by layer; each step undoes those before it when it fails. */
static gc_status
init_collector(struct gc_heap *heap)
{
    gc_status status;

    if (!gcrt_kinds_init(heap))
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for the type registry");
    if (!gcrt_registry_init(heap)) {
        gcrt_kinds_finish(heap);
        return gcrt_error(GC_ERR_LIMIT, "gc_heap_create: no thread-specific key is left");
    }
    gcrt_trace_init(heap);
    gcrt_roots_init(heap);
    gcrt_fibers_init(heap);
    gcrt_special_init(heap);
    gcrt_ephemeron_init(heap);
    gcrt_weakmap_init(heap);
    gcrt_intern_init(heap);
    gcrt_runner_init(heap);
    gcrt_cleanups_init(heap);
    gcrt_pools_init(heap);
    status = gcrt_profile_init(heap)
        ? init_threads(heap)
        : gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for the heap profile");
    if (status == GC_OK)
        return GC_OK;
    gcrt_profile_finish(heap);
    gcrt_pools_finish(heap);
    gcrt_runner_finish(heap);
    finish_weak(heap);
    gcrt_fibers_finish(heap);
    gcrt_roots_finish(heap);
    gcrt_trace_finish(heap);
    gcrt_registry_finish(heap);
    gcrt_kinds_finish(heap);
    return status;
}

static gc_status
init_memory(struct gc_heap *heap)
{
    if (!gcrt_mheap_init(&heap->mheap, &heap->os, &heap->persist,
                reserve_bytes(&heap->options)))
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no address space for the heap");
    if (heap->options.hugepages != GC_HUGEPAGES_AUTO)
        heap->mheap.huge_from = heap->options.hugepages == GC_HUGEPAGES_NEVER ? SIZE_MAX : 0;
    heap->mheap.on_low = gcrt_populator_rung;
    heap->mheap.clobber = heap->options.debug_clobberfree != 0;
    heap->mheap.run_bytes = heap->options.debug_tiny ? RUN_BYTES_TINY : RUN_BYTES_MAX;
    if (gcrt_work_init(&heap->work, &heap->os, heap->marking.nworkers,
                heap->options.debug_tiny != 0)) {
        if (gcrt_wbcheck_init(heap))
            return GC_OK;
        gcrt_work_finish(&heap->work, &heap->os);
        gcrt_mheap_finish(&heap->mheap);
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no address space for wbcheck");
    }
    gcrt_mheap_finish(&heap->mheap);
    return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for mark work");
}

static gc_status
init_heap(struct gc_heap *heap)
{
    gc_status status;

    gcrt_persist_init(&heap->persist, &heap->os);
    status = init_memory(heap);
    if (status == GC_OK) {
        status = init_collector(heap);
        if (status != GC_OK) {
            gcrt_wbcheck_finish(heap);
            gcrt_work_finish(&heap->work, &heap->os);
            gcrt_mheap_finish(&heap->mheap);
        }
    }
    if (status != GC_OK)
        gcrt_persist_finish(&heap->persist);
    return status;
}

/*
 * The caller may be attached to another heap, whose handshakes must not run on top of our
 * locks.  Outside, and not critical: malloc is called and threads are started, and what that
 * waits for may be in the hands of a thread that the other heap holds until all have answered.
 */
static gc_status
init_heap_outside(struct gc_heap *heap)
{
    bool attached = gc_impl_self.mutator != NULL;
    gc_status status;

    if (attached)
        gc_block_enter();
    status = init_heap(heap);
    if (attached)
        gc_block_leave();
    return status;
}

/* struct gc_heap lies in a mapping of its own, found through an os that is copied into it. */
static struct gc_heap *
map_heap(const gc_options *opt)
{
    struct os os = { .fail_at = opt->debug_failat, .fail_from = opt->debug_failfrom,
        .chaos = opt->debug_chaos };
    struct gc_heap *heap = gcrt_os_map(&os, sizeof(*heap));

    if (heap != NULL) {
        heap->os = os;
        aword_store_relaxed(&heap->beside, sizeof(*heap));
    }
    return heap;
}

/* The last step of a heap's end: the bytes of address space that the system has kept. */
static size_t
unmap_heap(struct gc_heap *heap)
{
    struct os os = heap->os;

    gcrt_os_unmap(&os, heap, sizeof(*heap), sizeof(*heap));
    return aword_load_relaxed(&os.refused);
}

/* A failed construction whose memory could not be given back either says both. */
static gc_status
discard_heap(struct gc_heap *heap, gc_status status)
{
    size_t kept = unmap_heap(heap);

    if (kept != 0)
        gcrt_error_append("; %zu bytes stay mapped", kept);
    return status;
}

static gc_status
install_signal(struct gc_heap *heap)
{
    int signal = heap->handshake.signal;
    int error = gcrt_os_signal_install(&heap->os, signal, gcrt_handshake_signal);

    if (error == 0)
        return GC_OK;
    if (error == EBUSY)
        return gcrt_error(
                GC_ERR_THREAD, "gc_heap_create: signal %d has another handler", signal);
    return gcrt_error(GC_ERR_THREAD,
            "gc_heap_create: the system refuses a handler for signal %d: %s", signal,
            strerror(error));
}

static gc_status
init_faults(struct gc_heap *heap)
{
    return gcrt_region_init(heap)
        ? GC_OK
        : gcrt_error(GC_ERR_THREAD, "gc_heap_create: the system refuses a handler for arena=1");
}

static gc_status
check_nice(struct gc_heap *heap)
{
    int nice = heap->options.nice, error = gcrt_os_nice_refusal(&heap->os, nice);

    if (error == 0)
        return GC_OK;
    return gcrt_error(GC_ERR_THREAD, "gc_heap_create: the system refuses nice %d: %s", nice,
            strerror(error));
}

gc_status
gc_heap_create(const gc_options *opt, gc_heap **ret)
{
    gc_options from_env;
    struct gc_heap *heap;
    gc_status status = GC_OK;

    if (ret == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_heap_create: ret is NULL");
    if (opt == NULL) {
        status = gc_options_from_env(&from_env);
        opt = &from_env;
    }
    if (status == GC_OK)
        status = gcrt_options_check(opt);
    if (status != GC_OK)
        return status;
    if (!gcrt_fork_is_ready())
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for fork handlers");
    heap = map_heap(opt);
    if (heap == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_heap_create: no memory for the heap's record");
    init_settings(heap, opt);
    status = check_nice(heap);
    if (status == GC_OK)
        status = install_signal(heap);
    if (status == GC_OK)
        status = init_faults(heap);
    if (status == GC_OK)
        status = init_heap_outside(heap);
    if (status != GC_OK)
        return discard_heap(heap, status);
    heap->magic = GC_HEAP_MAGIC;
    gcrt_fork_add_heap(heap);
    gcrt_limit_complain(heap);
    *ret = heap;
    return GC_OK;
}

/* ---- the end ---- */

/* Refuses further use, at one stroke for a thread that forks; false while threads are attached. */
static bool
close_heap(struct gc_heap *heap)
{
    bool empty;

    gcrt_fork_lock_heaps();
    gcrt_lock_acquire(&heap->registry.lock);
    empty = heap->registry.count == 0;
    if (empty)
        heap->magic = 0;
    gcrt_lock_release(&heap->registry.lock);
    if (empty) {
        gcrt_fork_remove_heap_locked(heap);
        if (heap == gcrt_heap_default())
            gcrt_heap_set_default(NULL);
    }
    gcrt_fork_unlock_heaps();
    return empty;
}

/* Takes down a heap without threads; the bytes of address space that the system has kept. */
static size_t
end_heap(struct gc_heap *heap)
{
    while (ahalf_load_acquire(&heap->registry.leaving) != 0) /* pairs: registry.left */
        gcrt_os_yield(); /* a thread is in the last lines of its detaching */
    gcrt_cycles_finish(heap);
    gcrt_workers_finish(heap);
    gcrt_wbcheck_finish(heap);
    gcrt_profile_finish(heap);
    gcrt_runner_finish(heap);
    finish_weak(heap);
    gcrt_pools_finish(heap);
    gcrt_fibers_finish(heap);
    gcrt_roots_finish(heap);
    gcrt_trace_finish(heap);
    gcrt_registry_finish(heap);
    gcrt_kinds_finish(heap);
    gcrt_work_finish(&heap->work, &heap->os);
    gcrt_mheap_finish(&heap->mheap);
    gcrt_persist_finish(&heap->persist);
    return unmap_heap(heap);
}

static gc_status
destroy(struct gc_heap *heap)
{
    size_t kept;

    if (!gcrt_crew_stop(heap, "gc_heap_destroy"))
        return GC_ERR_BUSY;
    if (!close_heap(heap)) {
        gcrt_crew_resume(heap);
        return gcrt_error(GC_ERR_BUSY, "gc_heap_destroy: %u threads are attached to the heap",
                heap->registry.count);
    }
    kept = end_heap(heap);
    if (kept != 0)
        return gcrt_error(GC_ERR_NOMEM,
                "gc_heap_destroy: the heap has ended, but %zu bytes stay mapped", kept);
    return GC_OK;
}

/* The caller may be attached to another heap, whose handshakes do not wait for our threads' end. */
gc_status
gc_heap_destroy(gc_heap *heap)
{
    bool attached = gc_impl_self.mutator != NULL;
    gc_status status;

    if (heap == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_heap_destroy: heap is NULL");
    if (!gcrt_os_is_mapped(heap) || (uintptr_t)heap % CACHE_PAIR != 0
            || heap->magic != GC_HEAP_MAGIC)
        return gcrt_error(GC_ERR_INVAL, "gc_heap_destroy: %p is no heap", (void *)heap);
    if (gc_impl_self.mutator != NULL && gc_impl_self.mutator->heap == heap)
        return gcrt_error(GC_ERR_BUSY, "gc_heap_destroy: the caller is attached to the heap");
    if (attached)
        gc_block_enter();
    status = destroy(heap);
    if (attached)
        gc_block_leave();
    return status;
}

/* ---- the default heap ---- */

gc_status
gc_init(const gc_options *opt)
{
    struct gc_heap *heap;
    gc_status status;

    if (gcrt_heap_default() != NULL)
        return gcrt_error(GC_ERR_BUSY, "gc_init: there is a default heap already");
    if (gc_impl_self.mutator != NULL)
        return gcrt_error(GC_ERR_ATTACHED, "gc_init: this thread is attached to another heap");
    status = gc_heap_create(opt, &heap);
    if (status != GC_OK)
        return status;
    status = gc_thread_attach(heap);
    if (status != GC_OK) {
        size_t kept = close_heap(heap) ? end_heap(heap) : 0;

        if (kept != 0)
            gcrt_error_append("; %zu bytes stay mapped", kept);
        return status;
    }
    gcrt_heap_set_default(heap);
    return GC_OK;
}

void
gc_shutdown(void)
{
    struct gc_heap *heap = gcrt_heap_default();
    struct gcrt_mutator *m = gc_impl_self.mutator;

    if (heap == NULL)
        return;
    if (m != NULL && m->heap == heap)
        gcrt_mutator_detach_self("gc_shutdown");
    if (!gcrt_crew_stop(heap, "gc_shutdown")) {
        gcrt_log(heap, "%s; the heap is left as it is", gc_last_error());
        return;
    }
    if (gc_heap_destroy(heap) == GC_ERR_BUSY)
        gcrt_fatal("gc_shutdown: %s", gc_last_error());
}
