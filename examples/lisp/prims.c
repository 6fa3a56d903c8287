/* SPDX-License-Identifier: MIT */
/*
 * Primitives: data, errors, strings, input and output.
 *
 * Purpose: what cannot be said in Lisp (prelude.scm has the rest).
 * Place: the VM calls them with arguments on its stack, which therefore stay alive and where
 * they are; anything else that must outlive a call into gcrt is in a GC_FRAME.  They may
 * fail at any point: what they own outside of the heap is freed before.
 * Blocking: reads, writes and waits are in GC_BLOCKING, with bytes outside of the heap.
 */
#include "vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- anything ---- */

PRIM(type_of)
{
    return symbol(kind_names[value_kind(arg[0])]);
}

PRIM(hash)
{
    return integer(value_hash(arg[0]) >> 3);
}

PRIM(apply)
{
    value f = arg[0], list = arg[n - 1];

    memmove(arg, arg + 1, (n - 2) * sizeof(value));
    vm->sp = arg + n - 2;
    vm->argc = vm_spread(vm, list) + n - 2;
    vm->acc = f;
    return CALL_AGAIN;
}

PRIM(eval)
{
    vm->acc = compile(vm, arg[0]);
    vm->argc = 0;
    vm->sp--;
    return CALL_AGAIN;
}

/* (try thunk handler): what the thunk gives, or the handler for what it raises */
PRIM(try)
{
    value result = NIL;

    if (vm_apply(vm, arg[0], NIL, &result))
        return result;
    vm->sp[-2] = result; /* the stack may have moved: arg is no more */
    vm->acc = vm->sp[-1];
    vm->sp--;
    vm->argc = 1;
    return CALL_AGAIN;
}

PRIM(raise)
{
    vm_raise(vm, arg[0]);
}

/* (raise-error message irritants) */
PRIM(error)
{
    vm_raise(vm, vm_condition(vm, arg[0], arg[1]));
}

/* ---- pairs, boxes, vectors ---- */

PRIM(set_car)
{
    vm_want(vm, "set-car!", PAIR, arg[0]);
    word_store(&pair_of(arg[0])->car, arg[1]);
    return NOTHING;
}

PRIM(set_cdr)
{
    vm_want(vm, "set-cdr!", PAIR, arg[0]);
    word_store(&pair_of(arg[0])->cdr, arg[1]);
    return NOTHING;
}

PRIM(box)
{
    return box_new(BOX, arg[0]);
}

PRIM(unbox)
{
    const struct box *box = vm_want(vm, "unbox", BOX, arg[0]);

    return __atomic_load_n(&box->value, __ATOMIC_ACQUIRE);
}

/* A tagged word is an interior pointer, or none: the barrier for pointers will do. */
PRIM(box_swap)
{
    struct box *box = vm_want(vm, "box-swap!", BOX, arg[0]);

    return boolean(gc_cas(&box->value, arg[1], arg[2]));
}

static value
want_memory(struct vm *vm, value v)
{
    if (v == 0)
        vm_fail(vm, NOTHING, "out of memory");
    return v;
}

PRIM(make_vector)
{
    int64_t size = vm_want_index(vm, "make-vector", arg[0], UINT32_MAX);

    return want_memory(vm, vector_new((size_t)size, n == 2 ? arg[1] : integer(0)));
}

PRIM(vector)
{
    value v = want_memory(vm, vector_new(n, NIL));

    for (uint32_t i = 0; i < n; i++)
        vector_of(v)->item[i] = arg[i]; /* raw: nobody knows it yet */
    return v;
}

PRIM(vector_length)
{
    return integer(((struct head *)vm_want(vm, "vector-length", VECTOR, arg[0]))->size);
}

/* ---- symbols, characters, strings ---- */

PRIM(string_to_symbol)
{
    const struct string *s = vm_want(vm, "string->symbol", STRING, arg[0]);

    if (s->head.size >= STRING_SMALL)
        vm_fail(vm, NOTHING, "string->symbol: too long for a name");
    return symbol_intern(s->byte, s->head.size);
}

PRIM(char_to_integer)
{
    vm_want(vm, "char->integer", CHARACTER, arg[0]);
    return integer((unsigned char)char_of(arg[0]));
}

PRIM(string_length)
{
    return integer(((struct head *)vm_want(vm, "string-length", STRING, arg[0]))->size);
}

PRIM(string_ref)
{
    const struct string *s = vm_want(vm, "string-ref", STRING, arg[0]);

    return character(s->byte[vm_want_index(vm, "string-ref", arg[1], s->head.size)]);
}

PRIM(substring)
{
    const struct string *s = vm_want(vm, "substring", STRING, arg[0]);
    int64_t end = n == 2 ? s->head.size
                         : vm_want_index(vm, "substring", arg[2], (uint64_t)s->head.size + 1);
    int64_t start = vm_want_index(vm, "substring", arg[1], (uint64_t)end + 1);

    return want_memory(vm, string_new(s->byte + start, (size_t)(end - start)));
}

PRIM(string_append)
{
    size_t size = 0;
    char *to;
    value s;

    for (uint32_t i = 0; i < n; i++)
        size += ((struct head *)vm_want(vm, "string-append", STRING, arg[i]))->size;
    s = want_memory(vm, string_new(NULL, size));
    to = string_of(s)->byte;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(to, string_of(arg[i])->byte, string_of(arg[i])->head.size);
        to += string_of(arg[i])->head.size;
    }
    return s;
}

/* Two strings with the same bytes; false for what is none. */
PRIM(string_same)
{
    const struct string *a = string_of(arg[0]), *b = string_of(arg[1]);

    return boolean(is_kind(arg[0], STRING) && is_kind(arg[1], STRING)
            && a->head.size == b->head.size && memcmp(a->byte, b->byte, a->head.size) == 0);
}

/* What display prints, but for pairs and vectors: #<kind name> for what cannot be read. */
PRIM(atom_to_string)
{
    value v = arg[0];
    enum kind kind = value_kind(v);
    char text[100] = { char_of(v) };
    const char *name = "";

    if (kind == STRING)
        return v;
    if (kind == SYMBOL)
        return string_new(symbol_of(v)->name, symbol_of(v)->head.size);
    if (kind == CHARACTER)
        return string_new(text, 1);
    if (kind == PRIMITIVE)
        name = ((struct primitive *)object_of(v))->spec->name;
    else if (kind == CLOSURE && ((struct closure *)object_of(v))->code->name != NULL)
        name = ((struct closure *)object_of(v))->code->name->name;
    if (kind == INTEGER)
        snprintf(text, sizeof(text), "%lld", (long long)integer_of(v));
    else if (v == NIL || v == TRUE || v == FALSE)
        strcpy(text, v == NIL ? "()" : v == TRUE ? "#t" : "#f");
    else
        snprintf(text, sizeof(text), "#<%s%s%.60s>", kind_names[kind], *name ? " " : "", name);
    return string_new(text, strlen(text));
}

/* ---- input and output ---- */

/* (write-text string error?): to standard output, or standard error */
PRIM(write_text)
{
    const struct string *s = vm_want(vm, "write-text", STRING, arg[0]);

    GC_BLOCKING { fwrite(s->byte, 1, s->head.size, arg[1] == FALSE ? stdout : stderr); }
    return NOTHING;
}

/*
 * (read-text path prompt): a file's text up to a zero byte, which texts do not have; or a line
 * of standard input, if path is #f, with its end.  #f at the end of the file.
 */
PRIM(read_text)
{
    bool line = arg[0] == FALSE;
    const struct string *path = line ? NULL : vm_want(vm, "read-text", STRING, arg[0]);
    const struct string *prompt = vm_want(vm, "read-text", STRING, arg[1]);
    char *text = NULL;
    size_t room = 0;
    ssize_t size = -1;
    value s = FALSE;
    int error = 0;

    GC_BLOCKING {
        if (line && isatty(STDIN_FILENO))
            fputs(prompt->byte, stdout);
        fflush(stdout);
        FILE *file = line ? stdin : fopen(path->byte, "r");

        if (file != NULL)
            size = getdelim(&text, &room, line ? '\n' : 0, file);
        if (file == NULL || ferror(file))
            error = errno;
        if (file != NULL && !line)
            fclose(file);
    }
    if (size >= 0)
        s = string_new(text, (size_t)size);
    free(text);
    if (error != 0)
        vm_fail(vm, arg[0], "%s", strerror(error));
    return want_memory(vm, s);
}

/* (read-all string name): the list of its data */
PRIM(read_all)
{
    const struct string *s = vm_want(vm, "read", STRING, arg[0]);
    const char *name = n == 2 ? ((struct string *)vm_want(vm, "read", STRING, arg[1]))->byte : NULL;
    struct reader r = { .vm = vm, .at = s->byte, .end = s->byte + s->head.size, .name = name,
        .line = 1 };
    value first = cons(NIL, NIL), last = first, v = NIL;
    GC_FRAME(first, last, v);

    while ((v = reader_next(&r)) != END_OF_FILE) {
        v = cons(v, NIL);
        word_store(&pair_of(last)->cdr, v);
        last = v;
    }
    return cdr(first);
}

const struct prim_spec data_prims[] = { { "type-of", prim_type_of, 1, 1 },
    { "apply", prim_apply, 2, MANY }, { "eval", prim_eval, 1, 1 },
    { "try", prim_try, 2, 2 }, { "raise", prim_raise, 1, 1 },
    { "raise-error", prim_error, 2, 2 }, { "hash", prim_hash, 1, 1 },
    { "set-car!", prim_set_car, 2, 2 }, { "set-cdr!", prim_set_cdr, 2, 2 },
    { "box", prim_box, 1, 1 }, { "unbox", prim_unbox, 1, 1 },
    { "box-swap!", prim_box_swap, 3, 3 }, { "make-vector", prim_make_vector, 1, 2 },
    { "vector", prim_vector, 0, MANY }, { "vector-length", prim_vector_length, 1, 1 },
    { "string->symbol", prim_string_to_symbol, 1, 1 },
    { "char->integer", prim_char_to_integer, 1, 1 },
    { "string-length", prim_string_length, 1, 1 }, { "string-ref", prim_string_ref, 2, 2 },
    { "substring", prim_substring, 2, 3 }, { "string-append", prim_string_append, 0, MANY },
    { "string=?", prim_string_same, 2, 2 }, { "atom->string", prim_atom_to_string, 1, 1 },
    { "write-text", prim_write_text, 2, 2 },
    { "read-text", prim_read_text, 2, 2 }, { "read-all", prim_read_all, 1, 2 },
    { NULL, NULL, 0, 0 } };

void
prims_define(const struct prim_spec *spec)
{
    for (; spec->name != NULL; spec++) {
        struct primitive *p = gc_alloc(primitive_type);

        GC_FRAME(p);
        p->head.kind = PRIMITIVE;
        p->spec = spec;
        symbol_define(symbol(spec->name), object(p));
    }
}
