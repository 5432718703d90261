// Owns: how large the last large part of an object was, and whether any instruction of Lua has run since.
#include "panini_growth.h"

#include "panini_kill.h"
#include "panini_run.h"
#include "panini_vm.h"
#include "panini_watchdog.h"

// Lua makes a stack twice as large, and adds EXTRA_STACK (5) values of 16 bytes to what it asks for. Nothing else grows so: an array
// has no such rest, and the nodes of a table have another size.
enum { STACK_REST = 5 * 16 };

static int is_twice(size_t size, size_t old_size) { return size + STACK_REST == 2 * old_size; }

int panini_growth_is_too_long(panini_vm *vm, size_t size) {
    const panini_growth *growth = &vm->growth;
    panini_watch *watch = panini_thread_watch;
    // The hook would have taken the size back: the instruction in which the stack grew before is the one that goes on.
    if (!is_twice(size, growth->size) || watch == NULL || growth->run != run_number(watch)) return 0;
    uint64_t budget = atomic_load_explicit(&watch->budget, memory_order_relaxed);
    if (budget == 0 || atomic_load_explicit(&watch->seen, memory_order_acquire) != growth->run) return 0;
    uint64_t now = panini_thread_time();
    uint64_t used = now - atomic_load_explicit(&watch->seen_time, memory_order_relaxed);
    return used + 4 * (now - growth->time) > budget;
}

void panini_note_growth(panini_vm *vm, size_t size) {
    panini_watch *watch = panini_thread_watch;
    if (watch == NULL || vm->calls.activation == NULL || vm->kill.is_due) return;
    vm->growth = (panini_growth){size, run_number(watch), panini_thread_time()};
    panini_hook_next(vm);
}
