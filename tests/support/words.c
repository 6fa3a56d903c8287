/* SPDX-License-Identifier: MIT */
/*
 * Purpose: interning against what each thread knows of it.
 * Place: tests/stress/oracle.c.
 * Concurrency: a struct words is its thread's; words_check runs while all threads wait.
 */
#include "words.h"

#include "heapkit.h"
#include "support.h"

#include <gcrt/gcrt.h>

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 256

/* Short ones, and long ones that differ behind what an entry of the table keeps of them. */
static size_t
text_of(size_t word, char text[TEXT_MAX])
{
    size_t n = 3 + word * 10 % 230;

    memset(text, '.', n);
    snprintf(text + n, TEXT_MAX - n, "%zu", word);
    return strlen(text);
}

static void
check_bytes(size_t word, const char *p)
{
    char text[TEXT_MAX] = { 0 };
    size_t n = text_of(word, text);

    T_CHECK(memcmp(p, text, n + 1) == 0, "word %zu is altered: %s", word, p);
}

void
words_begin(struct words *w, uint64_t *rng)
{
    w->rng = rng;
    T_OK(gc_root_add(w->held, sizeof w->held));
}

void
words_end(struct words *w)
{
    gc_root_remove(w->held);
    memset(w->held, 0, sizeof w->held);
}

void
words_step(struct words *w)
{
    size_t word = (size_t)t_below(w->rng, WORDS);
    char text[TEXT_MAX] = { 0 };
    size_t n = text_of(word, text);
    void *held = w->held[word], *p = NULL;
    GC_FRAME(p);

    p = t_below(w->rng, 4) == 0 ? gc_intern_find(NULL, text, n) : gc_intern(NULL, text, n);
    T_CHECK(held == NULL || p == held, "word %zu is %p, and %p when it is held", word, p, held);
    if (p != NULL)
        check_bytes(word, p);
    t_store(&w->held[word], t_below(w->rng, 3) == 0 ? NULL : p);
}

size_t
words_check(const struct words *const *all, size_t n)
{
    size_t distinct = 0;

    for (size_t word = 0; word < WORDS; word++) {
        const void *copy = NULL;

        for (size_t i = 0; i < n; i++) {
            const void *p = all[i]->held[word];

            T_CHECK(p == NULL || copy == NULL || p == copy, "word %zu has two copies", word);
            copy = p == NULL ? copy : p;
        }
        if (copy != NULL)
            check_bytes(word, copy);
        distinct += copy != NULL;
    }
    return distinct;
}
