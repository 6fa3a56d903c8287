/* SPDX-License-Identifier: MIT */
/*
 * hello: the smallest complete gcrt program.
 *
 * It keeps the words of its command line in a binary tree on the gc heap and prints them
 * in order.  Nothing is ever freed by hand; locals are roots by themselves; the one global
 * is registered.
 */
#include <gcrt/gcrt.h>

#include <stdio.h>
#include <string.h>

struct node {
    struct node *left, *right;
    char *word;
};
GC_TYPE(node_type, struct node, left, right, word); /* where the pointers are */

static struct node *root;

static void
insert(const char *word)
{
    struct node **at = &root;
    struct node *n;

    while (*at != NULL)
        at = strcmp(word, (*at)->word) < 0 ? &(*at)->left : &(*at)->right;
    n = gc_alloc(&node_type);  /* zeroed, never NULL */
    n->word = gc_strdup(word); /* n is known to nobody yet: a plain store */
    gc_write(at, n);           /* a global, or an object that others can reach: a barrier */
}

static void
print(const struct node *n)
{
    if (n == NULL)
        return;
    print(n->left);
    printf("%s\n", n->word);
    print(n->right);
}

int
main(int argc, char **argv)
{
    static const char *const words[] = {"hello", "from", "a", "collected", "heap"};
    int i;

    if (gc_init(NULL) != GC_OK || gc_root_add(&root, sizeof(root)) != GC_OK) {
        fprintf(stderr, "hello: %s\n", gc_last_error());
        return 1;
    }
    for (i = 1; i < argc; i++)
        insert(argv[i]);
    for (i = 0; argc < 2 && i < 5; i++)
        insert(words[i]);
    gc_collect(NULL); /* never needed; here to show that the tree survives it */
    print(root);
    gc_shutdown();
    return 0;
}
