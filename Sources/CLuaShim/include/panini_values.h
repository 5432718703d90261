// Small helpers of the host on Lua values: table traversal for options, the error tables that calls return. Thread of
// the Lua state.
#ifndef PANINI_VALUES_H
#define PANINI_VALUES_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "panini_vm.h"

// lua_next for a traversal that the caller itself runs over an unmodified table, starting from nil: the key on top came
// from the step before, so luaH_next finds it and cannot raise. Callable from Swift under that condition.
int panini_next(lua_State *L, int index);

// Pushes the metatable of error tables (`__tostring` gives the message); the caller keeps a reference. Raises only for
// want of memory.
void panini_error_push_metatable(lua_State *L);

// Pushes { code =, message = } with that metatable. `code_text` NULL: the code is `code_number`. Raises only for want of
// memory.
void panini_error_push(
    lua_State *L, int metatable_reference, const char *code_text, size_t code_length, int64_t code_number,
    const char *message, size_t message_length);

// The userdata at `index` with the metatable of that reference, or NULL when the value is something else. Never raises.
void *panini_userdata_at(lua_State *L, int index, int metatable_reference);

// Pushes t[name] of the table at `index` without metamethods, and returns the type. Raises only for want of memory.
int panini_field(lua_State *L, int index, const char *name);

// The file and line where the function at `index` was defined; 0 when it is no Lua function. Raises only for want of
// memory. The text goes to `buffer`.
int panini_function_origin(lua_State *L, int index, char *buffer, size_t size);

// Pushes a host function with the value on top of L as its third upvalue (PANINI_BOUND_VALUE), which it pops. A first
// argument that is this value is dropped, so that a dot and a colon call alike. Raises only for want of memory.
void panini_push_bound_function(lua_State *L, panini_host_function function, void *context);

// The same for functions that take a text first: it is made a string as print would, before `function` runs.
void panini_push_text_function(lua_State *L, panini_host_function function, void *context);

// Pushes print: all arguments as one text, tabs between, are the only argument of `function`.
void panini_push_printer(lua_State *L, panini_host_function function, void *context);

// One basic step of the collector; 1 when it ended a cycle. Runs host finalizers only: scripts have none.
int panini_collect_step(lua_State *L);

// Gives pages that the allocator holds free back to the system, where the C library can.
void panini_release_free_memory(lua_State *L);

// Settings of the C library's allocator for a program that runs scripts for long. Once, before other threads exist.
void panini_settle_allocator(void);

enum { PANINI_FIRST_UPVALUE = LUA_REGISTRYINDEX - 1, PANINI_BOUND_VALUE = LUA_REGISTRYINDEX - 3 };

#endif
