// Owns: what a run may take, and what the host does for a script without running Lua.
#include "panini_budget.h"

#include "panini_run.h"
#include "panini_vm.h"
#include "panini_watch.h"

int panini_vm_set_budget(panini_vm *vm, uint64_t budget) {
    if (budget != 0 && !panini_watchdog_need(budget)) return 0;
    vm->run.budget = budget;
    panini_watch *watch = panini_thread_watch;
    if (watch != NULL && vm->calls.activation != NULL && atomic_load_explicit(&watch->vm, memory_order_relaxed) == vm) {
        atomic_store_explicit(&watch->budget, budget, memory_order_relaxed);
    }
    return 1;
}

void *panini_begin_work(panini_vm *vm) {
    return vm->calls.activation == NULL ? begin_run(vm, vm->run.budget / 5 + 1) : NULL;
}

int panini_end_work(panini_vm *vm, void *work) {
    if (work == NULL) return vm->kill.is_due;
    int was_killed = vm->kill.is_due;
    end_run(vm, vm->main, work);
    return was_killed;
}
