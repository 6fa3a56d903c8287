/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the inline stores with the options that this file is compiled with.
 *
 * Arguments: none; FORM is the form's name.
 */

#include "stores.h"

#define PASTE(a, b)      a##b
#define NAME(form)       PASTE(stores_, form)
#define TEXT_OF(form)    #form
#define TEXT(form)       TEXT_OF(form)

static void
store_pointer(void **slot, void *value)
{
    gc_write(slot, value);
}

static void
store_element(void **slots, size_t i, void *value)
{
    gc_write(&slots[i], value);
}

static void
store_null(void **slot)
{
    gc_write(slot, NULL);
}

static void
store_word(const gc_decode *decode, uint64_t *slot, uint64_t word)
{
    gc_write_word(decode, slot, word);
}

__attribute__((visibility("default"))) const struct stores NAME(FORM) = {
    TEXT(FORM),
    GC_IMPL_HAS_WINDOW,
    store_pointer,
    store_element,
    store_null,
    store_word,
};
