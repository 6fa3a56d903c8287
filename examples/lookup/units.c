/* SPDX-License-Identifier: MIT */
/*
 * units: checks the parts of the example that can be judged without a server.
 *
 * The histogram against exact ranks, the Zipf law against its formula, the scramble as a
 * bijection, the generator and checksum, both body formats, the JSON check, and the index
 * with readers that race a writer.  Prints TAP; exit status 0 if all hold.
 */
#include "histogram.h"
#include "index.h"
#include "json.h"
#include "render.h"
#include "zipf.h"

#include <gcrt/gcrt.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- histogram ---- */

static int
less_u64(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

static int
quantiles_are_within_one_percent(void)
{
    static const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    enum {
        N = 20000
    };
    struct histogram *h = calloc(1, sizeof(*h));
    uint64_t *values = malloc(N * sizeof(*values));
    uint64_t random = 7;
    size_t i;
    int ok = h != NULL && values != NULL;

    for (i = 0; ok && i < N; i++) {
        values[i] = rng_next(&random) >> rng_below(&random, 64);
        histogram_add(h, values[i]);
    }
    if (ok)
        qsort(values, N, sizeof(*values), less_u64);
    for (i = 0; ok && i < sizeof(shares) / sizeof(shares[0]); i++) {
        uint64_t exact = values[(size_t)(shares[i] * N + 0.5) - 1];
        uint64_t got = histogram_quantile(h, shares[i]);

        ok = got >= exact && (double)(got - exact) <= 0.01 * (double)exact;
    }
    ok = ok && histogram_quantile(h, 1) == values[N - 1] && h->total == N;
    free(values);
    free(h);
    return ok;
}

/* ---- zipf ---- */

/* Chi-square per degree of freedom is 1 for the right law; 1.5 is 8 deviations away. */
static int
ranks_follow_the_zipf_law(void)
{
    enum {
        N = 500,
        DRAWS = 1000000
    };
    static uint64_t seen[N + 1];
    uint64_t random = 11;
    double weight = 0, chi = 0;
    struct zipf z;
    int i;

    zipf_init(&z, 1.1, N);
    for (i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_draw(&z, &random);

        if (rank < 1 || rank > N)
            return 0;
        seen[rank]++;
    }
    for (i = 1; i <= N; i++)
        weight += pow(i, -1.1);
    for (i = 1; i <= N; i++) {
        double expect = DRAWS * pow(i, -1.1) / weight;

        chi += ((double)seen[i] - expect) * ((double)seen[i] - expect) / expect;
    }
    printf("# chi-square per degree of freedom %.3f\n", chi / (N - 1));
    return chi / (N - 1) < 1.5;
}

static int
the_scramble_is_a_bijection(void)
{
    static const uint64_t sizes[] = {1, 2, 3, 10, 4096, 30030, 65537};
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *hit = calloc(1, sizes[i]);
        struct scramble sc;
        uint64_t rank, distinct = 0;

        if (hit == NULL)
            return 0;
        scramble_init(&sc, sizes[i], i);
        for (rank = 0; rank < sizes[i]; rank++) {
            uint64_t key = scramble_key(&sc, rank);

            if (key < sizes[i] && !hit[key]) {
                hit[key] = 1;
                distinct++;
            }
        }
        free(hit);
        if (distinct != sizes[i])
            return 0;
    }
    return 1;
}

/* ---- records and bodies ---- */

#define PAYLOAD 100

static int
the_generator_is_a_function_of_its_arguments(void)
{
    char p1[PAYLOAD], p2[PAYLOAD];
    struct gen_text t1, t2;
    struct view a, b;
    uint64_t i;

    for (i = 0; i < 1000; i++) {
        gen_view(&a, &t1, p1, 3, i, i % 5, PAYLOAD);
        gen_view(&b, &t2, p2, 3, i, i % 5, PAYLOAD);
        if (a.sum != b.sum || memcmp(p1, p2, PAYLOAD) != 0 || a.name_len >= GEN_NAME_MAX
                || a.city_len >= GEN_CITY_MAX)
            return 0;
        gen_view(&b, &t2, p2, i % 3 == 0 ? 4 : 3, i % 3 == 1 ? i + 1 : i,
                i % 3 == 2 ? i % 5 + 1 : i % 5, PAYLOAD);
        if (a.sum == b.sum)
            return 0;
    }
    return 1;
}

static int
the_checksum_sees_every_byte(void)
{
    char payload[PAYLOAD];
    struct gen_text text;
    struct view v;
    size_t i;

    gen_view(&v, &text, payload, 1, 2, 3, PAYLOAD);
    for (i = 0; i < PAYLOAD; i++) {
        payload[i] ^= 1;
        if (view_sum(&v) == v.sum)
            return 0;
        payload[i] ^= 1;
    }
    text.name[v.name_len - 1] ^= 1;
    if (view_sum(&v) == v.sum)
        return 0;
    text.name[v.name_len - 1] ^= 1;
    v.quantity ^= 1u << 31;
    return view_sum(&v) != v.sum;
}

static int
bodies_are_within_bounds_and_carry_the_version(void)
{
    char payload[PAYLOAD];
    char body[4096];
    struct gen_text text;
    struct view v;
    uint64_t i, version;

    for (i = 0; i < 1000; i++) {
        enum format f = i % 2 ? FORMAT_JSON : FORMAT_BIN;
        uint64_t want = i * i * i;
        size_t n;

        gen_view(&v, &text, payload, i, UINT64_MAX - i, want, PAYLOAD);
        n = render_body(f, &v, body);
        if (n > render_bound(f, &v) || !render_version(f, body, n, &version)
                || version != want || (f == FORMAT_JSON && !json_valid(body, n)))
            return 0;
    }
    return !render_version(FORMAT_JSON, "{}", 2, &version)
            && !render_version(FORMAT_BIN, "GCLOOK01", 8, &version);
}

static int
the_json_check_knows_right_from_wrong(void)
{
    static const char *const good[] = {"0", "-1.5e+3", "[]", "{}", " [1, 2,{\"a\":null}] ",
            "\"\\u00e9\\n\"", "{\"a\":[true,false],\"b\":\"\"}"};
    static const char *const bad[] = {"", "01", "1.", "[1,]", "{\"a\"}", "{\"a\":1,}",
            "nul", "\"\\x\"", "\"a", "[1 2]", "{a:1}", "1 2", "[", "{\"a\":inf}",
            "\"\\u12g4\""};
    size_t i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!json_valid(good[i], strlen(good[i])))
            return 0;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (json_valid(bad[i], strlen(bad[i])))
            return 0;
    return 1;
}

/* ---- index ---- */

#define KEYS 3000

struct race {
    struct index *ix;
    int stop;    /* atomic */
    int damaged; /* atomic: a reader saw a missing, wrong or older record */
};

/* Versions of a key must never go back for one reader. */
static void *
race_reader(void *arg)
{
    struct race *race = arg;
    uint64_t *last = calloc(KEYS, sizeof(*last));
    uint64_t random = 5;
    int bad = last == NULL;

    while (!bad && !__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE)) {
        uint64_t key = rng_below(&random, KEYS);
        struct record *r = index_get(race->ix, key);

        bad = r == NULL || r->key != key || !record_intact(r) || r->version < last[key];
        if (!bad)
            last[key] = r->version;
    }
    free(last);
    if (bad)
        __atomic_store_n(&race->damaged, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Replaces records and adds new keys, so that tables grow under the readers. */
static void
race_write(struct race *race, double seconds)
{
    struct timespec start, now;
    uint64_t i = 0;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        uint64_t key = i % KEYS;

        index_put(race->ix, record_make(1, key, i / KEYS + 1, 64 + (uint32_t)(i % 200)));
        if (i % 8 == 0)
            index_put(race->ix, record_make(1, KEYS + i, 0, 16));
        i++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec)
                    + (double)(now.tv_nsec - start.tv_nsec) * 1e-9
            < seconds);
}

static int
readers_see_whole_records_while_a_writer_replaces_them(void)
{
    struct race race = {index_create(16), 0, 0};
    pthread_t readers[2];
    uint64_t key;
    int started = 0;

    if (race.ix == NULL)
        return 0;
    for (key = 0; key < KEYS; key++)
        index_put(race.ix, record_make(1, key, 0, 64));
    while (started < 2
            && gc_pthread_create(&readers[started], NULL, race_reader, &race) == GC_OK)
        started++;
    race_write(&race, 1);
    __atomic_store_n(&race.stop, 1, __ATOMIC_RELEASE);
    for (key = 0; key < (uint64_t)started; key++) {
        GC_BLOCKING {
            pthread_join(readers[key], NULL);
        }
    }
    for (key = 0; key < KEYS; key++)
        if (!record_intact(index_get(race.ix, key)))
            race.damaged = 1;
    if (index_get(race.ix, UINT64_MAX) != NULL || index_count(race.ix) < KEYS)
        race.damaged = 1;
    index_destroy(race.ix);
    return started == 2 && !race.damaged;
}

/* ---- the list ---- */

static const struct {
    const char *name;
    int (*run)(void);
} checks[] = {
        {"quantiles_are_within_one_percent", quantiles_are_within_one_percent},
        {"ranks_follow_the_zipf_law", ranks_follow_the_zipf_law},
        {"the_scramble_is_a_bijection", the_scramble_is_a_bijection},
        {"the_generator_is_a_function_of_its_arguments",
                the_generator_is_a_function_of_its_arguments},
        {"the_checksum_sees_every_byte", the_checksum_sees_every_byte},
        {"bodies_are_within_bounds_and_carry_the_version",
                bodies_are_within_bounds_and_carry_the_version},
        {"the_json_check_knows_right_from_wrong", the_json_check_knows_right_from_wrong},
        {"readers_see_whole_records_while_a_writer_replaces_them",
                readers_see_whole_records_while_a_writer_replaces_them},
};

int
main(void)
{
    size_t n = sizeof(checks) / sizeof(checks[0]);
    size_t i;
    int failed = 0;

    if (gc_init(NULL) != GC_OK) {
        fprintf(stderr, "lookup-units: %s\n", gc_last_error());
        return 1;
    }
    printf("1..%zu\n", n);
    for (i = 0; i < n; i++) {
        int ok = checks[i].run();

        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, checks[i].name);
        failed |= !ok;
    }
    gc_shutdown();
    return failed;
}
