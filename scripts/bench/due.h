/* The mock's connections, and the heap of those whose next event is due at some time. */
#ifndef BENCH_DUE_H
#define BENCH_DUE_H

#include "framing.h"

#include <stdio.h>

#define HEAD_BYTES 16384

enum state { HEAD, BODY, ANSWER };

struct connection {
    int fd;
    enum state state;
    struct body body;
    char head[HEAD_BYTES];
    size_t have;                 /* bytes in `head` */
    char *out;                   /* what the kernel did not take yet */
    size_t out_length, out_sent;
    uint64_t events, interval_ns, due;
    bool writable_wanted;
    size_t slot;                 /* in the heap, plus one; 0: in none */
    struct connection *next_dead;
};

static struct connection **heap;
static size_t heap_length, heap_room;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void place(size_t at, struct connection *c) {
    heap[at] = c;
    c->slot = at + 1;
}

static void sift(size_t at, struct connection *c) {
    while (at && heap[(at - 1) / 2]->due > c->due) {
        place(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (size_t child; (child = 2 * at + 1) < heap_length; at = child) {
        if (child + 1 < heap_length && heap[child + 1]->due < heap[child]->due)
            child++;
        if (heap[child]->due >= c->due)
            break;
        place(at, heap[child]);
    }
    place(at, c);
}

static void schedule(struct connection *c, uint64_t due) {
    c->due = due;
    if (c->slot) {
        sift(c->slot - 1, c);
        return;
    }
    if (heap_length == heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (!heap)
            fail("realloc");
    }
    heap_length++;
    sift(heap_length - 1, c);
}

static void unschedule(struct connection *c) {
    if (!c->slot)
        return;
    size_t at = c->slot - 1;
    c->slot = 0;
    struct connection *last = heap[--heap_length];
    if (last != c)
        sift(at, last);
}

#endif
