/* SPDX-License-Identifier: MIT */
/*
 * Scanning plain objects: the kernels of marking.
 *
 * Purpose: nearly all objects are plain, so a heap is marked as fast as these loops run.
 * Place: mark hands over groups of grey objects that are on their way to the cache; what
 * their words lead to goes into the batch, or is marked here.
 *
 * Two kernels, for there are two kinds of graphs.  Far: pointers lead anywhere.  Each word is
 * kept in the batch until the descriptor of what it points to has come.  Near: objects lie as
 * they were built, and most of a tree's or a list's pointers stay within a page.  Such a word
 * waits while others are dealt with and its object comes; then this is marked and scanned at
 * once, and its own near words wait in turn, generation after generation.  A near object needs
 * no second look at its span, passes through no queue, and costs half of what a far one does.
 * Where few of a group's words are near the next objects are taken to be far.
 *
 * Invariants: what waits is not marked; all of it is looked at before a kernel returns.  What
 * is marked is scanned or queued.  Words are untrusted: a near one may point anywhere in its
 * page, and lies in a slot or is ignored.
 * Concurrency: as in mark.c.  Workers turn bits in their own copies of pages' bits (copies.c);
 * a mutator, or anybody once an ephemeron is filed, by an atomic or.
 * Cost: far, some ten instructions a word; near, some 60 for an object of two words, with its
 * mark.  Bounded: what is near 16 objects lies in 16 pages; a mutator queues what is more
 * than a piece.
 *
 * Tried: copies of the bits of the pages at hand alone (an object was no cheaper: a page is at
 * hand some ten times, and each time its copy cost what the atomic operations do); words looked at
 * without branches (a tenth slower); a ring instead of generations (a quarter slower); last in,
 * first out (twice as slow: nothing has come yet).
 */
#include "gc/plain.h"

#include "gc/batch.h"
#include "gc/copies.h"
#include "gc/ephemeron.h"
#include "gc/item.h"
#include "gc/weak.h"

/* If fewer than one in so many of a group had a near word ... */
#define NEAR_PAYS 4
/* ... so many objects are taken to be far, and twice as many each time until one has. */
#define FAR_MIN 64
#define FAR_MAX 1024

/* ---- far ---- */

RACY_READER static inline void
scan_far(struct marker *mk, const struct layout *l, const uintptr_t *group, uint32_t n)
{
    struct appender a;

    make_room(mk, n * l->words);
    a = append_begin(mk);
    if (l->shape != MASK_ANY) {
        uintptr_t first = bit_lowest(l->mask) * WORD, end = l->words * WORD;

        for (uint32_t i = 0; i < n; i++)
            append_run(&a, item_address(group[i]) + first, item_address(group[i]) + end);
    } else {
        for (uint32_t i = 0; i < n; i++)
            append_mask(&a, item_address(group[i]), l->mask);
    }
    append_end(mk, &a);
}

/* ---- near ---- */

/* Where mark bits are: in the page's descriptor, beside it, or in the marker's own copy. */
enum marks_at { BESIDE, IN_SPAN, IN_COPY };

/* What a kernel has at hand. */
struct near {
    struct marker *mk;
    struct mark_copies *copies; /* NULL: not to be used */
    struct spanmap map;
    uintptr_t limit; /* of what is grown; offset */
    uintptr_t tag;   /* of their items */
    uint64_t mask;
    size_t first;    /* byte of the first word in it */
    uint32_t words;  /* up to the last one in it */
    uint32_t most;   /* near objects to scan, about */
    uint32_t bytes, magic, nelems; /* of their class */
};

static inline void
append_far(struct marker *mk, struct spanmap map, uintptr_t offset)
{
    __builtin_prefetch(&map.spans[offset >> PAGE_SHIFT]);
    make_room(mk, 1);
    mk->batch[mk->nbatch++] = offset;
}

/* One word of the object at the offset `self`: if it is near it goes to `to`. */
static ALWAYS_INLINE uintptr_t *
look_at(const struct near *r, uintptr_t *to, uintptr_t self, uintptr_t word)
{
    uintptr_t offset = word - r->map.base;

    if ((offset ^ self) < PAGE_SIZE) {
        __builtin_prefetch((const void *)word);
        *to++ = offset;
    } else if (offset < r->limit) {
        append_far(r->mk, r->map, offset);
    }
    return to;
}

RACY_READER static ALWAYS_INLINE uintptr_t *
look_at_words(const struct near *r, uintptr_t *to, uintptr_t self, enum mask_shape shape)
{
    uintptr_t object = r->map.base + self, first = object + r->first;

    if (shape == MASK_ANY) {
        for (uint64_t m = r->mask; m != 0; m &= m - 1)
            to = look_at(r, to, self, RACY_READ(object + bit_lowest(m) * WORD));
    } else if (shape == MASK_RUN) {
        for (uintptr_t p = first; p < object + r->words * WORD; p += WORD)
            to = look_at(r, to, self, RACY_READ(p));
    } else {
        to = look_at(r, to, self, RACY_READ(first));
        if (shape == MASK_TWO)
            to = look_at(r, to, self, RACY_READ(first + WORD));
    }
    return to;
}

/*
 * Marks the object that the offset points into.  False if there is none or it was marked;
 * else the offset becomes the object's own.
 */
static ALWAYS_INLINE bool
mark_near(const struct near *r, uintptr_t *offset, bool side)
{
    struct mspan *s = &r->map.spans[*offset >> PAGE_SHIFT];
    uintptr_t in_page = *offset % PAGE_SIZE;
    uint64_t scaled = in_page * r->magic;
    size_t index = (size_t)(scaled >> 32);
    uint64_t bit = (uint64_t)1 << index % 64;
    aword *word = (side ? s->mark.side : s->mark.bits) + index / 64;

    if (UNLIKELY(index >= r->nelems) || aword_load_relaxed(word) & bit)
        return false;
    ASSERT(ahalf_load_relaxed(&r->mk->heap->weak.word) != WEAK_DECIDED); /* I-weak-agree */
    if (aword_fetch_or_full(word, bit) & bit) /* full; pairs: ephemeron.filed */
        return false;
    *offset += index * r->bytes - in_page;
    return true;
}

/* The same in the marker's copy of the page's bits. */
static ALWAYS_INLINE bool
mark_copied(const struct near *r, uintptr_t *offset)
{
    uintptr_t page = *offset >> PAGE_SHIFT, in_page = *offset % PAGE_SIZE;
    uint64_t scaled = in_page * r->magic;
    size_t index = (size_t)(scaled >> 32);

    if (UNLIKELY(index >= r->nelems))
        return false;
    if (UNLIKELY(!copies_have(r->copies, page)))
        gcrt_copies_take(r->mk, r->map, page);
    if (!copies_mark(r->copies, page, index))
        return false;
    *offset += index * r->bytes - in_page;
    return true;
}

/* Ephemerons may wait for objects of a generation, all of which are marked by now. */
static NOINLINE void
fire(const struct near *r, const uintptr_t *from, const uintptr_t *end)
{
    for (; from < end; from++)
        gcrt_ephemeron_fire(r->mk, r->map.base + *from);
}

/*
 * Marks and scans one generation, [from, end), and puts the next one to `to`.  When this has
 * come beyond `room` objects are queued instead.  Returns where it ends; *marked is advanced.
 */
static ALWAYS_INLINE uintptr_t *
next_generation(const struct near *r, uintptr_t *from, const uintptr_t *end, uintptr_t *to,
        const uintptr_t *room, enum mask_shape shape, enum marks_at at, uint32_t *marked)
{
    for (; from < end; from++) {
        if (!(at == IN_COPY ? mark_copied(r, from) : mark_near(r, from, at == BESIDE)))
            continue;
        ++*marked;
        if (LIKELY(to <= room))
            to = look_at_words(r, to, *from, shape);
        else
            put_item(r->mk, r->tag | (r->map.base + *from));
    }
    return to;
}

/* Scans a group and what is near it; how many were marked. */
static ALWAYS_INLINE uint32_t
scan_near(const struct near *hand, const uintptr_t *group, uint32_t n, enum mask_shape shape,
        enum marks_at at)
{
    const struct near r = *hand; /* a copy: no store of ours can change it */
    uintptr_t (*wait)[MARK_GENERATION] = r.mk->wait, *end = wait[0];
    uint32_t marked = 0;

    for (uint32_t i = 0; i < n; i++)
        end = look_at_words(&r, end, item_address(group[i]) - r.map.base, shape);
    for (unsigned g = 0; end != wait[g]; g = !g) {
        uintptr_t *from = wait[g], *to = wait[!g], *next;
        uintptr_t *room = marked < r.most ? to + MARK_GENERATION - r.words : to - 1;

        chaos_point(&r.mk->heap->os, CHAOS_MARK_PUSH);
        next = next_generation(&r, from, end, to, room, shape, at, &marked);
        if (at != IN_COPY && UNLIKELY(ephemeron_is_filed(r.mk->heap)))
            fire(&r, from, end);
        end = next;
    }
    return marked;
}

/* One for each common shape, so that all it needs is in registers. */
#define KERNEL(name, shape, at)                                       \
 static NOINLINE uint32_t                                              \
 name(const struct near *hand, const uintptr_t *group, uint32_t n)     \
 {                                                                     \
     return scan_near(hand, group, n, shape, at);                      \
 }

KERNEL(near_one_side, MASK_ONE, BESIDE)
KERNEL(near_two_side, MASK_TWO, BESIDE)
KERNEL(near_one, MASK_ONE, IN_SPAN)
KERNEL(near_two, MASK_TWO, IN_SPAN)
KERNEL(near_run, MASK_RUN, IN_SPAN)
KERNEL(near_any, MASK_ANY, IN_SPAN)
KERNEL(near_one_copy, MASK_ONE, IN_COPY)
KERNEL(near_two_copy, MASK_TWO, IN_COPY)
KERNEL(near_run_copy, MASK_RUN, IN_COPY)
KERNEL(near_any_copy, MASK_ANY, IN_COPY)

typedef uint32_t kernel(const struct near *hand, const uintptr_t *group, uint32_t n);

static kernel *
kernel_of(const struct kind *kind, bool copies)
{
    static kernel *const kernels[][3] = {
        [MASK_ONE] = { near_one_side, near_one, near_one_copy },
        [MASK_TWO] = { near_two_side, near_two, near_two_copy },
        [MASK_RUN] = { near_run, near_run, near_run_copy },
        [MASK_ANY] = { near_any, near_any, near_any_copy },
    };
    bool beside = kind->central.sizeclass <= CLASS_SIDE_MAX; /* objects of 8 and 16 bytes */

    return kernels[kind->layout.shape][copies ? IN_COPY : beside ? BESIDE : IN_SPAN];
}

/* How many near objects were marked. */
static uint32_t
scan_group_near(struct marker *mk, const struct kind *kind, const uintptr_t *group,
        uint32_t n)
{
    const struct mheap *h = &mk->heap->mheap;
    const struct layout *l = &kind->layout;
    unsigned class = kind->central.sizeclass;
    const struct near hand = {
        .mk = mk,
        .copies = copies_suit(class) ? copies_at_hand(mk) : NULL,
        .map = mheap_map(h),
        .limit = aword_load_acquire(&h->limit), /* pairs: heap.grow */
        .tag = item_like(group[0], 0),
        .mask = l->mask,
        .first = bit_lowest(l->mask) * WORD,
        .words = l->words,
        .most = mk->brief ? (uint32_t)PIECE_BRIEF / gcrt_class_bytes[class] : UINT32_MAX,
        .bytes = gcrt_class_bytes[class],
        .magic = gcrt_class_magic[class],
        .nelems = gcrt_class_nelems[class],
    };
    uint32_t marked = kernel_of(kind, hand.copies != NULL)(&hand, group, n);

    mk->near += marked;
    if (hand.copies == NULL) /* else when they are merged */
        mk->marked += (uint64_t)marked * hand.bytes;
    mk->scanned += (uint64_t)marked * hand.bytes;
    return marked;
}

/* ---- which ---- */

/* How many objects at the group's beginning are of one kind, and their words have room. */
static inline uint32_t
run_length(const uintptr_t *group, uint32_t n, uint32_t words)
{
    uint32_t i = 1;

    if (UNLIKELY(n * words > MARK_GENERATION))
        n = MARK_GENERATION / words;
    while (i < n && item_is_like(group[0], group[i]))
        i++;
    return i;
}

/* What a look at near words has found decides when to look again. */
static void
learn(struct marker *mk, bool pays)
{
    uint32_t next = mk->far_next == 0 ? FAR_MIN : mk->far_next;

    mk->far_objects = pays ? 0 : next;
    mk->far_next = pays ? FAR_MIN : next < FAR_MAX ? 2 * next : FAR_MAX;
}

uint32_t
gcrt_scan_plain(struct marker *mk, const uintptr_t *group, uint32_t n)
{
    const struct kind *kind = item_kind(mk, group[0]);
    uint32_t run = run_length(group, n, kind->layout.words);

    mk->scanned += (uint64_t)run * kind->layout.elem_bytes;
    if (mk->far_objects == 0 && gcrt_class_pages[kind->central.sizeclass] == 1) {
        learn(mk, scan_group_near(mk, kind, group, run) * NEAR_PAYS >= run);
    } else {
        scan_far(mk, &kind->layout, group, run);
        mk->far_objects -= run < mk->far_objects ? run : mk->far_objects;
    }
    return run;
}
