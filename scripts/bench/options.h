/* What the load client is told to do. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADERS 8

enum naming { NONE, COOKIE, HEADER };

static struct {
    int port;
    const char *path, *host;
    unsigned connections, turns, hold_events;
    uint64_t requests, expected_events;
    double seconds, patience;
    enum naming naming;
    bool hold, stream, remembers;
    const char *headers[MAX_HEADERS];
    unsigned header_count;
} options = {.path = "/v1/chat/completions", .host = "127.0.0.1", .connections = 32, .turns = 10, .patience = 30};

static void usage(void) {
    fprintf(stderr, "load: --port N [--path PATH] [--connections N] [--seconds S | --requests N | --hold]\n"
                    "      [--turns N] [--naming cookie|header|none] [--remembers] [--header 'Name: value']...\n"
                    "      [--events N (a stream of so many, [DONE] and the one before it included)]\n"
                    "      [--hold-events N] [--patience SECONDS]\n");
    exit(2);
}

static enum naming read_naming(const char *text) {
    if (!strcmp(text, "cookie"))
        return COOKIE;
    if (!strcmp(text, "header"))
        return HEADER;
    if (strcmp(text, "none"))
        usage();
    return NONE;
}

static void read_options(int count, char **words) {
    static const struct option known[] = {
        {"port", 1, 0, 'p'},      {"path", 1, 0, 'u'},     {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'},
        {"requests", 1, 0, 'n'},  {"turns", 1, 0, 't'},    {"naming", 1, 0, 'a'},      {"header", 1, 0, 'H'},
        {"events", 1, 0, 'e'},    {"hold", 0, 0, 'h'},     {"hold-events", 1, 0, 'k'}, {"remembers", 0, 0, 'r'},
        {"patience", 1, 0, 'w'},  {0, 0, 0, 0},
    };
    for (int option; (option = getopt_long(count, words, "", known, NULL)) != -1;) {
        switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'u': options.path = optarg; break;
        case 'c': options.connections = (unsigned)atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 't': options.turns = (unsigned)atoi(optarg); break;
        case 'a': options.naming = read_naming(optarg); break;
        case 'e': options.expected_events = strtoull(optarg, NULL, 10); options.stream = true; break;
        case 'h': options.hold = true; break;
        case 'k': options.hold_events = (unsigned)atoi(optarg); break;
        case 'r': options.remembers = true; break;
        case 'w': options.patience = atof(optarg); break;
        case 'H':
            if (options.header_count == MAX_HEADERS)
                usage();
            options.headers[options.header_count++] = optarg;
            break;
        default: usage();
        }
    }
    if (options.hold)
        options.requests = options.connections;
    bool bounded = options.requests || options.seconds > 0;
    if (optind != count || !options.port || !options.connections || !options.turns || !bounded)
        usage();
}

#endif
