/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_API_FATAL_H
#define GCRT_TESTS_API_FATAL_H

/* Misuse that must end in one fatal line: it is tried in a child and here. */

#include <criterion/criterion.h>

#include "heapkit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void
expect_line(void (*fn)(void *), const char *words)
{
    char text[4096];
    int status = t_child(fn, NULL, text, sizeof text);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
            "wait status 0x%x instead of SIGABRT; standard error: %s", (unsigned)status,
            text);
    cr_assert(strstr(text, "gcrt: fatal: ") != NULL, "no fatal line: %s", text);
    cr_assert(t_mentions(text, words), "the line does not name \"%s\": %s", words, text);
    cr_assert(strchr(text, '\n') == text + strlen(text) - 1, "not one line: %s", text);
}

/* FATAL(name, "words|that|name it") { misuse } */
#define FATAL(name, words)                                             \
    static void misuse_##name(void *unused);                           \
    Test(misuse, name, .signal = SIGABRT, .timeout = 60)               \
    {                                                                  \
        expect_line(misuse_##name, words);                             \
        misuse_##name(NULL);                                           \
    }                                                                  \
    static void misuse_##name(void *unused __attribute__((unused)))

#endif
