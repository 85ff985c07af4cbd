/* A fast upstream that speaks Chat Completions: one thread, epoll, keep-alive.
 *
 * The query of the target chooses the answer. `?events=200&interval_us=20000` is an event stream of
 * that many events at that pace, one send() each; an interval of 0 sends them all at once. Without
 * `events` it is a JSON object of about 1 KB. Every answer is complete by its own framing and by the
 * dialect, so that a turn is worth keeping.
 *
 * Prints "listening on http://127.0.0.1:PORT" and ends when standard input does.
 */
#define _GNU_SOURCE
#include "framing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENT_BYTES 190
#define HEAD_BYTES 16384
#define BURST_BYTES 65536

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

static int epoll;
static struct connection **heap;
static size_t heap_length, heap_room;
static struct connection *dead; /* freed after the batch of events that may still name them */
static char json_answer[4096], event_frame[EVENT_BYTES + 16], stop_frame[512];
static size_t json_length, event_length, stop_length;
static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char done_frame[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
                                "Content-Length: 2\r\n\r\n{}";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* ---- the heap of connections whose next event is due ---- */

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

/* ---- output ---- */

static void drop(struct connection *c) {
    if (c->fd < 0)
        return;
    unschedule(c);
    close(c->fd);
    c->fd = -1;
    c->next_dead = dead;
    dead = c;
}

static void want_writable(struct connection *c, bool wanted) {
    if (c->writable_wanted == wanted)
        return;
    c->writable_wanted = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static bool emit(struct connection *c, const char *data, size_t length) {
    ssize_t sent = 0;
    if (c->out_length == c->out_sent) {
        c->out_length = c->out_sent = 0;
        sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            drop(c);
            return false;
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent < length) {
        size_t left = length - (size_t)sent;
        c->out = realloc(c->out, c->out_length + left);
        if (!c->out)
            fail("realloc");
        memcpy(c->out + c->out_length, data + sent, left);
        c->out_length += left;
        want_writable(c, true);
    }
    return true;
}

static bool pending(const struct connection *c) { return c->out_length > c->out_sent; }

static void read_request(struct connection *c);

static void finish(struct connection *c) {
    if (!emit(c, stop_frame, stop_length) || !emit(c, done_frame, sizeof done_frame - 1))
        return;
    unschedule(c);
    c->state = HEAD;
}

/* All events that fit, many to a send; goes on when the client has read. */
static void burst(struct connection *c) {
    static char buffer[BURST_BYTES];
    while (c->events && !pending(c)) {
        size_t length = 0;
        for (; c->events && length + event_length <= sizeof buffer; c->events--) {
            memcpy(buffer + length, event_frame, event_length);
            length += event_length;
        }
        if (!emit(c, buffer, length))
            return;
    }
    if (!c->events)
        finish(c);
}

/* One event, unless the client has not read the last one: its pace is slower then. */
static void tick(struct connection *c) {
    if (!c->events) {
        finish(c);
        if (c->fd >= 0)
            read_request(c);
        return;
    }
    if (!pending(c)) {
        if (!emit(c, event_frame, event_length))
            return;
        c->events--;
    }
    schedule(c, c->due + c->interval_ns);
}

/* ---- input ---- */

static uint64_t number(const char *query, size_t length, const char *name, uint64_t otherwise) {
    size_t size = strlen(name);
    for (const char *at = query, *end = query + length; at && at + size < end;) {
        if (!strncmp(at, name, size) && at[size] == '=')
            return strtoull(at + size + 1, NULL, 10);
        at = memchr(at, '&', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    return otherwise;
}

static uint64_t below(uint64_t limit) {
    static uint64_t state = 88172645463325252u; /* xorshift: the same phases in every run */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit ? state % limit : 0;
}

/* The answer that the query asks for; streams begin at once, then each at its own phase. */
static void answer(struct connection *c, const char *head, size_t size) {
    const char *line_end = memchr(head, '\r', size);
    const char *target = memchr(head, ' ', size), *stop = memrchr(head, ' ', (size_t)(line_end - head));
    static const char path[] = "/chat/completions";
    if (!target || stop <= target || strncmp(head, "POST ", 5)) {
        emit(c, not_found, sizeof not_found - 1);
        return;
    }
    target++;
    const char *query = memchr(target, '?', (size_t)(stop - target));
    size_t path_length = (size_t)((query ? query : stop) - target), wanted = sizeof path - 1;
    if (path_length < wanted || strncmp(target + path_length - wanted, path, wanted)) {
        emit(c, not_found, sizeof not_found - 1);
        return;
    }
    size_t query_length = query ? (size_t)(stop - ++query) : 0;
    c->events = query ? number(query, query_length, "events", 0) : 0;
    if (!c->events) {
        emit(c, json_answer, json_length);
        return;
    }
    c->interval_ns = number(query, query_length, "interval_us", 0) * 1000;
    c->state = ANSWER;
    if (!emit(c, stream_head, sizeof stream_head - 1))
        return;
    if (!c->interval_ns) {
        burst(c);
    } else if (emit(c, event_frame, event_length)) {
        c->events--;
        schedule(c, now_ns() + 1 + below(c->interval_ns));
    }
}

static void ignore(void *context, const char *data, size_t length) {
    (void)context, (void)data, (void)length;
}

/* What has arrived, as far as it goes. The head is kept until the body has been read. */
static void read_request(struct connection *c) {
    while (c->fd >= 0 && c->state != ANSWER) {
        size_t size = head_length(c->head, c->have);
        if (!size) {
            if (c->have == sizeof c->head)
                drop(c);
            return;
        }
        if (c->state == HEAD) {
            if (!body_begin(&c->body, c->head, size))
                c->body.state = DONE;
            c->state = BODY;
        }
        ssize_t taken = body_feed(&c->body, c->head + size, c->have - size, ignore, NULL);
        if (taken < 0) {
            drop(c);
            return;
        }
        c->have -= (size_t)taken;
        memmove(c->head + size, c->head + size + taken, c->have - size);
        if (c->body.state != DONE)
            return;
        c->state = HEAD;
        char head[HEAD_BYTES];
        memcpy(head, c->head, size);
        c->have -= size;
        memmove(c->head, c->head + size, c->have);
        answer(c, head, size);
    }
}

static void readable(struct connection *c) {
    if (c->have == sizeof c->head) {
        drop(c); /* more than one request ahead: no client of ours does that */
        return;
    }
    ssize_t got = recv(c->fd, c->head + c->have, sizeof c->head - c->have, 0);
    if (got > 0) {
        c->have += (size_t)got;
        read_request(c);
    } else if (!got || errno != EAGAIN) {
        drop(c);
    }
}

static void writable(struct connection *c) {
    ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            drop(c);
        return;
    }
    c->out_sent += (size_t)sent;
    if (pending(c))
        return;
    c->out_length = c->out_sent = 0;
    want_writable(c, false);
    if (c->state == ANSWER && !c->interval_ns) {
        burst(c);
        if (c->fd >= 0)
            read_request(c);
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED)
                fail("accept");
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            fail("calloc");
        c->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
            fail("epoll_ctl");
    }
}

static void write_answers(void) {
    static const char word[] = "The answer of a mock is as long as that of a small model. ";
    char content[1024] = "", body[2048], json[512];
    while (strlen(content) < 740)
        strcat(content, word);
    int size = snprintf(body, sizeof body,
                        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
                        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                        "\"content\":\"%s\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,"
                        "\"completion_tokens\":180,\"total_tokens\":380}}",
                        content);
    json_length = (size_t)snprintf(json_answer, sizeof json_answer,
                                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                                   size, body);
    const char *piece = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":"
                        "1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{%s},"
                        "\"finish_reason\":%s}]}\n\n";
    char delta[128] = "\"content\":\"";
    size_t bare = (size_t)snprintf(json, sizeof json, piece, "\"content\":\"\"", "null");
    for (size_t more = bare; more < EVENT_BYTES; more++)
        strcat(delta, more % 6 ? "w" : " ");
    strcat(delta, "\"");
    size = snprintf(json, sizeof json, piece, delta, "null");
    event_length = (size_t)snprintf(event_frame, sizeof event_frame, "%x\r\n%s\r\n", (unsigned)size, json);
    size = snprintf(json, sizeof json, piece, "", "\"stop\"");
    stop_length = (size_t)snprintf(stop_frame, sizeof stop_frame, "%x\r\n%s\r\n", (unsigned)size, json);
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    write_answers();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event on_accept = {.events = EPOLLIN, .data.ptr = &listener};
    struct epoll_event on_stop = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &on_accept) || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &on_stop))
        fail("epoll_ctl");
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        struct timespec wait = {0}, *limit = NULL;
        if (heap_length) {
            uint64_t now = now_ns(), due = heap[0]->due;
            uint64_t left = due > now ? due - now : 0;
            wait.tv_sec = (time_t)(left / 1000000000u);
            wait.tv_nsec = (long)(left % 1000000000u);
            limit = &wait;
        }
        int ready = epoll_pwait2(epoll, events, 256, limit, NULL);
        if (ready < 0 && errno != EINTR)
            fail("epoll_pwait2");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!events[i].data.ptr)
                return 0;
            if (events[i].data.ptr == &listener) {
                accept_all(listener);
                continue;
            }
            if (c->fd >= 0 && events[i].events & EPOLLOUT)
                writable(c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                readable(c);
        }
        for (uint64_t now = now_ns(); heap_length && heap[0]->due <= now;)
            tick(heap[0]);
        while (dead) {
            struct connection *next = dead->next_dead;
            free(dead->out);
            free(dead);
            dead = next;
        }
    }
}
