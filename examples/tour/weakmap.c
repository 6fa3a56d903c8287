/* SPDX-License-Identifier: MIT */
/* weakmap: fields for objects that have none; an entry lives as long as its object. */
#include <gcrt/gcrt.h>
#include <stdio.h>

struct window {
    long id;
    char title[24];
};
GC_TYPE_NOSCAN(window_type, struct window);

struct note {
    struct window *about; /* the value refers to its own key: no leak */
    const char *text;
};
GC_TYPE(note_type, struct note, about, text);

#define WINDOWS 1000

static struct {
    struct window *open[WINDOWS];
    gc_weak_map *notes;
} app; /* a root; stores into it go through gc_write */

static void
attach_note(struct window *w, const char *text)
{
    GC_FRAME(w); /* main is a precise thread */
    struct note *note = gc_alloc(&note_type);
    note->about = w;
    note->text = text;
    gc_weak_map_set(app.notes, w, note);
}

int
main(void)
{
    gc_options opt;
    size_t cursor = 0;
    void *key, *value;
    long n = 0, wrong = 0;

    gc_options_default(&opt);
    opt.precise_stacks = 1; /* so that the count at the end is exact */
    if (gc_init(&opt) != GC_OK || gc_root_add(&app, sizeof(app)) != GC_OK)
        return 1;
    gc_write(&app.notes, gc_weak_map_new(0));
    for (long i = 0; i < WINDOWS; i++) {
        gc_write(&app.open[i], (struct window *)gc_alloc(&window_type));
        app.open[i]->id = i;
        attach_note(app.open[i], "unsaved");
        gc_write(&app.open[i - i % 10], i % 10 == 9 ? NULL : app.open[i - i % 10]); /* close one */
    }
    gc_collect(NULL); /* the notes of closed windows are gone with them */
    for (; gc_weak_map_next(app.notes, &cursor, &key, &value); n++)
        wrong += ((struct note *)value)->about != key;
    printf("%ld windows have notes\n", n);
    gc_shutdown();
    return n == WINDOWS * 9 / 10 && wrong == 0 ? 0 : 1;
}
