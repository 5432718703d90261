// A thread's record, and how the watchdog keeps it. For the .c files of this target only.
#ifndef PANINI_WATCH_H
#define PANINI_WATCH_H
#include <stdatomic.h>
#include <stdint.h>

#include "panini_vm.h"

// What the watchdog and a thread that runs Lua know of each other. One per thread, gone with it.
typedef struct panini_watch {
    // Odd while a run goes on: it is the run's number. The thread writes, the watchdog reads.
    _Atomic uint64_t run;
    // CPU time that the run may still take, in nanoseconds; 0: no limit.
    _Atomic uint64_t budget;
    // The state that runs now, the innermost one. Read by the signal's handler, on this same thread.
    panini_vm *_Atomic vm;
    // The run that the watchdog has met last, and the thread's CPU time then. The watchdog writes.
    _Atomic uint64_t seen, seen_time;
    // The run that is to end.
    _Atomic uint64_t victim;
    // No Lua is to run on this thread any more: every run ends before its first instruction.
    _Atomic int is_given_up;
    // Whose work the thread does; NULL: nobody's. The thread writes.
    struct panini_share *_Atomic owner;
} panini_watch;

extern __thread panini_watch *panini_thread_watch __attribute__((tls_model("initial-exec")));
// What a run that begins has to be told of, as bits: most often nothing.
enum { PANINI_WATCHDOG_SLEEPS = 1, PANINI_THREADS_GIVEN_UP = 2 };
extern _Atomic int panini_watchdog_news;

// Makes the record of the calling thread; NULL when there is no memory for it.
panini_watch *panini_watch_make(void);
// A run has begun while there were news.
void panini_watchdog_begun(panini_watch *watch, panini_vm *vm);
// Starts the watchdog when there is none yet, and lets it know of the budget. 0 when it could not be started.
int panini_watchdog_need(uint64_t budget_nanoseconds);
// Returns when the watchdog has done with what it has seen of any state.
void panini_watchdog_settle(void);
// A clock on the wall that is cheap to read, in nanoseconds.
uint64_t panini_wall_time(void);
#endif
