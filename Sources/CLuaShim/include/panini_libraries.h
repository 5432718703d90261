// The libraries that scripts see, and require.
#ifndef PANINI_LIBRARIES_H
#define PANINI_LIBRARIES_H
#include <lua.h>

#include "panini_vm.h"

// Opens the allow-listed libraries into the global table. Raises on lack of memory: call it protected.
void panini_open_libraries(lua_State *L);
// Installs the global `require` and the empty registers it needs. Raises on lack of memory: call it protected.
void panini_open_require(lua_State *L);
// Pops the value on top of L and makes require(name) return it.
void panini_set_loaded(lua_State *L, const char *name);
#endif
