// Protected calls, and the bridge to functions of the host that are written in Swift. Thread of the Lua state.
#ifndef PANINI_CALL_H
#define PANINI_CALL_H
#include <lua.h>
#include <stddef.h>

#include "panini_vm.h"

// Calls the function below `arguments` values on top of L, protected. Lua's status; the error value is on top when
// it is not LUA_OK, and panini_push_traceback then has the stack as it was.
int panini_call(panini_vm *vm, lua_State *L, int arguments, int results);
// The same for what the host does on behalf of a script after a run: it gets a tenth of the budget, and the reserve of
// memory.
int panini_call_after(panini_vm *vm, lua_State *L, int arguments, int results);
// Pushes the traceback that the last failed panini_call recorded, or nil, and forgets it.
void panini_push_traceback(lua_State *L);

// ---- host functions

// Returned by a host function in place of a number of results.
enum { PANINI_RAISE = -1, PANINI_SUSPEND = -2, PANINI_CALL = -3 };

// A host function: leaves n results on top and returns n, or leaves an error value on top and returns
// PANINI_RAISE, or returns PANINI_SUSPEND. PANINI_CALL: the function on top is called with what lies below it, and its
// results are the host function's. Must not raise, must not yield.
typedef int (*panini_host_function)(lua_State *L, void *context);

// The body of a C closure whose first upvalues are a host function and its context.
int panini_run_host_function(lua_State *L);
// Pushes `function` as a Lua function that carries `context`.
void panini_push_host_function(lua_State *L, panini_host_function function, void *context);
// Pushes "path:line: message" with the line of the innermost Lua function on L's stack, or the bare message.
void panini_push_positioned(lua_State *L, const char *message, size_t length);

// A function of the host runs between these two: a refused allocation must not raise while it is on the stack. The first gives
// what the second takes.
static inline int panini_enter_host(panini_vm *vm) {
    int could_fail = vm->calls.may_fail;
    vm->calls.may_fail = 0;
    return could_fail;
}
static inline void panini_leave_host(panini_vm *vm, int could_fail) { vm->calls.may_fail = could_fail; }

// What a script may be told that it does not get: finalizers, and collections.
enum { PANINI_NOTICE_FINALIZER, PANINI_NOTICE_COLLECT };

// Tells the host of it. For C functions that Lua has called.
void panini_notice(lua_State *L, int notice);
#endif
