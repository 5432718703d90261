// See nats.h. The parser works on whole control lines in a linear buffer; a message that is not complete yet stays in
// the buffer until the next read.
#define _GNU_SOURCE
#include "nats.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

enum { input_capacity = 4 << 20, initial_output_capacity = 1 << 20, handshake_seconds = 5 };

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

// ---- sending

void nats_queue(nats_connection *c, const void *bytes, size_t count) {
    if (c->output_end + count > c->output_capacity) {
        size_t pending = c->output_end - c->output_start;
        memmove(c->output, c->output + c->output_start, pending);
        c->output_start = 0;
        c->output_end = pending;
        if (pending + count > c->output_capacity) {
            size_t capacity = c->output_capacity;
            while (capacity < pending + count) capacity *= 2;
            char *grown = realloc(c->output, capacity);
            if (!grown) fail("out of memory for %zu bytes of output", capacity);
            c->output = grown;
            c->output_capacity = capacity;
        }
    }
    memcpy(c->output + c->output_end, bytes, count);
    c->output_end += count;
}

void nats_queue_publish(nats_connection *c, const char *subject, const char *reply, const void *payload, size_t length) {
    char line[512];
    int count = snprintf(line, sizeof line, "PUB %s%s%s %zu\r\n", subject, reply ? " " : "", reply ? reply : "", length);
    if (count < 0 || (size_t)count >= sizeof line) fail("the subject is too long: %s", subject);
    nats_queue(c, line, (size_t)count);
    nats_queue(c, payload, length);
    nats_queue(c, "\r\n", 2);
}

size_t nats_queued(const nats_connection *c) { return c->output_end - c->output_start; }

static void write_some(nats_connection *c) {
    while (c->output_start < c->output_end) {
        ssize_t n = write(c->fd, c->output + c->output_start, c->output_end - c->output_start);
        if (n > 0) {
            c->output_start += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        } else {
            fail("cannot write to the broker: %s", strerror(errno));
        }
    }
    c->output_start = c->output_end = 0;
}

// ---- receiving

// Splits a control line at blanks; returns how many arguments there are (at most `limit`).
static int split(char *line, char **arguments, int limit) {
    int count = 0;
    char *rest = NULL;
    for (char *part = strtok_r(line, " \t", &rest); part && count < limit; part = strtok_r(NULL, " \t", &rest))
        arguments[count++] = part;
    return count;
}

static size_t number(const char *text) {
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end) fail("the broker sent a number that is none: %s", text);
    return value;
}

// Handles one MSG or HMSG whose control line (without its end) is `line`; the payload starts at `body`.
// Returns how many bytes of the body it used, or -1 when they are not all there yet.
static long message(nats_connection *c, const char *line, size_t length, const char *body, size_t available) {
    char copy[4096];
    char *a[6];
    if (length >= sizeof copy) fail("a control line of %zu bytes", length);
    memcpy(copy, line, length);
    copy[length] = 0;
    int with_headers = copy[0] == 'H' || copy[0] == 'h';
    int count = split(copy, a, 6);
    int sizes = with_headers ? 2 : 1;
    if (count < 3 + sizes) fail("the broker sent a malformed line: %.*s", (int)length, line);
    size_t total = number(a[count - 1]);
    size_t header_length = with_headers ? number(a[count - 2]) : 0;
    if (header_length > total) fail("headers longer than their message: %.*s", (int)length, line);
    if (available < total + 2) return -1;
    nats_message m = {
        .subject = line + (a[1] - copy),
        .subject_length = strlen(a[1]),
        .sid = (unsigned)number(a[2]),
        .headers = with_headers ? body : NULL,
        .headers_length = header_length,
        .payload = body + header_length,
        .payload_length = total - header_length,
    };
    if (c->receive) c->receive(c->context, &m);
    return (long)total + 2;
}

static void dispatch(nats_connection *c) {
    for (;;) {
        const char *line = c->input + c->input_start;
        size_t available = c->input_end - c->input_start;
        const char *newline = memchr(line, '\n', available);
        if (!newline) break;
        size_t line_bytes = (size_t)(newline - line) + 1;
        size_t length = line_bytes - 1;
        if (length && line[length - 1] == '\r') length--;
        size_t used = line_bytes;
        if (length >= 4 && (!strncasecmp(line, "MSG ", 4) || !strncasecmp(line, "HMSG", 4))) {
            long body = message(c, line, length, newline + 1, available - line_bytes);
            if (body < 0) break;
            used += (size_t)body;
        } else if (length >= 4 && !strncasecmp(line, "PING", 4)) {
            nats_queue(c, "PONG\r\n", 6);
        } else if (length >= 4 && !strncasecmp(line, "PONG", 4)) {
            c->pongs++;
        } else if (length >= 4 && !strncasecmp(line, "-ERR", 4)) {
            fail("the broker said: %.*s", (int)length, line);
        } // INFO and +OK need nothing
        c->input_start += used;
    }
    if (c->input_start == c->input_end) {
        c->input_start = c->input_end = 0;
    } else if (c->input_start && c->input_end > c->input_capacity / 2) {
        memmove(c->input, c->input + c->input_start, c->input_end - c->input_start);
        c->input_end -= c->input_start;
        c->input_start = 0;
    }
    if (c->input_end == c->input_capacity) fail("a message larger than %d bytes", input_capacity);
}

int nats_wait(nats_connection *c, uint64_t deadline) {
    write_some(c);
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = (short)(POLLIN | (nats_queued(c) ? POLLOUT : 0))};
        uint64_t now = deadline ? monotonic_ns() : 0;
        uint64_t left = deadline > now ? deadline - now : 0;
        struct timespec wait = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
        int ready = ppoll(&p, 1, &wait, NULL);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) fail("poll: %s", strerror(errno));
        if (ready == 0) return 0;
        if (p.revents & POLLOUT) write_some(c);
        if (!(p.revents & (POLLIN | POLLHUP | POLLERR))) {
            // Room to write again: the caller may want to queue more.
            return 0;
        }
        ssize_t n = read(c->fd, c->input + c->input_end, c->input_capacity - c->input_end);
        if (n == 0) fail("the broker closed the connection");
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n < 0) fail("cannot read from the broker: %s", strerror(errno));
        c->input_end += (size_t)n;
        dispatch(c);
        return 1;
    }
}

void nats_flush(nats_connection *c) {
    uint64_t expected = c->pongs + 1;
    uint64_t deadline = monotonic_ns() + handshake_seconds * 1000000000ull;
    nats_queue(c, "PING\r\n", 6);
    while (c->pongs < expected) {
        nats_wait(c, deadline);
        if (monotonic_ns() > deadline) fail("the broker did not answer a PING within %d s", handshake_seconds);
    }
}

void nats_subscribe(nats_connection *c, const char *subject, unsigned sid) {
    char line[512];
    int count = snprintf(line, sizeof line, "SUB %s %u\r\n", subject, sid);
    if (count < 0 || (size_t)count >= sizeof line) fail("the subject is too long: %s", subject);
    nats_queue(c, line, (size_t)count);
}

// ---- connecting

static int open_socket(const char *url) {
    char host[256];
    const char *rest = strncmp(url, "nats://", 7) ? url : url + 7;
    const char *colon = strrchr(rest, ':');
    size_t length = colon ? (size_t)(colon - rest) : strlen(rest);
    if (length == 0 || length >= sizeof host) fail("not a server address: %s", url);
    memcpy(host, rest, length);
    host[length] = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, colon ? colon + 1 : "4222", &hints, &found);
    if (error) fail("%s: %s", url, gai_strerror(error));
    int fd = -1;
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) fail("%s: %s", url, strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

void nats_connect(nats_connection *c, const char *url, nats_receiver receive, void *context) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    memset(c, 0, sizeof *c);
    c->receive = receive;
    c->context = context;
    c->input_capacity = input_capacity;
    c->output_capacity = initial_output_capacity;
    c->input = malloc(c->input_capacity);
    c->output = malloc(c->output_capacity);
    if (!c->input || !c->output) fail("out of memory");
    unsigned char random[22];
    if (getrandom(random, sizeof random, 0) != sizeof random) fail("getrandom: %s", strerror(errno));
    strcpy(c->inbox, "_INBOX.");
    for (size_t i = 0; i < sizeof random; i++) c->inbox[7 + i] = digits[random[i] % 62];
    c->fd = open_socket(url);
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"loadgen\",\"lang\":\"c\",\"version\":\"1\","
                                "\"protocol\":1,\"echo\":true,\"headers\":true,\"no_responders\":true}\r\n";
    nats_queue(c, hello, sizeof hello - 1);
    nats_flush(c);
}
