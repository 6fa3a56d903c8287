/* SPDX-License-Identifier: MIT */
/*
 * A hash map that several threads change: one table of chains, a lock for each of 256 parts.
 *
 * A thread's operations: half of them look up any key, a quarter inserts or replaces, an
 * eighth deletes, the rest replaces the value of a key that is there.  Threads change keys
 * of their own only, so what is in the map at the end does not depend on how they take turns,
 * and all peers have the same checksum.  An entry and its value are made before the lock is
 * taken; what leaves the map dies after it is released.
 *
 * The table does not grow: it has as many chains as there are keys.
 */
#include PEER_HEADER

#define PARTS 256

struct value {
    uint64_t stamp, spare[3];
};

struct entry {
    struct entry *next;
    struct value *value;
    uint64_t key;
};

PEER_TYPE(entry_type, struct entry, 3, next, value);
PEER_TYPE_NOSCAN(value_type, struct value);

struct part {
    pthread_mutex_t lock;
} __attribute__((aligned(64)));

struct map {
    struct entry **chains; /* an object */
    uint64_t mask;
    struct part parts[PARTS];
};

struct job {
    struct map *map;
    uint64_t index, nthreads, keys, ops;
    uint64_t found, sum; /* sum: of what was looked up, so that it is really read */
};

static uint64_t
mix(uint64_t key)
{
    key = (key ^ key >> 31) * 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

static pthread_mutex_t *
lock_chain(struct map *map, uint64_t key, struct entry ***chain)
{
    uint64_t i = mix(key) & map->mask;
    pthread_mutex_t *lock = &map->parts[i % PARTS].lock;

    pthread_mutex_lock(lock);
    *chain = &map->chains[i];
    return lock;
}

/* The slot with the key's entry, or with the NULL at the chain's end. */
static struct entry **
find(struct entry **slot, uint64_t key)
{
    while (*slot != NULL && (*slot)->key != key)
        slot = &(*slot)->next;
    return slot;
}

static void
look_up(struct job *job, uint64_t key)
{
    struct entry **slot;
    pthread_mutex_t *lock = lock_chain(job->map, key, &slot);
    struct entry *entry = *find(slot, key);

    if (entry != NULL) {
        job->found++;
        job->sum += entry->value->stamp;
    }
    pthread_mutex_unlock(lock);
}

static struct value *
new_value(uint64_t stamp)
{
    struct value *value = peer_alloc_noscan(sizeof(*value), &value_type);

    value->stamp = stamp;
    return value;
}

/* Replaces the value of the key; if there is none, and only then, makes an entry. */
static void
insert(struct job *job, uint64_t key, uint64_t stamp)
{
    struct value *value = new_value(stamp), *old = NULL;
    struct entry *fresh = peer_alloc(sizeof(*fresh), &entry_type), *entry, **slot;
    pthread_mutex_t *lock;

    fresh->next = NULL;
    fresh->value = value;
    fresh->key = key;
    lock = lock_chain(job->map, key, &slot);
    slot = find(slot, key);
    entry = *slot;
    if (entry == NULL) {
        peer_write(slot, fresh);
        fresh = NULL;
    } else {
        old = entry->value;
        peer_write(&entry->value, value);
    }
    pthread_mutex_unlock(lock);
    peer_free(old);
    peer_free(fresh);
}

static void
replace(struct job *job, uint64_t key, uint64_t stamp)
{
    struct value *value = new_value(stamp), *old = value;
    struct entry *entry, **slot;
    pthread_mutex_t *lock = lock_chain(job->map, key, &slot);

    entry = *find(slot, key);
    if (entry != NULL) {
        old = entry->value;
        peer_write(&entry->value, value);
    }
    pthread_mutex_unlock(lock);
    peer_free(old);
}

static void
erase(struct job *job, uint64_t key)
{
    struct entry *entry, **slot;
    pthread_mutex_t *lock = lock_chain(job->map, key, &slot);

    slot = find(slot, key);
    entry = *slot;
    if (entry != NULL)
        peer_write(slot, entry->next);
    pthread_mutex_unlock(lock);
    if (entry != NULL && PEER_FREES) {
        peer_free(entry->value);
        peer_free(entry);
    }
}

static void *
thread_main(void *arg)
{
    struct job *job = arg;
    uint64_t seed = job->index + 1;

    for (uint64_t i = 0; i < job->ops; i++) {
        uint64_t dice = bench_random_below(&seed, 8);
        uint64_t own = bench_random_below(&seed, job->keys / job->nthreads);
        uint64_t key = own * job->nthreads + job->index;

        if (dice < 4)
            look_up(job, (key + i) % job->keys);
        else if (dice < 6)
            insert(job, key, i);
        else if (dice < 7)
            erase(job, key);
        else
            replace(job, key, i);
    }
    return NULL;
}

static void
run_threads(struct job *jobs, uint64_t nthreads)
{
    pthread_t threads[BENCH_THREADS_MAX];

    for (uint64_t i = 1; i < nthreads; i++)
        peer_thread_create(&threads[i], thread_main, &jobs[i]);
    thread_main(&jobs[0]);
    for (uint64_t i = 1; i < nthreads; i++)
        peer_thread_join(threads[i]);
}

/* Also empties the map, where that needs doing. */
static uint64_t
checksum(struct map *map, uint64_t *entries)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i <= map->mask; i++) {
        struct entry *next;

        for (struct entry *entry = map->chains[i]; entry != NULL; entry = next) {
            next = entry->next;
            sum += mix(entry->key + entry->value->stamp);
            ++*entries;
            peer_free(entry->value);
            peer_free(entry);
        }
    }
    return sum;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"threads", 2, "threads"},
            {"keys", 1 << 20, "different keys"},
            {"ops", 5000000, "operations of each thread"},
    };
    static struct job jobs[BENCH_THREADS_MAX];
    uint64_t nthreads, sum, entries = 0;
    struct bench_heap_stats heap;
    struct map map = {.mask = 1};

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    nthreads = args[0].value;
    if (nthreads < 1 || nthreads > BENCH_THREADS_MAX || args[1].value < nthreads)
        bench_die("threads must be 1 to 64, and not more than keys");
    while (map.mask < args[1].value)
        map.mask *= 2;
    peer_init();
    peer_type_init(entry_type);
    map.chains = peer_alloc_pointers(map.mask);
    map.mask--;
    for (int i = 0; i < PARTS; i++)
        pthread_mutex_init(&map.parts[i].lock, NULL);
    for (uint64_t i = 0; i < nthreads; i++)
        jobs[i] = (struct job){&map, i, nthreads, args[1].value, args[2].value, 0, 0};
    run_threads(jobs, nthreads);
    peer_heap_stats(&heap);
    sum = checksum(&map, &entries);
    bench_json_begin("hashmap", PEER_NAME, peer_version());
    bench_json_u64("threads", nthreads);
    bench_json_u64("entries", entries);
    bench_json_u64("checksum", sum);
    bench_json_heap(&heap);
    bench_json_end();
    peer_finish();
    return 0;
}
