// What a Lua state carries besides Lua: memory accounting, the chain of threads that are running now, budgets, and the
// functions of the host. One panini_vm belongs to one thread.
//
// Pointers into Lua's objects, for this target and for all that stands on it, in C and in Swift: the bytes of a string, the
// block of a userdata and a thread live as long as their value is where the collector looks for it, and nothing but that value
// may be gone. The collector runs in every function of the API that takes memory or calls. So such a pointer is used up before
// the next one of these, or its value lies meanwhile
//   - in a slot of the stack that nobody takes it out of, or in an upvalue of the C function that runs,
//   - or in a table that no script can reach, and that is not weak.
// A table of the script's is no such place: another coroutine, a metamethod, a callback or the collector (it may be weak) takes
// out of it what it likes; what was counted in it may be fewer by the time it is read. The host's finalizers run there, too,
// and do not come back to Lua.
#ifndef PANINI_VM_H
#define PANINI_VM_H
#include <lua.h>
#include <stdint.h>

#include "panini_faults.h"
#include "panini_parts.h"
#include "panini_pool.h"

// Constants that the headers of Lua hide in macros Swift cannot import.
static const int PANINI_REGISTRY_INDEX = LUA_REGISTRYINDEX;
enum {
    // First registry slot that belongs to Swift's references. A new one is the first slot behind those in use, none of which
    // is ever nil: so luaL_ref, as libraries in C call it, hands out others.
    PANINI_FIRST_REFERENCE = 8,
    // The metatable that marks arrays for the JSON codec, in a fixed registry slot.
    PANINI_ARRAY_METATABLE = 4,
    // The error that was noted last (panini_error.h), and its traceback.
    PANINI_NOTED_ERROR = 5,
    PANINI_NOTED_TRACEBACK = 6,
    // The metatable that tells objects without members, as the JSON codec reads them, from tables of the script.
    PANINI_EMPTY_OBJECT_METATABLE = 7,
};

// Pushes the metatable for arrays.
static inline void panini_push_array_metatable(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_ARRAY_METATABLE);
}

// Aligned to 16: the low bits of the pointer in each thread's extra space are that thread's flags.
typedef struct panini_vm {
    lua_State *main;
    panini_calls calls;
    panini_memory memory;
    panini_run run;
    panini_kill kill;
    panini_weak weak;
    panini_growth growth;
    panini_pool pool;
    // Lua's text "__newindex"; NULL when tables are not as panini_rehash.c expects.
    const void *newindex_name;
    // The error that was noted last was raised by a call of `error` (panini_error.h).
    int is_error_meant;
    panini_module_loader loader;
    panini_callbacks callbacks;
    panini_address_key address_key;
    // For tests.
    panini_faults faults;
    // For people: which service this is.
    char label[64];
} panini_vm;

static inline panini_vm *panini_vm_of(lua_State *L) {
    return (panini_vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)15);
}
#endif
