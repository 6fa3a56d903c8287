/* SPDX-License-Identifier: MIT */
/*
 * pprof files.
 *
 * Purpose: a copy of the heap profile in the format that pprof reads.
 * Place: behind gc_profile_write_; takes sites from gc/profile.c, modules from the os layer.
 * Invariants: ids and indexes of strings count up in the order in which they are written, so
 * a field is written as soon as it is known: the format has no order of fields.  Nothing is
 * symbolised: locations are addresses with the file and build id that they lie in, and pprof
 * looks the rest up.
 * Concurrency: works on copies; no lock is held while the sink runs.
 * Cost: some 100 ns a site and frame, and zlib's time.
 *
 * Source: github.com/google/pprof, proto/profile.proto, for the numbers of fields.
 */
#include "metrics/pprof.h"

#include "alloc/os/unwind.h"
#include "gc/error.h"
#include "metrics/gzip.h"
#include "metrics/out.h"
#include "metrics/proto.h"

#include <stdlib.h>

/* Fields of message Profile. */
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_STRING = 6,
    PROFILE_TIME = 9,
    PROFILE_DURATION = 10,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_DEFAULT_SAMPLE_TYPE = 14
};

/* Strings that every profile has, in the order of their indexes. */
#define STRINGS(X)                                                                         \
    X(EMPTY, "")                                                                           \
    X(ALLOC_OBJECTS, "alloc_objects")                                                      \
    X(ALLOC_SPACE, "alloc_space")                                                          \
    X(INUSE_OBJECTS, "inuse_objects")                                                      \
    X(INUSE_SPACE, "inuse_space")                                                          \
    X(COUNT, "count")                                                                      \
    X(BYTES, "bytes")                                                                      \
    X(SPACE, "space")                                                                      \
    X(TYPE, "type")
#define STRING_(name, text) STRING_##name,
enum { STRINGS(STRING_) STRING_FIXED };
#undef STRING_

/* ---- numbers by word ---- */

/* Words to numbers from 1 on, in the order of their first use. */
struct ids {
    size_t mask;  /* entries less one */
    size_t n;
    uint64_t *keys; /* owned; 0: free */
    uint32_t *of; /* owned */
};

static bool
ids_init(struct ids *ids, size_t most)
{
    size_t entries = 16;

    while (entries < 2 * most)
        entries *= 2;
    *ids = (struct ids){ .mask = entries - 1, .keys = calloc(entries, sizeof(*ids->keys)),
        .of = calloc(entries, sizeof(*ids->of)) };
    return ids->keys != NULL && ids->of != NULL;
}

static void
ids_free(struct ids *ids)
{
    free(ids->keys);
    free(ids->of);
}

static size_t
ids_find(const struct ids *ids, uint64_t key)
{
    size_t i = (key * 0x9e3779b97f4a7c15u >> 20) & ids->mask;

    while (ids->keys[i] != 0 && ids->keys[i] != key)
        i = (i + 1) & ids->mask;
    return i;
}

/* *is_new: it had none. */
static uint32_t
ids_of(struct ids *ids, uint64_t key, bool *is_new)
{
    size_t i = ids_find(ids, key);

    *is_new = ids->keys[i] == 0;
    if (*is_new) {
        ids->keys[i] = key;
        ids->of[i] = (uint32_t)++ids->n;
    }
    return ids->of[i];
}

/* ---- the file ---- */

struct module {
    uint64_t start, limit, offset;
    char build_id[2 * 32 + 1]; /* hexadecimal */
    char path[256];            /* cut; a build id finds the file as well */
};

struct writer {
    struct gzip gzip;
    struct module *modules; /* owned */
    size_t nmodules, room;
    struct ids locations;   /* by return address */
    struct ids types;       /* by address of the type */
    struct ids before;      /* by address of the site's stack: index + 1 in since */
    uint32_t nstrings;
};

/* The head of a field of n bytes. */
static void
put_length(struct writer *w, unsigned field, size_t n)
{
    struct proto head = { .n = 0 };

    proto_varint(&head, field << 3 | 2);
    proto_varint(&head, n);
    gcrt_gzip_write(&w->gzip, head.bytes, head.n);
}

static void
put_message(struct writer *w, unsigned field, const struct proto *message)
{
    put_length(w, field, message->n);
    gcrt_gzip_write(&w->gzip, message->bytes, message->n);
}

static void
put_number(struct writer *w, unsigned field, uint64_t x)
{
    struct proto p = { .n = 0 };

    proto_number(&p, field, x);
    gcrt_gzip_write(&w->gzip, p.bytes, p.n);
}

/* Readers refuse a profile with a string that is no UTF-8: such bytes become question marks. */
static uint32_t
put_string(struct writer *w, const char *text)
{
    put_length(w, PROFILE_STRING, strlen(text));
    while (*text != '\0') {
        size_t n = utf8_bytes(text);

        gcrt_gzip_write(&w->gzip, n == 0 ? "?" : text, max_size(n, 1));
        text += max_size(n, 1);
    }
    return w->nstrings++;
}

/* ---- modules ---- */

static void
count_module(void *arg, const struct os_module *module)
{
    (void)module;
    ++*(size_t *)arg;
}

static void
take_module(void *arg, const struct os_module *from)
{
    struct writer *w = arg;
    struct module *to = &w->modules[w->nmodules];

    if (w->nmodules == w->room)
        return; /* loaded since they were counted */
    w->nmodules++;
    *to = (struct module){ .start = from->start, .limit = from->limit, .offset = from->offset };
    for (size_t i = 0; i < from->build_id_bytes && i < 32; i++) {
        to->build_id[2 * i] = "0123456789abcdef"[from->build_id[i] >> 4];
        to->build_id[2 * i + 1] = "0123456789abcdef"[from->build_id[i] & 15];
    }
    for (size_t i = 0; i + 1 < sizeof(to->path) && from->path[i] != '\0'; i++)
        to->path[i] = from->path[i];
}

static bool
take_modules(struct writer *w)
{
    gcrt_os_each_module(count_module, &w->room);
    w->modules = calloc(w->room + 1, sizeof(*w->modules));
    if (w->modules != NULL)
        gcrt_os_each_module(take_module, w);
    return w->modules != NULL;
}

/* The module's id, or 0. */
static uint64_t
module_of(const struct writer *w, uint64_t address)
{
    for (size_t i = 0; i < w->nmodules; i++)
        if (address >= w->modules[i].start && address < w->modules[i].limit)
            return i + 1;
    return 0;
}

static void
put_modules(struct writer *w)
{
    for (size_t i = 0; i < w->nmodules; i++) {
        const struct module *m = &w->modules[i];
        struct proto p = { .n = 0 };
        uint32_t path = put_string(w, m->path), build_id = put_string(w, m->build_id);

        proto_number(&p, 1, i + 1);
        proto_number(&p, 2, m->start);
        proto_number(&p, 3, m->limit);
        proto_number(&p, 4, m->offset);
        proto_number(&p, 5, path);
        proto_number(&p, 6, build_id);
        put_message(w, PROFILE_MAPPING, &p);
    }
}

/* ---- samples ---- */

/* A call lies before its return address, perhaps in another line or function. */
static uint64_t
location_of(struct writer *w, uintptr_t pc)
{
    bool is_new;
    uint32_t id = ids_of(&w->locations, pc, &is_new);
    struct proto p = { .n = 0 };

    if (!is_new)
        return id;
    proto_number(&p, 1, id);
    proto_number(&p, 2, module_of(w, pc - 1));
    proto_number(&p, 3, pc - 1);
    put_message(w, PROFILE_LOCATION, &p);
    return id;
}

/* Types' names have the strings behind those of the modules, in the order of types' ids. */
static uint64_t
name_of(struct writer *w, const gc_type *type, uint32_t first)
{
    bool is_new;
    uint32_t id = ids_of(&w->types, (uintptr_t)type, &is_new);

    if (is_new)
        (void)put_string(w, type->name);
    return first + id - 1;
}

static void
put_label(struct proto *sample, unsigned key, unsigned field, uint64_t value, unsigned unit)
{
    struct proto p = { .n = 0 };

    proto_number(&p, 1, key);
    proto_number(&p, field, value);
    if (unit != 0)
        proto_number(&p, 4, unit);
    proto_message(sample, 3, &p);
}

static struct profile_sums
sums_since(const struct writer *w, const struct pprof_request *req, const struct profile_site *at)
{
    struct profile_sums sums = at->sums;
    const struct profile_site *old;
    size_t i;

    if (req->since == NULL)
        return sums;
    i = ids_find(&w->before, (uintptr_t)at->pcs);
    if (w->before.keys[i] == 0)
        return sums;
    old = &req->since->sites[w->before.of[i] - 1];
    return (struct profile_sums){ sums.allocs - old->sums.allocs, sums.frees - old->sums.frees };
}

/* Half away from zero.  Counts are far below 2^63; libm is not worth its memory (profile.c). */
static int64_t
rounded(double x)
{
    return (int64_t)(x < 0 ? x - 0.5 : x + 0.5);
}

static void
put_values(struct proto *sample, const struct profile_sums *sums, uint64_t bytes)
{
    int64_t allocs = rounded(sums->allocs), inuse = rounded(sums->allocs - sums->frees);
    int64_t values[4] = { allocs, allocs * (int64_t)bytes, inuse, inuse * (int64_t)bytes };
    struct proto packed = { .n = 0 };

    for (int i = 0; i < 4; i++)
        proto_varint(&packed, (uint64_t)values[i]);
    proto_message(sample, 2, &packed);
}

static void
put_sample(struct writer *w, const struct pprof_request *req, const struct profile_site *at,
        uint32_t first_name)
{
    struct profile_sums sums = sums_since(w, req, at);
    struct proto sample = { .n = 0 }, ids = { .n = 0 };
    uint64_t name;

    if (rounded(sums.allocs) == 0 && rounded(sums.frees) == 0)
        return;
    for (unsigned i = 0; i < at->npcs; i++)
        proto_varint(&ids, location_of(w, at->pcs[i]));
    name = name_of(w, at->type, first_name);
    proto_message(&sample, 1, &ids);
    put_values(&sample, &sums, at->bytes);
    put_label(&sample, STRING_BYTES, 3, at->bytes, STRING_BYTES);
    put_label(&sample, STRING_TYPE, 2, name, 0);
    ASSERT(!sample.full && !ids.full);
    put_message(w, PROFILE_SAMPLE, &sample);
}

/* ---- all of it ---- */

static void
put_value_type(struct writer *w, unsigned field, unsigned type, unsigned unit)
{
    struct proto p = { .n = 0 };

    proto_number(&p, 1, type);
    proto_number(&p, 2, unit);
    put_message(w, field, &p);
}

static void
put_head(struct writer *w, const struct pprof_request *req)
{
#define STRING_(name, text) text,
    static const char *const fixed[] = { STRINGS(STRING_) };
#undef STRING_

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        (void)put_string(w, fixed[i]);
    put_value_type(w, PROFILE_SAMPLE_TYPE, STRING_ALLOC_OBJECTS, STRING_COUNT);
    put_value_type(w, PROFILE_SAMPLE_TYPE, STRING_ALLOC_SPACE, STRING_BYTES);
    put_value_type(w, PROFILE_SAMPLE_TYPE, STRING_INUSE_OBJECTS, STRING_COUNT);
    put_value_type(w, PROFILE_SAMPLE_TYPE, STRING_INUSE_SPACE, STRING_BYTES);
    put_value_type(w, PROFILE_PERIOD_TYPE, STRING_SPACE, STRING_BYTES);
    put_number(w, PROFILE_PERIOD, req->rate);
    put_number(w, PROFILE_TIME, req->time_ns);
    if (req->duration_ns != 0)
        put_number(w, PROFILE_DURATION, req->duration_ns);
    put_number(w, PROFILE_DEFAULT_SAMPLE_TYPE,
            req->by_allocs ? STRING_ALLOC_SPACE : STRING_INUSE_SPACE);
}

static void
put_all(struct writer *w, const struct pprof_request *req)
{
    uint32_t first_name;

    put_head(w, req);
    put_modules(w);
    first_name = w->nstrings;
    for (size_t i = 0; i < req->now->n; i++)
        put_sample(w, req, &req->now->sites[i], first_name);
}

static size_t
count_pcs(const struct profile_copy *copy)
{
    size_t n = 0;

    for (size_t i = 0; i < copy->n; i++)
        n += copy->sites[i].npcs;
    return n;
}

static bool
prepare(struct writer *w, const struct pprof_request *req)
{
    size_t nbefore = req->since == NULL ? 0 : req->since->n;
    bool is_new;

    if (!take_modules(w) || !ids_init(&w->locations, count_pcs(req->now))
            || !ids_init(&w->types, req->now->n) || !ids_init(&w->before, nbefore))
        return false;
    for (size_t i = 0; i < nbefore; i++)
        (void)ids_of(&w->before, (uintptr_t)req->since->sites[i].pcs, &is_new);
    return true;
}

gc_status
gcrt_pprof_write(const struct pprof_request *req, const gc_sink *sink)
{
    struct writer *w = calloc(1, sizeof(*w));
    gc_status status = GC_ERR_NOMEM;

    if (w == NULL)
        return status;
    if (prepare(w, req) && gcrt_gzip_begin(&w->gzip, sink)) {
        put_all(w, req);
        status = gcrt_gzip_end(&w->gzip);
    }
    ids_free(&w->locations);
    ids_free(&w->types);
    ids_free(&w->before);
    free(w->modules);
    free(w);
    return status;
}
