/* SPDX-License-Identifier: MIT */
/* intern: symbols are compared by address, and forgotten when nobody uses them. */
#include <gcrt/gcrt.h>

#include <stdio.h>
#include <string.h>

static const char text[] = "the cat and the dog and the other cat saw the bird";

struct count {
    const char *word;
    int n;
};

static struct count counts[16]; /* on no heap: words in it are registered as roots */

static struct count *
find(const char *word)
{
    struct count *c = counts;

    while (c->word != NULL && c->word != word) /* no strcmp */
        c++;
    if (c->word == NULL)
        gc_write(&c->word, word);
    return c;
}

int
main(void)
{
    int the = 0, words = 0;

    if (gc_init(NULL) != GC_OK || gc_root_add(counts, sizeof(counts)) != GC_OK)
        return 1;
    for (const char *p = text; *p != '\0'; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");

        find(gc_intern(NULL, p, n))->n++;
        p += n;
    }
    gc_collect(NULL); /* words that are in counts stay what they are */
    the = find(gc_intern_str("the"))->n;
    for (; counts[words].word != NULL; words++)
        printf("%d %s\n", counts[words].n, counts[words].word);
    gc_root_remove(counts);
    gc_shutdown();
    return the == 4 && words == 7 ? 0 : 1;
}
