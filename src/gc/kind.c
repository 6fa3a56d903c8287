/* SPDX-License-Identifier: MIT */
/*
 * The registry of kinds.
 *
 * Purpose: find or make the kind of a type and size class; turn a type into a layout that
 * the scanner can follow without thinking.
 * Place: malloc asks when a P meets a key for the first time; mark reads layouts.
 * Invariants: a kind is immutable once it is in the table, and lives as long as its heap.
 * Concurrency: lookups under RCU; makers hold RANK_KIND and look again.
 * Cost: cold, once per P and key.
 */
#include "gc/kind.h"

#include "gc/error.h"
#include "gc/mutator.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_BUCKETS 512
#define TABLE_BYTES   ((size_t)64 << 10) /* more than liburcu takes for so many */
#define READER_BYTES  ((size_t)64 << 10) /* more than it takes for some hundred threads */

/* ---- the types that everybody needs ---- */

static const gc_field one_pointer[1] = { { 0, sizeof(void *) } };

const gc_type gc_pointer_type = { .name = "void *", .size = sizeof(void *),
    .form = GC_FORM_FIELDS, .nfields = 1, .mask = 1, .fields = one_pointer,
    .magic = GC_IMPL_TYPE_MAGIC };

const gc_type gc_byte_type = { .name = "char", .size = 1, .form = GC_FORM_NOSCAN,
    .magic = GC_IMPL_TYPE_MAGIC };

/*
 * liburcu aborts the process when it is refused memory for a table (from malloc) or for a
 * thread's first reading (mapped).  So ask first for more than that; what happens between
 * the question and liburcu's own stays its.
 */
static bool
has_table_memory(struct gc_heap *heap)
{
    void *probe = gcrt_os_fault(&heap->os) ? NULL : malloc(TABLE_BYTES);

    free(probe);
    return probe != NULL;
}

bool
gcrt_kinds_have_reader(struct gc_heap *heap)
{
    struct os os = { .calls = { 0 } }; /* nobody's books: it is gone at once */
    void *probe = gcrt_os_fault(&heap->os) ? NULL : gcrt_os_map(&os, READER_BYTES);

    if (probe == NULL)
        return false;
    gcrt_os_unmap(&os, probe, READER_BYTES, READER_BYTES);
    rcu_read_lock();
    rcu_read_unlock();
    return true;
}

bool
gcrt_kinds_init(struct gc_heap *heap)
{
    gcrt_lock_init(&heap->kinds.lock, RANK_KIND);
    if (has_table_memory(heap))
        heap->kinds.table = cds_lfht_new(TABLE_BUCKETS, TABLE_BUCKETS, TABLE_BUCKETS, 0, NULL);
    if (heap->kinds.table == NULL)
        gcrt_lock_finish(&heap->kinds.lock);
    return heap->kinds.table != NULL;
}

void
gcrt_kinds_finish(struct gc_heap *heap)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;

    rcu_read_lock();
    cds_lfht_first(heap->kinds.table, &iter);
    while ((node = cds_lfht_iter_get_node(&iter)) != NULL) {
        cds_lfht_next(heap->kinds.table, &iter);
        cds_lfht_del(heap->kinds.table, node);
    }
    rcu_read_unlock();
    CHECK(cds_lfht_destroy(heap->kinds.table, NULL) == 0);
    gcrt_lock_finish(&heap->kinds.lock);
}

/* ---- types ---- */

static uint64_t
field_end(const gc_field *f)
{
    return (uint64_t)f->offset + f->bytes;
}

/*
 * Does field i overlap an earlier one?  They end at `end` or before.  Fields may come in any
 * order, so all are compared unless they are sorted, as those of types made at run time are.
 */
static bool
overlaps_earlier(const gc_field *f, size_t i, uint64_t end)
{
    if (f[i].offset >= end)
        return false;
    for (size_t j = 0; j < i; j++)
        if (f[i].offset < field_end(&f[j]) && f[j].offset < field_end(&f[i]))
            return true;
    return false;
}

static const char *
fields_complaint(const gc_type *type)
{
    uint64_t end = 0;

    if (type->flags & GC_IMPL_TAGGED && (type->form != GC_FORM_FIELDS || type->elem == NULL))
        return "is tagged but names no gc_decode, or is flexible";
    if (type->nfields == 0 && type->form == GC_FORM_FIELDS)
        return "has no pointer field (use a noscan type)";
    for (size_t i = 0; i < type->nfields; i++) {
        const gc_field *f = &type->fields[i];

        if (f->offset % WORD != 0 || f->bytes % WORD != 0 || f->bytes == 0)
            return "has a pointer field that is not made of aligned words";
        if (field_end(f) > type->size)
            return "has a pointer field beyond its size";
        if (overlaps_earlier(type->fields, i, end))
            return "has overlapping pointer fields";
        end = field_end(f) > end ? field_end(f) : end;
    }
    return NULL;
}

static const char *
flex_complaint(const gc_type *type)
{
    const gc_type *elem = type->elem;

    if (elem == NULL)
        return "is flexible but names no element type";
    if (elem->magic != GC_IMPL_TYPE_MAGIC)
        return "has an element type that is no gc_type";
    if (elem->form == GC_FORM_FLEX || elem->form == GC_FORM_TRACED)
        return "has a flexible or traced element type";
    if (gcrt_type_complaint(elem) != NULL)
        return "has a malformed element type";
    if (type->tail > type->size)
        return "has its tail beyond its size";
    if (elem->form != GC_FORM_NOSCAN && type->tail % WORD != 0)
        return "has a misaligned tail of pointers";
    for (size_t i = 0; i < type->nfields; i++)
        if (field_end(&type->fields[i]) > type->tail)
            return "has a pointer field that reaches into its tail";
    return NULL;
}

const char *
gcrt_type_complaint(const gc_type *type)
{
    const char *complaint;

    if (type == NULL)
        return "is NULL";
    if ((uintptr_t)type % 64 != 0 || (uintptr_t)type >> 56 != 0
            || type->magic != GC_IMPL_TYPE_MAGIC)
        return "is no gc_type (bad magic)";
    if (type->size == 0)
        return "has size 0";
    if (type->form != GC_FORM_NOSCAN && type->size % WORD != 0)
        return "has a size that is no multiple of the word";
    switch (type->form) {
    case GC_FORM_NOSCAN:
    case GC_FORM_CONSERVATIVE:
        return NULL;
    case GC_FORM_FIELDS:
        return fields_complaint(type);
    case GC_FORM_TRACED:
        return type->trace == NULL ? "is traced but has no trace function" : NULL;
    case GC_FORM_FLEX:
        complaint = fields_complaint(type);
        return complaint != NULL ? complaint : flex_complaint(type);
    default:
        return "has an unknown form";
    }
}

static uint64_t
mask_of(const gc_field *fields, size_t n)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < n; i++) {
        size_t first = fields[i].offset / WORD, last = first + fields[i].bytes / WORD;

        if (first < 64)
            mask |= bit_span((unsigned)first, (unsigned)min_size(last, 64));
    }
    return mask;
}

/* ---- layouts ---- */

static enum mask_shape
shape_of(uint64_t mask)
{
    mask >>= bit_lowest(mask);
    if (mask == 1)
        return MASK_ONE;
    if (mask == 3)
        return MASK_TWO;
    return (mask & (mask + 1)) == 0 ? MASK_RUN : MASK_ANY;
}

static struct layout
layout_of_fields(const gc_type *type, bool single)
{
    struct layout l = { .elem_bytes = type->size, .mask = type->mask, .type = type };

    if (l.mask != 0) {
        l.shape = shape_of(l.mask);
        l.words = bit_highest(l.mask) + 1;
        l.reach = (l.words - 1) * WORD;
    }
    if (type->flags & GC_IMPL_TAGGED)
        l.how = SCAN_TAGGED;
    else if (type->size > 64 * WORD)
        l.how = SCAN_FIELDS;
    else if (single)
        l.how = SCAN_ONE;
    else if (type->mask == bit_span(0, (unsigned)(type->size / WORD)))
        l.how = SCAN_ALL;
    else
        l.how = SCAN_TILED;
    return l;
}

static struct layout
layout_of(const gc_type *type, bool single)
{
    struct layout l = { .how = SCAN_NONE, .elem_bytes = type->size, .type = type };

    switch (type->form) {
    case GC_FORM_FIELDS:
        return layout_of_fields(type, single);
    case GC_FORM_CONSERVATIVE:
        l.how = SCAN_ALL;
        break;
    case GC_FORM_TRACED:
        l.how = SCAN_TRACE;
        break;
    case GC_FORM_FLEX:
        l.how = type->nfields == 0 && type->elem->form == GC_FORM_NOSCAN ? SCAN_NONE : SCAN_FLEX;
        break;
    default:
        break;
    }
    return l;
}

/*
 * May a pointer one past an object's end be all that a thread has of it?  It is for a walk down an
 * array, and where the compiler counts an index up to zero.  But it is the address of the next
 * object, too, and to keep two for one keeps whole graphs of garbage.  So a struct that ends in a
 * single word has none; nor has one that leaves bytes of its slot free: there the pointer
 * points into the slot.
 */
static bool
has_open_end(const gc_type *type, unsigned sizeclass, bool single)
{
    uint64_t end = 0, bytes = 0;

    if (!single || type->form != GC_FORM_FIELDS || sizeclass == CLASS_LARGE)
        return true;
    if (type->size < gcrt_class_bytes[sizeclass])
        return false;
    for (size_t i = 0; i < type->nfields; i++)
        if (field_end(&type->fields[i]) > end) {
            end = field_end(&type->fields[i]);
            bytes = type->fields[i].bytes;
        }
    return (end == type->size ? bytes : type->size - end) > WORD;
}

/* ---- lookup ---- */

static int
same_key(struct cds_lfht_node *node, const void *key)
{
    const struct kind *kind = container_of_(node, struct kind, node);

    RCU_ACQUIRE(kind);
    return kind->key == *(const uintptr_t *)key;
}

static unsigned long
hash_key(uintptr_t key)
{
    return (unsigned long)((key >> 6) * 0x9e3779b97f4a7c15u);
}

static struct kind *
find_kind(struct gc_heap *heap, uintptr_t key)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;

    rcu_read_lock();
    cds_lfht_lookup(heap->kinds.table, hash_key(key), same_key, &key, &iter);
    node = cds_lfht_iter_get_node(&iter);
    rcu_read_unlock(); /* kinds are never removed while the heap lives */
    return node == NULL ? NULL : container_of_(node, struct kind, node);
}

static struct kind *
make_kind_locked(
        struct gc_heap *heap, uintptr_t key, const gc_type *type, unsigned sizeclass, bool single)
{
    struct kind *kind = NULL;

    if (!mheap_is_full(&heap->mheap)) /* first: what persist gives is never freed */
        kind = gcrt_persist_alloc(&heap->persist, sizeof(*kind));
    if (kind == NULL)
        return NULL;
    kind->key = key;
    kind->type = type;
    memcpy(kind->was, type, sizeof(*type));
    kind->layout = layout_of(type, single);
    if (kind->layout.how == SCAN_FLEX)
        kind->tail = layout_of(type->elem, false);
    kind->central.sizeclass = (uint8_t)sizeclass;
    kind->central.noscan = kind->layout.how == SCAN_NONE;
    kind->central.checked = kind->layout.how == SCAN_TRACE;
    kind->central.open_end = has_open_end(type, sizeclass, single);
    CHECK(gcrt_mheap_register(&heap->mheap, &kind->central)); /* under RANK_KIND, not full */
    RCU_RELEASE(kind);
    rcu_read_lock();
    cds_lfht_add(heap->kinds.table, hash_key(key), &kind->node);
    rcu_read_unlock();
    return kind;
}

/*
 * A type is borrowed for the heap's life.  One whose library has been unloaded may come back as
 * another, when a library is loaded at the same place; then objects would be scanned by the
 * layout of the first.  This is met where a P looks the kind up, not by the inline allocator.
 */
static void
check_same_type(const struct kind *kind, const gc_type *type)
{
    if (UNLIKELY(memcmp(kind->was, type, sizeof(*type)) != 0))
        gcrt_fatal("type %s at %p was another type before: types must stay loaded as long as "
                   "the heap", type->name, (const void *)type);
}

struct kind *
gcrt_kind_get(
        struct gc_heap *heap, uintptr_t key, const gc_type *type, unsigned sizeclass, bool single)
{
    struct kind *kind = find_kind(heap, key);
    const char *complaint;

    if (kind != NULL) {
        check_same_type(kind, type);
        return kind;
    }
    complaint = gcrt_type_complaint(type);
    if (complaint != NULL)
        gcrt_fatal("type %s %s", type->name, complaint);
    gcrt_lock_acquire(&heap->kinds.lock);
    kind = find_kind(heap, key);
    if (kind == NULL)
        kind = make_kind_locked(heap, key, type, sizeclass, single);
    gcrt_lock_release(&heap->kinds.lock);
    return kind;
}

/* ---- types made at run time ---- */

static int
by_offset(const void *a, const void *b)
{
    const gc_field *f = a, *g = b;

    return (f->offset > g->offset) - (f->offset < g->offset);
}

/* A sorted copy, so that looking for overlaps is quick; to be freed.  NULL without memory. */
static gc_field *
sorted_fields(const gc_type_spec *spec)
{
    gc_field *sorted = malloc(max_size(spec->nfields, 1) * sizeof(gc_field));

    if (sorted != NULL && spec->nfields != 0) {
        memcpy(sorted, spec->fields, spec->nfields * sizeof(gc_field));
        qsort(sorted, spec->nfields, sizeof(gc_field), by_offset);
    }
    return sorted;
}

static struct gc_type
type_of_spec(const gc_type_spec *spec, const gc_field *sorted)
{
    return (struct gc_type){
        .name = spec->name == NULL ? "anonymous" : spec->name,
        .size = (uint32_t)spec->size,
        .form = (uint8_t)spec->form,
        .nfields = (uint16_t)spec->nfields,
        .mask = spec->form == GC_FORM_CONSERVATIVE ? ~(uint64_t)0
                                                   : mask_of(sorted, spec->nfields),
        .fields = sorted,
        .trace = spec->trace,
        .flags = spec->decode == NULL ? 0 : GC_IMPL_TAGGED,
        .elem = spec->decode == NULL ? spec->elem : (const gc_type *)(const void *)spec->decode,
        .tail = (uint32_t)spec->tail,
        .magic = GC_IMPL_TYPE_MAGIC,
    };
}

/* The type with its fields and its name in the heap's memory, or NULL. */
static const gc_type *
keep_type(struct gc_heap *heap, const gc_type *type)
{
    size_t name_bytes = strlen(type->name) + 1;
    size_t field_bytes = type->nfields * sizeof(gc_field);
    const gc_decode *decode = type_decode(type);
    size_t decode_bytes = decode == NULL ? 0 : sizeof(*decode);
    struct gc_type *t;
    char *rest;

    critical_enter(); /* a handshake may take locks of a lower rank */
    t = gcrt_persist_alloc(&heap->persist, sizeof(*t) + decode_bytes + field_bytes + name_bytes);
    critical_leave();
    if (t == NULL)
        return NULL;
    rest = (char *)(t + 1);
    *t = *type;
    if (decode != NULL)
        t->elem = memcpy(rest, decode, decode_bytes);
    rest += decode_bytes;
    t->fields = memcpy(rest, type->fields, field_bytes);
    t->name = memcpy(rest + field_bytes, type->name, name_bytes);
    return t;
}

/* What does not fit into a gc_type, where it would be cut off. */
static const char *
spec_complaint(const gc_type_spec *spec)
{
    if (spec->size > UINT32_MAX || spec->nfields > UINT16_MAX || spec->tail > UINT32_MAX)
        return "size, tail or nfields is too large";
    if ((unsigned)spec->form > GC_FORM_FLEX)
        return "form is unknown";
    if (spec->decode != NULL && spec->form != GC_FORM_FIELDS)
        return "decode is given but form is not GC_FORM_FIELDS";
    if (spec->nfields != 0 && spec->fields == NULL)
        return "fields is NULL but nfields is not 0";
    return NULL;
}

gc_status
gc_type_create(gc_heap *heap, const gc_type_spec *spec, const gc_type **ret)
{
    gc_field *sorted;
    struct gc_type type;
    const gc_type *kept;
    const char *complaint;

    if (spec == NULL || ret == NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_type_create: spec or ret is NULL");
    heap = gcrt_heap_resolve(heap);
    if (heap == NULL)
        return gcrt_error(GC_ERR_NOTFOUND, "gc_type_create: there is no heap");
    complaint = spec_complaint(spec);
    if (complaint != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_type_create: %s", complaint);
    sorted = sorted_fields(spec);
    if (sorted == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_type_create: out of memory");
    type = type_of_spec(spec, sorted);
    complaint = gcrt_type_complaint(&type);
    kept = complaint != NULL ? NULL : keep_type(heap, &type);
    free(sorted);
    if (complaint != NULL)
        return gcrt_error(GC_ERR_INVAL, "gc_type_create: type %.100s %s", type.name, complaint);
    if (kept == NULL)
        return gcrt_error(GC_ERR_NOMEM, "gc_type_create: out of memory");
    *ret = kept;
    return GC_OK;
}
