/* SPDX-License-Identifier: MIT */
/*
 * From values to text.
 *
 * Purpose: display, write, error messages, the REPL's results.
 * Place: prims.c and main.c; calls nothing that may answer a handshake, so it needs no frames:
 * the text gathers in malloc'ed memory, which the caller writes out in a blocking region.
 * Bounds: what is nested too deeply, and more than ELEMENTS_MAX elements in all, print as
 * "...", so circular lists end.
 */
#include "vm.h"

#include <stdio.h>
#include <stdlib.h>

enum { ELEMENTS_MAX = 1000000 };

struct printer {
    FILE *out;
    uint32_t elements;
    bool write; /* strings and characters as the reader takes them */
};

static void put_value(struct printer *p, value v);

static void
put_string(struct printer *p, const struct string *s)
{
    if (!p->write) {
        fwrite(s->byte, 1, s->head.size, p->out);
        return;
    }
    fputc('"', p->out);
    for (uint32_t i = 0; i < s->head.size; i++) {
        char c = s->byte[i];

        if (c == '"' || c == '\\' || c == '\n')
            fputc('\\', p->out);
        fputc(c == '\n' ? 'n' : c, p->out);
    }
    fputc('"', p->out);
}

static void
put_char(struct printer *p, char c)
{
    if (p->write)
        fputs("#\\", p->out);
    if (p->write && (c == ' ' || c == '\n'))
        fputs(c == ' ' ? "space" : "newline", p->out);
    else
        fputc(c, p->out);
}

static void
put_element(struct printer *p, value v, bool first)
{
    if (!first)
        fputc(' ', p->out);
    if (value_too_deep() || ++p->elements > ELEMENTS_MAX)
        fputs("...", p->out);
    else
        put_value(p, v);
}

static void
put_list(struct printer *p, value v)
{
    bool first = true;

    fputc('(', p->out);
    for (; is_pair(v) && p->elements <= ELEMENTS_MAX; v = cdr(v), first = false)
        put_element(p, car(v), first);
    if (v != NIL) {
        fputs(" .", p->out);
        put_element(p, v, false);
    }
    fputc(')', p->out);
}

static void
put_vector(struct printer *p, const struct vector *v)
{
    fputs("#(", p->out);
    for (uint32_t i = 0; i < v->head.size && p->elements <= ELEMENTS_MAX; i++)
        put_element(p, word_load(&v->item[i]), i == 0);
    fputc(')', p->out);
}

/* #<kind>, and the name of a procedure that has one */
static void
put_other(struct printer *p, value v)
{
    enum kind kind = value_kind(v);
    const struct closure *c = object_of(v);

    fprintf(p->out, "#<%s", kind_names[kind]);
    if (kind == PRIMITIVE)
        fprintf(p->out, " %s", ((const struct primitive *)object_of(v))->spec->name);
    else if (kind == CLOSURE && c->code->name != NULL)
        fprintf(p->out, " %s", c->code->name->name);
    fputc('>', p->out);
}

static void
put_value(struct printer *p, value v)
{
    switch (value_kind(v)) {
    case PAIR:
        put_list(p, v);
        break;
    case INTEGER:
        fprintf(p->out, "%lld", (long long)integer_of(v));
        break;
    case CHARACTER:
        put_char(p, char_of(v));
        break;
    case STRING:
        put_string(p, string_of(v));
        break;
    case SYMBOL:
        fputs(symbol_of(v)->name, p->out);
        break;
    case VECTOR:
        put_vector(p, vector_of(v));
        break;
    default:
        if (v == NIL || v == TRUE || v == FALSE)
            fputs(v == NIL ? "()" : v == TRUE ? "#t" : "#f", p->out);
        else
            put_other(p, v);
    }
}

char *
print_text(value v, bool write, size_t *size)
{
    char *text = NULL;
    struct printer p = { .write = write, .out = open_memstream(&text, size) };

    if (p.out == NULL)
        return NULL;
    put_value(&p, v);
    if (fclose(p.out) == 0)
        return text;
    free(text);
    return NULL;
}
