/* SPDX-License-Identifier: MIT */
/* weak: a cache whose entries go when nobody uses them, and never while somebody does. */
#include <gcrt/gcrt.h>
#include <stdio.h>

#define KEYS 1000

struct page {
    long key;
    char text[200];
};
GC_TYPE_NOSCAN(page_type, struct page);

static gc_weak *cache[KEYS]; /* a root: it keeps the references, not the pages */
static long rendered;
static struct page *
render(long key)
{
    struct page *page = gc_alloc(&page_type);

    page->key = key;
    snprintf(page->text, sizeof(page->text), "page %ld", key);
    rendered++;
    return page;
}

static struct page *
lookup(long key)
{
    struct page *page = gc_weak_get(cache[key]); /* NULL for no reference, too */
    GC_FRAME(page);

    if (page == NULL) {
        page = render(key);
        gc_write(&cache[key], gc_weak_new(page));
    }
    return page;
}

int
main(void)
{
    struct page *used = NULL;
    gc_options opt;
    GC_FRAME(used);

    gc_options_default(&opt);
    opt.precise_stacks = 1; /* so that the counts below are exact */
    if (gc_init(&opt) != GC_OK || gc_root_add(cache, sizeof(cache)) != GC_OK)
        return 1;
    for (long key = 0; key < KEYS; key++)
        used = lookup(key);
    gc_collect(NULL); /* nobody uses any but the last one */
    for (long key = 0; key < KEYS; key++)
        (void)lookup(key);
    printf("%ld pages rendered again\n", rendered - KEYS);
    rendered -= used->key;
    gc_shutdown();
    return rendered == KEYS ? 0 : 1;
}
