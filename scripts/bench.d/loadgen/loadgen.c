// The project's load generator: options, the shared helpers of the modes, and `ask`.
//
// One thread, one connection, about a quarter of a microsecond of CPU per message. One run prints one JSON object on
// standard output; anything that makes the figures worthless (an error answer, a lost message, a service that is gone)
// is one line on standard error and exit code 1.
#define _GNU_SOURCE
#include "loadgen.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sample[] =
    "{\"key1\":\"value1\",\"key2\":2,\"key3\":3.0,\"key4\":[1,2,3,4],\"key5\":{\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5},"
    "\"key6\":{\"subkey1\":\"1\",\"subkey2\":2,\"3\":3,\"4\":4,\"5\":5},\"key7\":null}";

static const char usage[] =
    "usage: loadgen MODE [options]\n"
    "  request   closed loop of requests          --subject S --outstanding N [--echo]\n"
    "  publish   one-way messages, all counted    --subject S [--window N] [--rate R]\n"
    "  emit      the service publishes            --encoding json|raw [--chunk N]\n"
    "  cold      exec to first answer             --subject S [--cpu N] [--log FILE] -- COMMAND...\n"
    "  ask       one request, prints its answer   --subject S\n"
    "common:  --url nats://host:port (or NATS_URL)  --pid SERVICE  --warmup SECONDS  --seconds SECONDS\n"
    "payload: --payload TEXT | --size BYTES; without either the sample object\n";

mark mark_now(const options *o, uint64_t messages) {
    mark m = {.messages = messages, .cpu = cpu_time_of(o->pid)};
    m.time = monotonic_ns();
    return m;
}

void print_stretch(const char *mode, const options *o, mark first, mark last) {
    uint64_t messages = last.messages - first.messages;
    if (!messages) fail("no message was handled while measuring");
    double seconds = (double)(last.time - first.time) / 1e9, n = (double)messages;
    printf("{\"mode\":\"%s\",\"subject\":\"%s\",\"payload_bytes\":%zu,\"messages\":%llu,\"seconds\":%.4f,\"rate\":%.1f", mode, o->subject,
           o->payload_length, (unsigned long long)messages, seconds, n / seconds);
    if (o->pid)
        printf(",\"cpu_us\":%.4f,\"cpu_share\":%.4f,\"user_s\":%.2f,\"system_s\":%.2f",
               (double)(last.cpu.total_ns - first.cpu.total_ns) / 1e3 / n,
               (double)(last.cpu.total_ns - first.cpu.total_ns) / 1e9 / seconds, last.cpu.user_s - first.cpu.user_s,
               last.cpu.system_s - first.cpu.system_s);
}

int answer_error(const nats_message *m, char *text, size_t capacity) {
    static const char error[] = "Nats-Service-Error:";
    const char *block = m->headers;
    size_t length = m->headers_length, version = strlen("NATS/1.0");
    if (length > version + 4 && block[version] == ' ') { // an inline status: "NATS/1.0 503"
        const char *end = memchr(block, '\r', length);
        size_t count = end ? (size_t)(end - block) - version - 1 : 3;
        snprintf(text, capacity, "%.*s (%.*s)", (int)count, block + version + 1, (int)m->subject_length, m->subject);
        return 1;
    }
    const char *found = memmem(block, length, error, sizeof error - 1);
    if (!found) return 0;
    found += sizeof error - 1;
    const char *end = memchr(found, '\r', (size_t)(block + length - found));
    snprintf(text, capacity, "%.*s", (int)(end ? end - found : block + length - found), found);
    return 1;
}

uint64_t answer_count(const nats_message *m) {
    static const char key[] = "\"count\":";
    const char *found = memmem(m->payload, m->payload_length, key, sizeof key - 1);
    if (!found) fail("bench.count answered %.*s", (int)m->payload_length, m->payload);
    uint64_t value = 0;
    const char *end = m->payload + m->payload_length;
    found += sizeof key - 1;
    while (found < end && *found == ' ') found++;
    for (; found < end && *found >= '0' && *found <= '9'; found++) value = value * 10 + (uint64_t)(*found - '0');
    return value;
}

typedef struct {
    answer answer;
    char error[256];
} asking;

static void receive(void *context, const nats_message *m) {
    asking *a = context;
    if (a->answer.bytes || (m->headers && answer_error(m, a->error, sizeof a->error))) return;
    a->answer.bytes = malloc(m->payload_length + 1);
    if (!a->answer.bytes) fail("out of memory");
    memcpy(a->answer.bytes, m->payload, m->payload_length);
    a->answer.length = m->payload_length;
}

answer ask(const char *url, const char *subject, const char *payload, size_t length, double seconds) {
    asking a = {0};
    nats_connection c;
    nats_connect(&c, url, receive, &a);
    nats_subscribe(&c, c.inbox, sid_inbox);
    nats_queue_publish(&c, subject, c.inbox, payload, length);
    uint64_t deadline = monotonic_ns() + (uint64_t)(seconds * 1e9);
    while (!a.answer.bytes) {
        if (*a.error) fail("%s: %s", subject, a.error);
        if (monotonic_ns() >= deadline) fail("%s: no answer within %.0f s", subject, seconds);
        nats_wait(&c, deadline);
    }
    return a.answer;
}

int run_ask(const options *o) {
    answer a = ask(o->url, o->subject, o->payload, o->payload_length, o->seconds);
    fwrite(a.bytes, 1, a.length, stdout);
    return 0;
}

static double positive(const char *name, const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || value < 0 || value > 1e9) fail("--%s: not a number that fits: %s", name, text);
    return value;
}

int main(int argc, char **argv) {
    enum { url = 1, subject, payload, size, encoding, outstanding, window, chunk, rate, warmup, seconds, echo, pid, cpu, log_, help };
    static const struct option names[] = {
        {"url", 1, 0, url},           {"subject", 1, 0, subject}, {"payload", 1, 0, payload}, {"size", 1, 0, size},
        {"encoding", 1, 0, encoding}, {"outstanding", 1, 0, outstanding}, {"window", 1, 0, window}, {"chunk", 1, 0, chunk},
        {"rate", 1, 0, rate},         {"warmup", 1, 0, warmup},   {"seconds", 1, 0, seconds}, {"echo", 0, 0, echo},
        {"pid", 1, 0, pid},           {"cpu", 1, 0, cpu},         {"log", 1, 0, log_},        {"help", 0, 0, help},
        {0, 0, 0, 0},
    };
    options o = {
        .url = getenv("NATS_URL") ? getenv("NATS_URL") : "nats://127.0.0.1:4222",
        .subject = NULL, .payload = sample, .payload_length = sizeof sample - 1, .encoding = "json",
        .outstanding = 64, .window = 16384, .chunk = 10000, .warmup = 1, .seconds = 4, .cpu = -1,
    };
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", names, &index)) != -1) {
        switch (option) {
        case url: o.url = optarg; break;
        case subject: o.subject = optarg; break;
        case payload: o.payload = optarg; o.payload_length = strlen(optarg); break;
        case size: {
            o.payload_length = (size_t)positive("size", optarg);
            if (o.payload_length > 1 << 20) fail("--size: at most 1048576");
            char *bytes = malloc(o.payload_length + 1);
            if (!bytes) fail("out of memory");
            memset(bytes, 'x', o.payload_length);
            o.payload = bytes;
            break;
        }
        case encoding: o.encoding = optarg; break;
        case outstanding: o.outstanding = (unsigned)positive("outstanding", optarg); break;
        case window: o.window = (unsigned)positive("window", optarg); break;
        case chunk: o.chunk = (unsigned)positive("chunk", optarg); break;
        case rate: o.rate = positive("rate", optarg); break;
        case warmup: o.warmup = positive("warmup", optarg); break;
        case seconds: o.seconds = positive("seconds", optarg); break;
        case echo: o.echo = 1; break;
        case pid: o.pid = (pid_t)positive("pid", optarg); break;
        case cpu: o.cpu = (int)positive("cpu", optarg); break;
        case log_: o.log = optarg; break;
        case help: fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    }
    const char *mode = optind < argc ? argv[optind++] : "";
    o.command = argv + optind;
    if (o.outstanding < 1 || o.outstanding > 65535) fail("--outstanding: 1 to 65535");
    if (o.window < 16) fail("--window: at least 16");
    if (o.chunk < 1) fail("--chunk: at least 1");
    if (strcmp(o.encoding, "json") && strcmp(o.encoding, "raw")) fail("--encoding: json or raw");
    if (!strcmp(mode, "emit")) {
        o.subject = "bench.out";
        return run_emit(&o);
    }
    int known = !strcmp(mode, "request") || !strcmp(mode, "publish") || !strcmp(mode, "cold") || !strcmp(mode, "ask");
    if (!known) {
        fputs(usage, stderr);
        return 2;
    }
    if (!o.subject) fail("%s needs --subject", mode);
    if (!strcmp(mode, "request")) return run_request(&o);
    if (!strcmp(mode, "publish")) return run_publish(&o);
    if (!strcmp(mode, "ask")) return run_ask(&o);
    if (!*o.command) fail("cold needs a command after --");
    return run_cold(&o);
}
