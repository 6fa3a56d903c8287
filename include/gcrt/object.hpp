/* SPDX-License-Identifier: MIT */
#ifndef GCRT_OBJECT_HPP
#define GCRT_OBJECT_HPP

/*
 * The part of gcrt.hpp that is about objects: their types, fields with barriers, how they are
 * made, and standard containers.
 */

#include <gcrt/gcrt.h>
#if __has_include(<gcrt/weak.h>) && __has_include(<gcrt/cleanup.h>)
# include <gcrt/cleanup.h>
# include <gcrt/weak.h>
# define GC_IMPL_CXX_LIFE 1 /* gc::weak, gc_new_finalized */
#endif

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace gc {

template <class T> class ptr;
template <class T> class atomic_ptr;
template <class T> class weak;

namespace impl {

template <class T> struct never : std::false_type {
};

/* A word that may refer to an object, an array of them, or a struct made of such. */
template <class T> struct is_reference {
    typedef typename std::remove_all_extents<T>::type word;
    static constexpr bool value = !std::is_arithmetic<word>::value && !std::is_enum<word>::value
            && sizeof(word) % 8 == 0 && alignof(word) == 8;
};

template <class T> inline void *
erase(T *p) noexcept
{
    return const_cast<void *>(static_cast<const volatile void *>(p));
}

[[noreturn]] inline void
fatal(const char *what)
{
    std::fprintf(stderr, "gcrt: fatal: %s\n", what);
    std::abort();
}

/* Out of memory where C has NULL. */
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
inline namespace throwing {
[[noreturn]] inline void
no_memory(const char *)
{
    throw std::bad_alloc();
}
}
#else
inline namespace aborting {
[[noreturn]] inline void
no_memory(const char *)
{
    fatal("gcrt.hpp: out of memory");
}
}
#endif

} // namespace impl

/* ---- types ---- */

/*
 * gc::type_of<T>::get() is the gc_type of T.  Numbers, enums and pointers have theirs; a class
 * says it by one of
 *
 *     GC_FIELDS(T, field, ...);  in a public part of T, after its fields: where its pointers
 *                                are, those of its bases included; 1 to 24 of them
 *     GC_NOSCAN(T);              in T: it has no pointers
 *     GC_USE_TYPE(T, type);      at global scope: a gc_type that a macro of type.h has made
 *     GC_USE_NOSCAN(T);          at global scope
 */
template <class T, class = void> struct type_of {
    static_assert(impl::never<T>::value,
            "gc::type_of: it is not known where the pointers of this type are: say GC_FIELDS "
            "or GC_NOSCAN in it, or GC_USE_TYPE or GC_USE_NOSCAN outside");
};

namespace impl {

template <class T> struct void_of {
    typedef void type;
};

template <class T> struct plain_type {
    static constexpr bool noscan = true;

    static const gc_type *
    get() noexcept
    {
        static_assert(std::is_trivially_copyable<T>::value,
                "GC_NOSCAN: a type without pointers is trivially copyable; this one is not, so "
                "it may hold a gc::ptr or memory of its own");
        GC_TYPE_NOSCAN(type, T);
        return &type;
    }
};

struct scanned {
    static constexpr bool noscan = false;
};

template <class T> struct pointer_type : scanned {
    static const gc_type *
    get() noexcept
    {
        return &gc_pointer_type;
    }
};

template <class T> struct own_type {
    static_assert(std::is_same<typename T::gc_impl_owner, T>::value,
            "gc::type_of: the layout is a base class's: say GC_FIELDS or GC_NOSCAN in the "
            "derived class too");
    static constexpr bool noscan = T::gc_impl_noscan;

    static const gc_type *
    get() noexcept
    {
        return T::gc_impl_type();
    }
};

} // namespace impl

template <class T>
struct type_of<T,
        typename std::enable_if<std::is_arithmetic<T>::value || std::is_enum<T>::value>::type>
    : impl::plain_type<T> {
};
template <class T> struct type_of<T *, void> : impl::pointer_type<T> {
};
template <class T> struct type_of<ptr<T>, void> : impl::pointer_type<T> {
};
template <class T> struct type_of<atomic_ptr<T>, void> : impl::pointer_type<T> {
};
template <class T> struct type_of<weak<T>, void> : impl::pointer_type<T> {
};
template <class T>
struct type_of<T, typename impl::void_of<typename T::gc_impl_owner>::type> : impl::own_type<T> {
};

#define GC_IMPL_CXX_CHECK(T, f)                                                             \
    static_assert(::gc::impl::is_reference<decltype(T::f)>::value,                          \
            "GC_FIELDS: " #f " is no gc::ptr, pointer, or array or struct of these");

/* offsetof is conditionally supported beyond standard layout; both compilers support it. */
#define GC_FIELDS(T, ...)                                                                   \
    typedef T gc_impl_owner;                                                                \
    enum : bool { gc_impl_noscan = false };                                                 \
    static const gc_type *gc_impl_type() noexcept                                           \
    {                                                                                       \
        _Pragma("GCC diagnostic push")                                                      \
        _Pragma("GCC diagnostic ignored \"-Winvalid-offsetof\"")                            \
        GC_IMPL_MAP(GC_IMPL_CXX_CHECK, T, __VA_ARGS__)                                      \
        GC_TYPE(gc_impl_the_type, T, __VA_ARGS__);                                          \
        _Pragma("GCC diagnostic pop")                                                       \
        return &gc_impl_the_type;                                                           \
    }                                                                                       \
    static_assert(true, "")

#define GC_NOSCAN(T)                                                                        \
    typedef T gc_impl_owner;                                                                \
    enum : bool { gc_impl_noscan = true };                                                  \
    static const gc_type *gc_impl_type() noexcept                                           \
    {                                                                                       \
        return ::gc::impl::plain_type<T>::get();                                            \
    }                                                                                       \
    static_assert(true, "")

#define GC_USE_TYPE(T, type_)                                                               \
    template <> struct gc::type_of<T> : gc::impl::scanned {                                 \
        static const gc_type *get() noexcept                                                \
        {                                                                                   \
            return &(type_);                                                                \
        }                                                                                   \
    }

#define GC_USE_NOSCAN(T)                                                                    \
    template <> struct gc::type_of<T> : gc::impl::plain_type<T> {                           \
    }

/* ---- fields ---- */

/*
 * A pointer in a heap object or a registered root: assignment is gc_write.  So is construction
 * from a value, after a plain zero, which in a fresh object stands over a zero: an object's
 * constructor may let `this` escape.  Reading is a relaxed atomic load.  Not for locals (T *,
 * or gc::local in precise threads) and not for memory that the collector does not look at.
 */
template <class T> class ptr {
public:
    typedef T element_type;

    constexpr ptr() noexcept : p_(nullptr)
    {
    }
    constexpr ptr(std::nullptr_t) noexcept : p_(nullptr)
    {
    }
    ptr(T *p) noexcept : p_(nullptr)
    {
        set(p);
    }
    ptr(const ptr &other) noexcept : p_(nullptr)
    {
        set(other.get());
    }
    template <class U,
            class = typename std::enable_if<std::is_convertible<U *, T *>::value>::type>
    ptr(const ptr<U> &other) noexcept : p_(nullptr)
    {
        set(other.get());
    }

    ptr &
    operator=(T *p) noexcept
    {
        set(p);
        return *this;
    }
    ptr &
    operator=(const ptr &other) noexcept
    {
        set(other.get());
        return *this;
    }

    T *
    get() const noexcept
    {
        return __atomic_load_n(&p_, __ATOMIC_RELAXED);
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
    T *p_;

    void
    set(T *p) noexcept
    {
        gc_impl_write(impl::erase(&p_), impl::erase(p));
    }
};

/*
 * A field that threads share without a lock.  load acquires, store releases (gc_write_release),
 * the others are sequentially consistent.  compare_exchange_strong, if it fails, stores what it
 * found in expected; only sequential consistency is on offer, which costs nothing more here.
 */
template <class T> class atomic_ptr {
public:
    constexpr atomic_ptr() noexcept : p_(nullptr)
    {
    }
    atomic_ptr(T *p) noexcept : p_(nullptr)
    {
        store(p);
    }
    atomic_ptr(const atomic_ptr &) = delete;
    atomic_ptr &operator=(const atomic_ptr &) = delete;

    T *
    load() const noexcept
    {
        return __atomic_load_n(&p_, __ATOMIC_ACQUIRE);
    }
    T *
    load_relaxed() const noexcept
    {
        return __atomic_load_n(&p_, __ATOMIC_RELAXED);
    }
    void
    store(T *p) noexcept
    {
        gc_impl_write_release(impl::erase(&p_), impl::erase(p));
    }
    T *
    exchange(T *p) noexcept
    {
        return static_cast<T *>(gc_impl_exchange(impl::erase(&p_), impl::erase(p)));
    }
    bool
    compare_exchange_strong(T *&expected, T *desired) noexcept
    {
        T *const wanted = expected;

        do {
            if (gc_impl_cas(impl::erase(&p_), impl::erase(wanted), impl::erase(desired)))
                return true;
            expected = load();
        } while (expected == wanted); /* it was another one, and is this one again */
        return false;
    }
    atomic_ptr &
    operator=(T *p) noexcept
    {
        store(p);
        return *this;
    }
    operator T *() const noexcept
    {
        return load();
    }
    T *
    operator->() const noexcept
    {
        return load();
    }

private:
    T *p_;
};

#if defined(GC_IMPL_CXX_LIFE)
/*
 * A field that does not keep its object alive (weak.h): get() is nullptr once nothing else does.
 * Assignment makes a gc_weak, or finds the one that there is.  A T that is not at the
 * beginning of its object (a second base class) is a fatal line: weak references are to objects.
 */
template <class T> class weak {
public:
    constexpr weak() noexcept : cell_()
    {
    }
    explicit weak(T *object) : cell_()
    {
        *this = object;
    }
    weak &
    operator=(T *object)
    {
        void *base = gc_base(impl::erase(object));

        if (base != nullptr && base != impl::erase(object))
            impl::fatal("gc::weak: the pointer is not to the beginning of its object");
        cell_ = gc_weak_new(impl::erase(object)); /* and nothing polls before the store */
        return *this;
    }
    T *
    get() const noexcept
    {
        return static_cast<T *>(gc_weak_get(cell_));
    }

private:
    ptr<gc_weak> cell_;
};
#endif

static_assert(sizeof(ptr<int>) == sizeof(void *) && sizeof(atomic_ptr<int>) == sizeof(void *),
        "a field is one word");

/* ---- objects ---- */

namespace impl {

template <class T> struct check_object {
    static_assert(std::is_trivially_destructible<T>::value,
            "gc_new: destructors of heap objects are not run: T must be trivially destructible, "
            "or made by gc_new_finalized");
    static_assert(alignof(T) <= 128, "gc_new: objects are aligned to 128 bytes at most");
    static_assert(!std::is_reference<T>::value && !std::is_array<T>::value,
            "gc_new: T is an object type; for arrays there is gc_new_array");
    static constexpr bool ok = true;
};

/* Zero is what these are when they have been made without arguments. */
template <class T> struct zero_is_new
    : std::integral_constant<bool, std::is_trivially_default_constructible<T>::value
                      || std::is_pointer<T>::value> {
};
template <class T> struct zero_is_new<ptr<T>> : std::true_type {
};
template <class T> struct zero_is_new<atomic_ptr<T>> : std::true_type {
};

template <class T> inline void
destruct(void *object, void *) noexcept
{
    static_cast<T *>(object)->~T();
}

template <class T> inline void
construct_all(T *p, std::size_t n)
{
    if (!zero_is_new<T>::value)
        for (std::size_t i = 0; i < n; i++)
            ::new (static_cast<void *>(p + i)) T();
}

/* A frame (precise.h) of one local: what a precise thread holds across calls. */
struct held {
    void *p;
    gc_impl_local cell;
    gc_impl_frame frame;

    explicit held(void *object) noexcept : p(object), cell(), frame()
    {
        cell.start = &p;
        cell.words = 1;
        frame.locals = &cell;
        frame.n = 1;
        gc_impl_frame_enter(&frame);
    }
    ~held()
    {
        gc_impl_frame_leave(&frame);
    }
    held(const held &) = delete;
    held &operator=(const held &) = delete;
};

} // namespace impl

} // namespace gc

/*
 * gc_new<T>(args...): an object of T on the heap, constructed in place.  The constructor may
 * allocate, publish `this` and throw: then the memory is garbage like any other.
 * gc_try_new is nullptr when memory is out.  On a precise thread the object is held while its
 * constructor runs; the arguments are the caller's business.
 */
template <class T, class... Args> inline T *
gc_new(Args &&...args)
{
    static_assert(gc::impl::check_object<T>::ok, "");
    gc::impl::held object(gc_alloc(gc::type_of<T>::get()));

    return ::new (object.p) T(std::forward<Args>(args)...);
}

template <class T, class... Args> GC_MUST_CHECK inline T *
gc_try_new(Args &&...args)
{
    static_assert(gc::impl::check_object<T>::ok, "");
    gc::impl::held object(gc_try_alloc(gc::type_of<T>::get()));

    return object.p == nullptr ? nullptr : ::new (object.p) T(std::forward<Args>(args)...);
}

#if defined(GC_IMPL_CXX_LIFE)
/*
 * gc_new for a T whose destructor shall run: as its finalizer (cleanup.h), once, on a thread
 * of the heap's own, some time after the object has become unreachable; not if it can be reached
 * from itself, and not at the heap's end.
 */
template <class T, class... Args> inline T *
gc_new_finalized(Args &&...args)
{
    static_assert(!std::is_trivially_destructible<T>::value,
            "gc_new_finalized: T has no destructor to run: gc_new will do");
    static_assert(alignof(T) <= 128, "gc_new: objects are aligned to 128 bytes at most");
    gc::impl::held object(gc_alloc(gc::type_of<T>::get()));
    T *const made = ::new (object.p) T(std::forward<Args>(args)...);

    if (gc_finalizer_set(object.p, gc::impl::destruct<T>, nullptr) != GC_OK) {
        made->~T();
        gc::impl::no_memory("gc_new_finalized");
    }
    return made;
}
#endif

/* n elements, each as T() makes it; n may be 0. */
template <class T> inline T *
gc_new_array(std::size_t n)
{
    static_assert(gc::impl::check_object<T>::ok, "");
    gc::impl::held array(gc_alloc_array(gc::type_of<T>::get(), n));

    gc::impl::construct_all(static_cast<T *>(array.p), n);
    return static_cast<T *>(array.p);
}

template <class T> GC_MUST_CHECK inline T *
gc_try_new_array(std::size_t n)
{
    static_assert(gc::impl::check_object<T>::ok, "");
    gc::impl::held array(gc_try_alloc_array(gc::type_of<T>::get(), n));

    if (array.p != nullptr)
        gc::impl::construct_all(static_cast<T *>(array.p), n);
    return static_cast<T *>(array.p);
}

namespace gc {

/* gc_copy, gc_move and gc_clear over n elements of T; nothing is constructed. */
template <class T> inline void
copy(T *dst, const T *src, std::size_t n)
{
    gc_copy(type_of<T>::get(), impl::erase(dst), impl::erase(src), n);
}

template <class T> inline void
move(T *dst, const T *src, std::size_t n)
{
    gc_move(type_of<T>::get(), impl::erase(dst), impl::erase(src), n);
}

template <class T> inline void
clear(T *dst, std::size_t n)
{
    gc_clear(type_of<T>::get(), impl::erase(dst), n);
}

/* ---- standard containers ---- */

/*
 * For vectors and strings of data without pointers, whose buffer is then garbage by itself.
 * The container must be a local of an attached thread that is not precise: it stores its own
 * pointers plainly, so it may not lie in a heap object or a registered root.
 */
template <class T> class allocator {
public:
    typedef T value_type;

    allocator() noexcept = default;
    template <class U> allocator(const allocator<U> &) noexcept
    {
    }

    T *
    allocate(std::size_t n)
    {
        static_assert(type_of<T>::noscan,
                "gc::allocator: only for elements without pointers: containers store pointers "
                "without a barrier; use gc_new_array, or gc::handle elements");
        static_assert(alignof(T) <= 128, "gc::allocator: aligned to 128 bytes at most");
        void *p = n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)
                ? nullptr
                : gc_try_alloc_bytes_uninit(n * sizeof(T));

        if (p == nullptr)
            impl::no_memory("gc::allocator");
        return static_cast<T *>(p);
    }
    void
    deallocate(T *, std::size_t) noexcept
    {
    }
};

template <class T, class U> inline bool
operator==(const allocator<T> &, const allocator<U> &) noexcept
{
    return true;
}

template <class T, class U> inline bool
operator!=(const allocator<T> &, const allocator<U> &) noexcept
{
    return false;
}

} // namespace gc

/* Containers keep their elements where the collector does not look. */
template <class T> class std::allocator<gc::ptr<T>> {
    static_assert(gc::impl::never<T>::value,
            "std containers of gc::ptr are not scanned: use gc::handle elements, or an array "
            "from gc_new_array");
};

#endif
