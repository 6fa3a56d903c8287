/* SPDX-License-Identifier: MIT */
/*
 * From text to data.
 *
 * Purpose: the reader of programs, of the REPL and of (read-all string).
 * Place: main.c and prims.c call it with a text that does not move; it fails as primitives do.
 * Memory: what is being built is in frames, one per level of nesting; depth is bounded
 * (value_too_deep), so no text overflows the C stack.
 */
#include "vm.h"

#include <string.h>

static value read_datum(struct reader *r);

static _Noreturn void
wrong(struct reader *r, const char *what)
{
    if (r->name == NULL)
        vm_fail(r->vm, NOTHING, "%s", what);
    vm_fail(r->vm, NOTHING, "%s:%u: %s", r->name, r->line, what);
}

static int
peek(const struct reader *r)
{
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

static int
next(struct reader *r)
{
    int c = peek(r);

    if (c == -1)
        vm_fail(r->vm, NOTHING, READER_MORE);
    r->line += c == '\n';
    r->at++;
    return c;
}

static bool
ends_token(int c)
{
    return c == -1 || c <= ' ' || strchr("()\";'`,", c) != NULL;
}

/* Blanks and comments. */
static void
skip_blank(struct reader *r)
{
    for (int c; (c = peek(r)) != -1 && (c <= ' ' || c == ';');) {
        if (c == ';')
            while (peek(r) != -1 && peek(r) != '\n')
                next(r);
        else
            next(r);
    }
}

static value
read_list(struct reader *r)
{
    value first = NIL, last = NIL, v = NIL;
    GC_FRAME(first, last, v);

    for (;;) {
        skip_blank(r);
        if (peek(r) == ')') {
            next(r);
            return first;
        }
        if (peek(r) == '.' && r->at + 1 < r->end && ends_token(r->at[1]) && last != NIL) {
            next(r);
            word_store(&pair_of(last)->cdr, read_datum(r));
            skip_blank(r);
            if (next(r) != ')')
                wrong(r, "more than one datum behind a dot");
            return first;
        }
        v = cons(read_datum(r), NIL);
        if (last == NIL)
            first = v;
        else
            word_store(&pair_of(last)->cdr, v);
        last = v;
    }
}

static value
read_vector(struct reader *r)
{
    value list = read_list(r), v = NIL;
    uint32_t n = 0;
    GC_FRAME(list, v);

    for (value x = list; is_pair(x); x = cdr(x))
        n++;
    if ((v = vector_new(n, NIL)) == 0)
        wrong(r, "out of memory");
    for (uint32_t i = 0; i < n; i++, list = cdr(list))
        word_store(&vector_of(v)->item[i], car(list));
    return v;
}

/* Behind one of ' ` , which stand for a list with a name in front. */
static value
read_quoted(struct reader *r, int c)
{
    const char *name = c == '\'' ? "quote" : c == '`' ? "quasiquote" : "unquote";
    value v = NIL, quote = NIL;
    GC_FRAME(v, quote);

    if (c == ',' && peek(r) == '@') {
        next(r);
        name = "unquote-splicing";
    }
    quote = symbol(name);
    v = cons(read_datum(r), NIL);
    return cons(quote, v);
}

/* Behind its quote.  Twice: for its size, and for its bytes. */
static value
read_string(struct reader *r)
{
    struct reader begin = *r;
    char *to = NULL;
    size_t size = 0;
    value s = 0;

    for (; peek(r) != '"'; size++)
        if (next(r) == '\\')
            next(r);
    if ((s = string_new(NULL, size)) == 0)
        wrong(r, "out of memory");
    to = string_of(s)->byte;
    for (*r = begin; peek(r) != '"';) {
        int c = next(r);

        if (c == '\\')
            c = (c = next(r)) == 'n' ? '\n' : c == 't' ? '\t' : c;
        *to++ = (char)c;
    }
    next(r);
    return s;
}

/* Behind #\. */
static value
read_char(struct reader *r)
{
    const char *begin = r->at;
    size_t size;

    next(r);
    while (!ends_token(peek(r)))
        next(r);
    size = (size_t)(r->at - begin);
    if (size == 5 && memcmp(begin, "space", size) == 0)
        return character(' ');
    if (size == 7 && memcmp(begin, "newline", size) == 0)
        return character('\n');
    if (size != 1)
        wrong(r, "not a character");
    return character(*begin);
}

/* The number that the token is, or UNBOUND. */
static value
number_of(const char *text, size_t size)
{
    size_t i = text[0] == '-' || text[0] == '+';
    bool minus = text[0] == '-';
    int64_t n = 0;

    if (i == size)
        return UNBOUND;
    for (; i < size; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, 10, &n)
                || __builtin_sub_overflow(n, text[i] - '0', &n)) /* below 0, for the least */
            return UNBOUND;
    if (n < INT64_MIN / 2 || (!minus && n == INT64_MIN / 2))
        return UNBOUND;
    return integer(minus ? n : -n);
}

static value
read_token(struct reader *r)
{
    const char *begin = r->at;
    size_t size;
    value v;

    while (!ends_token(peek(r)))
        next(r);
    size = (size_t)(r->at - begin);
    if (size == 0 || size >= STRING_SMALL)
        wrong(r, size == 0 ? "unexpected character" : "a name that is too long");
    if (begin[0] == '#') {
        if (size == 2 && (begin[1] == 't' || begin[1] == 'f'))
            return boolean(begin[1] == 't');
        wrong(r, "unknown # syntax");
    }
    v = number_of(begin, size);
    return v != UNBOUND ? v : symbol_intern(begin, size);
}

static value
read_hash(struct reader *r)
{
    int c = r->at + 1 < r->end ? r->at[1] : -1;

    if (c != '(' && c != '\\')
        return read_token(r);
    r->at += 2;
    return c == '(' ? read_vector(r) : read_char(r);
}

static value
read_datum(struct reader *r)
{
    if (value_too_deep())
        wrong(r, "nested too deeply");
    skip_blank(r);
    switch (peek(r)) {
    case '(':
        next(r);
        return read_list(r);
    case '"':
        next(r);
        return read_string(r);
    case '\'': case '`': case ',':
        return read_quoted(r, next(r));
    case '#':
        return read_hash(r);
    case -1:
        next(r); /* which fails */
    }
    return read_token(r);
}

value
reader_next(struct reader *r)
{
    skip_blank(r);
    return peek(r) == -1 ? END_OF_FILE : read_datum(r);
}

value
reader_copy(struct vm *vm, value x)
{
    value first = NIL, rest = NIL;
    GC_FRAME(x, first, rest);

    if (!is_pair(x) || symbol_special(car(x)) == SPECIAL_QUOTE)
        return x;
    if (value_too_deep())
        vm_fail(vm, NOTHING, "syntax: nested too deeply");
    first = reader_copy(vm, car(x));
    rest = reader_copy(vm, cdr(x));
    return cons(first, rest);
}
