/* A load client for Chat Completions: one thread, epoll, keep-alive. Its options: options.h.
 *
 * Every connection asks one question after the other; after so many turns it begins another
 * conversation. What is not a complete answer is an error: another status than 200, malformed or
 * missing framing, a missing [DONE], another number of events than announced, and with --remembers a
 * receipt that does not say that every earlier turn was told again. Prints one JSON object; the exit
 * status is 1 if there was an error.
 *
 * With --hold every connection asks once and stays open, a stream in the middle of its answer. When all
 * of them are there it prints {"holding": N}, and goes on until standard input ends.
 */
#define _GNU_SOURCE
#include "framing.h"
#include "options.h"
#include "tally.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 16384
#define REQUEST_BYTES 8192
#define COOKIE_BYTES 1024
#define FIRST_ANSWERS 64 /* most connections that wait for their first answer: no backlog overflows */
#define LINE_BYTES 16

enum state { CONNECTING, WAITING, HEAD, BODY, IDLE, CLOSED };
struct connection {
    int fd, number;
    enum state state;
    bool answered, counted, fresh, has_body; /* fresh: nothing was ever answered on this socket */
    unsigned turn, conversation;
    char cookie[COOKIE_BYTES];
    size_t cookie_length;
    char request[REQUEST_BYTES];
    size_t request_length, request_sent;
    char head[HEAD_BYTES];
    size_t have;
    struct body body;
    bool closes, is_stream, ended;
    char last; /* byte of the body */
    char line[LINE_BYTES];
    size_t line_length;
    uint64_t events, asked, activity;
};

static int epoll;
static struct connection *connections;
static unsigned opened, first_answers, busy, held;
static uint64_t begun, deadline;

static void count_first(struct connection *c) {
    if (!c->answered) {
        c->answered = true;
        first_answers++;
    }
}

static void hang_up(struct connection *c) {
    if (c->state == CLOSED)
        return;
    close(c->fd);
    c->state = CLOSED;
}

static void error(struct connection *c, enum error kind) {
    errors[kind]++;
    busy--;
    count_first(c);
    hang_up(c); /* and stays away: an error ends the measurement anyway */
}

static void want(struct connection *c, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event))
        fail("epoll_ctl");
}

/* ---- asking ---- */

static void write_request(struct connection *c) {
    static const char filler[] = "Please say what you think of it, in a few sentences that anybody can follow. ";
    char body[2048], content[1024];
    size_t size = (size_t)snprintf(content, sizeof content, "Question %u of conversation %u-%u. ", c->turn,
                                   (unsigned)c->number, c->conversation);
    for (size_t at = 0; size < 920; size++, at++)
        content[size] = filler[at % (sizeof filler - 1)];
    int length = snprintf(body, sizeof body,
                          "{\"model\":\"bench\",\"messages\":[{\"role\":\"user\",\"content\":\"%.*s\"}],"
                          "\"temperature\":0.7,\"max_tokens\":256%s}",
                          (int)size, content, options.stream ? ",\"stream\":true" : "");
    int at = snprintf(c->request, REQUEST_BYTES,
                      "POST %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: */*\r\nContent-Type: application/json\r\n"
                      "Content-Length: %d\r\n",
                      options.path, options.host, options.port, length);
    for (unsigned i = 0; i < options.header_count; i++)
        at += snprintf(c->request + at, (size_t)(REQUEST_BYTES - at), "%s\r\n", options.headers[i]);
    if (options.naming == HEADER)
        at += snprintf(c->request + at, (size_t)(REQUEST_BYTES - at), "Backstory-Conversation: bench-%d-%d-%u\r\n",
                       (int)getpid(), c->number, c->conversation);
    if (options.naming == COOKIE && c->cookie_length)
        at += snprintf(c->request + at, (size_t)(REQUEST_BYTES - at), "Cookie: %.*s\r\n", (int)c->cookie_length,
                       c->cookie);
    at += snprintf(c->request + at, (size_t)(REQUEST_BYTES - at), "\r\n%s", body);
    if (at >= REQUEST_BYTES) {
        fprintf(stderr, "load: the request is too long\n");
        exit(2);
    }
    c->request_length = (size_t)at;
    c->request_sent = 0;
}

static void send_request(struct connection *c) {
    ssize_t sent = send(c->fd, c->request + c->request_sent, c->request_length - c->request_sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        error(c, c->fresh ? NO_CONNECTION : CUT);
        return;
    }
    bool was_whole = c->request_sent == 0;
    c->request_sent += sent > 0 ? (size_t)sent : 0;
    if (c->request_sent < c->request_length)
        want(c, EPOLLIN | EPOLLOUT);
    else if (!was_whole || c->fresh)
        want(c, EPOLLIN);
}

static bool may_begin(void) {
    if (options.requests)
        return begun < options.requests;
    return options.hold || now_ns() < deadline;
}

static void connect_again(struct connection *c);

static void ask(struct connection *c) {
    if (!may_begin()) {
        c->state = IDLE;
        return;
    }
    begun++;
    busy++;
    if (c->turn == options.turns) {
        c->turn = 0;
        c->conversation++;
        c->cookie_length = 0;
    }
    c->turn++;
    write_request(c);
    c->have = c->events = c->line_length = 0;
    c->ended = c->counted = false;
    c->last = 0;
    c->activity = c->asked = now_ns();
    if (c->state == CLOSED) {
        connect_again(c);
        return;
    }
    c->state = WAITING;
    send_request(c);
}

static void connect_again(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    inet_pton(AF_INET, options.host, &address.sin_addr);
    c->state = CONNECTING;
    c->fresh = true;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        fail("epoll_ctl");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        error(c, NO_CONNECTION);
}

/* ---- the answer ---- */

static void end_line(struct connection *c) {
    if (c->line_length >= 5 && !memcmp(c->line, "data:", 5)) {
        c->events++;
        events++;
        c->ended = c->line_length == 12 && !memcmp(c->line, "data: [DONE]", 12);
    }
    c->line_length = 0;
}

static void read_body(void *context, const char *data, size_t length) {
    struct connection *c = context;
    if (!c->has_body) {
        c->has_body = true;
        sample(&first_byte, now_ns() - c->asked);
        count_first(c);
    }
    c->last = data[length - 1];
    while (c->is_stream && length) {
        const char *stop = memchr(data, '\n', length);
        size_t piece = stop ? (size_t)(stop - data) : length;
        if (c->line_length < LINE_BYTES) {
            size_t kept = piece < LINE_BYTES - c->line_length ? piece : LINE_BYTES - c->line_length;
            memcpy(c->line + c->line_length, data, kept);
            c->line_length += kept;
        }
        if (stop) {
            end_line(c);
            piece++;
        }
        data += piece;
        length -= piece;
    }
    if (options.hold && options.stream && !c->counted && c->events >= options.hold_events) {
        c->counted = true;
        held++;
    }
}

/* Whether the receipt says that all earlier turns of the conversation were told again. */
static bool remembers(const struct connection *c, size_t size) {
    char wanted[32];
    size_t length = 0;
    int wanted_length = c->turn == 1 ? snprintf(wanted, sizeof wanted, "new;")
                                     : snprintf(wanted, sizeof wanted, "hit;turns=%u;", c->turn - 1);
    const char *receipt = field(c->head, size, "Backstory-Memory", &length);
    return receipt && length >= (size_t)wanted_length && !memcmp(receipt, wanted, (size_t)wanted_length);
}

static bool read_head(struct connection *c, size_t size) {
    size_t length = 0;
    unsigned status = c->have > 12 ? (unsigned)strtoul(c->head + 9, NULL, 10) : 0;
    if (strncmp(c->head, "HTTP/1.1 ", 9) || !body_begin(&c->body, c->head, size)) {
        error(c, MALFORMED);
        return false;
    }
    if (status != 200) {
        first_status = first_status ? first_status : status;
        error(c, STATUS);
        return false;
    }
    if (options.remembers && !remembers(c, size)) {
        error(c, FORGOTTEN);
        return false;
    }
    const char *type = field(c->head, size, "Content-Type", &length);
    c->is_stream = type && length >= 17 && !strncasecmp(type, "text/event-stream", 17);
    if (c->is_stream != options.stream) {
        error(c, MALFORMED);
        return false;
    }
    c->closes = field_is(c->head, size, "Connection", "close");
    c->has_body = false;
    const char *cookie = field(c->head, size, "Set-Cookie", &length);
    if (options.naming == COOKIE && cookie) {
        const char *stop = memchr(cookie, ';', length);
        length = stop ? (size_t)(stop - cookie) : length;
        if (length > COOKIE_BYTES) {
            error(c, MALFORMED);
            return false;
        }
        memcpy(c->cookie, cookie, length);
        c->cookie_length = length;
    }
    return true;
}

static void complete(struct connection *c) {
    if (options.stream && (!c->ended || c->line_length || c->events != options.expected_events)) {
        error(c, EVENTS);
        return;
    }
    if (!options.stream && c->last != '}') {
        error(c, MALFORMED);
        return;
    }
    sample(&latency, now_ns() - c->asked);
    completed++;
    busy--;
    c->fresh = false;
    c->state = IDLE;
    if (c->closes) {
        hang_up(c);
    }
    if (options.hold) {
        if (c->state == CLOSED || options.stream) {
            errors[CUT]++; /* it was to stay */
            hang_up(c);
        } else {
            held++;
        }
        return;
    }
    ask(c);
}

static void received(struct connection *c, const char *data, size_t length) {
    if (c->state == IDLE) {
        errors[MALFORMED]++; /* bytes behind a complete answer */
        hang_up(c);
        return;
    }
    c->activity = now_ns();
    if (c->state == WAITING)
        c->state = HEAD;
    if (c->state == HEAD) {
        size_t room = HEAD_BYTES - c->have, kept = length < room ? length : room;
        memcpy(c->head + c->have, data, kept);
        size_t before = c->have, size = head_length(c->head, before + kept);
        c->have += kept;
        if (!size) {
            if (c->have == HEAD_BYTES)
                error(c, MALFORMED);
            return;
        }
        data += size - before;
        length -= size - before;
        if (!read_head(c, size))
            return;
        c->state = BODY;
    }
    ssize_t taken = body_feed(&c->body, data, length, read_body, c);
    if (taken < 0 || (c->body.state == DONE && (size_t)taken < length))
        error(c, MALFORMED);
    else if (c->body.state == DONE)
        complete(c);
}

static void readable(struct connection *c) {
    static char buffer[65536];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got > 0) {
        received(c, buffer, (size_t)got);
    } else if (got < 0 && errno == EAGAIN) {
        return;
    } else if (c->state == IDLE) {
        if (options.hold)
            errors[CUT]++;
        hang_up(c);
    } else if (c->state == WAITING && !c->fresh && got == 0) {
        hang_up(c); /* a kept connection may be closed at any time between two answers */
        begun--, busy--, c->turn--;
        ask(c);
    } else {
        error(c, CUT);
    }
}

static void writable(struct connection *c) {
    if (c->state == CONNECTING) {
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem) {
            error(c, NO_CONNECTION);
            return;
        }
        c->state = WAITING;
        c->asked = c->activity = now_ns(); /* connecting is no part of an answer's latency */
    }
    send_request(c);
}

/* ---- the run ---- */

static void open_some(void) {
    while (opened < options.connections && opened - first_answers < FIRST_ANSWERS && may_begin()) {
        struct connection *c = &connections[opened];
        c->number = (int)opened++;
        c->state = CLOSED;
        ask(c);
    }
}

static void give_up_on_silent(void) {
    uint64_t now = now_ns();
    for (unsigned i = 0; i < opened; i++) {
        struct connection *c = &connections[i];
        bool waits = c->state == CONNECTING || c->state == WAITING || c->state == HEAD || c->state == BODY;
        if (waits && now > c->activity && (double)(now - c->activity) > options.patience * 1e9)
            error(c, TIMEOUT);
    }
}

static int run(void) {
    bool said = false;
    uint64_t next_look = now_ns() + 1000000000u;
    started = now_ns();
    deadline = started + (uint64_t)(options.seconds * 1e9);
    for (;;) {
        struct epoll_event ready[256];
        open_some();
        if (failed() || (!options.hold && !busy && (opened == options.connections || !may_begin())))
            return report();
        if (options.hold && !said && held == options.connections) {
            printf("{\"holding\": %u}\n", held);
            fflush(stdout);
            said = true;
        }
        int count = epoll_wait(epoll, ready, 256, 200);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c)
                return report();
            if (c->state != CLOSED && ready[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR) &&
                (c->state == CONNECTING || c->request_sent < c->request_length))
                writable(c);
            else if (c->state != CLOSED && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                readable(c);
        }
        if (now_ns() > next_look) {
            next_look += 1000000000u;
            give_up_on_silent();
        }
    }
}

int main(int count, char **words) {
    read_options(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc(options.connections, sizeof *connections);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || epoll < 0)
        fail("epoll_create1");
    if (options.hold) {
        struct epoll_event on_stop = {.events = EPOLLIN, .data.ptr = NULL};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &on_stop))
            fail("epoll_ctl");
    }
    return run();
}
