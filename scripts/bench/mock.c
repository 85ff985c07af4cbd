/* A fast upstream that speaks Chat Completions: one thread, epoll, keep-alive.
 *
 * The query of the target chooses the answer. `?events=200&interval_us=20000` is an event stream of
 * that many events at that pace, one send() each; an interval of 0 sends them all at once. Without
 * `events` it is a JSON object of about 1 KB. Every answer is complete by its own framing and by the
 * dialect, so that a turn is worth keeping.
 *
 * Prints "listening on http://127.0.0.1:PORT" and ends when it is told to (SIGTERM).
 */
#define _GNU_SOURCE
#include "answers.h"
#include "due.h"
#include "framing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST_BYTES 65536

static int epoll;
static struct connection *dead; /* freed after the batch of events that may still name them */
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
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &on_accept))
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
