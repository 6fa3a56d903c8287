/* SPDX-License-Identifier: MIT */
/*
 * A JSON syntax check, for the probe: is this text one that any JSON reader accepts?
 *
 * Recursive descent over RFC 8259's grammar.  Each function takes the place where its part
 * begins and returns the place behind it, or NULL where the text is wrong; NULL goes in and
 * comes out again, so that no step needs a test of its own.
 */
#include "json.h"

#include <string.h>

#define DEPTH_MAX 32

static const char *value(const char *at, const char *end, int depth);

static const char *
space(const char *at, const char *end)
{
    while (at != NULL && at < end
            && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* One given character, with space before it. */
static const char *
mark(const char *at, const char *end, char c)
{
    at = space(at, end);
    return at != NULL && at < end && *at == c ? at + 1 : NULL;
}

static int
next_is(const char *at, const char *end, char c)
{
    return mark(at, end, c) != NULL;
}

static const char *
escape(const char *at, const char *end)
{
    int i;

    if (at == end)
        return NULL;
    if (*at != 'u')
        return strchr("\"\\/bfnrt", *at) != NULL && *at != '\0' ? at + 1 : NULL;
    for (i = 1; i <= 4; i++)
        if (end - at <= i || at[i] == '\0'
                || strchr("0123456789abcdefABCDEF", at[i]) == NULL)
            return NULL;
    return at + 5;
}

static const char *
string(const char *at, const char *end)
{
    at = mark(at, end, '"');
    while (at != NULL && at < end && *at != '"') {
        if ((unsigned char)*at < 0x20)
            return NULL;
        at = *at == '\\' ? escape(at + 1, end) : at + 1;
    }
    return at != NULL && at < end ? at + 1 : NULL;
}

/* At least one digit. */
static const char *
digits(const char *at, const char *end)
{
    const char *start = at;

    while (at != NULL && at < end && *at >= '0' && *at <= '9')
        at++;
    return at == start ? NULL : at;
}

static const char *
number(const char *at, const char *end)
{
    if (at < end && *at == '-')
        at++;
    at = at < end && *at == '0' ? at + 1 : digits(at, end);
    if (at != NULL && at < end && *at == '.')
        at = digits(at + 1, end);
    if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = digits(at, end);
    }
    return at;
}

static const char *
word(const char *at, const char *end, const char *expected)
{
    size_t n = strlen(expected);

    return (size_t)(end - at) >= n && memcmp(at, expected, n) == 0 ? at + n : NULL;
}

static const char *
array(const char *at, const char *end, int depth)
{
    at = mark(at, end, '[');
    if (next_is(at, end, ']'))
        return mark(at, end, ']');
    at = value(at, end, depth);
    while (at != NULL && next_is(at, end, ','))
        at = value(mark(at, end, ','), end, depth);
    return mark(at, end, ']');
}

static const char *
member(const char *at, const char *end, int depth)
{
    return value(mark(string(at, end), end, ':'), end, depth);
}

static const char *
object(const char *at, const char *end, int depth)
{
    at = mark(at, end, '{');
    if (next_is(at, end, '}'))
        return mark(at, end, '}');
    at = member(at, end, depth);
    while (at != NULL && next_is(at, end, ','))
        at = member(mark(at, end, ','), end, depth);
    return mark(at, end, '}');
}

static const char *
value(const char *at, const char *end, int depth)
{
    at = space(at, end);
    if (at == NULL || at == end || depth == DEPTH_MAX)
        return NULL;
    switch (*at) {
    case '{':
        return object(at, end, depth + 1);
    case '[':
        return array(at, end, depth + 1);
    case '"':
        return string(at, end);
    case 't':
        return word(at, end, "true");
    case 'f':
        return word(at, end, "false");
    case 'n':
        return word(at, end, "null");
    default:
        return number(at, end);
    }
}

int
json_valid(const char *text, size_t n)
{
    const char *end = text + n;

    return space(value(text, end, 0), end) == end;
}
