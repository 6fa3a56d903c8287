/* SPDX-License-Identifier: MIT */
#ifndef GCRT_ARENA_HPP
#define GCRT_ARENA_HPP

/* Arenas (arena.h) with a scope: what is made in one ends with it. */

#include <gcrt/arena.h>
#include <gcrt/object.hpp>
#include <gcrt/scoped.hpp>

namespace gc {

/*
 *     gc::arena request("request");
 *     node *n = request.new_<node>(1);
 *
 * The arena is freed at the end of the scope; pointers to what lies in it must not be used then.
 * Destructors of its objects are not run.  For attached threads that are inside, one at a time;
 * precise threads, too: it has a handle.
 */
class arena {
public:
    explicit arena(const char *name = nullptr) : arena_(gc_arena_new(name))
    {
    }
    ~arena()
    {
        gc_arena_free(arena_.get());
    }
    arena(const arena &) = delete;
    arena &operator=(const arena &) = delete;

    /* As gc_new: the constructor may allocate, and throw: then the memory waits for the end. */
    template <class T, class... Args> T *
    new_(Args &&...args)
    {
        check<T>();
        impl::held object(gc_arena_alloc(arena_.get(), type_of<T>::get()));

        return ::new (object.p) T(std::forward<Args>(args)...);
    }
    /* As gc_new_array: n elements, each as T() makes it; n may be 0. */
    template <class T> T *
    new_array(std::size_t n)
    {
        check<T>();
        impl::held array(gc_arena_alloc_array(arena_.get(), type_of<T>::get(), n));

        impl::construct_all(static_cast<T *>(array.p), n);
        return static_cast<T *>(array.p);
    }
    char *
    strdup(const char *s)
    {
        return gc_arena_strdup(arena_.get(), s);
    }
    /* For the functions of arena.h. */
    gc_arena *
    get() const noexcept
    {
        return arena_.get();
    }

private:
    template <class T> static void
    check()
    {
        static_assert(impl::check_object<T>::ok, "");
        static_assert(alignof(T) <= 16, "gc::arena: objects are aligned to 16 bytes");
    }
    handle<gc_arena> arena_;
};

} // namespace gc

#endif
