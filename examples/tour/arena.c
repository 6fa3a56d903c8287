/* SPDX-License-Identifier: MIT */
/* arena: what a request makes is gone with it, but for what others hold. */
#include <gcrt/gcrt.h>
#include <stdio.h>
#include <string.h>

struct word {
    struct word *next;
    const char *text; /* of the arena, or of the heap: both are right */
    long count;
};
GC_TYPE(word_type, struct word, next, text);

static struct {
    const char *longest; /* outlives its request, so it is on the heap */
} app; /* a root; stores into it go through gc_write */

/* How many different words the text has. */
static long
serve(const char *text)
{
    gc_arena *arena = gc_arena_new("request");
    char *copy = gc_arena_strdup(arena, text), *rest = NULL;
    struct word *words = NULL, *w;
    long n = 0;

    for (char *t = strtok_r(copy, " ", &rest); t != NULL; t = strtok_r(NULL, " ", &rest)) {
        for (w = words; w != NULL && strcmp(w->text, t) != 0;)
            w = w->next;
        if (w == NULL) {
            w = gc_arena_alloc(arena, &word_type);
            w->text = t; /* a fresh object's first stores may be plain */
            w->next = words;
            words = w;
            n++;
        }
        w->count++;
        if (app.longest == NULL || strlen(t) > strlen(app.longest))
            gc_write(&app.longest, (const char *)gc_strdup(t));
    }
    gc_arena_free(arena); /* every word, and the copy of the text */
    return n;
}

int
main(void)
{
    long n = 0;

    if (gc_init(NULL) != GC_OK || gc_root_add(&app, sizeof(app)) != GC_OK)
        return 1;
    for (int i = 0; i < 10000; i++)
        n += serve("the quick fox and the lazy fox and the extraordinary dog");
    gc_collect(NULL);
    printf("%ld words; the longest is \"%s\"\n", n, app.longest);
    n = n == 70000 && strcmp(app.longest, "extraordinary") == 0 ? 0 : 1;
    gc_shutdown();
    return (int)n;
}
