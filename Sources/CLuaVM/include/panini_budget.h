// The CPU time of a state's runs (panini_watchdog.h). Thread of the Lua state.
#ifndef PANINI_BUDGET_H
#define PANINI_BUDGET_H
#include <stdint.h>

#include "panini_vm.h"

// Gives every run a budget of CPU time in nanoseconds, the one that goes on included; 0: none. Returns 0 when there is no
// watchdog to see to it.
int panini_vm_set_budget(panini_vm *vm, uint64_t nanoseconds);

// Work of the host on a script's behalf that runs no Lua, such as writing its answer: it gets a fifth of the budget, and
// looks itself whether it is to end. Returns what panini_end_work takes; inside of a run it belongs to that run.
void *panini_begin_work(panini_vm *vm);
// Whether the work was to end.
int panini_end_work(panini_vm *vm, void *work);
#endif
