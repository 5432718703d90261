// One-way messages, as fast as the service takes them and never faster: what was sent and is not counted by the
// service (bench.count) stays within a window, so no slow-consumer limit of broker or client is ever reached.
// The run fails unless everything sent was counted in the end.
//
// A question costs the service as much as a request, so there is at most one per quarter of a window; when the window
// is full the next question waits for as long as the service, at the rate seen so far, needs for a quarter.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

enum { settle_seconds = 10, burst_bytes = 128 << 10 };

typedef struct {
    const options *options;
    nats_connection connection;
    char *message;            // one PUB, whole
    size_t message_length;
    uint64_t sent, counted, asked_at_sent;
    uint64_t counted_time, next_question;
    uint64_t questions;
    double rate;              // messages a second the service took lately
    int asking, answered;
} state;

static void receive(void *context, const nats_message *m) {
    state *s = context;
    if (m->sid != sid_inbox) return;
    char error[256];
    if (m->headers && answer_error(m, error, sizeof error)) fail("bench.count: %s", error);
    uint64_t counted = answer_count(m), now = monotonic_ns();
    if (counted > s->sent) fail("the service counted %llu of %llu messages", (unsigned long long)counted, (unsigned long long)s->sent);
    if (s->counted_time && now > s->counted_time) {
        double lately = (double)(counted - s->counted) * 1e9 / (double)(now - s->counted_time);
        s->rate = s->rate > 0 ? 0.75 * s->rate + 0.25 * lately : lately;
    }
    s->counted = counted;
    s->counted_time = now;
    s->asking = 0;
    s->answered = 1;
    double quarter = s->options->window / 4.0;
    double wait = s->rate > 0 ? quarter / s->rate * 1e9 : 1e6;
    if (wait < 2e5) wait = 2e5;
    if (wait > 5e7) wait = 5e7;
    s->next_question = now + (uint64_t)wait;
}

static void question(state *s) {
    char reply[64];
    snprintf(reply, sizeof reply, "%s.c", s->connection.inbox);
    nats_queue_publish(&s->connection, "bench.count", reply, "{}", 2);
    s->asking = 1;
    s->asked_at_sent = s->sent;
    s->questions++;
}

// Sends for one stretch that ends with the first count after `seconds`. Returns where it ended.
static mark stretch(state *s, uint64_t started, double seconds) {
    const options *o = s->options;
    uint64_t end = started + (uint64_t)(seconds * 1e9);
    uint64_t sent_before = s->sent;
    for (;;) {
        uint64_t now = monotonic_ns();
        if (s->answered && now >= end) return mark_now(o, s->counted);
        s->answered = 0;
        uint64_t allowed = s->counted + o->window;
        if (o->rate > 0) {
            uint64_t due = sent_before + (uint64_t)((double)(now - started) * o->rate / 1e9) + 1;
            if (due < allowed) allowed = due;
        }
        while (s->sent < allowed && nats_queued(&s->connection) < burst_bytes) {
            nats_queue(&s->connection, s->message, s->message_length);
            s->sent++;
            if (!s->asking && s->sent - s->asked_at_sent >= o->window / 4) question(s);
        }
        if (!s->asking && now >= s->next_question && (s->sent >= s->counted + o->window || now >= end)) question(s);
        // With room for more the turn only looks whether something came; else it sleeps until there is a reason.
        uint64_t deadline = s->sent < allowed && !nats_queued(&s->connection) ? 0 : now + (o->rate > 0 ? 200000 : 1000000);
        if (s->counted_time && now - s->counted_time > settle_seconds * 1000000000ull)
            fail("the service counted nothing more for %d s: %llu of %llu", settle_seconds, (unsigned long long)s->counted,
                 (unsigned long long)s->sent);
        nats_wait(&s->connection, deadline);
    }
}

int run_publish(const options *o) {
    state *s = calloc(1, sizeof *s);
    if (!s) fail("out of memory");
    s->options = o;
    s->message = malloc(o->payload_length + 1024);
    if (!s->message) fail("out of memory");
    int head = snprintf(s->message, 1024, "PUB %s %zu\r\n", o->subject, o->payload_length);
    if (head < 0 || head >= 1024) fail("the subject is too long");
    memcpy(s->message + head, o->payload, o->payload_length);
    memcpy(s->message + head + o->payload_length, "\r\n", 2);
    s->message_length = (size_t)head + o->payload_length + 2;

    free(ask(o->url, "bench.reset", "{}", 2, 10).bytes);
    nats_connect(&s->connection, o->url, receive, s);
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s.*", s->connection.inbox);
    nats_subscribe(&s->connection, pattern, sid_inbox);
    nats_flush(&s->connection);

    s->counted_time = monotonic_ns();
    stretch(s, s->counted_time, o->warmup);
    mark first = mark_now(o, s->counted);
    uint64_t questions = s->questions;
    mark last = stretch(s, first.time, o->seconds);
    questions = s->questions - questions;

    uint64_t deadline = monotonic_ns() + settle_seconds * 1000000000ull;
    while (s->counted < s->sent) {
        uint64_t now = monotonic_ns();
        if (now > deadline) break;
        if (!s->asking && now >= s->next_question) question(s);
        nats_wait(&s->connection, now + 1000000);
    }
    print_stretch("publish", o, first, last);
    printf(",\"window\":%u,\"questions\":%llu,\"sent\":%llu,\"lost\":%llu}\n", o->window, (unsigned long long)questions,
           (unsigned long long)s->sent, (unsigned long long)(s->sent - s->counted));
    if (s->counted < s->sent) fail("%llu of %llu messages were lost", (unsigned long long)(s->sent - s->counted), (unsigned long long)s->sent);
    return 0;
}
