// What the modes of the load generator share: the options of a run and the one JSON object it prints.
#ifndef LOADGEN_LOADGEN_H
#define LOADGEN_LOADGEN_H

#include <stdint.h>
#include <sys/types.h>

#include "measure.h"
#include "nats.h"

typedef struct {
    const char *url;
    const char *subject;
    const char *payload;      // bytes of one message
    size_t payload_length;
    const char *encoding;     // emit: "json" or "raw"
    unsigned outstanding;     // request: how many at once
    unsigned window;          // publish: how many may be on their way, sent and not counted
    unsigned chunk;           // emit: how many messages one request asks for
    double rate;              // publish: messages a second at most; 0 = as fast as the window lets
    double warmup, seconds;   // what is not measured, what is
    int echo;                 // request: 1 = the answer must equal the payload
    pid_t pid;                // the service whose CPU time is read; 0 = none
    int cpu;                  // cold: the core the command is pinned to; -1 = any
    const char *log;          // cold: where the command's output goes
    char **command;           // cold: what to start
} options;

// Subscriptions have fixed ids: answers come on 1, what a service emits on 2.
enum { sid_inbox = 1, sid_emitted = 2 };

// Where a measured stretch began or ended.
typedef struct {
    uint64_t time;
    uint64_t messages;
    cpu_time cpu;
} mark;

mark mark_now(const options *o, uint64_t messages);

// Text of the error an answer carries (no responders, Nats-Service-Error) in `text`; 0 when it carries none.
int answer_error(const nats_message *m, char *text, size_t capacity);

// The number after "count": in an answer of bench.count; fails when there is none.
uint64_t answer_count(const nats_message *m);

// Sends one request and waits for its answer, which stays valid until the next wait. Fails after `seconds`.
typedef struct {
    char *bytes;
    size_t length;
} answer;
answer ask(const char *url, const char *subject, const char *payload, size_t length, double seconds);

// The start of the JSON object: everything two marks tell. The mode adds its own fields and the closing brace.
void print_stretch(const char *mode, const options *o, mark first, mark last);

int run_request(const options *o);
int run_publish(const options *o);
int run_emit(const options *o);
int run_cold(const options *o);
int run_ask(const options *o);

#endif
