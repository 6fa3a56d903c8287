/* SPDX-License-Identifier: MIT */
/*
 * Purpose: gcrt.hpp does what it says: types, fields, roots, locals, threads, exceptions,
 * allocator, in each C++ standard and also without exceptions and RTTI.
 *
 * Place: public interface only; a plain main(): 0 is a pass.  It runs in a heap with precise
 * stacks, so that what is dead is known to be dead; once as it is, once with wbcheck=1 and a
 * cycle at each slow path, where a store without its barrier is fatal.
 */
#include <gcrt/gcrt.hpp>

#include "cxx_throw.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#define REQUIRE(cond)                                                                   \
    do {                                                                                \
        if (!(cond)) {                                                                  \
            std::fprintf(stderr, "cxx_header: FAILED line %d: %s\n", __LINE__, #cond);  \
            std::exit(1);                                                               \
        }                                                                               \
    } while (0)

namespace {

struct node {
    gc::ptr<node> left, right;
    gc::ptr<node> more[2];
    long key = 0;

    node() = default;
    node(node *l, long k) : left(l), key(k)
    {
    }
    GC_FIELDS(node, left, right, more);
};

/* Neither standard layout nor without a vtable. */
class shape : public node {
public:
    virtual long
    area() const
    {
        return key - pad_;
    }
    GC_FIELDS(shape, left, right, more, owner_);

private:
    long pad_ = 1;
    gc::ptr<shape> owner_;
};

class square : public shape {
public:
    explicit square(long k)
    {
        key = k;
    }
    long
    area() const override
    {
        return key * key;
    }
    GC_FIELDS(square, left, right, more, mine_);

private:
    gc::ptr<node> mine_;
};

template <class T> struct cell {
    gc::atomic_ptr<cell> next;
    T value;

    cell(cell *n, T v) : next(n), value(v)
    {
    }
    GC_FIELDS(cell, next);
};

struct sample {
    double x, y;
    GC_NOSCAN(sample);
};

struct foreign {
    foreign *next;
    long key;
};
struct foreign_plain {
    short a[3];
};
GC_TYPE(foreign_type, foreign, next);

} // namespace

GC_USE_TYPE(foreign, foreign_type);
GC_USE_NOSCAN(foreign_plain);

namespace {

gc::ptr<node> global;
gc::ptr<node> globals[4];

bool
alive(std::uintptr_t hidden)
{
    void *p = reinterpret_cast<void *>(~hidden);

    return gc_base(p) == p;
}

std::uintptr_t
hide(const void *p)
{
    return ~reinterpret_cast<std::uintptr_t>(p);
}

void
types()
{
    const gc_type *t = gc::type_of<node>::get();

    REQUIRE(t->form == GC_FORM_FIELDS && t->size == sizeof(node) && t->mask == 0xf);
    REQUIRE(t->nfields == 3 && t->fields[2].offset == 16 && t->fields[2].bytes == 16);
    REQUIRE(std::strcmp(t->name, "node") == 0);
    t = gc::type_of<shape>::get();
    REQUIRE(t != gc::type_of<node>::get() && t->nfields == 4 && t->mask == 0x9e);
    REQUIRE(gc::type_of<square>::get()->nfields == 4);
    REQUIRE(gc::type_of<cell<int>>::get() != gc::type_of<cell<long>>::get());
    REQUIRE(gc::type_of<foreign>::get() == &foreign_type);
    REQUIRE(gc::type_of<int>::noscan && gc::type_of<sample>::noscan);
    REQUIRE(gc::type_of<foreign_plain>::noscan && !gc::type_of<node>::noscan);
    REQUIRE(gc::type_of<sample>::get()->form == GC_FORM_NOSCAN);
    REQUIRE(gc::type_of<gc::ptr<node>>::get() == &gc_pointer_type);
    REQUIRE(gc::type_of<node *>::get() == &gc_pointer_type);
}

void
fields()
{
    gc::root<node> top(gc_new<node>());
    gc::root<node> empty;

    top->left = gc_new<node>(nullptr, 7);
    top->right = gc_new<square>(5);
    top->more[0] = top->left;
    top->more[1] = gc_new<node>(top, 9);
    gc_collect(nullptr);
    REQUIRE(empty.get() == nullptr && top->left->key == 7 && top->left == top->more[0]);
    REQUIRE(static_cast<shape *>(top->right.get())->area() == 25);
    REQUIRE(top->more[1]->left == top.get());
    top->left = nullptr;
    REQUIRE(!top->left && top->more[0]->key == 7);
    *top->more[0] = *top->more[1]; /* a struct, member by member */
    gc_collect(nullptr);
    REQUIRE(top->more[0]->left == top && top->more[0]->key == 9);
    std::swap(top->more[0]->left, top->more[0]->right);
    REQUIRE(top->more[0]->right == top && top->more[0]->left == nullptr);
}

void
arrays()
{
    gc::local<gc::ptr<node>> a(gc_new_array<gc::ptr<node>>(100));
    gc::local<gc::ptr<node>> b(gc_new_array<gc::ptr<node>>(100));
    gc::local<node> nodes(gc_new_array<node>(10));

    for (long i = 0; i < 100; i++)
        a[i] = gc_new<node>(nullptr, i);
    gc::copy(b.get(), a.get(), 100);
    gc::move(a + 1, a.get(), 99);
    gc::clear(a + 50, 50);
    gc_collect(nullptr);
    for (long i = 0; i < 100; i++)
        REQUIRE(b[i]->key == i && (i < 50 ? a[i]->key == (i < 1 ? 0 : i - 1) : !a[i]));
    nodes[3].left = nodes + 9;
    nodes[9].key = 11;
    gc::copy(nodes.get(), nodes + 3, 1);
    REQUIRE(nodes[0].left->key == 11 && nodes[1].left == nullptr);
    REQUIRE(gc_new_array<sample>(0) != nullptr);
    REQUIRE(gc_new_array<sample>(3)[2].y == 0 && gc_try_new_array<int>(5)[4] == 0);
    REQUIRE(gc_try_new_array<node>(SIZE_MAX / 2) == nullptr);
    REQUIRE(gc_try_new<node>(nullptr, 3)->key == 3);
}

/* What only a handle, root, local or scope holds lives as long as that one does. */
void
lives()
{
    std::uintptr_t h, r, l, s;
    std::vector<gc::handle<node>> handles;

    handles.emplace_back(gc_new<node>());
    handles.emplace_back(gc_new<node>(nullptr, 2));
    h = hide(handles[0].get());
    {
        gc::root<node> root(gc_new<node>());
        gc::local<node> local(gc_new<node>());
        gc::scope scope;

        r = hide(root);
        l = hide(local);
        s = hide(scope.hold(gc_new<node>()));
        gc_collect(nullptr);
        gc_collect(nullptr);
        REQUIRE(alive(h) && alive(r) && alive(l) && alive(s));
        REQUIRE(gc_frames_save() != nullptr);
    }
    REQUIRE(gc_frames_save() == nullptr);
    handles.erase(handles.begin());
    REQUIRE(handles[0]->key == 2 && (*handles[0]).key == 2);
    gc_collect(nullptr);
    gc_collect(nullptr);
    REQUIRE(!alive(h) && !alive(r) && !alive(l) && !alive(s));
    handles[0].reset(nullptr);
    REQUIRE(!handles[0]);
    handles.emplace_back();
    REQUIRE(handles[1].get() == nullptr);
    handles[1].reset(gc_new<node>());
    REQUIRE(handles[1]);
}

#if defined(GC_IMPL_CXX_LIFE)
struct watcher {
    gc::weak<node> of;
    gc::ptr<node> strong;
    GC_FIELDS(watcher, of, strong);
};

void
weaks()
{
    gc::root<watcher> w(gc_new<watcher>());

    REQUIRE(w->of.get() == nullptr);
    w->strong = gc_new<node>(nullptr, 5);
    w->of = w->strong.get();
    gc_collect(nullptr);
    gc_collect(nullptr);
    REQUIRE(w->of.get() == w->strong && w->of.get()->key == 5);
    w->strong = nullptr;
    gc_collect(nullptr);
    gc_collect(nullptr);
    REQUIRE(w->of.get() == nullptr);
    w->of = nullptr;
    REQUIRE(w->of.get() == nullptr);
}

long destroyed;

struct owner {
    gc::ptr<node> what;
    long n;

    owner(node *p, long k) : what(p), n(k)
    {
    }
    ~owner()
    {
        destroyed += n + what->key; /* what it points to is alive */
    }
    GC_FIELDS(owner, what);
};

void
destructors()
{
    {
        gc::local<node> p(gc_new<node>(nullptr, 30));
        gc::local<owner> o(gc_new_finalized<owner>(p, 400));

        gc_collect(nullptr);
        gc_collect(nullptr);
        REQUIRE(gc_run_cleanups(nullptr, 100) == 0 && destroyed == 0 && o->n == 400);
    }
    gc_collect(nullptr);
    gc_collect(nullptr);
    REQUIRE(gc_run_cleanups(nullptr, 100) == 1 && destroyed == 430);
    gc_collect(nullptr);
    gc_collect(nullptr);
    REQUIRE(gc_run_cleanups(nullptr, 100) == 0 && destroyed == 430);
}
#endif

void
ranges()
{
    gc::root_range one(global), all(globals), again(globals);

    REQUIRE(one.status() == GC_OK && all.status() == GC_OK && again.status() == GC_ERR_INVAL);
    global = gc_new<node>(nullptr, 1);
    globals[3] = gc_new<node>(global, 2);
    gc_collect(nullptr);
    REQUIRE(globals[3]->left->key == 1);
    global = globals[3] = nullptr;
}

/* Several threads push and pop; the sum of what is popped is that of what was pushed. */
gc::atomic_ptr<cell<long>> stack;

long
push_and_pop(long n)
{
    gc::attach here;
    long sum = 0;

    REQUIRE(here);
    for (long i = 1; i <= n; i++) {
        gc::local<cell<long>> c(gc_new<cell<long>>(nullptr, i));
        cell<long> *top = stack.load();
        gc::local<cell<long>> old(top);

        do {
            old = top;
            c->next = top;
        } while (!stack.compare_exchange_strong(top, c));
        if (i % 3 == 0)
            old = stack.exchange(nullptr);
        else
            old = nullptr;
        for (cell<long> *p = old; p != nullptr; p = p->next)
            sum += p->value;
    }
    return sum;
}

void
atomics()
{
    gc::root_range range(stack);
    long sums[3], sum = 0;
    std::vector<std::thread> threads;

    for (long &s : sums)
        threads.emplace_back([&s] { s = push_and_pop(3000); });
    {
        gc::blocking outside;
        for (std::thread &t : threads)
            t.join();
        gc::callback inside; /* as foreign code would have it that calls back */
        REQUIRE(inside && gc_new<node>() != nullptr);
    }
    for (long s : sums)
        sum += s;
    for (cell<long> *p = stack.load_relaxed(); p != nullptr; p = p->next)
        sum += p->value;
    REQUIRE(sum == 3 * 3000L * 3001 / 2);
    stack = nullptr;
    REQUIRE(stack == nullptr);
}

#if defined(__cpp_exceptions)
struct refuses {
    gc::ptr<node> kept;

    explicit refuses(node *n) : kept(n)
    {
        gc_collect(nullptr); /* the unfinished object is held */
        REQUIRE(kept == n);
        throw 42;
    }
    GC_FIELDS(refuses, kept);
};

void
throw_arg(void *arg)
{
    gc::local<node> a(gc_new<node>()), b(gc_new<node>());
    gc::scope scope;
    gc::blocking outside;

    throw *static_cast<int *>(arg);
}

void
exceptions()
{
    gc::local<node> n(gc_new<node>(nullptr, 3));
    gc_impl_frame *const before = gc_frames_save();
    int got = 0, what = 17;

    try {
        (void)gc_new<refuses>(n.get());
    } catch (int x) {
        got = x;
    }
    REQUIRE(got == 42 && gc_frames_save() == before && n->key == 3);
    try {
        gc::local<node> c(gc_new<node>());
        call_in_frame(throw_arg, &what);
    } catch (int x) {
        got = x;
    }
    REQUIRE(got == 17 && gc_frames_save() == before);
    REQUIRE(gc_local(n) == nullptr);  /* the scope has been left */
    REQUIRE(gc_new<node>() != nullptr); /* and the blocking region */
    try {
        std::vector<int, gc::allocator<int>> v;
        v.reserve(v.max_size());
        got = 0;
    } catch (const std::bad_alloc &) {
        got = 1;
    }
    REQUIRE(got == 1);
}
#else
void
exceptions()
{
    REQUIRE(gc_frames_save() == nullptr);
    call_in_frame([](void *) {}, nullptr);
    REQUIRE(gc_frames_save() == nullptr);
}
#endif

/* On a thread that is not precise: its locals are looked at, container and all. */
void
containers()
{
    gc_options opt;
    gc_heap *heap;

    gc_options_default(&opt);
    REQUIRE(gc_heap_create(&opt, &heap) == GC_OK);
    std::thread([heap] {
        gc::attach here(heap);
        gc::attach twice(heap);
        std::vector<long, gc::allocator<long>> v;
        std::basic_string<char, std::char_traits<char>, gc::allocator<char>> s(100, 'x');

        REQUIRE(here && !twice && twice.status() == GC_ERR_ATTACHED);
        for (long i = 0; i < 100000; i++)
            v.push_back(i);
        gc_collect(nullptr);
        for (long i = 0; i < 100000; i++)
            REQUIRE(v[static_cast<std::size_t>(i)] == i);
        REQUIRE(gc_base(v.data()) == v.data() && s[99] == 'x');
        REQUIRE(s.get_allocator() == v.get_allocator());
    }).join();
    REQUIRE(gc_heap_destroy(heap) == GC_OK);
}

void
arenas()
{
    for (int round = 0; round < 50; round++) {
        gc::arena request("request");
        gc::arena other;
        node *in = request.new_<node>(nullptr, 1L);
        node *array;

        in->right = gc_new<node>(nullptr, 2L); /* only the arena holds it */
        in->left = other.new_<node>(nullptr, 3L);
        array = request.new_array<node>(1000);
        array[999].left = in;
        array[998].right = gc_new<node>(nullptr, 4L);
        if (round % 10 == 0)
            gc_collect(nullptr);
        REQUIRE(in->right->key == 2 && in->left->key == 3 && array[998].right->key == 4);
        REQUIRE(array[999].left == in && array[500].key == 0);
        REQUIRE(std::strcmp(request.strdup("text"), "text") == 0);
        REQUIRE(gc_arena_bytes(request.get()) >= 1000 * sizeof(node));
    }
}

} // namespace

int
main()
{
    gc_options opt;

    if (gc_options_from_env(&opt) != GC_OK)
        return 1;
    opt.precise_stacks = 1;
    opt.debug_clobberfree = 1;
#if defined(GC_IMPL_CXX_LIFE)
    opt.cleanup_threads = 0;
#endif
    gc::runtime heap(&opt);
    REQUIRE(heap && heap.status() == GC_OK);
    types();
    fields();
    arrays();
    lives();
#if defined(GC_IMPL_CXX_LIFE)
    weaks();
    destructors();
#endif
    ranges();
    atomics();
    exceptions();
    containers();
    arenas();
    REQUIRE(gc_verify(nullptr) == GC_OK && gc_frames_save() == nullptr);
    return 0;
}
