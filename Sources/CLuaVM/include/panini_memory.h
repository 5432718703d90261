// The memory of a state: its limit, and when its collector runs. Thread of the Lua state.
#ifndef PANINI_MEMORY_H
#define PANINI_MEMORY_H
#include <lua.h>
#include <stddef.h>

#include "panini_kill.h"
#include "panini_vm.h"

// Bytes beyond the limit that are kept for error paths.
enum { PANINI_RESERVE = 256 * 1024 };

// Lua's allocator. The context is the panini_vm.
void *panini_allocate(void *context, void *block, size_t old_size, size_t new_size);
// Fits the collector's pace to a state that has just been made.
void panini_open_memory(panini_vm *vm);
// Fits the collector's pace to the size of the state; cheap, for the end of each burst of work.
void panini_tune_collector(panini_vm *vm);

// Whether so many bytes more are within the limit, after a full collection when need be. For values that the host makes on
// its own account: their allocations are never refused. Collections that gain nothing become rare.
int panini_make_room(panini_vm *vm, size_t bytes);
static inline int panini_has_room(panini_vm *vm, size_t bytes) {
    if (vm->memory.limit == 0 || (bytes <= vm->memory.limit && vm->memory.in_use <= vm->memory.limit - bytes)) return 1;
    return panini_make_room(vm, bytes);
}
// Whether the state is at its limit even after a full collection.
int panini_is_exhausted(panini_vm *vm);

// After a host function that has made values: their allocations are not refused, so that a loop over a host function would
// meet no limit of memory. Raises "not enough memory" when the state is over it, and a collection does not help.
int panini_raise_without_memory(lua_State *L);

static inline void panini_check_made(lua_State *L) {
    const panini_vm *vm = panini_vm_of(L);
    if (vm->kill.is_due) panini_raise_killed(L);
    // Of no limit, 0, the right side is the largest number.
    if (vm->memory.in_use - 1 >= vm->memory.limit - 1) panini_raise_without_memory(L);
}

// A full collection.
void panini_collect(lua_State *L);
// One basic step of the collector; 1 when it ended a cycle. Runs host finalizers only: scripts have none.
int panini_collect_step(lua_State *L);

// Gives pages that the allocator holds free back to the system, where the C library can.
void panini_release_free_memory(lua_State *L);
// Free memory of the C library alone. Any thread.
void panini_give_back_memory(void);

// Settings of the C library's allocator for a program that runs scripts for long. Once, before other threads exist.
void panini_settle_allocator(void);
#endif
