/* SPDX-License-Identifier: MIT */
/* pool: requests reuse their buffers, and a connection is closed when nobody wants it. */
#include <gcrt/gcrt.h>

#include <stdio.h>
#include <string.h>

struct conn {
    int fd; /* a resource outside of the heap */
};
GC_TYPE_NOSCAN(conn_type, struct conn);

static int opened, closed;

static void *
open_conn(void *arg)
{
    struct conn *c = gc_alloc(&conn_type);

    (void)arg;
    c->fd = ++opened;
    return c;
}

static void
close_conn(void *item, void *arg)
{
    (void)item, (void)arg;
    closed++;
}

int
main(void)
{
    const gc_pool_options opt = { .name = "connections", .type = &conn_type,
        .make = open_conn, .drop = close_conn, .max_items = 8 };
    gc_pool *conns;
    gc_buffer_pool *buffers;
    gc_pool_stats s;

    if (gc_init(NULL) != GC_OK || (conns = gc_pool_create(NULL, &opt)) == NULL
            || (buffers = gc_buffer_pool_create(NULL, NULL)) == NULL) {
        fprintf(stderr, "pool: %s\n", gc_last_error());
        return 1;
    }
    for (int request = 0; request < 100000; request++) {
        struct conn *c = gc_pool_get(conns);
        char *text = gc_pool_get_buffer(buffers, 1000);

        snprintf(text, 1000, "request %d by connection %d", request, c->fd);
        gc_pool_put_buffer(buffers, text);
        gc_pool_put(conns, c);
    }
    gc_buffer_pool_get_stats(buffers, &s);
    gc_buffer_pool_destroy(buffers);
    gc_pool_destroy(conns); /* closes what is left */
    printf("connections: %d opened, %d closed\n", opened, closed);
    gc_shutdown();
    return opened == closed && opened < 100 && s.misses < 100 ? 0 : 1;
}
