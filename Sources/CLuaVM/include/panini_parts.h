// The parts of a state's record. The files that are named with a part write it; others read it. The functions that work on a part
// take the whole state, and stand in the headers of those files.
#ifndef PANINI_PARTS_H
#define PANINI_PARTS_H
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

// A thread that is executing right now: the records form a chain through the C stack, innermost first. The
// chain says whether a wait is possible, and from which thread a resume inherits its C depth.
typedef struct panini_activation {
    lua_State *thread;
    struct panini_activation *previous;
} panini_activation;

// Entering and leaving Lua. panini_call.c, panini_coroutine.c and panini_load.c write it.
typedef struct panini_calls {
    panini_activation *activation;
    // Where the C stack stood when Lua was entered from Swift; bounds nested closes.
    char *stack_base;
    // 1 while a refused allocation unwinds C and Lua frames only; 0 whenever Swift called into Lua directly.
    int may_fail;
    int close_depth;
    // The next host function to continue after a suspension raises the value it is resumed with.
    int raise_on_resume;
} panini_calls;

// What the allocator counts. panini_memory.c writes it, and the host what it charges.
typedef struct panini_memory {
    size_t in_use, peak;
    // 0 = no limit. Enforced only while no Swift frame would be jumped over (see may_fail).
    size_t limit;
    // Allocations refused since the state was made.
    uint64_t refused;
    // Collections to leave out, and how many the next one that gains nothing leaves out: see panini_make_room.
    uint32_t skipped_collections, collection_pause;
    // What the host does about errors may use a little more: PANINI_RESERVE.
    int has_reserve;
    // The collector runs with the measure for large states.
    int is_large;
} panini_memory;

// The CPU time of runs. panini_budget.c, panini_run.h and panini_coroutine.c write it.
typedef struct panini_run {
    // CPU time of one run in nanoseconds; 0: no limit.
    uint64_t budget;
    // In: what the coroutine to be resumed has used in its earlier segments, as far as the watchdog has seen it. Out, when
    // it is suspended: the same with this one.
    uint64_t time;
    // The same of segments that nobody measures, on the clock on the wall; and whether the coroutine goes on after a wait.
    uint64_t wall;
    int is_continued;
    // The state in whose run this one was entered.
    struct panini_vm *outer;
} panini_run;

struct panini_kill_note;

// The end of a run by force. panini_kill.c writes it.
typedef struct panini_kill {
    // The run is to end: set by a signal, looked at by the hook and by every long loop.
    volatile int is_due;
    // What functions in C have done since one of them looked at that last, in bytes: see panini_spend.
    size_t work;
    // It has raised the error that ends it.
    int has_note;
    // What for: PANINI_KILL_FOR_... of panini_kill.h.
    int reason;
    struct panini_kill_note *note;
    // What else the next instruction does when panini_hook_next asked for one; NULL: nothing. May end the run.
    void (*look)(lua_State *L);
} panini_kill;

// Tables with weak keys. panini_weak.c writes it; the allocator counts what a state grows by.
typedef struct panini_weak {
    // A thread that runs nothing: its stack is for looks in the middle of anything.
    lua_State *scout;
    // How many values may be in them, 0: any; what the state has grown by since the last look, and may grow by.
    size_t limit, unchecked, step;
    // Whether it is time for a look, and whether there is anything to look at.
    int is_due, has_metatables;
    // A mode or the number of places was wrong before: looks come closer.
    int has_alarm;
} panini_weak;

// The last part of an object that was large, if no instruction has run since. panini_growth.c writes it, and the hook of
// panini_kill.c takes the size back.
typedef struct panini_growth {
    size_t size;
    // The run in which that was, and the thread's CPU time then.
    uint64_t run, time;
} panini_growth;

// Whom a state tells of what scripts do. The host writes it. The functions must not raise; NULL: nobody asks.
typedef struct panini_callbacks {
    // A global that did not exist is being assigned: its name is at 2, the value at 3.
    void (*global_made)(lua_State *L, void *context);
    void *global_context;
    // What scripts write to a standard stream, 1 or 2; text NULL: what was written so far is to go on. NULL: the process' own
    // streams.
    void (*output)(void *context, int stream, const char *text, size_t length);
    void *output_context;
    // A script has asked for something that is left out: PANINI_NOTICE_... .
    void (*notice)(lua_State *L, void *context, int notice);
    void *notice_context;
} panini_callbacks;

// Where modules come from. The host writes it; panini_require.c calls the functions.
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

// The key under which addresses are shown. panini_address.c writes it.
enum { PANINI_ADDRESS_ROUNDS = 27 };
typedef struct panini_address_key {
    uint32_t words[PANINI_ADDRESS_ROUNDS];
} panini_address_key;
#endif
