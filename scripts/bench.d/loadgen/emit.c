// Publishing by the service: asks it for a chunk of messages on bench.out, counts them, asks for the next chunk.
// A chunk is complete when its answer and all its messages have come; anything missing fails the run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

enum { chunk_seconds = 30, stragglers_seconds = 5 };

typedef struct {
    nats_connection connection;
    uint64_t received, bytes;
    int answered;
} state;

static void receive(void *context, const nats_message *m) {
    state *s = context;
    char error[256];
    if (m->sid == sid_emitted) {
        s->received++;
        s->bytes += m->payload_length;
    } else if (m->sid == sid_inbox) {
        if (m->headers && answer_error(m, error, sizeof error)) fail("bench.emit: %s", error);
        s->answered = 1;
    }
}

static void chunk(state *s, const options *o) {
    char reply[64], payload[128];
    uint64_t expected = s->received + o->chunk;
    uint64_t start = monotonic_ns(), deadline = start + chunk_seconds * 1000000000ull;
    snprintf(reply, sizeof reply, "%s.e", s->connection.inbox);
    snprintf(payload, sizeof payload, "{\"n\":%u,\"mode\":\"%s\"}", o->chunk, o->encoding);
    s->answered = 0;
    nats_queue_publish(&s->connection, "bench.emit", reply, payload, strlen(payload));
    int late = 0;
    while (!s->answered || s->received < expected) {
        if (s->answered && !late) {
            late = 1;
            deadline = monotonic_ns() + stragglers_seconds * 1000000000ull;
        }
        if (!nats_wait(&s->connection, deadline) && monotonic_ns() >= deadline)
            fail("%llu of %u emitted messages are missing%s", (unsigned long long)(expected - s->received), o->chunk,
                 s->answered ? "" : ", and the answer");
    }
    if (s->received > expected) fail("%llu messages more than asked for", (unsigned long long)(s->received - expected));
}

int run_emit(const options *o) {
    state *s = calloc(1, sizeof *s);
    if (!s) fail("out of memory");
    nats_connect(&s->connection, o->url, receive, s);
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s.*", s->connection.inbox);
    nats_subscribe(&s->connection, pattern, sid_inbox);
    nats_subscribe(&s->connection, "bench.out", sid_emitted);
    nats_flush(&s->connection);

    uint64_t start = monotonic_ns();
    do chunk(s, o);
    while (monotonic_ns() - start < (uint64_t)(o->warmup * 1e9));
    uint64_t bytes = s->bytes;
    mark first = mark_now(o, s->received);
    do chunk(s, o);
    while (monotonic_ns() - first.time < (uint64_t)(o->seconds * 1e9));
    mark last = mark_now(o, s->received);

    print_stretch("emit", o, first, last);
    printf(",\"encoding\":\"%s\",\"chunk\":%u,\"bytes_per_message\":%.1f}\n", o->encoding, o->chunk,
           (double)(s->bytes - bytes) / (double)(last.messages - first.messages));
    return 0;
}
