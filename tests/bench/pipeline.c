/* SPDX-License-Identifier: MIT */
/*
 * Message passing: a producer, stages, a consumer, and bounded queues of pointers between.
 *
 * A message is a list of 16 items, an item has a payload of 16 to 143 bytes without pointers.
 * The producer makes messages; each stage makes a new message out of one that it takes, with
 * every payload copied and changed, and the old one dies; the consumer adds up what arrives.
 * So all objects die on another thread than the one that made them, which is what malloc
 * peers like least, and nothing lives long.
 *
 * A queue is a ring with a lock and two conditions; it has 64 slots, so that threads seldom
 * sleep, and who wakes finds the lock free.  NULL is the end.  pipeline.go has channels of the
 * same capacity.
 */
#include PEER_HEADER

#define ITEMS      16
#define QUEUE_SIZE 64
#define STAGES_MAX 16

struct item {
    struct item *next;
    unsigned char *payload;
    uint64_t len;
};

struct message {
    struct item *items;
    uint64_t id;
};

PEER_TYPE(item_type, struct item, 3, next, payload);
PEER_TYPE(message_type, struct message, 1, items);

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled, emptied;
    struct message **slots; /* an object */
    uint64_t head, tail;
};

/* A thread: takes from `from`, hands on to `to`; the ends have one of them. */
struct stage {
    struct queue *from, *to;
    uint64_t messages; /* the producer's */
    uint64_t sum;      /* the consumer's */
};

static void
queue_init(struct queue *queue)
{
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->filled, NULL);
    pthread_cond_init(&queue->emptied, NULL);
    queue->slots = (struct message **)peer_alloc_pointers(QUEUE_SIZE);
    queue->head = queue->tail = 0;
}

static void
queue_put(struct queue *queue, struct message *message)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->tail - queue->head == QUEUE_SIZE)
        PEER_WAITS
        {
            pthread_cond_wait(&queue->emptied, &queue->lock);
        }
    peer_write(&queue->slots[queue->tail++ % QUEUE_SIZE], message);
    pthread_mutex_unlock(&queue->lock);
    pthread_cond_signal(&queue->filled);
}

static struct message *
queue_take(struct queue *queue)
{
    struct message *message, **slot;

    pthread_mutex_lock(&queue->lock);
    while (queue->tail == queue->head)
        PEER_WAITS
        {
            pthread_cond_wait(&queue->filled, &queue->lock);
        }
    slot = &queue->slots[queue->head++ % QUEUE_SIZE];
    message = *slot;
    peer_write(slot, NULL);
    pthread_mutex_unlock(&queue->lock);
    pthread_cond_signal(&queue->emptied);
    return message;
}

static struct item *
new_item(struct item *next, uint64_t len)
{
    unsigned char *payload = peer_alloc_bytes(len);
    struct item *item = peer_alloc(sizeof(*item), &item_type);

    item->next = next;
    item->payload = payload;
    item->len = len;
    return item;
}

static struct message *
new_message(uint64_t id, struct item *items)
{
    struct message *message = peer_alloc(sizeof(*message), &message_type);

    message->items = items;
    message->id = id;
    return message;
}

static struct message *
produce(uint64_t id, uint64_t *seed)
{
    struct item *items = NULL;

    for (int i = 0; i < ITEMS; i++) {
        items = new_item(items, 16 + bench_random_below(seed, 128));
        for (uint64_t k = 0; k < items->len; k++)
            items->payload[k] = (unsigned char)(id + k);
    }
    return new_message(id, items);
}

/* The new items are in the opposite order. */
static struct message *
transform(const struct message *message)
{
    struct item *items = NULL;

    for (const struct item *old = message->items; old != NULL; old = old->next) {
        items = new_item(items, old->len);
        for (uint64_t k = 0; k < old->len; k++)
            items->payload[k] = old->payload[k] ^ 0x5a;
    }
    return new_message(message->id, items);
}

static uint64_t
consume(const struct message *message)
{
    uint64_t sum = message->id;

    for (const struct item *item = message->items; item != NULL; item = item->next)
        sum = sum * 31 + item->len + item->payload[0] + item->payload[item->len - 1];
    return sum;
}

static void
drop(struct message *message)
{
    struct item *next;

    for (struct item *item = message->items; item != NULL; item = next) {
        next = item->next;
        peer_free(item->payload);
        peer_free(item);
    }
    peer_free(message);
}

static void *
producer_main(void *arg)
{
    struct stage *stage = arg;
    uint64_t seed = 1;

    for (uint64_t i = 0; i < stage->messages; i++)
        queue_put(stage->to, produce(i, &seed));
    queue_put(stage->to, NULL);
    return NULL;
}

static void *
stage_main(void *arg)
{
    struct stage *stage = arg;
    struct message *message;

    while ((message = queue_take(stage->from)) != NULL) {
        queue_put(stage->to, transform(message));
        if (PEER_FREES)
            drop(message);
    }
    queue_put(stage->to, NULL);
    return NULL;
}

static void
consumer(struct stage *stage)
{
    struct message *message;

    while ((message = queue_take(stage->from)) != NULL) {
        stage->sum = stage->sum * 31 + consume(message);
        if (PEER_FREES)
            drop(message);
    }
}

static uint64_t
run(uint64_t messages, uint64_t nstages)
{
    struct queue queues[STAGES_MAX + 1];
    struct stage stages[STAGES_MAX + 2];
    pthread_t threads[STAGES_MAX + 1];

    for (uint64_t i = 0; i <= nstages; i++) {
        queue_init(&queues[i]);
        stages[i] = (struct stage){i > 0 ? &queues[i - 1] : NULL, &queues[i], messages, 0};
        peer_thread_create(&threads[i], i > 0 ? stage_main : producer_main, &stages[i]);
    }
    stages[nstages + 1] = (struct stage){&queues[nstages], NULL, 0, 0};
    consumer(&stages[nstages + 1]);
    for (uint64_t i = 0; i <= nstages; i++)
        peer_thread_join(threads[i]);
    return stages[nstages + 1].sum;
}

int
main(int argc, char **argv)
{
    struct bench_arg args[] = {
            {"messages", 300000, "messages, of 16 items each"},
            {"stages", 2, "stages between producer and consumer"},
    };
    struct bench_heap_stats heap;
    uint64_t sum;

    bench_args(argc, argv, args, sizeof(args) / sizeof(args[0]));
    if (args[1].value > STAGES_MAX)
        bench_die("stages must be 0 to 16");
    peer_init();
    peer_type_init(item_type);
    peer_type_init(message_type);
    sum = run(args[0].value, args[1].value);
    bench_json_begin("pipeline", PEER_NAME, peer_version());
    bench_json_u64("messages", args[0].value);
    bench_json_u64("checksum", sum);
    peer_heap_stats(&heap);
    bench_json_heap(&heap);
    bench_json_end();
    peer_finish();
    return 0;
}
