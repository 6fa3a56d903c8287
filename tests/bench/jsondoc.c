/* SPDX-License-Identifier: MIT */
/*
 * JSON documents as trees: parsed, walked, dropped, again.
 *
 * A text of about `bytes` bytes is made first: an array of records with numbers, texts,
 * lists and objects inside.  It is parsed `docs` times; the last `held` documents are alive.
 * A value is one object, its text and its name in the parent are objects without pointers,
 * and the values of a list or an object are linked.  A value is filled before it is linked,
 * so only the link from its elder sister is a store into an object that others can reach.
 *
 * The text itself belongs to no peer's heap.  The checksum is over kinds, names, texts and
 * numbers of all documents, in order.
 */
#include PEER_HEADER

#include <string.h>

#define HELD_MAX 64

enum kind {
    KIND_NULL,
    KIND_FALSE,
    KIND_TRUE,
    KIND_NUMBER,
    KIND_TEXT,
    KIND_LIST,
    KIND_OBJECT
};

struct value {
    struct value *first, *next; /* first: of a list or an object */
    char *name, *text;          /* end with a zero byte */
    int64_t number;             /* in thousandths */
    uint64_t kind;
};

PEER_TYPE(value_type, struct value, 15, first, next, name, text);

/* ---- the text ---- */

struct text {
    char *bytes;
    size_t len, room;
};

static void
put(struct text *text, const char *words)
{
    size_t len = strlen(words);

    if (text->len + len + 1 > text->room)
        bench_die("the text is longer than expected");
    memcpy(text->bytes + text->len, words, len + 1);
    text->len += len;
}

static void
put_number(struct text *text, uint64_t n)
{
    char digits[24];
    int i = 23;

    digits[i] = '\0';
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    put(text, digits + i);
}

static void
put_words(struct text *text, uint64_t *seed)
{
    static const char *const words[] = {"heap", "of", "small", "things", "\\\"quoted\\\"",
            "and\\n", "some", "more", "which", "nobody", "reads"};
    uint64_t n = 1 + bench_random_below(seed, 6);

    put(text, "\"");
    for (uint64_t i = 0; i < n; i++) {
        put(text, words[bench_random_below(seed, 11)]);
        put(text, i + 1 < n ? " " : "\"");
    }
}

static void
put_record(struct text *text, uint64_t id, uint64_t *seed)
{
    uint64_t ntags = bench_random_below(seed, 5);

    put(text, "{\"id\": ");
    put_number(text, id);
    put(text, ", \"name\": ");
    put_words(text, seed);
    put(text, ", \"price\": ");
    put_number(text, bench_random_below(seed, 1000));
    put(text, ".");
    put_number(text, 1 + bench_random_below(seed, 9));
    put(text, ", \"tags\": [");
    for (uint64_t i = 0; i < ntags; i++) {
        put_words(text, seed);
        put(text, i + 1 < ntags ? ", " : "");
    }
    put(text, bench_random_below(seed, 2) ? "], \"on\": true" : "], \"on\": false");
    put(text, ", \"parent\": null, \"at\": {\"x\": -");
    put_number(text, bench_random_below(seed, 500));
    put(text, ", \"y\": ");
    put_number(text, bench_random_below(seed, 500));
    put(text, "}}");
}

static void
make_text(struct text *text, size_t bytes)
{
    uint64_t seed = 1;

    text->room = bytes + 4096;
    text->len = 0;
    text->bytes = malloc(text->room);
    if (text->bytes == NULL)
        bench_die("no memory for the text");
    put(text, "[");
    for (uint64_t id = 0; text->len < bytes; id++) {
        put(text, id == 0 ? "\n" : ",\n");
        put_record(text, id, &seed);
    }
    put(text, "\n]\n");
}

/* ---- the parser: one byte ahead, no backing up ---- */

static struct value *parse_value(const char **at);

static char
skip_space(const char **at)
{
    while (**at == ' ' || **at == '\n')
        ++*at;
    return **at;
}

static void
expect(const char **at, const char *words)
{
    size_t len = strlen(words);

    skip_space(at);
    bench_check(strncmp(*at, words, len) == 0, words);
    *at += len;
}

static char *
parse_text(const char **at)
{
    const char *from, *p;
    char *copy;
    size_t len = 0;

    if (skip_space(at) != '"')
        bench_die("a text must begin with a quotation mark");
    for (p = from = *at + 1; *p != '"'; p++, len++)
        p += *p == '\\';
    *at = p + 1;
    copy = peer_alloc_bytes(len + 1);
    copy[len] = '\0';
    if (len == (size_t)(p - from))
        return memcpy(copy, from, len);
    for (size_t i = 0; i < len; i++) {
        int escaped = *from == '\\';

        from += escaped;
        copy[i] = (char)(escaped && *from == 'n' ? '\n' : *from);
        from++;
    }
    return copy;
}

static int64_t
parse_number(const char **at)
{
    int negative = **at == '-', digits = -1;
    int64_t n = 0;

    for (*at += negative; (**at >= '0' && **at <= '9') || **at == '.'; ++*at) {
        if (**at == '.')
            digits = 0;
        else
            n = 10 * n + (**at - '0'), digits += digits >= 0;
    }
    for (digits = digits < 0 ? 0 : digits; digits < 3; digits++)
        n *= 10;
    return negative ? -n : n;
}

/* The values up to the closing bracket; of an object, with names. */
static struct value *
parse_children(const char **at, char close)
{
    struct value *first = NULL, *last = NULL;

    for (++*at; skip_space(at) != close;) {
        char *name = NULL;
        struct value *value;

        if (close == '}') {
            name = parse_text(at);
            expect(at, ":");
        }
        value = parse_value(at);
        value->name = name;
        if (last == NULL)
            first = value;
        else
            peer_write(&last->next, value);
        last = value;
        if (skip_space(at) == ',')
            ++*at;
    }
    ++*at;
    return first;
}

static struct value *
new_value(enum kind kind, struct value *first, char *text, int64_t number)
{
    struct value *value = peer_alloc(sizeof(*value), &value_type);

    value->first = first;
    value->next = NULL;
    value->name = NULL;
    value->text = text;
    value->number = number;
    value->kind = kind;
    return value;
}

static struct value *
parse_word(const char **at, const char *word, enum kind kind)
{
    expect(at, word);
    return new_value(kind, NULL, NULL, 0);
}

static struct value *
parse_value(const char **at)
{
    switch (skip_space(at)) {
    case '[':
        return new_value(KIND_LIST, parse_children(at, ']'), NULL, 0);
    case '{':
        return new_value(KIND_OBJECT, parse_children(at, '}'), NULL, 0);
    case '"':
        return new_value(KIND_TEXT, NULL, parse_text(at), 0);
    case 't':
        return parse_word(at, "true", KIND_TRUE);
    case 'f':
        return parse_word(at, "false", KIND_FALSE);
    case 'n':
        return parse_word(at, "null", KIND_NULL);
    default:
        return new_value(KIND_NUMBER, NULL, NULL, parse_number(at));
    }
}

/* ---- what is done with documents ---- */

static uint64_t
sum_of_text(uint64_t sum, const char *text)
{
    for (; text != NULL && *text != '\0'; text++)
        sum = sum * 31 + (unsigned char)*text;
    return sum;
}

static uint64_t
walk(uint64_t sum, const struct value *value, uint64_t *values)
{
    for (; value != NULL; value = value->next) {
        sum = sum_of_text(sum_of_text(sum, value->name), value->text);
        sum = (sum ^ (uint64_t)value->number) * 31 + value->kind;
        sum = walk(sum, value->first, values);
        ++*values;
    }
    return sum;
}

static void
drop(struct value *value)
{
    while (value != NULL) {
        struct value *next = value->next;

        drop(value->first);
        peer_free(value->name);
        peer_free(value->text);
        peer_free(value);
        value = next;
    }
}

static uint64_t
run(const struct text *text, uint64_t docs, uint64_t nheld, uint64_t *values)
{
    struct value *held[HELD_MAX] = {NULL};
    uint64_t sum = 0;

    for (uint64_t i = 0; i < docs; i++) {
        struct value **oldest = &held[i % nheld];
        const char *at = text->bytes;

        if (PEER_FREES)
            drop(*oldest);
        *oldest = NULL;
        *oldest = parse_value(&at);
        sum = walk(sum, *oldest, values);
        BENCH_ESCAPE(held); /* or those that nobody frees would not be held at all */
    }
    for (uint64_t i = 0; i < nheld && PEER_FREES; i++)
        drop(held[i]);
    return sum;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"bytes", 2 << 20, "bytes of the text"},
            {"docs", 60, "times that it is parsed"},
            {"held", 4, "documents alive"},
    };
    struct bench_heap_stats heap;
    uint64_t sum, values = 0;
    struct text text;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    if (args[2].value < 1 || args[2].value > HELD_MAX)
        bench_die("held must be 1 to 64");
    make_text(&text, args[0].value);
    peer_init();
    peer_type_init(value_type);
    sum = run(&text, args[1].value, args[2].value, &values);
    bench_json_begin("jsondoc", PEER_NAME, peer_version());
    bench_json_u64("text_bytes", text.len);
    bench_json_u64("values", values);
    bench_json_u64("checksum", sum);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
    peer_finish();
    free(text.bytes);
    return 0;
}
