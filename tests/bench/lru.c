/* SPDX-License-Identifier: MIT */
/*
 * An LRU cache with string keys: a chained hash table and a doubly linked list.
 *
 * Each operation makes the text of a key, hashes and looks it up.  A hit moves the entry to
 * the front of the list, one in eight of them also gets a new value; a miss makes an entry
 * with a copy of the key and a value, and the cache's last entry dies.  Small keys are much
 * more frequent than large ones.
 *
 * Most of the heap is old and changes all the time, which is bad for every collector; a hit
 * stores six pointers into old objects.  The checksum adds up what the hits found.
 */
#include PEER_HEADER

#include <string.h>

#define KEY_MAX 48

struct entry {
    struct entry *prev, *next, *chain;
    char *key;
    unsigned char *value;
    uint64_t hash;
    uint32_t key_len, value_len;
};

PEER_TYPE(entry_type, struct entry, 31, prev, next, chain, key, value);

struct cache {
    struct entry **buckets, *ends; /* ends: before the first and behind the last entry */
    uint64_t mask, count, capacity;
};

struct tally {
    uint64_t hits, misses, checksum;
};

/* Small numbers are much more frequent than large ones. */
static uint64_t
skewed(uint64_t *seed, uint64_t n)
{
    for (int i = 0; i < 3; i++)
        n = 1 + bench_random_below(seed, n);
    return n - 1;
}

/* "user/NUMBER/profile" */
static uint32_t
key_text(char *text, uint64_t n)
{
    char digits[24];
    uint32_t len = 5, ndigits = 0;

    memcpy(text, "user/", 5);
    do
        digits[ndigits++] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    while (ndigits > 0)
        text[len++] = digits[--ndigits];
    memcpy(text + len, "/profile", 8);
    return len + 8;
}

static uint64_t
hash_of(const char *text, uint32_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash;
}

static void
cache_init(struct cache *cache, uint64_t capacity)
{
    uint64_t n = 1;

    while (n < capacity)
        n *= 2;
    cache->buckets = peer_alloc_pointers(n);
    cache->mask = n - 1;
    cache->capacity = capacity;
    cache->count = 0;
    cache->ends = peer_alloc(sizeof(*cache->ends), &entry_type);
    memset(cache->ends, 0, sizeof(*cache->ends));
    peer_write(&cache->ends->next, cache->ends);
    peer_write(&cache->ends->prev, cache->ends);
}

static void
unlink_entry(struct entry *entry)
{
    peer_write(&entry->prev->next, entry->next);
    peer_write(&entry->next->prev, entry->prev);
}

static void
link_first(struct cache *cache, struct entry *entry)
{
    peer_write(&entry->next, cache->ends->next);
    peer_write(&entry->prev, cache->ends);
    peer_write(&cache->ends->next->prev, entry);
    peer_write(&cache->ends->next, entry);
}

/* The slot that points to the entry with that key, or to NULL at the chain's end. */
static struct entry **
find(const struct cache *cache, const char *key, uint32_t len, uint64_t hash)
{
    struct entry **slot = &cache->buckets[hash & cache->mask];

    while (*slot != NULL
            && ((*slot)->hash != hash || (*slot)->key_len != len
                    || memcmp((*slot)->key, key, len) != 0))
        slot = &(*slot)->chain;
    return slot;
}

static unsigned char *
new_value(uint64_t hash, uint64_t stamp, uint32_t *len)
{
    unsigned char *value;

    *len = (uint32_t)(64 + (hash >> 32) % 192);
    value = peer_alloc_bytes(*len);
    memset(value, (int)(stamp & 255), *len);
    return value;
}

/*
 * A dead entry's pointers are cleared: entries die in the order of the list, so whatever kept
 * one of them by mistake (a stale word on a stack) would keep all that die after it.
 */
static void
forget(struct entry *entry)
{
    peer_write(&entry->prev, NULL);
    peer_write(&entry->next, NULL);
    peer_write(&entry->chain, NULL);
}

static void
evict_last(struct cache *cache)
{
    struct entry *last = cache->ends->prev;
    struct entry **slot = find(cache, last->key, last->key_len, last->hash);

    peer_write(slot, last->chain);
    unlink_entry(last);
    forget(last);
    cache->count--;
    peer_free(last->key);
    peer_free(last->value);
    peer_free(last);
}

static void
insert(struct cache *cache, const char *key, uint32_t len, uint64_t hash, uint64_t stamp)
{
    struct entry **bucket = &cache->buckets[hash & cache->mask];
    struct entry *entry = peer_alloc(sizeof(*entry), &entry_type);
    char *copy = peer_alloc_bytes(len);

    memcpy(copy, key, len);
    entry->key = copy;
    entry->key_len = len;
    entry->hash = hash;
    entry->value = new_value(hash, stamp, &entry->value_len);
    entry->chain = *bucket;
    entry->next = entry->prev = NULL;
    peer_write(bucket, entry);
    link_first(cache, entry);
    if (++cache->count > cache->capacity)
        evict_last(cache);
}

static void
hit(struct cache *cache, struct entry *entry, struct tally *tally, uint64_t stamp)
{
    tally->checksum += entry->value[entry->value_len - 1] + tally->hits % 7;
    if (++tally->hits % 8 == 0) {
        unsigned char *old = entry->value;

        peer_write(&entry->value, new_value(entry->hash, stamp, &entry->value_len));
        peer_free(old);
    }
    if (cache->ends->next != entry) {
        unlink_entry(entry);
        link_first(cache, entry);
    }
}

static void
run(struct cache *cache, uint64_t keys, uint64_t ops, struct tally *tally)
{
    uint64_t seed = 1;
    char key[KEY_MAX];

    for (uint64_t i = 0; i < ops; i++) {
        uint64_t n = skewed(&seed, keys);
        uint32_t len = key_text(key, n * 0x9e3779b1u % 4294967291u);
        uint64_t hash = hash_of(key, len);
        struct entry *entry = *find(cache, key, len, hash);

        if (entry != NULL) {
            hit(cache, entry, tally, i);
        } else {
            insert(cache, key, len, hash, i);
            tally->misses++;
        }
    }
}

static void
drop(struct cache *cache)
{
    while (cache->count > 0)
        evict_last(cache);
    peer_free(cache->ends);
    peer_free(cache->buckets);
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"capacity", 200000, "entries of the cache"},
            {"keys", 1000000, "different keys"},
            {"ops", 6000000, "operations"},
    };
    struct bench_heap_stats heap;
    struct tally tally = {0};
    struct cache cache;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    if (args[0].value < 1 || args[1].value < 1)
        bench_die("capacity and keys must be at least 1");
    peer_init();
    peer_type_init(entry_type);
    cache_init(&cache, args[0].value);
    run(&cache, args[1].value, args[2].value, &tally);
    peer_heap_stats(&heap);
    if (PEER_FREES)
        drop(&cache);
    bench_json_begin("lru", PEER_NAME, peer_version());
    bench_json_u64("hits", tally.hits);
    bench_json_u64("misses", tally.misses);
    bench_json_u64("checksum", tally.checksum);
    bench_json_heap(&heap);
    bench_json_end();
    peer_finish();
    return 0;
}
