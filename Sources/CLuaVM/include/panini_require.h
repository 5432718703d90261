// `require` and `package`: each module runs once, and may wait for the host while it runs. Thread of the Lua state.
#ifndef PANINI_REQUIRE_H
#define PANINI_REQUIRE_H
#include <lua.h>

#include "panini_vm.h"

// Installs the global `require` and the empty registers it needs; for a trusted script modules in C, too. Raises on lack of
// memory: call it protected.
void panini_open_require(lua_State *L, int is_trusted);
// After a run was ended: gives up the modules that nobody loads any more, so that those who wait for them go on.
void panini_require_abandon(panini_vm *vm);
// Puts templates in front of package.path, or behind it.
void panini_add_search_path(lua_State *L, const char *templates, int is_first);
// Pops the value on top of L and makes require(name) return it.
void panini_set_loaded(lua_State *L, const char *name);
#endif
