// The libraries that scripts see, and require.
#ifndef PANINI_LIBRARIES_H
#define PANINI_LIBRARIES_H
#include <lua.h>

#include "panini_vm.h"

// Opens the allow-listed libraries into the global table, as tables that scripts may add to; for a trusted script Lua's own io,
// os and debug, and all of them as they are. Raises on lack of memory: call it protected.
void panini_open_libraries(lua_State *L, int is_trusted);
// Installs the global `require` and the empty registers it needs; for a trusted script modules in C, too. Raises on lack of
// memory: call it protected.
void panini_open_require(lua_State *L, int is_trusted);
// After a run was ended: gives up the modules that nobody loads any more, so that those who wait for them go on.
void panini_require_abandon(panini_vm *vm);
// Pops the function on top of L and makes it that one of a library: a global table at this point.
void panini_set_library_function(lua_State *L, const char *library, const char *name);
// Puts templates in front of package.path, or behind it.
void panini_add_search_path(lua_State *L, const char *templates, int is_first);
// Pops the value on top of L and makes require(name) return it.
void panini_set_loaded(lua_State *L, const char *name);
#endif
