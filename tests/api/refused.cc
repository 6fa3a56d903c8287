/* SPDX-License-Identifier: MIT */
/*
 * Purpose: misuse of gcrt.hpp, and of the C macros in C++, that must not compile.  refused.py
 * compiles this file once as it is, and once with each REFUSE_ name defined: the latter must
 * fail and say the words behind it.
 */
#include <gcrt/gcrt.hpp>

#include <list>
#include <map>
#include <string>
#include <vector>

struct leaf {
    long value;
};

struct node {
    gc::ptr<node> left;
    node *raw;
    long key;
    GC_FIELDS(node, left, raw);
};

struct with_destructor {
    gc::ptr<node> n;
    ~with_destructor()
    {
        n = nullptr;
    }
    GC_FIELDS(with_destructor, n);
};

struct derived : node {
    gc::ptr<node> extra;
};

struct wrong_field {
    gc::ptr<node> left;
    long key;
#ifdef REFUSE_a_number_as_a_field /* key is no gc::ptr */
    GC_FIELDS(wrong_field, left, key);
#else
    GC_FIELDS(wrong_field, left);
#endif
};

struct not_plain {
    gc::ptr<node> left;
#ifdef REFUSE_noscan_with_a_pointer /* a type without pointers is trivially copyable */
    GC_NOSCAN(not_plain);
#else
    GC_FIELDS(not_plain, left);
#endif
};

struct alignas(256) aligned {
    char c[256];
    GC_NOSCAN(aligned);
};

void stores(node *n, leaf *l);
void
stores(node *n, leaf *l)
{
    (void)gc::type_of<wrong_field>::get();
    (void)gc::type_of<not_plain>::get();
    n->left = n;
    gc_write(&n->raw, n);
#ifdef REFUSE_a_pointer_of_another_type /* leaf | no match for */
    n->left = l;
#endif
#ifdef REFUSE_a_number /* int | no match for */
    n->left = 5;
#endif
#ifdef REFUSE_const_away /* const | invalid conversion | no match for */
    n->left = static_cast<const node *>(n);
#endif
#ifdef REFUSE_gc_write_of_another_type /* leaf */
    gc_write(&n->raw, l);
#endif
#ifdef REFUSE_gc_write_of_a_number /* int */
    gc_write(&n->raw, 5);
#endif
#ifdef REFUSE_gc_cas_of_another_type /* leaf */
    (void)gc_cas(&n->raw, l, n);
#endif
#ifdef REFUSE_gc_write_word_to_half_a_word /* negative | -1 */
    int half;
    static const gc_decode d = { 1, 1, 1 };
    gc_write_word(&d, &half, 1);
#endif
    (void)l;
}

void makes(node *n, leaf *l, gc::handle<node> &h);
void
makes(node *n, leaf *l, gc::handle<node> &h)
{
#ifdef REFUSE_a_type_nobody_described /* it is not known where the pointers of this type are */
    (void)gc_new<leaf>();
#endif
#ifdef REFUSE_a_destructor /* destructors of heap objects are not run */
    (void)gc_new<with_destructor>();
#endif
#ifdef REFUSE_a_string /* destructors of heap objects are not run */
    (void)gc_new<std::string>();
#endif
#ifdef REFUSE_a_base_class_layout /* the layout is a base class's */
    (void)gc_new<derived>();
#endif
#ifdef REFUSE_an_array_by_gc_new /* for arrays there is gc_new_array */
    (void)gc_new<long[4]>();
#endif
#ifdef REFUSE_alignment /* aligned to 128 bytes at most */
    (void)gc_new<aligned>();
#endif
#ifdef REFUSE_wrong_arguments /* no matching | could not convert */
    (void)gc_new<node>(1, 2, 3);
#endif
#ifdef REFUSE_a_vector_of_fields /* std containers of gc::ptr are not scanned */
    std::vector<gc::ptr<node>> v(3);
#endif
#ifdef REFUSE_a_vector_of_pointers_on_the_heap /* only for elements without pointers */
    std::vector<node *, gc::allocator<node *>> v(3);
#endif
#ifdef REFUSE_a_vector_of_objects_on_the_heap /* only for elements without pointers */
    std::vector<node, gc::allocator<node>> v(3);
#endif
#ifdef REFUSE_a_list_on_the_heap /* it is not known where the pointers of this type are */
    std::list<int, gc::allocator<int>> v(3);
#endif
#ifdef REFUSE_a_copied_handle /* deleted */
    gc::handle<node> other(h);
#endif
#ifdef REFUSE_a_copied_root /* deleted */
    gc::root<node> a, b(a);
#endif
#ifdef REFUSE_a_copied_local /* deleted */
    gc::local<node> a(n), b(a);
#endif
#ifdef REFUSE_a_local_on_the_malloc_heap /* deleted */
    (void)new gc::local<node>(n);
#endif
#ifdef REFUSE_a_copied_atomic /* deleted */
    gc::atomic_ptr<node> a, b(a);
#endif
#ifdef REFUSE_a_copied_blocking_region /* deleted */
    gc::blocking a, b(a);
#endif
#ifdef REFUSE_copy_between_types /* no matching function | deduced conflicting */
    gc::copy(n, l, 1);
#endif
    (void)n, (void)l, (void)h;
}
