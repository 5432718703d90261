// Closed loop: a fixed number of requests is always on its way; each answer starts the next one.
//
// Latency runs from the write that carried a request to the read that brought its answer; both clocks are read once
// per batch, so the generator adds no system call per message.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

enum { answer_seconds = 10, token_length = 8 };

typedef struct {
    const options *options;
    nats_connection connection;
    char *request;            // one PUB, whole; only its token changes
    size_t request_length, token_at;
    uint64_t *sent_at;        // by slot
    unsigned *generation;     // by slot: an answer to an earlier request of the slot is no answer
    unsigned *queued;         // slots whose request leaves with the next write
    unsigned queued_count;
    uint64_t now;             // when the current batch of answers was read
    uint64_t answers, errors, unexpected;
    int measuring;
    histogram latencies;
    char error[256];
} state;

static void queue_request(state *s, unsigned slot) {
    char token[token_length + 1];
    s->generation[slot] = (s->generation[slot] + 1) & 0xffff;
    snprintf(token, sizeof token, "%04x%04x", slot, s->generation[slot]);
    memcpy(s->request + s->token_at, token, token_length);
    nats_queue(&s->connection, s->request, s->request_length);
    s->queued[s->queued_count++] = slot;
}

static void receive(void *context, const nats_message *m) {
    state *s = context;
    if (m->sid != sid_inbox || m->subject_length < token_length) return;
    char token[token_length + 1] = {0};
    memcpy(token, m->subject + m->subject_length - token_length, token_length);
    unsigned slot = 0, generation = 0;
    if (sscanf(token, "%4x%4x", &slot, &generation) != 2 || slot >= s->options->outstanding) return;
    if (s->generation[slot] != generation) {
        s->unexpected++; // a second answer to one request
        return;
    }
    s->answers++;
    if (m->headers && answer_error(m, s->error, sizeof s->error)) {
        s->errors++;
    } else if (s->options->echo
               && (m->payload_length != s->options->payload_length || memcmp(m->payload, s->options->payload, m->payload_length))) {
        s->errors++;
        snprintf(s->error, sizeof s->error, "the answer differs from the request");
    } else if (!m->payload_length) {
        s->errors++;
        snprintf(s->error, sizeof s->error, "an empty answer");
    }
    if (!s->now) s->now = monotonic_ns();
    if (s->measuring) histogram_add(&s->latencies, s->now - s->sent_at[slot]);
    queue_request(s, slot);
}

// Writes what is queued, waits for answers, and runs them through `receive`.
static void turn(state *s) {
    uint64_t now = monotonic_ns();
    for (unsigned i = 0; i < s->queued_count; i++) s->sent_at[s->queued[i]] = now;
    s->queued_count = 0;
    s->now = 0;
    uint64_t deadline = now + answer_seconds * 1000000000ull;
    if (!nats_wait(&s->connection, deadline) && monotonic_ns() >= deadline)
        fail("no answer within %d s; %llu had come", answer_seconds, (unsigned long long)s->answers);
}

int run_request(const options *o) {
    state *s = calloc(1, sizeof *s);
    if (!s) fail("out of memory");
    s->options = o;
    s->sent_at = calloc(o->outstanding, sizeof *s->sent_at);
    s->generation = calloc(o->outstanding, sizeof *s->generation);
    s->queued = calloc(o->outstanding, sizeof *s->queued);
    s->request = malloc(o->payload_length + 1024);
    if (!s->sent_at || !s->generation || !s->queued || !s->request) fail("out of memory");
    nats_connect(&s->connection, o->url, receive, s);
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s.*", s->connection.inbox);
    nats_subscribe(&s->connection, pattern, sid_inbox);
    nats_flush(&s->connection);

    int head = snprintf(s->request, 1024, "PUB %s %s.00000000 %zu\r\n", o->subject, s->connection.inbox, o->payload_length);
    if (head < 0 || head >= 1024) fail("the subject is too long");
    s->token_at = strlen("PUB ") + strlen(o->subject) + 1 + strlen(s->connection.inbox) + 1;
    memcpy(s->request + head, o->payload, o->payload_length);
    memcpy(s->request + head + o->payload_length, "\r\n", 2);
    s->request_length = (size_t)head + o->payload_length + 2;

    uint64_t start = monotonic_ns();
    for (unsigned slot = 0; slot < o->outstanding; slot++) queue_request(s, slot);
    while (monotonic_ns() - start < (uint64_t)(o->warmup * 1e9)) turn(s);
    s->measuring = 1;
    mark first = mark_now(o, s->answers);
    while (monotonic_ns() - first.time < (uint64_t)(o->seconds * 1e9)) turn(s);
    mark last = mark_now(o, s->answers);

    print_stretch("request", o, first, last);
    printf(",\"outstanding\":%u,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f", o->outstanding,
           (double)histogram_at(&s->latencies, 0.5) / 1e3, (double)histogram_at(&s->latencies, 0.9) / 1e3,
           (double)histogram_at(&s->latencies, 0.99) / 1e3, (double)histogram_at(&s->latencies, 0.999) / 1e3,
           (double)s->latencies.maximum / 1e3);
    printf(",\"errors\":%llu,\"unexpected\":%llu}\n", (unsigned long long)s->errors, (unsigned long long)s->unexpected);
    if (s->errors) fail("%llu answers were errors: %s", (unsigned long long)s->errors, s->error);
    return 0;
}
