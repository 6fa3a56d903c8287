/* SPDX-License-Identifier: MIT */
#ifndef LISP_PRIMS_H
#define LISP_PRIMS_H

#include "reader.h"
#include "symbol.h"

#define MANY UINT32_MAX
#define PRIM(name)                                                                         \
    static value prim_##name(struct vm *vm __attribute__((unused)),                        \
            value *arg __attribute__((unused)), uint32_t n __attribute__((unused)))

struct prim_spec {
    const char *name;
    primitive_fn *fn;
    uint32_t min, max;
};

/* Each ends with a NULL. */
extern const struct prim_spec number_prims[], data_prims[], string_prims[], table_prims[],
        thread_prims[];

/* Makes primitives the values of global variables: all of the above, or those given. */
void prims_init(void);
void prims_define(const struct prim_spec *spec);

/* The displayed text of arg[0], as a string. */
value prim_to_string(struct vm *vm, value *arg, uint32_t n);
/* A malloc'ed text as a string, and frees it; fails if it is NULL. */
value prims_string(struct vm *vm, char *text, size_t size);
/* Writes to standard output in a blocking region. */
void prims_write(const char *text, size_t size);
/* A whole file, malloc'ed, in a blocking region; NULL: errno says why. */
char *prims_read_file(const char *path, size_t *size);

/* True if no thread runs but the first; waits for those that have nothing left to do. */
bool thread_alone(void);

#endif
