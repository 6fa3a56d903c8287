/* SPDX-License-Identifier: MIT */
#ifndef GCRT_SCOPED_HPP
#define GCRT_SCOPED_HPP

/*
 * The part of gcrt.hpp whose objects end something when they end: handles and registered
 * roots, locals and scopes of precise threads, blocking regions, attachment, the heap.  Like
 * gcrt.hpp it needs neither exceptions nor RTTI; when exceptions pass, the destructors run.
 */

#include <gcrt/object.hpp>

namespace gc {

/* ---- roots ---- */

/*
 * A handle that frees itself: a root anywhere, in std containers and malloc'ed memory say.
 * Made on attached threads; out of memory is std::bad_alloc, or a fatal line without
 * exceptions.  May be moved, read, set and destroyed on any thread, before the heap ends.
 */
template <class T> class handle {
public:
    handle() noexcept : cell_(nullptr)
    {
    }
    explicit handle(T *object) : cell_(gc_handle_new(impl::erase(object)))
    {
        if (cell_ == nullptr)
            impl::no_memory("gc::handle");
    }
    handle(handle &&other) noexcept : cell_(other.cell_)
    {
        other.cell_ = nullptr;
    }
    handle &
    operator=(handle &&other) noexcept
    {
        std::swap(cell_, other.cell_);
        return *this;
    }
    ~handle()
    {
        gc_handle_free(cell_);
    }

    /* nullptr also if there is no cell. */
    T *
    get() const noexcept
    {
        return cell_ == nullptr ? nullptr : static_cast<T *>(gc_handle_get(cell_));
    }
    T *
    operator->() const noexcept
    {
        return get();
    }
    T &
    operator*() const noexcept
    {
        return *get();
    }
    explicit operator bool() const noexcept
    {
        return get() != nullptr;
    }
    /* Takes a cell first if it has none: attached threads then. */
    void
    reset(T *object)
    {
        if (cell_ == nullptr)
            *this = handle(object);
        else
            gc_handle_set(cell_, impl::erase(object));
    }

private:
    gc_handle *cell_;
};

/* Memory that is a root while this lives: gc_root_add and gc_root_remove. */
class root_range {
public:
    root_range(void *start, std::size_t bytes) noexcept
        : start_(start), status_(gc_root_add(start, bytes))
    {
    }
    /* A gc::ptr, or an array or struct of them. */
    template <class T> explicit root_range(T &cells) noexcept
        : root_range(impl::erase(&cells), sizeof cells)
    {
    }
    ~root_range()
    {
        if (status_ == GC_OK)
            gc_root_remove(start_);
    }
    root_range(const root_range &) = delete;
    root_range &operator=(const root_range &) = delete;

    gc_status
    status() const noexcept
    {
        return status_;
    }

private:
    void *start_;
    gc_status status_;
};

/*
 * One registered cell with a place of its own, which reads as fast as a pointer: for a few
 * roots (adding is linear in their number), made and destroyed on attached threads.
 */
template <class T> class root {
public:
    explicit root(T *object = nullptr) : cell_(object), range_(cell_)
    {
        if (range_.status() != GC_OK)
            impl::no_memory("gc::root");
    }
    root &
    operator=(T *object) noexcept
    {
        cell_ = object;
        return *this;
    }
    T *
    get() const noexcept
    {
        return cell_.get();
    }
    operator T *() const noexcept
    {
        return get();
    }
    T *
    operator->() const noexcept
    {
        return get();
    }

private:
    ptr<T> cell_;
    root_range range_;
};

/* ---- locals of precise threads ---- */

/*
 * A local whose object is held until the block is left, by an exception too.  On the stack
 * only; not in a blocking region.  GC_FRAME is the same for several plain locals at once.
 */
template <class T> class local {
public:
    explicit local(T *object = nullptr) noexcept : held_(impl::erase(object))
    {
    }
    local(const local &) = delete;
    local &
    operator=(const local &other) noexcept
    {
        held_.p = other.held_.p;
        return *this;
    }
    local &
    operator=(T *object) noexcept
    {
        held_.p = impl::erase(object);
        return *this;
    }
    T *
    get() const noexcept
    {
        return static_cast<T *>(held_.p);
    }
    operator T *() const noexcept
    {
        return get();
    }
    T *
    operator->() const noexcept
    {
        return get();
    }
    static void *operator new(std::size_t) = delete;
    static void *operator new[](std::size_t) = delete;

private:
    impl::held held_;
};

/* gc_scope_enter and gc_scope_leave; local(p) is gc_local. */
class scope {
public:
    scope() noexcept
    {
        gc_scope_enter(&scope_);
    }
    ~scope()
    {
        gc_scope_leave(&scope_);
    }
    scope(const scope &) = delete;
    scope &operator=(const scope &) = delete;

    /* object, held until the scope ends. */
    template <class T> T *
    hold(T *object)
    {
        if (gc_local(impl::erase(object)) == nullptr)
            impl::no_memory("gc::scope");
        return object;
    }

private:
    gc_scope scope_;
};

/* Every frame that was entered after this one was made is left: around a setjmp. */
class frames {
public:
    frames() noexcept : saved_(gc_frames_save())
    {
    }
    void
    restore() const noexcept
    {
        gc_frames_restore(saved_);
    }

private:
    gc_impl_frame *saved_;
};

/* ---- threads and the heap ---- */

/* GC_BLOCKING by scope: here return and exceptions may leave the region. */
class blocking {
public:
    blocking() noexcept
    {
        gc_block_enter();
    }
    ~blocking()
    {
        gc_block_leave();
    }
    blocking(const blocking &) = delete;
    blocking &operator=(const blocking &) = delete;
};

namespace impl {

/* Of what may not have begun. */
class outcome {
public:
    outcome(const outcome &) = delete;
    outcome &operator=(const outcome &) = delete;

    gc_status
    status() const noexcept
    {
        return status_;
    }
    explicit operator bool() const noexcept
    {
        return status_ == GC_OK;
    }

protected:
    explicit outcome(gc_status status) noexcept : status_(status)
    {
    }
    ~outcome() = default;

    gc_status status_;
};

} // namespace impl

/* The thread is attached while this lives.  Ask whether it is: status(). */
class attach : public impl::outcome {
public:
    explicit attach(gc_heap *heap = nullptr) noexcept : outcome(gc_thread_attach(heap))
    {
    }
    ~attach()
    {
        if (status_ == GC_OK)
            gc_thread_detach();
    }
};

/* gc_callback_enter and gc_callback_leave.  Ask whether the thread is in the heap: status(). */
class callback : public impl::outcome {
public:
    explicit callback(gc_heap *heap = nullptr) noexcept : outcome(GC_ERR_DETACHED)
    {
        status_ = gc_callback_enter(heap, &cb_);
    }
    ~callback()
    {
        if (status_ == GC_OK)
            gc_callback_leave(&cb_);
    }

private:
    gc_callback cb_;
};

/* The default heap while this lives: gc_init and gc_shutdown.  Ask status(). */
class runtime : public impl::outcome {
public:
    explicit runtime(const gc_options *opt = nullptr) noexcept : outcome(gc_init(opt))
    {
    }
    ~runtime()
    {
        if (status_ == GC_OK)
            gc_shutdown();
    }
};

} // namespace gc

#endif
