// See measure.h.
#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nats.h"

uint64_t monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

cpu_time cpu_time_of(pid_t pid) {
    cpu_time result = {0};
    if (!pid) return result;
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) fail("process %d is gone", (int)pid);
    result.total_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;

    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file) fail("cannot read %s", path);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    // The name in parentheses may hold anything, so count fields from its closing one: utime and stime are 14 and 15.
    const char *rest = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fail("cannot understand %s", path);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    result.user_s = (double)user / ticks;
    result.system_s = (double)system / ticks;
    return result;
}

// Values below histogram_steps have a bucket each; above, every power of two is divided into that many steps.
static unsigned bucket(uint64_t ns) {
    if (ns < histogram_steps) return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - histogram_bits;
    unsigned index = (shift + 1) * histogram_steps + (unsigned)(ns >> shift) - histogram_steps;
    return index < histogram_buckets ? index : histogram_buckets - 1;
}

static uint64_t middle(unsigned index) {
    if (index < histogram_steps) return index;
    unsigned shift = index / histogram_steps - 1;
    return ((uint64_t)(histogram_steps + index % histogram_steps) << shift) + (((uint64_t)1 << shift) >> 1);
}

void histogram_add(histogram *h, uint64_t ns) {
    h->buckets[bucket(ns)]++;
    h->count++;
    if (ns > h->maximum) h->maximum = ns;
}

uint64_t histogram_at(const histogram *h, double share) {
    uint64_t rank = (uint64_t)(share * (double)h->count), seen = 0;
    if (!h->count) return 0;
    for (unsigned i = 0; i < histogram_buckets; i++) {
        seen += h->buckets[i];
        if (seen > rank) return middle(i);
    }
    return h->maximum;
}
