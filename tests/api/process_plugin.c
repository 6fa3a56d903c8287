/* SPDX-License-Identifier: MIT */
/*
 * A library that a host loads at run time: it has types, a root, and code that makes objects.
 */
#include <gcrt/gcrt.h>

#include <string.h>

struct item {
    struct item *next;
    long value;
};

GC_TYPE_NOSCAN(plain_type, long);
GC_TYPE(item_type, struct item, next);

static struct item *list; /* a registered root, from plugin_start to plugin_stop */

GC_API int plugin_start(void);
GC_API void plugin_stop(void);
GC_API void plugin_add(long value);
GC_API long plugin_sum(void);

int
plugin_start(void)
{
    return (int)gc_root_add(&list, sizeof list);
}

void
plugin_stop(void)
{
    gc_write(&list, NULL);
    gc_root_remove(&list);
}

void
plugin_add(long value)
{
    struct item *i = gc_alloc(&item_type);
    long *copy = gc_alloc(&plain_type);

    memcpy(copy, &value, sizeof value);
    i->value = *copy;
    i->next = list;
    gc_write(&list, i);
}

long
plugin_sum(void)
{
    long sum = 0;

    for (const struct item *i = list; i != NULL; i = i->next)
        sum += i->value;
    return sum;
}
