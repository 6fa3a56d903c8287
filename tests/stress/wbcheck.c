/* SPDX-License-Identifier: MIT */
/*
 * Purpose: hosts with one planted mistake each, and the line that wbcheck=1 must end them
 * with: type, field, values, place of allocation.
 *
 * Place: each host runs in a child process, twice: as planted, and with its mistake put
 * right.  The right one must end by itself without a word, which shows that the line is
 * about the mistake and not about what surrounds it.  Hosts that were never wrong are in
 * the table's last part; the other stress programs run with wbcheck=1, too.
 *
 * Arguments: only=NUMBER runs one host, and shows what it says.
 */

#include "heapkit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct pair {
    struct pair *left, *right;
    long key;
};
struct fork {
    struct pair *prong[3];
    struct {
        struct pair *at;
    } in;
};
struct bag {
    size_t n;
    struct pair *owner;
    struct pair items[];
};
union cell {
    void *pointer;
    uintptr_t number;
};
/* Traced: entries below n, with their tags; the cursor is not reported. */
struct stack {
    size_t n;
    struct pair *cursor;
    void *entry[6];
};

static void *
untagged(void *word)
{
    return (void *)((uintptr_t)word & ~(uintptr_t)7);
}

static void
trace_stack(const void *obj, size_t bytes, gc_tracer *tracer)
{
    const struct stack *s = obj;
    size_t n = __atomic_load_n(&s->n, __ATOMIC_RELAXED);

    (void)bytes;
    for (size_t i = 0; i < n && i < 6; i++)
        gc_trace(tracer, untagged(__atomic_load_n(&s->entry[i], __ATOMIC_RELAXED)));
}

GC_TYPE(pair_type, struct pair, left, right);
GC_TYPE(fork_type, struct fork, prong, in.at);
GC_TYPE_FLEX(bag_type, struct bag, items, pair_type, owner);
GC_TYPE_CONSERVATIVE(cell_type, union cell);
GC_TYPE_TRACED(stack_type, struct stack, trace_stack);

static void *roots[4];
static int right;   /* the mistake is put right */

#define SET(slot, value)                    \
    do {                                    \
        if (right)                          \
            gc_write(&(slot), (value));     \
        else                                \
            (slot) = (value);               \
    } while (0)

/* In a section of its own, so that the report's place of allocation can be checked. */
static __attribute__((noinline, section("wbcheck_make"))) struct pair *
make(void)
{
    struct pair *p = gc_alloc(&pair_type);

    __asm__ volatile("" : "+r"(p) : : "memory"); /* no tail call: the frame is in the line */
    return p;
}

/* A pair that a root holds, with two more in it. */
static struct pair *
published(void)
{
    struct pair *p = make();

    p->left = make();
    p->right = make();
    gc_write(&roots[0], p);
    return p;
}

/* ---- a field of a published object ---- */

static void
plain_store(void)
{
    SET(published()->left, make());
}

static void
plain_null(void)
{
    SET(published()->right, NULL);
}

static void
struct_assignment(void)
{
    struct pair other = { make(), NULL, 7 }, *p = published();

    if (right)
        gc_copy(&pair_type, p, &other, 1);
    else
        *p = other;
}

static void
by_memcpy(void)
{
    struct pair other = { NULL, make(), 7 }, *p = published();

    if (right)
        gc_copy(&pair_type, p, &other, 1);
    else
        memcpy(p, &other, sizeof other);
}

static void
by_memset(void)
{
    struct pair *p = published();

    if (right)
        gc_clear(&pair_type, p, 1);
    else
        memset(p, 0, sizeof *p);
}

static void
field_of_an_array(void)
{
    struct fork *f = gc_alloc(&fork_type);

    f->prong[1] = make();
    gc_write(&roots[1], f);
    SET(f->prong[2], make());
}

static void
field_inside_a_field(void)
{
    struct fork *f = gc_alloc(&fork_type);

    gc_write(&roots[1], f);
    SET(f->in.at, make());
}

static void
type_made_at_run_time(void)
{
    static const gc_field fields[] = { { 0, 8 }, { 16, 8 } };
    gc_type_spec spec = { .name = "cons", .size = 24, .form = GC_FORM_FIELDS,
        .fields = fields, .nfields = 2 };
    const gc_type *type;
    void **p;

    T_OK(gc_type_create(NULL, &spec, &type));
    p = gc_alloc(type);
    gc_write(&roots[1], p);
    SET(p[2], make());
}

/* ---- arrays, tails, other forms ---- */

static void
array_of_pointers(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 100);

    gc_write(&roots[1], a);
    SET(a[17], make());
}

/* 1,024 bytes, as its slot has. */
static void **
full_array(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 128);

    gc_write(&roots[1], a);
    return a;
}

static void
copy_beyond_its_object(void)
{
    void **a = full_array(), *words[9] = { NULL };

    gc_copy(&gc_pointer_type, a + 120, words, right ? 8 : 9);
}

static void
move_from_beyond_its_object(void)
{
    void **a = full_array(), *words[20];

    gc_move(&gc_pointer_type, words, a + 110, right ? 18 : 20);
}

static void
clear_beyond_its_object(void)
{
    void **a = full_array();

    gc_clear(&gc_pointer_type, a, right ? 128 : 130);
    gc_clear(&gc_pointer_type, a + 128, 0);
}

static void
array_of_structs(void)
{
    struct pair *a = gc_alloc_array(&pair_type, 9);

    gc_write(&roots[1], a);
    SET(a[3].right, make());
}

static void
large_array(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 300000);

    for (size_t i = 0; i < 300000; i += 1000)
        a[i] = make();
    gc_write(&roots[1], a);
    SET(a[299000], NULL);
}

static void
flexible_tail(void)
{
    struct bag *b = gc_alloc_flex(&bag_type, 8);

    b->owner = make();
    b->items[5].left = make();
    gc_write(&roots[1], b);
    SET(b->items[5].right, make());
}

static void
flexible_header(void)
{
    struct bag *b = gc_alloc_flex(&bag_type, 8);

    gc_write(&roots[1], b);
    SET(b->owner, make());
}

static void
conservative_word(void)
{
    union cell *c = gc_alloc_array(&cell_type, 5);

    c[1].number = 12345;
    gc_write(&roots[1], c);
    c[1].number = 54321; /* data may change */
    SET(c[4].pointer, make());
}

static struct stack *
published_stack(void)
{
    struct stack *s = gc_alloc(&stack_type);

    s->entry[0] = (char *)make() + 1;
    s->n = 3;
    gc_write(&roots[1], s);
    return s;
}

static void
traced_word(void)
{
    struct stack *s = published_stack();
    void *tagged = (char *)make() + 2;

    SET(s->entry[2], tagged);
}

static void
traced_word_dropped(void)
{
    struct stack *s = published_stack();

    SET(s->entry[0], NULL);
}

/* ---- roots ---- */

static void
registered_root(void)
{
    published();
    SET(roots[2], make());
}

static void
registered_root_at_removal(void)
{
    static struct pair *own[2];

    T_OK(gc_root_add(own, sizeof own));
    SET(own[1], make());
    gc_root_remove(own);
}

/* ---- what publishes ---- */

static void
second_store_into_a_fresh_object(void)
{
    struct pair *p = make();

    p->left = make();
    GC_KEEP_ALIVE(make());
    SET(p->left, make());
    GC_KEEP_ALIVE(make());
}

static void
published_by_a_fresh_object(void)
{
    struct pair *p = make(), *q = make();

    q->left = p;
    GC_KEEP_ALIVE(make());
    SET(p->right, q);
    GC_KEEP_ALIVE(make());
}

static void
published_by_a_handle(void)
{
    struct pair *p = make();
    gc_handle *handle = gc_handle_new(p);

    SET(p->right, make());
    gc_handle_free(handle);
}

static void
published_by_registering(void)
{
    static struct pair *own[2];
    struct pair *p = make();

    own[1] = p;
    T_OK(gc_root_add(own, sizeof own));
    SET(p->right, make());
    gc_collect(NULL);
    gc_root_remove(own);
}

static void
published_deep(void)
{
    struct pair *last = make(), *p = last;

    for (int i = 0; i < 5000; i++) { /* each is complete before another points to it */
        struct pair *before = make();

        before->right = p;
        p = before;
    }
    gc_write(&roots[0], p);
    SET(last->left, p);
}

static void
published_by_gc_copy(void)
{
    struct pair *p = make();
    void *cells[4] = { NULL, p, NULL, NULL };
    void **a = gc_alloc_array(&gc_pointer_type, 4);

    gc_copy(&gc_pointer_type, a, cells, 4);
    SET(p->left, make());
    GC_KEEP_ALIVE(a);
}

static void
published_by_exchange_and_cas(void)
{
    struct pair *p = make(), *q = make();

    T_CHECK(gc_exchange(&roots[0], p) == NULL, "the root was empty");
    T_CHECK(gc_cas(&roots[1], NULL, q) == 1, "the root was empty");
    gc_write(&p->left, q);
    SET(q->left, p);
}

/* ---- when it is found ---- */

static void
at_the_next_allocation(void)
{
    struct pair *p = published(), *q = make();

    SET(p->left, q);
    GC_KEEP_ALIVE(make());
    _exit(0);
}

static void
at_the_next_write(void)
{
    struct pair *p = published(), *q = make();

    SET(p->left, q);
    gc_write(&roots[3], q);
    _exit(0);
}

static void
before_it_is_overwritten(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 1000);

    gc_write(&roots[1], a);
    SET(a[900], make());
    gc_write(&a[900], NULL);
    _exit(0);
}

static void
at_the_end_of_the_heap(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 1000);

    gc_write(&roots[1], a);
    SET(a[900], make());
    gc_shutdown();
    _exit(0);
}

static void *
store_elsewhere(void *arg)
{
    struct pair *p = arg;

    SET(p->left, make());
    return NULL;
}

static void
on_another_thread(void)
{
    pthread_t thread;

    T_OK(gc_pthread_create(&thread, NULL, store_elsewhere, published()));
    GC_BLOCKING { (void)pthread_join(thread, NULL); }
}

static void
twelve_at_once(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 1000);
    void *p = make();

    gc_write(&roots[1], a);
    for (int i = 0; i < 12; i++)
        SET(a[500 + i], p);
    gc_collect(NULL);
}

/* ---- hosts without a mistake ---- */

static void
clean_chain(void)
{
    struct pair *all = NULL;

    for (int i = 0; i < 20000; i++) {
        struct pair *p = make();

        p->left = all;
        p->key = i;
        all = p;
        if (i % 1000 == 0)
            gc_write(&roots[0], all);
    }
    gc_write(&roots[0], NULL);
}

/* A root's plain data, and pointers that are no heap pointers, may be stored plainly. */
static void
clean_foreign(void)
{
    static struct pair outside;
    struct pair *p = published();

    roots[3] = &outside;
    roots[3] = NULL;
    gc_write(&p->left, NULL);
    p->left = &outside;
    gc_collect(NULL);
    p->left = NULL;
    gc_collect(NULL);
}

static void
clean_stack(void)
{
    struct stack *s = published_stack();
    struct pair *first = untagged(s->entry[0]);

    s->cursor = first; /* not reported: moves plainly */
    gc_collect(NULL);
    s->cursor = roots[0] = NULL;
    gc_collect(NULL);
    s->cursor = first;
    gc_collect(NULL);
    for (size_t i = s->n; i < 6; i++) { /* push: the slot, then the height */
        gc_write(&s->entry[i], make());
        gc_collect(NULL);
        s->n++;
        GC_KEEP_ALIVE(make());
    }
    while (s->n > 0) { /* pop */
        gc_write(&s->entry[s->n - 1], NULL);
        s->n--;
        GC_KEEP_ALIVE(make());
    }
    s->entry[3] = (void *)99; /* a number where a pointer was */
    gc_collect(NULL);
    s->entry[3] = (void *)100;
}

static void
clean_regrow(void)
{
    void **a = gc_alloc_array(&gc_pointer_type, 2);

    for (size_t n = 2; n < 20000; n *= 2) {
        void **b = gc_alloc_array(&gc_pointer_type, n * 2);

        gc_copy(&gc_pointer_type, b, a, n);
        gc_move(&gc_pointer_type, b + n / 2, b, n);
        a = b;
        gc_write(&roots[1], a);
        for (size_t i = 0; i < n * 2; i += 7)
            gc_write(&a[i], make());
        gc_clear(&gc_pointer_type, a, n / 2);
    }
}

/* Memory of the dead is born again, with other types and sizes. */
static void
clean_reuse(void)
{
    for (size_t round = 0; round < 12; round++) {
        for (size_t i = 0; i < 300; i++) {
            struct bag *b = gc_alloc_flex(&bag_type, i % 60 * round);
            struct pair *p = make();

            b->owner = p;
            gc_write(&roots[i % 4], b);
            gc_write(&p->left, p);
        }
        gc_collect(NULL);
    }
}

/* ---- the table ---- */

struct host {
    const char *name;
    void (*run)(void);
    const char *expected[4]; /* pieces of the line; none: there is no mistake */
    int made_in_make;        /* the object was allocated in make() */
};

#define LOST " without gc_write"
#define PAIR "fatal: wbcheck: struct pair at 0x"
#define HOST(fn, made, ...) { #fn, fn, { __VA_ARGS__ }, made }

static const struct host hosts[] = {
    HOST(plain_store, 1, PAIR, " of 24 bytes, field left (+0): 0x",
            "(struct pair) became 0x", LOST),
    HOST(plain_null, 1, PAIR, "field right (+8): 0x", "(struct pair) became NULL", LOST),
    HOST(struct_assignment, 1, "wbcheck: struct pair at 0x", "field left (+0): 0x", LOST,
            "field right (+8): 0x"),
    HOST(by_memcpy, 1, "wbcheck: struct pair at 0x", "field left (+0): 0x", LOST,
            "field right (+8): 0x"),
    HOST(by_memset, 1, "wbcheck: struct pair at 0x", "field left (+0): 0x", LOST,
            "field right (+8): 0x"),
    HOST(field_of_an_array, 0, "fatal: wbcheck: struct fork at 0x",
            "field prong[2] (+16): NULL", "became 0x", LOST),
    HOST(field_inside_a_field, 0, "fatal: wbcheck: struct fork at 0x",
            "field in.at (+24): NULL", "became 0x", LOST),
    HOST(type_made_at_run_time, 0, "fatal: wbcheck: cons at 0x",
            "pointer field 1 (+16): NULL", "(struct pair)", LOST),
    HOST(array_of_pointers, 0, "fatal: wbcheck: void * at 0x", "element 17 (+136): NULL", LOST),
    HOST(copy_beyond_its_object, -1, "fatal: wbcheck: gc_copy: 72 bytes at 0x",
            " end beyond the object at 0x", " of 1024 bytes (void *)"),
    HOST(move_from_beyond_its_object, -1, "fatal: wbcheck: gc_move: 160 bytes at 0x",
            " end beyond the object at 0x", " of 1024 bytes (void *)"),
    HOST(clear_beyond_its_object, -1, "fatal: wbcheck: gc_clear: 1040 bytes at 0x",
            " end beyond the object at 0x", " of 1024 bytes (void *)"),
    HOST(array_of_structs, 0, PAIR, "element 3, field right (+80): NULL", LOST),
    HOST(large_array, 0, "fatal: wbcheck: void * at 0x", " of 2400000 bytes, ",
            "element 299000 (+2392000): 0x", "became NULL"),
    HOST(flexible_tail, 0, "fatal: wbcheck: struct bag at 0x",
            "tail element 5, field right (+144): NULL", LOST),
    HOST(flexible_header, 0, "fatal: wbcheck: struct bag at 0x",
            ", field owner (+8): NULL", LOST),
    HOST(conservative_word, 0, "fatal: wbcheck: union cell at 0x", "element 4",
            "(+32): NULL", LOST),
    HOST(traced_word, 0, "fatal: wbcheck: struct stack at 0x", "word 4 (+32): NULL", LOST),
    HOST(traced_word_dropped, 0, "fatal: wbcheck: struct stack at 0x", "word 2 (+16): 0x",
            "(struct pair) became NULL", LOST),
    HOST(registered_root, -1, "fatal: wbcheck: registered root at 0x", "+0x",
            ", word 2: NULL became 0x", LOST),
    HOST(registered_root_at_removal, -1, "fatal: wbcheck: registered root at 0x",
            "word 1: NULL became 0x", LOST),
    HOST(second_store_into_a_fresh_object, 1, PAIR, "field left (+0): 0x",
            "by a second plain store"),
    HOST(published_by_a_fresh_object, 1, PAIR, "field right (+8): NULL became 0x", LOST),
    HOST(published_by_a_handle, 1, PAIR, "field right (+8): NULL became 0x", LOST),
    HOST(published_by_registering, 1, PAIR, "field right (+8): NULL became 0x", LOST),
    HOST(published_deep, 1, PAIR, "field left (+0): NULL became 0x", LOST),
    HOST(published_by_gc_copy, 1, PAIR, "field left (+0): NULL became 0x", LOST),
    HOST(published_by_exchange_and_cas, 1, PAIR, "field left (+0): NULL became 0x", LOST),
    HOST(at_the_next_allocation, 1, PAIR, "field left (+0): 0x", LOST),
    HOST(at_the_next_write, 1, PAIR, "field left (+0): 0x", LOST),
    HOST(before_it_is_overwritten, 0, "wbcheck: void * at 0x",
            "element 900 (+7200): NULL", LOST),
    HOST(at_the_end_of_the_heap, 0, "wbcheck: void * at 0x", "element 900 (+7200): NULL", LOST),
    HOST(on_another_thread, 1, PAIR, "field left (+0): 0x", LOST),
    HOST(twelve_at_once, 0, "gcrt: wbcheck: void * at 0x", "element 507 (+4056): NULL",
            "gcrt: wbcheck: and 4 more", "fatal: wbcheck: void * at 0x"),
    HOST(clean_chain, 0, NULL),
    HOST(clean_foreign, 0, NULL),
    HOST(clean_stack, 0, NULL),
    HOST(clean_regrow, 0, NULL),
    HOST(clean_reuse, 0, NULL),
};
#define HOSTS (sizeof hosts / sizeof hosts[0])

/* ---- running them ---- */

static int stress;

static void
child(void *arg)
{
    const struct host *host = arg;
    gc_options opt;

    gc_options_default(&opt);
    opt.reserve = (size_t)1 << 30;
    opt.debug_wbcheck = 1;
    opt.debug_clobberfree = 1;
    opt.debug_stress = (uint32_t)stress;
    T_OK(gc_init(&opt));
    T_OK(gc_root_add(roots, sizeof roots));
    host->run();
    gc_collect(NULL);
    gc_shutdown();
}

/* The place of allocation, as an offset into the program, lies in make(). */
static void
check_place(const struct host *host, const char *text)
{
    extern const char __start_wbcheck_make[], __stop_wbcheck_make[], __executable_start[];
    const char *at = strstr(text, "; allocated at ");
    unsigned long offset;

    if (host->made_in_make < 0) {
        T_CHECK(at == NULL, "%s: roots are not allocated: %s", host->name, text);
        return;
    }
    T_CHECK(at != NULL && (at = strchr(at, '+')) != NULL, "%s: no place: %s", host->name, text);
    offset = strtoul(at + 1, NULL, 0);
    T_CHECK((offset >= (uintptr_t)(__start_wbcheck_make - __executable_start)
                    && offset < (uintptr_t)(__stop_wbcheck_make - __executable_start))
                    == host->made_in_make,
            "%s: not the place of allocation: %s", host->name, text);
}

static void
check_wrong(const struct host *host)
{
    char text[8192];
    int status = t_child(child, (void *)(uintptr_t)host, text, sizeof text);

    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
            "%s: status %#x, not an abort; it said: %s", host->name, (unsigned)status, text);
    for (size_t i = 0; i < 4 && host->expected[i] != NULL; i++)
        T_CHECK(strstr(text, host->expected[i]) != NULL, "%s: no \"%s\" in: %s", host->name,
                host->expected[i], text);
    check_place(host, text);
    if (t_arg("only", -1) >= 0)
        (void)printf("%s", text);
}

static void
check_right(const struct host *host)
{
    char text[8192];
    int status = t_child(child, (void *)(uintptr_t)host, text, sizeof text);

    T_CHECK(status == 0 && text[0] == '\0', "%s, without its mistake: status %#x; it said: %s",
            host->name, (unsigned)status, text);
}

int
main(int argc, char **argv)
{
    int64_t only;
    size_t n = 0;

    t_start("wbcheck", argc, argv);
    t_hang_after(280);
    only = t_arg("only", -1);
    stress = (int)t_arg("stress", 0);
    for (size_t i = 0; i < HOSTS; i++) {
        if (only >= 0 && (size_t)only != i)
            continue;
        if (hosts[i].expected[0] != NULL) {
            right = 0;
            check_wrong(&hosts[i]);
            n++;
        }
        right = 1;
        check_right(&hosts[i]);
    }
    t_note("%zu mistakes found and named, %zu clean hosts silent", n, HOSTS);
    return 0;
}
