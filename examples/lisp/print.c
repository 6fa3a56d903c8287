/* SPDX-License-Identifier: MIT */
/*
 * From values to text.
 *
 * Purpose: display, write, error messages, the REPL's results.
 * Place: prims.c and main.c; calls nothing that may answer a handshake, so it needs no frames:
 * the text gathers in malloc'ed memory, which the caller writes out in a blocking region.
 * Bounds: nested data deeper than DEPTH_MAX, and more than ELEMENTS_MAX elements in all,
 * print as "...", so circular lists end.
 */
#include "reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS_MAX = 1000000 };

struct printer {
    char *text;
    size_t size, capacity;
    uint32_t depth, elements;
    bool write, failed;
};

static void
put_bytes(struct printer *p, const char *bytes, size_t n)
{
    size_t capacity = p->capacity;
    char *bigger;

    while (p->size + n + 1 > capacity)
        capacity = capacity * 2 + 64;
    if (capacity != p->capacity && !p->failed) {
        bigger = realloc(p->text, capacity);
        p->failed = bigger == NULL;
        if (bigger != NULL) {
            p->text = bigger;
            p->capacity = capacity;
        }
    }
    if (p->failed)
        return;
    memcpy(p->text + p->size, bytes, n);
    p->size += n;
}

static void
put_text(struct printer *p, const char *text)
{
    put_bytes(p, text, strlen(text));
}

/* The shortest that reads as the same number. */
static void
put_flonum(struct printer *p, double d)
{
    char text[40];

    if (isnan(d) || isinf(d)) {
        put_text(p, isnan(d) ? "+nan.0" : d > 0 ? "+inf.0" : "-inf.0");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    put_text(p, text);
    if (strpbrk(text, ".e") == NULL)
        put_text(p, ".0");
}

static void
put_string(struct printer *p, const struct string *s)
{
    if (!p->write) {
        put_bytes(p, s->byte, s->head.size);
        return;
    }
    put_text(p, "\"");
    for (uint32_t i = 0; i < s->head.size; i++) {
        char c = s->byte[i];

        if (c == '"' || c == '\\')
            put_text(p, "\\");
        put_bytes(p, c == '\n' ? "\\n" : &c, c == '\n' ? 2 : 1);
    }
    put_text(p, "\"");
}

static void
put_char(struct printer *p, uint32_t code)
{
    char bytes[4];

    if (p->write)
        put_text(p, code == ' ' ? "#\\space" : code == '\n' ? "#\\newline" : "#\\");
    if (!p->write || (code != ' ' && code != '\n'))
        put_bytes(p, bytes, utf8_encode(bytes, code));
}

static void put_value(struct printer *p, value v);

static void
put_element(struct printer *p, value v, bool first)
{
    if (!first)
        put_text(p, " ");
    if (p->depth >= DEPTH_MAX || ++p->elements > ELEMENTS_MAX) {
        put_text(p, "...");
        return;
    }
    p->depth++;
    put_value(p, v);
    p->depth--;
}

static void
put_list(struct printer *p, value v)
{
    bool first = true;

    put_text(p, "(");
    for (; is_pair(v) && p->elements <= ELEMENTS_MAX; v = cdr(v), first = false)
        put_element(p, car(v), first);
    if (v != NIL) {
        put_text(p, " .");
        put_element(p, v, false);
    }
    put_text(p, ")");
}

static void
put_vector(struct printer *p, const struct vector *v)
{
    put_text(p, "#(");
    for (uint32_t i = 0; i < v->head.size && p->elements <= ELEMENTS_MAX; i++)
        put_element(p, word_load(&v->item[i]), i == 0);
    put_text(p, ")");
}

static void
put_condition(struct printer *p, const struct condition *c)
{
    bool write = p->write;

    p->write = false;
    put_element(p, c->message, true);
    p->write = true;
    for (value x = c->irritants; is_pair(x); x = cdr(x))
        put_element(p, car(x), false);
    p->write = write;
}

static void
put_procedure(struct printer *p, value v)
{
    const struct closure *c = object_of(v);

    put_text(p, "#<procedure");
    if (value_kind(v) == PRIMITIVE || c->code->name != NULL)
        put_text(p, " ");
    if (value_kind(v) == PRIMITIVE)
        put_text(p, ((const struct primitive *)object_of(v))->name);
    else if (c->code->name != NULL)
        put_value(p, object(c->code->name));
    put_text(p, ">");
}

static void
put_constant(struct printer *p, value v)
{
    put_text(p, v == NIL ? "()" : v == FALSE ? "#f" : v == TRUE ? "#t"
                    : v == END_OF_FILE ? "#<end of file>" : "#<nothing>");
}

static void
put_value(struct printer *p, value v)
{
    static const char *const others[] = { [CODE] = "#<code>", [BOX] = "#<box>",
        [PROMISE] = "#<promise>", [MACRO] = "#<macro>", [TABLE] = "#<hash table>",
        [ESCAPE] = "#<escape>", [TASK] = "#<thread>", [CHANNEL] = "#<channel>" };
    enum kind kind = value_kind(v);
    char number[24];

    switch (kind) {
    case PAIR:
        put_list(p, v);
        break;
    case FIXNUM:
        snprintf(number, sizeof(number), "%lld", (long long)fixnum_of(v));
        put_text(p, number);
        break;
    case CHARACTER:
        put_char(p, (uint32_t)(v >> 8));
        break;
    case OTHER:
        put_constant(p, v);
        break;
    case FLONUM:
        put_flonum(p, ((const struct flonum *)object_of(v))->number);
        break;
    case STRING:
        put_string(p, string_of(v));
        break;
    case SYMBOL:
        put_bytes(p, string_of(symbol_of(v)->name)->byte, string_of(symbol_of(v)->name)->head.size);
        break;
    case VECTOR:
        put_vector(p, vector_of(v));
        break;
    case CLOSURE: case PRIMITIVE:
        put_procedure(p, v);
        break;
    case CONDITION:
        put_condition(p, object_of(v));
        break;
    default:
        put_text(p, others[kind]);
    }
}

char *
print_text(value v, bool write, size_t *size)
{
    struct printer p = { .write = write };

    put_value(&p, v);
    put_bytes(&p, "", 0);
    if (p.failed) {
        free(p.text);
        return NULL;
    }
    p.text[p.size] = 0;
    *size = p.size;
    return p.text;
}
