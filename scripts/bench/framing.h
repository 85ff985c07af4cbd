/* HTTP/1.1 framing for the mock upstream and the load client: where a head ends, what a field says,
 * and which bytes of a connection are a message's body.
 *
 * Only what our own two programs, and proxies between them, send: Content-Length or chunked.
 * Anything else is malformed, and says so.
 */
#ifndef BENCH_FRAMING_H
#define BENCH_FRAMING_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>

/* Called with each piece of a body, framing taken off. */
typedef void (*sink_fn)(void *context, const char *data, size_t length);

enum body_state { SIZE_LINE, SIZE_EXTENSION, DATA, DATA_END, TRAILER, DONE };

struct body {
    bool chunked;
    enum body_state state;
    uint64_t left;   /* bytes of the chunk, or of a Content-Length body, still to come */
    unsigned digits; /* of the size line */
    unsigned column; /* in the trailer's present line */
};

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The length of the head with its empty line; 0 if that has not arrived. */
static inline size_t head_length(const char *data, size_t length) {
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

/* The value of the first field of this name, or NULL; `length` is set. */
static inline const char *field(const char *head, size_t size, const char *name, size_t *length) {
    size_t wanted = strlen(name);
    const char *end = head + size, *line = memchr(head, '\n', size);
    while (line && ++line < end) {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        if (!stop || stop == line)
            return NULL;
        if ((size_t)(stop - line) > wanted && line[wanted] == ':' && !strncasecmp(line, name, wanted)) {
            line += wanted + 1;
            while (line < stop && (*line == ' ' || *line == '\t'))
                line++;
            *length = (size_t)(stop - line);
            return line;
        }
        line = memchr(stop, '\n', (size_t)(end - stop));
    }
    return NULL;
}

static inline bool field_is(const char *head, size_t size, const char *name, const char *value) {
    size_t length = 0;
    const char *found = field(head, size, name, &length);
    return found && length == strlen(value) && !strncasecmp(found, value, length);
}

/* Prepares for the body that this head announces; false if it announces none. */
static inline bool body_begin(struct body *body, const char *head, size_t size) {
    size_t length = 0;
    memset(body, 0, sizeof *body);
    if (field_is(head, size, "Transfer-Encoding", "chunked")) {
        body->chunked = true;
        body->state = SIZE_LINE;
        return true;
    }
    const char *value = field(head, size, "Content-Length", &length);
    if (!value || !isdigit((unsigned char)*value))
        return false;
    body->left = strtoull(value, NULL, 10);
    body->state = body->left ? DATA : DONE;
    return true;
}

static inline int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes what belongs to the body; the number of bytes taken, or -1 if they are malformed. */
static inline ssize_t body_feed(struct body *body, const char *data, size_t length, sink_fn sink,
                                void *context) {
    size_t at = 0;
    while (at < length && body->state != DONE) {
        char c = data[at];
        switch (body->state) {
        case SIZE_LINE:
            if (hex(c) >= 0 && body->digits++ < 15) {
                body->left = body->left * 16 + (uint64_t)hex(c);
                at++;
            } else if (body->digits && (c == '\r' || c == ';')) {
                body->state = SIZE_EXTENSION;
            } else {
                return -1;
            }
            break;
        case SIZE_EXTENSION:
            at++;
            if (c == '\n') {
                body->state = body->left ? DATA : TRAILER;
                body->digits = body->column = 0;
            }
            break;
        case DATA: {
            size_t piece = length - at < body->left ? length - at : (size_t)body->left;
            sink(context, data + at, piece);
            at += piece;
            body->left -= piece;
            if (!body->left)
                body->state = body->chunked ? DATA_END : DONE;
            break;
        }
        case DATA_END:
            if (c != "\r\n"[body->column])
                return -1;
            at++;
            if (++body->column == 2) {
                body->column = 0;
                body->state = SIZE_LINE;
            }
            break;
        case TRAILER:
            at++;
            if (c == '\n') {
                if (!body->column)
                    body->state = DONE;
                body->column = 0;
            } else if (c != '\r') {
                body->column++;
            }
            break;
        case DONE:
            break;
        }
    }
    return (ssize_t)at;
}

#endif
