/* What the load client saw: counts, times and errors, and the one JSON object that it prints of them. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include "framing.h"

#include <stdio.h>

enum error { NO_CONNECTION, STATUS, MALFORMED, CUT, EVENTS, FORGOTTEN, TIMEOUT, ERRORS };
static const char *const error_names[ERRORS] = {"no_connection", "status",    "malformed", "cut",
                                                "events",        "forgotten", "timeout"};

struct samples {
    uint32_t *us;
    size_t length, room;
};

static uint64_t started, completed, events, errors[ERRORS];
static unsigned first_status; /* of an answer that was none: for the message */
static struct samples latency, first_byte;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static void sample(struct samples *samples, uint64_t ns) {
    if (samples->length == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 65536;
        samples->us = realloc(samples->us, samples->room * sizeof *samples->us);
        if (!samples->us)
            fail("realloc");
    }
    samples->us[samples->length++] = (uint32_t)(ns / 1000);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *samples) {
    size_t n = samples->length;
    if (n)
        qsort(samples->us, n, sizeof *samples->us, ascending);
    printf("\"%s\": {\"p50\": %u, \"p99\": %u}, ", name, n ? samples->us[n / 2] : 0, n ? samples->us[n * 99 / 100] : 0);
}

static int report(void) {
    uint64_t total = 0;
    printf("{\"requests\": %llu, \"events\": %llu, \"seconds\": %.6f, ", (unsigned long long)completed,
           (unsigned long long)events, (double)(now_ns() - started) / 1e9);
    print_samples("latency_us", &latency);
    print_samples("first_byte_us", &first_byte);
    printf("\"status\": %u, \"kinds\": {", first_status);
    for (int kind = 0; kind < ERRORS; kind++) {
        printf("%s\"%s\": %llu", kind ? ", " : "", error_names[kind], (unsigned long long)errors[kind]);
        total += errors[kind];
    }
    printf("}, \"errors\": %llu}\n", (unsigned long long)total);
    return total ? 1 : 0;
}

static bool failed(void) {
    for (int kind = 0; kind < ERRORS; kind++)
        if (errors[kind])
            return true;
    return false;
}

#endif
