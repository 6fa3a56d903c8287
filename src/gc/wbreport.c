/* SPDX-License-Identifier: MIT */
/*
 * What wbcheck says.
 *
 * Purpose: name the object, the field, the two values and the place of allocation, so that
 * whoever reads the line finds the store.
 * Place: wbcheck calls it with what it found; it calls os for names of code addresses.
 * Invariants: it runs after the mutators were released: the dynamic linker's lock, which
 * looking up a name takes, may be any of theirs.
 * Concurrency: reads constant types only.
 * Cost: cold; the process ends.
 *
 * A type has the names of its fields as the text between the macro's parentheses, "left,
 * right": the i-th piece is field i.  Types made at run time have none; there the word's
 * offset has to do.
 */
#include "gc/wbreport.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that grows and never overflows. */
struct line {
    char *text;
    size_t n, used;
};

static void PRINTF(2, 3)
add(struct line *l, const char *format, ...)
{
    va_list args;
    int more;

    va_start(args, format);
    more = vsnprintf(l->text + l->used, l->n - l->used, format, args);
    va_end(args);
    if (more > 0)
        l->used = min_size(l->used + (size_t)more, l->n - 1);
}

/* ---- fields ---- */

/* Piece i of "left, right"; its length, 0 if there is none. */
static int
name_of(const gc_type *type, size_t i, const char **name)
{
    const char *at = type->names;

    for (; at != NULL && i != 0; i--) {
        at = strchr(at, ',');
        if (at != NULL)
            at++;
    }
    if (at == NULL)
        return 0;
    at += strspn(at, " ");
    *name = at;
    return (int)strcspn(at, ", ");
}

/* The field of an element that has the word at offset. */
static void
add_field(struct line *l, const gc_type *type, size_t offset)
{
    for (size_t i = 0; i < type->nfields; i++) {
        const gc_field *f = &type->fields[i];
        const char *name;
        int len = name_of(type, i, &name);

        if (offset - f->offset >= f->bytes)
            continue;
        if (len != 0)
            add(l, "field %.*s", len, name);
        else
            add(l, "pointer field %zu", i);
        if (f->bytes > WORD)
            add(l, "[%zu]", (offset - f->offset) / WORD);
        return;
    }
    add(l, "word %zu", offset / WORD);
}

/* An element's number, if there can be several, and the word in it. */
static void
add_element(struct line *l, const char *what, const gc_type *type, size_t offset, size_t bytes)
{
    size_t i = offset / type->size;
    bool many = bytes >= 2 * (size_t)type->size;

    if (many)
        add(l, "%s %zu%s", what, i, type->size == WORD ? "" : ", ");
    if (!many || type->size != WORD)
        add_field(l, type, offset % type->size);
}

static void
add_place(struct line *l, const struct wbfinding *f)
{
    size_t offset = f->at - f->object;

    if (f->type->form == GC_FORM_TRACED)
        add(l, "word %zu", offset / WORD);
    else if (f->type->form == GC_FORM_FLEX && offset >= f->type->tail)
        add_element(l, "tail element", f->type->elem, offset - f->type->tail, SIZE_MAX);
    else if (f->type->form == GC_FORM_FLEX)
        add_field(l, f->type, offset);
    else
        add_element(l, "element", f->type, offset, f->bytes);
    add(l, " (+%zu)", offset);
}

/* ---- the line ---- */

static void
add_value(struct line *l, uintptr_t value, const char *type)
{
    if (value == 0)
        add(l, "NULL");
    else
        add(l, "%#lx", (unsigned long)value);
    if (type != NULL)
        add(l, " (%s)", type);
}

/* An address of code or static data. */
static void
add_symbol(struct line *l, uintptr_t address)
{
    char name[160];

    if (gcrt_os_symbol((const void *)address, name, sizeof(name)))
        add(l, "%s", name);
    else
        add(l, "%#lx", (unsigned long)address);
}

static void
add_root(struct line *l, const struct wbfinding *f)
{
    add(l, "registered root at %#lx, ", (unsigned long)f->object);
    add_symbol(l, f->object);
    add(l, ", word %zu", (f->at - f->object) / WORD);
}

static void
add_object(struct line *l, const struct wbfinding *f)
{
    add(l, "%s at %#lx of %zu bytes, ", f->type->name, (unsigned long)f->object, f->bytes);
    add_place(l, f);
}

static char *
words_of(const struct wbfinding *f, char *text, size_t n)
{
    struct line l = { .text = text, .n = n };

    if (f->type == NULL)
        add_root(&l, f);
    else
        add_object(&l, f);
    add(&l, ": ");
    add_value(&l, f->was, f->was_type);
    add(&l, " became ");
    add_value(&l, f->is, f->is_type);
    add(&l, f->published ? " without gc_write" : " by a second plain store, without gc_write");
    if (f->site != 0) {
        add(&l, "; allocated at ");
        add_symbol(&l, f->site - 1); /* in the call, not behind it */
    }
    return text;
}

void
gcrt_wbreport(const struct wbfindings *found)
{
    char text[480];

    if (found->n == 0)
        return;
    for (size_t i = 1; i < min_size(found->n, WBFINDINGS_MAX); i++)
        gcrt_warn("wbcheck: %s", words_of(&found->kept[i], text, sizeof(text)));
    if (found->n > WBFINDINGS_MAX)
        gcrt_warn("wbcheck: and %zu more", found->n - WBFINDINGS_MAX);
    gcrt_fatal("wbcheck: %s", words_of(&found->kept[0], text, sizeof(text)));
}
