/* SPDX-License-Identifier: MIT */
#ifndef GCRT_TESTS_API_FATAL_H
#define GCRT_TESTS_API_FATAL_H

/* Misuse that must end in one fatal line: it is tried in a child, by FATAL here too. */

#include <criterion/criterion.h>

#include "heapkit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void
expect_fatal(void (*fn)(void *), void *arg, const char *words)
{
    char text[4096];
    int status = t_child(fn, arg, text, sizeof text);

    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
            "wait status 0x%x instead of SIGABRT; standard error: %s", (unsigned)status,
            text);
    cr_assert(strstr(text, "gcrt: fatal: ") != NULL, "no fatal line: %s", text);
    cr_assert(t_mentions(text, words), "the line does not name \"%s\": %s", words, text);
    cr_assert(strchr(text, '\n') == text + strlen(text) - 1, "not one line: %s", text);
}

/* FATAL(name, "one word of|these") { misuse } */
#define FATAL(name, words)                                             \
    static void misuse_##name(void *unused);                           \
    Test(misuse, name, .signal = SIGABRT, .timeout = 60)               \
    {                                                                  \
        expect_fatal(misuse_##name, NULL, words);                      \
        misuse_##name(NULL);                                           \
    }                                                                  \
    static void misuse_##name(void *unused __attribute__((unused)))

#endif
