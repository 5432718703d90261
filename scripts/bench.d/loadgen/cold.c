// From exec to the first answer. The service's command starts on its core while this process, on another, asks its
// subject again and again: as long as nobody listens the broker says so at once, so the answer is seen within the
// pause between two questions (0.2 ms).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loadgen.h"

enum { start_seconds = 30, stop_seconds = 10, pause_ns = 200000 };

typedef struct {
    nats_connection connection;
    int pending, answered;
    char error[256];
} state;

static void receive(void *context, const nats_message *m) {
    state *s = context;
    if (m->sid != sid_inbox) return;
    s->pending = 0;
    if (m->headers && answer_error(m, s->error, sizeof s->error)) {
        if (strncmp(s->error, "503", 3)) fail("the first answer was an error: %s", s->error);
    } else {
        s->answered = 1;
    }
}

static pid_t start(const options *o) {
    pid_t child = fork();
    if (child < 0) fail("fork: %s", strerror(errno));
    if (child) return child;
    if (o->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(o->cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    int out = open(o->log ? o->log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
    }
    execvp(o->command[0], o->command);
    fprintf(stderr, "loadgen: cannot start %s: %s\n", o->command[0], strerror(errno));
    _exit(127);
}

// Ends the child and reaps it; returns its wait status.
static int stop(pid_t child) {
    int status = 0;
    kill(child, SIGTERM);
    for (int i = 0; i < stop_seconds * 100; i++) {
        if (waitpid(child, &status, WNOHANG) == child) return status;
        usleep(10000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return status;
}

int run_cold(const options *o) {
    state *s = calloc(1, sizeof *s);
    if (!s) fail("out of memory");
    nats_connect(&s->connection, o->url, receive, s);
    char pattern[64], reply[64];
    snprintf(pattern, sizeof pattern, "%s.*", s->connection.inbox);
    snprintf(reply, sizeof reply, "%s.a", s->connection.inbox);
    nats_subscribe(&s->connection, pattern, sid_inbox);
    nats_flush(&s->connection);

    uint64_t begin = monotonic_ns(), asked = 0;
    pid_t child = start(o);
    while (!s->answered) {
        uint64_t now = monotonic_ns();
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child) fail("%s ended before it answered (wait status %d)", o->command[0], status);
        if (now - begin > start_seconds * 1000000000ull) {
            stop(child);
            fail("%s did not answer within %d s", o->command[0], start_seconds);
        }
        // A question that met the moment between subscription and readiness may stay open: ask again after a while.
        if ((!s->pending && now - asked >= pause_ns) || now - asked > 50000000) {
            nats_queue_publish(&s->connection, o->subject, reply, o->payload, o->payload_length);
            s->pending = 1;
            asked = now;
        }
        nats_wait(&s->connection, now + pause_ns);
    }
    uint64_t end = monotonic_ns();
    cpu_time used = cpu_time_of(child);
    int status = stop(child);
    printf("{\"mode\":\"cold\",\"first_answer_ms\":%.3f,\"cpu_ms\":%.3f,\"exit\":%d,\"signal\":%d}\n", (double)(end - begin) / 1e6,
           (double)used.total_ns / 1e6, WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return 0;
}
