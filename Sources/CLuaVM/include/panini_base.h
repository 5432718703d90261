// What the basic library of scripts has for the host. Thread of the Lua state.
#ifndef PANINI_BASE_H
#define PANINI_BASE_H
#include <lua.h>

// Hides the metatable on top from scripts: to them its tables have none, and they may give them one. Raises only for want of
// memory.
void panini_hide_metatable(lua_State *L);

// Whether the value at an index is Lua's own `error`, under whatever name.
int panini_is_error_function(lua_State *L, int index);
#endif
