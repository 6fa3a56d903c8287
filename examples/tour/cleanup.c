/* SPDX-License-Identifier: MIT */
/* cleanup: a FILE that is closed when the object that owns it is gone. */
#include <gcrt/gcrt.h>

#include <stdio.h>
#include <time.h>

struct journal {
    FILE *file; /* malloc's: the collector does not look at it */
    long lines;
};
GC_TYPE_NOSCAN(journal_type, struct journal);

static unsigned closed; /* by the heap's own thread */

static void
close_file(void *arg)
{
    fclose(arg);
    __atomic_add_fetch(&closed, 1, __ATOMIC_RELEASE);
}

static struct journal *
journal_open(void)
{
    struct journal *j = gc_alloc(&journal_type);

    j->file = tmpfile();
    if (j->file == NULL || gc_cleanup_add(j, close_file, j->file, NULL) != GC_OK)
        return NULL;
    return j; /* nobody has to close it */
}

static int
use_journals(int n)
{
    for (int i = 0; i < n; i++) {
        struct journal *j = journal_open();

        if (j == NULL || fprintf(j->file, "entry %ld\n", ++j->lines) < 0)
            return -1;
    }
    return 0;
}

int
main(void)
{
    const struct timespec while_they_run = { .tv_nsec = 1000000 };
    const unsigned n = 200; /* more than a few words on the stack can keep */

    if (gc_init(NULL) != GC_OK || use_journals(n) != 0)
        return 1;
    gc_collect(NULL); /* now they are due, and run on the heap's own thread */
    while (__atomic_load_n(&closed, __ATOMIC_ACQUIRE) < n - 10)
        nanosleep(&while_they_run, NULL);
    printf("%u of %u files are closed\n", __atomic_load_n(&closed, __ATOMIC_ACQUIRE), n);
    gc_shutdown();
    return 0;
}
