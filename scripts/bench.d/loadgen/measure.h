// Clocks, CPU time of another process, and a latency histogram. No I/O but /proc, no allocation after start.
#ifndef LOADGEN_MEASURE_H
#define LOADGEN_MEASURE_H

#include <stdint.h>
#include <sys/types.h>

uint64_t monotonic_ns(void);

typedef struct {
    uint64_t total_ns;             // the scheduler's sum over all threads, ended ones included: exact
    double user_s, system_s;       // how /proc/<pid>/stat divides it: clock ticks, so good for a share, not for a sum
} cpu_time;

// CPU time of process `pid` so far; all zero for pid 0 (no service given). Fails when the process is gone.
cpu_time cpu_time_of(pid_t pid);

// Log-linear buckets: 256 per power of two, so a value is known to 0.4 %. From 1 ns to over an hour.
enum { histogram_bits = 8, histogram_steps = 1 << histogram_bits, histogram_buckets = histogram_steps * 36 };
typedef struct {
    uint64_t buckets[histogram_buckets];
    uint64_t count, maximum;
} histogram;

void histogram_add(histogram *h, uint64_t ns);
uint64_t histogram_at(const histogram *h, double share); // 0.5 = median; nanoseconds; 0 when empty

#endif
