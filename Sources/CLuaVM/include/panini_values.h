// Small helpers of the host on Lua values: table traversal for options, texts, functions bound to a value. Thread of
// the Lua state.
#ifndef PANINI_VALUES_H
#define PANINI_VALUES_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "panini_call.h"

// lua_next for a traversal that the caller itself runs over an unmodified table, starting from nil: the key on top came
// from the step before, so luaH_next finds it and cannot raise. Callable from Swift under that condition. Ends early when
// the run is to end: what was read until then is not to be used.
int panini_next(lua_State *L, int index);

// The same for a table that code of the script may have changed since the step before, as a __tostring. -1: the key is gone,
// popped, and with it the place to go on from.
int panini_next_of_changing(lua_State *L, int index);

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

// The same, with the value below the bound one as its fourth upvalue (PANINI_SECOND_BOUND_VALUE), which it pops, too.
void panini_push_twice_bound_function(lua_State *L, panini_host_function function, void *context);

// Whether the value at an index has a `__tostring`. Raises only for want of memory.
int panini_has_text(lua_State *L, int index);

// Pushes what `tostring` gives for the value at an index; when that fails, a text that says so. Runs code of the script,
// under a protected call of its own.
void panini_push_text(lua_State *L, int index);

// Pushes the name of the type of the value at an index, as errors have it. Raises only for want of memory.
void panini_push_type_name(lua_State *L, int index);

// Raises when there are more arguments than a function takes, nils at the end aside. For C functions that Lua calls; what
// Swift registers looks for itself (HostCall).
void panini_refuse_surplus(lua_State *L, const char *name, int most);

enum {
    PANINI_FIRST_UPVALUE = LUA_REGISTRYINDEX - 1,
    PANINI_BOUND_VALUE = LUA_REGISTRYINDEX - 3,
    PANINI_SECOND_BOUND_VALUE = LUA_REGISTRYINDEX - 4,
};

#endif
