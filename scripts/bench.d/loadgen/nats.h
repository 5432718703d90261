// The load generator's own NATS client: one connection, one thread, no library.
//
// It owns the socket and its two buffers. Received messages are handed to a callback as pointers into the read
// buffer (valid only during the call), and everything queued with nats_queue* leaves in one write when the caller
// waits, so that the generator costs the core it shares with the broker as little as possible.
// Any failure of the connection ends the program with one line on standard error: a run with a hole measures nothing.
#ifndef LOADGEN_NATS_H
#define LOADGEN_NATS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *subject;
    size_t subject_length;
    unsigned sid;
    const char *headers; // raw block from "NATS/1.0" to the blank line; NULL when the message has none
    size_t headers_length;
    const char *payload;
    size_t payload_length;
} nats_message;

typedef void (*nats_receiver)(void *context, const nats_message *message);

typedef struct {
    int fd;
    char *input;
    size_t input_start, input_end, input_capacity;
    char *output;
    size_t output_start, output_end, output_capacity;
    uint64_t pongs;
    char inbox[40]; // "_INBOX.<22 characters>", unique for this process
    nats_receiver receive;
    void *context;
} nats_connection;

// Connects and completes the handshake within five seconds. `url` is nats://host:port or host:port.
void nats_connect(nats_connection *connection, const char *url, nats_receiver receive, void *context);
void nats_subscribe(nats_connection *connection, const char *subject, unsigned sid);

// Queue bytes that are already protocol text, or a PUB put together here. `reply` may be NULL.
void nats_queue(nats_connection *connection, const void *bytes, size_t count);
void nats_queue_publish(nats_connection *connection, const char *subject, const char *reply, const void *payload, size_t length);
size_t nats_queued(const nats_connection *connection);

// Writes what the socket takes, then waits until something arrives or `deadline` (monotonic ns; 0 = do not wait)
// passes, and dispatches at most one read's worth of messages. Returns 1 when it read something, else 0.
int nats_wait(nats_connection *connection, uint64_t deadline);

// PING/PONG barrier: returns once the broker has seen everything queued so far.
void nats_flush(nats_connection *connection);

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
