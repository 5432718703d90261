// What a Lua state carries besides Lua: memory accounting, the chain of threads that are running now, and the
// bridge to host functions written in Swift. One panini_vm belongs to one thread.
//
// Pointers into Lua's objects, for all of this target and for Swift: the bytes of a string, the block of a userdata and a thread
// live as long as their value is where the collector looks for it, and nothing but that value may be gone. The collector runs
// in every function of the API that takes memory or calls. So such a pointer is used up before the next one of these, or its
// value lies meanwhile
//   - in a slot of the stack that nobody takes it out of, or in an upvalue of the C function that runs,
//   - or in a table that no script can reach, and that is not weak.
// A table of the script's is no such place: another coroutine, a metamethod, a callback or the collector (it may be weak) takes
// out of it what it likes; what was counted in it may be fewer by the time it is read. The host's finalizers run there, too,
// and do not come back to Lua.
#ifndef PANINI_VM_H
#define PANINI_VM_H
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "panini_faults.h"
#include "panini_pool.h"

// Constants that the headers of Lua hide in macros Swift cannot import.
static const int PANINI_REGISTRY_INDEX = LUA_REGISTRYINDEX;
enum {
    // First registry slot that belongs to Swift's references. A new one is the first slot behind those in use, none of which
    // is ever nil: so luaL_ref, as libraries in C call it, hands out others.
    PANINI_FIRST_REFERENCE = 8,
    // The metatable that marks arrays for the JSON codec, in a fixed registry slot.
    PANINI_ARRAY_METATABLE = 4,
    // The last error that passed through a native middleware, and its traceback.
    PANINI_TRACED_ERROR = 5,
    PANINI_TRACED_TEXT = 6,
    // The metatable that tells objects without members, as the JSON codec reads them, from tables of the script.
    PANINI_EMPTY_OBJECT_METATABLE = 7,
};

// Words of the key under which addresses are shown (panini_address.h).
enum { PANINI_ADDRESS_ROUNDS = 27 };

// Bytes beyond the limit that are kept for error paths.
enum { PANINI_RESERVE = 256 * 1024 };

// Returned by a host function in place of a number of results.
enum { PANINI_RAISE = -1, PANINI_SUSPEND = -2, PANINI_CALL = -3 };

// A thread that is executing right now: the records form a chain through the C stack, innermost first. The
// chain says whether a wait is possible, and from which thread a resume inherits its C depth.
typedef struct panini_activation {
    lua_State *thread;
    struct panini_activation *previous;
} panini_activation;

typedef struct panini_module_loader {
    // Pushes the compiled chunk and the file's path (returns 1), or an error message (0), or a line for each place where the
    // module is not (-1). `path` is package.path.
    int (*load)(
        lua_State *L, void *context, const char *name, size_t length, const char *path, size_t path_length);
    // The same for package.searchpath: pushes the file's path (1), or the lines (-1).
    int (*search)(
        lua_State *L, void *context, const char *file, size_t length, const char *path, size_t path_length);
    // The running coroutine is about to wait for a module that another one is loading; NULL: it gets an error instead.
    void (*wait)(void *context, const char *name, size_t length);
    // The loading of a module has ended, well or not: those who wait may go on.
    void (*ended)(void *context, const char *name, size_t length);
    void *context;
} panini_module_loader;

// Aligned to 16: the low bits of the pointer in each thread's extra space are that thread's flags.
typedef struct panini_vm {
    lua_State *main;
    // A thread that runs nothing: its stack is for looks in the middle of anything (panini_weak.c).
    lua_State *scout;
    panini_activation *activation;
    panini_module_loader loader;
    // Where the C stack stood when Lua was entered from Swift; bounds nested closes.
    char *stack_base;
    size_t bytes_in_use;
    size_t bytes_peak;
    // 0 = no limit. Enforced only while no Swift frame would be jumped over (see may_fail).
    size_t bytes_limit;
    // Collections to leave out, and how many the next one that gains nothing leaves out: see panini_make_room.
    uint32_t skipped_collections, collection_pause;
    // Allocations refused since the state was made.
    uint64_t refused;
    // Values that were not looked at to their end: too many violations, or too many steps of a pattern.
    uint64_t validator_limits;
    // What the host does about errors may use a little more: PANINI_RESERVE.
    int has_reserve;
    // 1 while a refused allocation unwinds C and Lua frames only; 0 whenever Swift called into Lua directly.
    int may_fail;
    int close_depth;
    // Tables with weak keys (panini_weak.h): how many values may be in them, 0: any; what the state has grown by since
    // the last look, and may grow by; whether it is time for one; and whether there is anything to look at.
    size_t weak_limit, unchecked, weak_step;
    int is_weak_due, has_metatables;
    // A mode or the number of places was wrong before: looks come closer.
    int has_weak_alarm;
    // The collector runs with the measure for large states.
    int is_large;
    panini_pool pool;
    // The error that passed last was raised by a call of `error`: see panini_outcome.h.
    int is_error_meant;
    // The next host function to continue after a suspension raises the value it is resumed with.
    int raise_on_resume;

    // CPU time of one run in nanoseconds; 0: no limit.
    uint64_t cpu_budget;
    // In: what the coroutine to be resumed has used in its earlier stretches, as far as the watchdog has seen it. Out, when
    // it is suspended: the same with this one.
    uint64_t run_time;
    // The same of stretches that nobody measures, on the clock on the wall; and whether the coroutine goes on after a wait.
    uint64_t run_wall;
    int is_continued;
    // The run is to end: set by a signal, looked at by the hook and by every long loop.
    volatile int killed;
    // It has raised the error that ends it.
    int has_kill_note;
    struct panini_kill_note *kill_note;
    // What for: PANINI_KILL_FOR_... of panini_kill.h.
    int kill_reason;
    // Lua's text "__newindex"; NULL when tables are not as panini_rehash.c expects.
    const void *newindex_name;
    // The state in whose run this one was entered.
    struct panini_vm *outer;
    // A global that did not exist is being assigned: its name is at 2, the value at 3. Must not raise. NULL: nobody asks.
    void (*global_made)(lua_State *L, void *context);
    void *global_context;
    // What scripts write to a standard stream, 1 or 2; text NULL: what was written so far is to go on. Must not raise.
    // NULL: the process' own streams.
    void (*output)(void *context, int stream, const char *text, size_t length);
    void *output_context;
    // A script has asked for something that is left out: PANINI_NOTICE_... . Must not raise. NULL: nobody asks.
    void (*notice)(lua_State *L, void *context, int notice);
    void *notice_context;
    // For tests.
    panini_faults faults;
    // For people: which service this is.
    char label[64];
    uint32_t address_keys[PANINI_ADDRESS_ROUNDS];
} panini_vm;

// What a script may be told that it does not get: finalizers, and collections.
enum { PANINI_NOTICE_FINALIZER, PANINI_NOTICE_COLLECT };

// A host function: leaves n results on top and returns n, or leaves an error value on top and returns
// PANINI_RAISE, or returns PANINI_SUSPEND. PANINI_CALL: the function on top is called with what lies below it, and its
// results are the host function's. Must not raise, must not yield.
typedef int (*panini_host_function)(lua_State *L, void *context);

// Makes a state with the libraries that scripts may use, or with all that trusted ones may. NULL when there is no memory for
// it.
panini_vm *panini_vm_create(int is_trusted);
// Fits the collector's pace to the size of the state; cheap, for the end of each burst of work.
void panini_tune_collector(panini_vm *vm);
// Closes the state and frees everything. Host functions are no longer called.
void panini_vm_destroy(panini_vm *vm);

// Whether so many bytes more are within the limit, after a full collection when need be. For values that the host makes on
// its own account: their allocations are never refused. Collections that gain nothing become rare.
int panini_make_room(panini_vm *vm, size_t bytes);
static inline int panini_has_room(panini_vm *vm, size_t bytes) {
    if (vm->bytes_limit == 0 || (bytes <= vm->bytes_limit && vm->bytes_in_use <= vm->bytes_limit - bytes)) return 1;
    return panini_make_room(vm, bytes);
}
// Whether the state is at its limit even after a full collection.
int panini_is_exhausted(panini_vm *vm);

// Gives every run a budget of CPU time in nanoseconds, the one that goes on included; 0: none. Returns 0 when there is no
// watchdog to see to it.
int panini_vm_set_budget(panini_vm *vm, uint64_t nanoseconds);
// What reports of the watchdog call the state.
void panini_vm_set_label(panini_vm *vm, const char *text, size_t length);

// Calls the function below `arguments` values on top of L, protected. Lua's status; the error value is on top when
// it is not LUA_OK, and panini_push_traceback then has the stack as it was.
int panini_call(panini_vm *vm, lua_State *L, int arguments, int results);
// The same for what the host does on behalf of a script after a run: it gets a tenth of the budget, and the reserve of
// memory.
int panini_call_after(panini_vm *vm, lua_State *L, int arguments, int results);
// Pushes the traceback that the last failed panini_call recorded, or nil, and forgets it.
void panini_push_traceback(lua_State *L);

// The body of a C closure whose first upvalues are a host function and its context.
int panini_run_host_function(lua_State *L);
// Pushes `function` as a Lua function that carries `context`.
void panini_push_host_function(lua_State *L, panini_host_function function, void *context);
// Pushes "path:line: message" with the line of the innermost Lua function on L's stack, or the bare message.
void panini_push_positioned(lua_State *L, const char *message, size_t length);
// Pushes the metatable for arrays.
static inline void panini_push_array_metatable(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_ARRAY_METATABLE);
}

// For C functions that Lua has called.
void panini_notice(lua_State *L, int notice);

// Looks at the tables with weak keys: whether all is fine, a metatable was made weak after it was given to a table (it is
// strong again), or there are more values in them than weak_limit (or so many places for them that they are strong from now on).
// Raises nothing.
enum { PANINI_WEAK_FINE, PANINI_WEAK_LATE, PANINI_WEAK_MANY };
int panini_weak_check(lua_State *L);

// A full collection.
void panini_collect(lua_State *L);
// "Lua 5.4.4".
const char *panini_lua_release(void);

static inline panini_vm *panini_vm_of(lua_State *L) {
    return (panini_vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)15);
}
#endif
