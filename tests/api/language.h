/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_LANGUAGE_H
#define GCRT_TESTS_LANGUAGE_H

/*
 * Uses every macro and inline function of the public headers once.  language.c and
 * language.cc include it, so the same text is compiled as C99, C11, C17, C++11 and C++17,
 * and run in each.
 */

#include <gcrt/gcrt.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct language_leaf {
    long value;
};

struct language_node {
    struct language_node *left;
    struct language_node *right;
    struct language_leaf *leaves[3];
    long key;
};

struct language_blob {
    size_t n;
    struct language_node *owner;
    struct language_leaf *items[];
};

struct language_plain {
    size_t n;
    struct language_leaf *items[];
};

struct language_word {
    uint64_t bits;
};

static const gc_decode language_decode = { 1, 1, ~(uint64_t)1 };

static void
language_trace(const void *obj, size_t bytes, gc_tracer *tracer)
{
    (void)bytes;
    gc_trace_words(tracer, &((const struct language_node *)obj)->left, 1);
}

GC_TYPE_NOSCAN(leaf_type, struct language_leaf);
GC_TYPE(node_type, struct language_node, left, right, leaves);
GC_TYPE_CONSERVATIVE(loose_type, struct language_node);
GC_TYPE_TRACED(traced_type, struct language_node, language_trace);
GC_TYPE_FLEX(blob_type, struct language_blob, items, gc_pointer_type, owner);
GC_TYPE_FLEX_PLAIN(plain_type, struct language_plain, items, gc_pointer_type);

GC_TYPE_TAGGED(tagged_type, struct language_word, language_decode, bits);

static struct language_node *language_global;

#define EXPECT(cond)                                                         \
    do {                                                                     \
        if (!(cond)) {                                                       \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
            return 1;                                                        \
        }                                                                    \
    } while (0)

static int
language_types(void)
{
    EXPECT(node_type.size == sizeof(struct language_node));
    EXPECT(node_type.nfields == 3 && node_type.mask == 0x1f);
    EXPECT(node_type.fields[2].offset == offsetof(struct language_node, leaves));
    EXPECT(node_type.fields[2].bytes == 3 * sizeof(void *));
    EXPECT(leaf_type.form == GC_FORM_NOSCAN && leaf_type.mask == 0);
    EXPECT(loose_type.form == GC_FORM_CONSERVATIVE);
    EXPECT(traced_type.form == GC_FORM_TRACED && traced_type.trace == language_trace);
    EXPECT(blob_type.tail == offsetof(struct language_blob, items));
    EXPECT(blob_type.mask == 2 && blob_type.elem == &gc_pointer_type);
    EXPECT(plain_type.form == GC_FORM_FLEX && plain_type.nfields == 0);
    return 0;
}

static int
language_stores(void)
{
    struct language_node *a = (struct language_node *)gc_alloc(&node_type);
    struct language_node *b = (struct language_node *)gc_alloc(&loose_type);
    struct language_node *c = (struct language_node *)gc_alloc(&traced_type);
    struct language_blob *blob = (struct language_blob *)gc_alloc_flex(&blob_type, 4);

    EXPECT(a->left == NULL && a->key == 0 && blob->items[3] == NULL);
    gc_write(&a->left, b);
    gc_write(&a->leaves[1], (struct language_leaf *)gc_alloc(&leaf_type));
    gc_write_release(&a->right, c);
    gc_write(&language_global, a);
    EXPECT(gc_read_acquire(&a->right) == c);
    b = gc_exchange(&a->left, (struct language_node *)NULL);
    EXPECT(b != NULL && a->left == NULL);
    EXPECT(gc_cas(&a->right, c, b) == 1 && a->right == b);
    EXPECT(gc_cas(&a->right, c, a) == 0 && a->right == b);
    gc_copy(&node_type, c, a, 1);
    EXPECT(c->right == b && c->leaves[1] == a->leaves[1]);
    gc_clear(&node_type, c, 1);
    EXPECT(c->right == NULL);
    GC_KEEP_ALIVE(blob);
    return 0;
}

static int
language_precise(void)
{
    struct language_word *word = NULL;
    struct language_node *node = NULL;
    GC_FRAME(word, node);

    word = (struct language_word *)gc_alloc(&tagged_type);
    node = (struct language_node *)gc_alloc(&node_type);
    gc_write_word(&language_decode, &word->bits, (uintptr_t)node | 1);
    EXPECT(gc_decode_word(&language_decode, word->bits) == (uintptr_t)node);
    EXPECT(gc_decode_word(&language_decode, 42) == 0);
    GC_FRAME_END;
    return 0;
}

static int
language_survival(void)
{
    char *text = gc_strdup("still here");

    GC_BLOCKING
    {
        fflush(stdout);
    }
    gc_safepoint();
    gc_collect(NULL);
    (void)gc_free_os_memory(NULL);
    EXPECT(strcmp(text, "still here") == 0);
    EXPECT(language_global->leaves[1]->value == 0);
    return 0;
}

static int
language_test(void)
{
    gc_status status = gc_init(NULL);
    int failed;

    if (status != GC_OK) {
        fprintf(stderr, "%s: %s\n", gc_status_string(status), gc_last_error());
        return 1;
    }
    EXPECT(gc_root_add(&language_global, sizeof(language_global)) == GC_OK);
    failed = language_types() || language_stores() || language_precise()
        || language_survival();
    gc_root_remove(&language_global);
    gc_shutdown();
    return failed;
}

#endif
