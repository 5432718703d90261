// The cost of a budget on the way of every call into Lua: entering and leaving a run. For the .c files of this target only.
#ifndef PANINI_RUN_H
#define PANINI_RUN_H
#include <stdatomic.h>
#include <stdint.h>

#include "panini_kill.h"
#include "panini_vm.h"
#include "panini_watch.h"
#include "panini_weak.h"

static inline uint64_t run_number(panini_watch *watch) {
    return atomic_load_explicit(&watch->run, memory_order_relaxed);
}

// The outermost entry into a state begins. NULL: it has no budget.
static inline panini_watch *begin_run(panini_vm *vm, uint64_t budget) {
    if (vm->run.budget == 0) return NULL;
    panini_watch *watch = panini_thread_watch;
    if (watch == NULL && (watch = panini_watch_make()) == NULL) return NULL;
    vm->run.outer = atomic_load_explicit(&watch->vm, memory_order_relaxed);
    atomic_store_explicit(&watch->vm, vm, memory_order_relaxed);
    // A state that is entered from within another one's run shares its budget.
    if (vm->run.outer != NULL) return watch;
    atomic_store_explicit(&watch->budget, budget, memory_order_relaxed);
    atomic_store_explicit(&watch->run, run_number(watch) + 1, memory_order_release);
    if (atomic_load_explicit(&panini_watchdog_news, memory_order_relaxed)) panini_watchdog_begun(watch, vm);
    return watch;
}

// It has ended; whether it was ended by force. `L` is the thread that was entered.
static inline int end_run(panini_vm *vm, lua_State *L, panini_watch *watch) {
    if (watch == NULL) return 0;
    if (vm->run.outer == NULL) atomic_store_explicit(&watch->run, run_number(watch) + 1, memory_order_relaxed);
    atomic_store_explicit(&watch->vm, vm->run.outer, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    // The look that was due did not come any more, and what the host does next may collect.
    if (vm->weak.is_due) panini_weak_settle(vm);
    return vm->kill.is_due ? panini_settle_kill(vm, L) : 0;
}
#endif
