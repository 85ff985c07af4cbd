/* The bytes of the mock's answers, written once: a reply of about 1 KB, and events of a streamed one. */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include <stdio.h>
#include <string.h>

#define EVENT_BYTES 190

static char json_answer[4096], event_frame[EVENT_BYTES + 16], stop_frame[512];
static size_t json_length, event_length, stop_length;
static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char done_frame[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
                                "Content-Length: 2\r\n\r\n{}";

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

#endif
