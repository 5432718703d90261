// The end of a run that has used up its budget: an error that no script can catch. Nothing of the script runs after it, no
// message handler and no __close: the coroutine is dropped as it is.
#ifndef PANINI_KILL_H
#define PANINI_KILL_H
#include <lua.h>
#include <stdint.h>

#include "panini_vm.h"

// Lua's status of a run that was ended, as panini_call and panini_resume return it.
enum { PANINI_KILLED = 64 };

// What a run was ended for: its time, its weak tables or a metatable that became weak late (panini_weak.h), a table whose
// keys are all in one place (panini_rehash.h), its thread, on which no Lua is to run any more, or its time over a long life,
// which the host counts.
enum {
    PANINI_KILL_FOR_TIME,
    PANINI_KILL_FOR_WEAK_KEYS,
    PANINI_KILL_FOR_LATE_MODE,
    PANINI_KILL_FOR_KEYS,
    PANINI_KILL_GIVEN_UP,
    PANINI_KILL_FOR_RATE
};

// Where the last run that was ended has been: "file:line", "" when no Lua function was running; and the calls that led
// there, a line each.
const char *panini_kill_place(const panini_vm *vm);
const char *panini_kill_traceback(const panini_vm *vm);

// Whether the run is to end: for loops in C and Swift that no hook can interrupt. They stop early; whoever called them
// raises.
static inline int panini_is_killed(const panini_vm *vm) { return vm->kill.is_due; }
// The flag itself, for loops that know no state.
static inline const volatile int *panini_kill_flag(const panini_vm *vm) { return &vm->kill.is_due; }

// Raises the end of the run. Only for C functions that Lua has called.
int panini_raise_killed(lua_State *L);

static inline void panini_check(lua_State *L) {
    if (panini_vm_of(L)->kill.is_due) panini_raise_killed(L);
}

// The same for a loop: looks at every 1024th turn.
static inline void panini_check_turn(lua_State *L, uint64_t turn) {
    if ((turn & 1023) == 1023) panini_check(L);
}

// What is done between two looks, in bytes that are read or copied.
enum { PANINI_WORK = 1 << 16 };

// The same for work that depends on a script's data: looks when so many bytes have come together, whatever calls they are of.
// A text of any length is therefore worked on in pieces (panini_bytes.h).
static inline void panini_spend(lua_State *L, size_t bytes) {
    panini_vm *vm = panini_vm_of(L);
    vm->kill.work += bytes;
    if (vm->kill.work < PANINI_WORK) return;
    vm->kill.work = 0;
    panini_check(L);
}

// Ends the run from within: the next instruction raises. Safe in the allocator. `reason` is one of those above.
void panini_kill_for(panini_vm *vm, int reason);

// The next instruction or call of the innermost thread runs the hook. Safe in a signal's context and in the allocator.
void panini_hook_next(panini_vm *vm);

// From the signal's handler, on the state's thread.
void panini_kill_from_signal(panini_vm *vm);
// The same for a run on a thread that was given up: from the signal's handler, or as the run begins.
void panini_kill_given_up(panini_vm *vm);

// The run of the thread that was entered is over. Whether it was ended by force.
int panini_settle_kill(panini_vm *vm, lua_State *L);

// How many runs were ended so far, in the whole process.
uint64_t panini_kill_count(void);
// One more.
void panini_count_kill(void);
#endif
