// The cost of a budget on the way of every message: entering and leaving a run. For the .c files of this target only.
#ifndef PANINI_RUN_H
#define PANINI_RUN_H
#include <stdatomic.h>
#include <stdint.h>

#include "panini_vm.h"
#include "panini_watchdog.h"
#include "panini_weak.h"

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
// CPU time of the calling thread, and a clock on the wall that is cheap to read, in nanoseconds.
uint64_t panini_thread_time(void);
uint64_t panini_wall_time(void);

static inline uint64_t run_number(panini_watch *watch) {
    return atomic_load_explicit(&watch->run, memory_order_relaxed);
}

// The outermost entry into a state begins. NULL: it has no budget.
static inline panini_watch *begin_run(panini_vm *vm, uint64_t budget) {
    if (vm->cpu_budget == 0) return NULL;
    panini_watch *watch = panini_thread_watch;
    if (watch == NULL && (watch = panini_watch_make()) == NULL) return NULL;
    vm->outer = atomic_load_explicit(&watch->vm, memory_order_relaxed);
    atomic_store_explicit(&watch->vm, vm, memory_order_relaxed);
    // A state that is entered from within another one's run shares its budget.
    if (vm->outer != NULL) return watch;
    atomic_store_explicit(&watch->budget, budget, memory_order_relaxed);
    atomic_store_explicit(&watch->run, run_number(watch) + 1, memory_order_release);
    if (atomic_load_explicit(&panini_watchdog_news, memory_order_relaxed)) panini_watchdog_begun(watch, vm);
    return watch;
}

int panini_settle_kill(panini_vm *vm, lua_State *L);

// It has ended; whether it was ended by force. `L` is the thread that was entered.
static inline int end_run(panini_vm *vm, lua_State *L, panini_watch *watch) {
    if (watch == NULL) return 0;
    if (vm->outer == NULL) atomic_store_explicit(&watch->run, run_number(watch) + 1, memory_order_relaxed);
    atomic_store_explicit(&watch->vm, vm->outer, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    // The look that was due did not come any more, and what the host does next may collect.
    if (vm->is_weak_due) panini_weak_settle(vm);
    return vm->killed ? panini_settle_kill(vm, L) : 0;
}
#endif
