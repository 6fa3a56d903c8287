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
#include "prims.h"

#include "syntax.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* ---- anything ---- */

PRIM(type_of)
{
    static const char *const names[] = { "pair", "integer", "char", "constant", "real",
        "string", "symbol", "vector", "code", "procedure", "procedure", "box", "promise",
        "macro", "table", "condition", "procedure", "thread", "channel" };

    return symbol(names[value_kind(arg[0])]);
}

PRIM(eqv)
{
    return boolean(value_eqv(arg[0], arg[1]));
}

PRIM(equal)
{
    int same = value_equal(arg[0], arg[1], 0);

    if (same < 0)
        vm_fail(vm, NOTHING, "equal?: nested too deeply");
    return boolean(same);
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

PRIM(macroexpand)
{
    value macro = is_pair(arg[0]) && is_kind(car(arg[0]), SYMBOL)
            ? word_load(&symbol_of(car(arg[0]))->global) : NIL;

    if (!is_kind(macro, MACRO))
        return arg[0];
    vm->acc = box_of(macro)->value;
    vm->sp = arg;
    vm->argc = vm_spread(vm, cdr(arg[0]));
    return CALL_AGAIN;
}

/* ---- errors ---- */

PRIM(raise)
{
    vm_raise(vm, arg[0]);
}

PRIM(error)
{
    value irritants = NIL;

    GC_FRAME(irritants);
    for (uint32_t i = n; i-- > 1;)
        irritants = pair_new(arg[i], irritants);
    vm_raise(vm, vm_condition(vm, arg[0], irritants));
}

PRIM(condition)
{
    const struct condition *c = vm_want(vm, "condition-part", CONDITION, arg[0]);

    return arg[1] == fixnum(0) ? c->message : arg[1] == fixnum(1) ? c->irritants : c->trace;
}

/* ---- pairs, boxes, promises, vectors ---- */

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

PRIM(set_box)
{
    struct box *box = vm_want(vm, "set-box!", BOX, arg[0]);

    word_store(&box->value, arg[1]);
    return NOTHING;
}

/* A tagged word is an interior pointer, or none: the barrier for pointers will do. */
PRIM(box_swap)
{
    struct box *box = vm_want(vm, "box-swap!", BOX, arg[0]);

    return boolean(gc_cas(&box->value, arg[1], arg[2]));
}

PRIM(delay)
{
    return box_new(PROMISE, cons(FALSE, arg[0]));
}

/* (promise-state p): (#f . thunk), or (#t . value) */
PRIM(promise_state)
{
    const struct box *p = vm_want(vm, "force", PROMISE, arg[0]);

    return __atomic_load_n(&p->value, __ATOMIC_ACQUIRE);
}

/* (promise-keep! p state value): the value of whoever comes first */
PRIM(promise_keep)
{
    struct box *p = vm_want(vm, "force", PROMISE, arg[0]);

    gc_cas(&p->value, arg[1], cons(TRUE, arg[2]));
    return cdr(__atomic_load_n(&p->value, __ATOMIC_ACQUIRE));
}

PRIM(make_vector)
{
    value v;

    vm_want_index(vm, "make-vector", arg[0], UINT32_MAX);
    v = vector_new((size_t)fixnum_of(arg[0]), n == 2 ? arg[1] : fixnum(0));
    if (v == 0)
        vm_fail(vm, NOTHING, "make-vector: out of memory");
    return v;
}

PRIM(vector_length)
{
    return fixnum(((struct head *)vm_want(vm, "vector-length", VECTOR, arg[0]))->size);
}

/* (vector-copy! to at from start end) */
PRIM(vector_copy)
{
    struct vector *to = vm_want(vm, "vector-copy!", VECTOR, arg[0]);
    struct vector *from = vm_want(vm, "vector-copy!", VECTOR, arg[2]);
    int64_t end = vm_want_index(vm, "vector-copy!", arg[4], (uint64_t)from->head.size + 1);
    int64_t start = vm_want_index(vm, "vector-copy!", arg[3], (uint64_t)end + 1);
    int64_t at = vm_want_index(vm, "vector-copy!", arg[1], (uint64_t)to->head.size + 1);

    if (end - start > to->head.size - at)
        vm_fail(vm, arg[0], "vector-copy!: no room");
    gc_move(word_type, &to->item[at], &from->item[start], (size_t)(end - start));
    return NOTHING;
}

/* ---- symbols, characters, strings ---- */

PRIM(symbol_to_string)
{
    return ((struct symbol *)vm_want(vm, "symbol->string", SYMBOL, arg[0]))->name;
}

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
    return fixnum((int64_t)(arg[0] >> 8));
}

PRIM(integer_to_char)
{
    return (value)vm_want_index(vm, "integer->char", arg[0], 0x110000) << 8 | TAG_CHAR;
}

static value
want_memory(struct vm *vm, value v)
{
    if (v == 0)
        vm_fail(vm, NOTHING, "out of memory for a string");
    return v;
}

PRIM(string_length)
{
    return fixnum(((struct string *)vm_want(vm, "string-length", STRING, arg[0]))->chars);
}

/* Where character number i begins: at once, if all are single bytes. */
static const char *
char_at(const struct string *s, int64_t i)
{
    const char *at = s->byte, *end = s->byte + s->head.size;

    if (s->chars == s->head.size)
        return at + i;
    while (at < end && (*at & 0xc0) == 0x80)
        at++;
    for (; at < end && i > 0; i--)
        do
            at++;
        while (at < end && (*at & 0xc0) == 0x80);
    return at;
}

PRIM(string_ref)
{
    const struct string *s = vm_want(vm, "string-ref", STRING, arg[0]);
    const char *at = char_at(s, vm_want_index(vm, "string-ref", arg[1], s->chars));

    return (value)utf8_decode(&at, s->byte + s->head.size) << 8 | TAG_CHAR;
}

PRIM(substring)
{
    const struct string *s = vm_want(vm, "substring", STRING, arg[0]);
    int64_t end = n == 3 ? vm_want_index(vm, "substring", arg[2], (uint64_t)s->chars + 1)
                         : s->chars;
    int64_t start = vm_want_index(vm, "substring", arg[1], (uint64_t)end + 1);
    const char *from = char_at(s, start);

    return want_memory(vm, string_new(from, (size_t)(char_at(s, end) - from)));
}

PRIM(string_append)
{
    size_t size = 0;
    char *to;
    value s;

    for (uint32_t i = 0; i < n; i++)
        size += ((struct string *)vm_want(vm, "string-append", STRING, arg[i]))->head.size;
    s = want_memory(vm, string_new(NULL, size));
    to = string_of(s)->byte;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(to, string_of(arg[i])->byte, string_of(arg[i])->head.size);
        to += string_of(arg[i])->head.size;
    }
    string_count(string_of(s));
    return s;
}

PRIM(list_to_string)
{
    size_t size = 0;
    char bytes[4], *to;
    value s;

    for (value x = arg[0]; is_pair(x); x = cdr(x)) {
        vm_want(vm, "list->string", CHARACTER, car(x));
        size += utf8_encode(bytes, (uint32_t)(car(x) >> 8));
    }
    s = want_memory(vm, string_new(NULL, size));
    to = string_of(s)->byte;
    for (value x = arg[0]; is_pair(x); x = cdr(x)) {
        size_t one = utf8_encode(bytes, (uint32_t)(car(x) >> 8));

        if (one > size)
            break; /* another thread has changed the list */
        memcpy(to, bytes, one);
        to += one;
        size -= one;
    }
    string_count(string_of(s));
    return s;
}

/* < 0, 0, > 0, by bytes, which is by characters */
PRIM(string_compare)
{
    const struct string *a = vm_want(vm, "string comparison", STRING, arg[0]);
    const struct string *b = vm_want(vm, "string comparison", STRING, arg[1]);
    uint32_t common = a->head.size < b->head.size ? a->head.size : b->head.size;
    int order = memcmp(a->byte, b->byte, common);

    return fixnum(order != 0 ? order : (int64_t)a->head.size - (int64_t)b->head.size);
}

/* Where the second string first occurs in the first, or #f. */
PRIM(string_search)
{
    const struct string *s = vm_want(vm, "string-search", STRING, arg[0]);
    const struct string *what = vm_want(vm, "string-search", STRING, arg[1]);
    int64_t chars = 0;

    for (uint32_t i = 0; i + what->head.size <= s->head.size; i++) {
        if (memcmp(s->byte + i, what->byte, what->head.size) == 0)
            return fixnum(chars);
        chars += (s->byte[i] & 0xc0) != 0x80;
    }
    return FALSE;
}

/* ---- input and output ---- */

value
prims_string(struct vm *vm, char *text, size_t size)
{
    value s = text == NULL ? 0 : string_new(text, size);

    free(text);
    return want_memory(vm, s);
}

value
prim_to_string(struct vm *vm, value *arg, uint32_t n)
{
    size_t size = 0;
    char *text = print_text(arg[0], n == 2 && arg[1] != FALSE, &size);

    return prims_string(vm, text, size);
}

void
prims_write(const char *text, size_t size)
{
    GC_BLOCKING { fwrite(text, 1, size, stdout); }
}

PRIM(display)
{
    size_t size = 0;
    char *text = print_text(arg[0], n == 2 && arg[1] != FALSE, &size);

    if (text == NULL)
        want_memory(vm, 0);
    prims_write(text, size);
    free(text);
    return NOTHING;
}

char *
prims_read_file(const char *path, size_t *size)
{
    char *text = NULL;
    size_t n = 0, got = 1;

    GC_BLOCKING {
        FILE *file = fopen(path, "rb");

        for (size_t room = 0; file != NULL && got > 0; n += got) {
            if (n == room) {
                char *bigger = realloc(text, room = 2 * room + 4096);

                if (bigger == NULL)
                    break;
                text = bigger;
            }
            got = fread(text + n, 1, room - n, file);
        }
        if (file == NULL || ferror(file) || got > 0) {
            free(text);
            text = NULL;
        }
        if (file != NULL)
            fclose(file);
    }
    *size = n;
    return text;
}

PRIM(read_file)
{
    const struct string *path = vm_want(vm, "read-file", STRING, arg[0]);
    size_t size;
    char *text = prims_read_file(path->byte, &size);

    if (text == NULL)
        vm_fail(vm, arg[0], "read-file: %s", strerror(errno));
    return prims_string(vm, text, size);
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

PRIM(read_line)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size = 0;

    GC_BLOCKING { size = getline(&line, &room, stdin); }
    if (size < 0) {
        free(line);
        return END_OF_FILE;
    }
    return prims_string(vm, line, (size_t)size - (size > 0 && line[size - 1] == '\n'));
}

const struct prim_spec data_prims[] = { { "type-of", prim_type_of, 1, 1 },
    { "eqv?", prim_eqv, 2, 2 }, { "equal?", prim_equal, 2, 2 }, { "apply", prim_apply, 2, MANY },
    { "eval", prim_eval, 1, 1 }, { "macroexpand", prim_macroexpand, 1, 1 },
    { "raise", prim_raise, 1, 1 }, { "error", prim_error, 1, MANY },
    { "condition-part", prim_condition, 2, 2 }, { "set-car!", prim_set_car, 2, 2 },
    { "set-cdr!", prim_set_cdr, 2, 2 }, { "box", prim_box, 1, 1 }, { "unbox", prim_unbox, 1, 1 },
    { "set-box!", prim_set_box, 2, 2 }, { "box-swap!", prim_box_swap, 3, 3 },
    { "make-promise", prim_delay, 1, 1 }, { "promise-state", prim_promise_state, 1, 1 },
    { "promise-keep!", prim_promise_keep, 3, 3 }, { "make-vector", prim_make_vector, 1, 2 },
    { "vector-length", prim_vector_length, 1, 1 }, { "vector-copy!", prim_vector_copy, 5, 5 },
    { NULL, NULL, 0, 0 } };

const struct prim_spec string_prims[] = { { "symbol->string", prim_symbol_to_string, 1, 1 },
    { "string->symbol", prim_string_to_symbol, 1, 1 },
    { "char->integer", prim_char_to_integer, 1, 1 },
    { "integer->char", prim_integer_to_char, 1, 1 },
    { "string-length", prim_string_length, 1, 1 }, { "string-ref", prim_string_ref, 2, 2 },
    { "substring", prim_substring, 2, 3 }, { "string-append", prim_string_append, 0, MANY },
    { "list->string", prim_list_to_string, 1, 1 },
    { "string-compare", prim_string_compare, 2, 2 },
    { "string-search", prim_string_search, 2, 2 }, { "->string", prim_to_string, 1, 2 },
    { "display", prim_display, 1, 2 }, { "read-file", prim_read_file, 1, 1 },
    { "read-all", prim_read_all, 1, 2 }, { "read-line", prim_read_line, 0, 0 },
    { NULL, NULL, 0, 0 } };

void
prims_define(const struct prim_spec *spec)
{
    for (; spec->name != NULL; spec++) {
        struct primitive *p = gc_alloc(primitive_type);

        GC_FRAME(p);
        p->head = (struct head){ PRIMITIVE, spec->max };
        p->name = spec->name;
        p->fn = spec->fn;
        p->min = spec->min;
        symbol_define(symbol(spec->name), object(p));
    }
}

void
prims_init(void)
{
    symbol_define(symbol("eof"), END_OF_FILE);
    prims_define(number_prims);
    prims_define(data_prims);
    prims_define(string_prims);
    prims_define(table_prims);
    prims_define(thread_prims);
}
