/* SPDX-License-Identifier: MIT */
/*
 * From text to data.
 *
 * Purpose: the reader of programs, of the REPL and of (read-from-string s).
 * Place: main.c and prims.c call it with a text that does not move; it fails as primitives do.
 * Memory: what is being built is in frames, one per level of nesting; depth is bounded, so
 * no text overflows the C stack.
 */
#include "reader.h"

#include "symbol.h"

#include <stdlib.h>
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

static void
skip_block(struct reader *r)
{
    for (int depth = 0;;) {
        int c = next(r);

        if (c == '#' && peek(r) == '|') {
            next(r);
            depth++;
        } else if (c == '|' && peek(r) == '#') {
            next(r);
            if (--depth == 0)
                return;
        }
    }
}

static void
skip_blank(struct reader *r)
{
    for (int c; (c = peek(r)) != -1;) {
        if (c == ';') {
            while (peek(r) != -1 && peek(r) != '\n')
                next(r);
        } else if (c == '#' && r->at + 1 < r->end && r->at[1] == '|') {
            skip_block(r);
        } else if (c == '#' && r->at + 1 < r->end && r->at[1] == ';') {
            r->at += 2;
            read_datum(r);
        } else if (c > ' ') {
            return;
        } else {
            next(r);
        }
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
    value list = read_list(r), v;
    uint32_t n = 0;

    GC_FRAME(list);
    for (value x = list; is_pair(x); x = cdr(x))
        n++;
    if ((v = vector_new(n, NIL)) == 0)
        wrong(r, "out of memory");
    for (uint32_t i = 0; i < n; i++, list = cdr(list))
        word_store(&vector_of(v)->item[i], car(list));
    return v;
}

static value
read_quoted(struct reader *r, const char *name)
{
    value v = cons(read_datum(r), NIL), quote;

    GC_FRAME(v);
    quote = symbol(name);
    return cons(quote, v);
}

uint32_t
utf8_decode(const char **at, const char *end)
{
    unsigned char c = (unsigned char)*(*at)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    uint32_t code = more == 0 ? c : c & (0x3fu >> more);

    while (more-- > 0 && *at < end && (**at & 0xc0) == 0x80)
        code = code << 6 | ((unsigned char)*(*at)++ & 0x3f);
    return code;
}

size_t
utf8_encode(char *to, uint32_t code)
{
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    if (n == 1) {
        *to = (char)code;
        return 1;
    }
    for (size_t i = n; i-- > 1; code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    *to = (char)((0xf00u >> n & 0xf0u) | code);
    return n;
}

static uint32_t
read_escape(struct reader *r)
{
    static const char from[] = "ntr0a", to[] = "\n\t\r\0\a";
    int c = next(r);
    const char *which = strchr(from, c);
    uint32_t code = 0;

    if (c != 'x')
        return which != NULL ? (unsigned char)to[which - from] : (uint32_t)c;
    while ((c = next(r)) != ';') {
        char digit[2] = { (char)c, 0 };
        char *end;

        code = code << 4 | (uint32_t)strtoul(digit, &end, 16);
        if (end == digit || code > 0x10ffff)
            wrong(r, "not a character's number");
    }
    return code;
}

/* Twice: for its size, and for its bytes. */
static value
read_string(struct reader *r)
{
    const char *begin = r->at;
    uint32_t line = r->line;
    size_t size = 0;
    value s = 0;
    char *to = NULL;

    for (int pass = 0; pass < 2; pass++) {
        r->at = begin;
        r->line = line;
        while (peek(r) != '"') {
            char bytes[4] = { (char)next(r) };
            size_t n = bytes[0] == '\\' ? utf8_encode(bytes, read_escape(r)) : 1;

            if (pass == 1)
                memcpy(to, bytes, n), to += n;
            else
                size += n;
        }
        if (pass == 0 && (s = string_new(NULL, size)) == 0)
            wrong(r, "out of memory");
        to = pass == 0 ? string_of(s)->byte : to;
    }
    string_count(string_of(s));
    next(r);
    return s;
}

static value
read_char(struct reader *r)
{
    static const struct {
        const char *name;
        uint32_t code;
    } names[] = { { "space", ' ' }, { "newline", '\n' }, { "tab", '\t' }, { "nul", 0 },
        { "return", '\r' } };
    const char *begin = r->at;
    uint32_t code;
    size_t size;

    next(r);
    while (!ends_token(peek(r)))
        next(r);
    size = (size_t)(r->at - begin);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i].name) == size && memcmp(names[i].name, begin, size) == 0)
            return (value)names[i].code << 8 | TAG_CHAR;
    code = utf8_decode(&begin, r->at);
    if (begin != r->at)
        wrong(r, "not a character");
    return (value)code << 8 | TAG_CHAR;
}

value
reader_number(const char *text, size_t size)
{
    char token[64], *end;
    size_t digit = text[0] == '-' || text[0] == '+';
    long long i;
    double d;

    if (size >= sizeof(token) || size <= digit)
        return UNBOUND;
    if (text[digit] == '.' ? size == digit + 1 : (unsigned)text[digit] - '0' > 9)
        return UNBOUND;
    memcpy(token, text, size);
    token[size] = 0;
    if (strpbrk(token, "xXpPnN") != NULL)
        return UNBOUND;
    i = strtoll(token, &end, 10);
    if (*end == 0 && i <= FIXNUM_MAX && i >= FIXNUM_MIN)
        return fixnum(i);
    d = strtod(token, &end);
    return *end == 0 ? flonum(d) : UNBOUND;
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
    v = reader_number(begin, size);
    return v != UNBOUND ? v : symbol_intern(begin, size);
}

static value
read_hash(struct reader *r)
{
    int c = r->at + 1 < r->end ? r->at[1] : -1;

    if (c == '(') {
        r->at += 2;
        return read_vector(r);
    }
    if (c == '\\') {
        r->at += 2;
        return read_char(r);
    }
    return read_token(r);
}

static value
read_open(struct reader *r)
{
    switch (peek(r)) {
    case '(':
        next(r);
        return read_list(r);
    case '"':
        next(r);
        return read_string(r);
    case '\'':
        next(r);
        return read_quoted(r, "quote");
    case '`':
        next(r);
        return read_quoted(r, "quasiquote");
    case ',':
        next(r);
        if (peek(r) != '@')
            return read_quoted(r, "unquote");
        next(r);
        return read_quoted(r, "unquote-splicing");
    case '#':
        return read_hash(r);
    case ')':
        wrong(r, "unexpected )");
    case -1:
        next(r); /* which fails */
    }
    return read_token(r);
}

static value
read_datum(struct reader *r)
{
    value v;

    skip_blank(r);
    if (++r->depth > DEPTH_MAX)
        wrong(r, "nested too deeply");
    v = read_open(r);
    r->depth--;
    return v;
}

value
reader_next(struct reader *r)
{
    skip_blank(r);
    return peek(r) == -1 ? END_OF_FILE : read_datum(r);
}
