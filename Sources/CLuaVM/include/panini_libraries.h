// The libraries that scripts see, and require.
#ifndef PANINI_LIBRARIES_H
#define PANINI_LIBRARIES_H
#include <lua.h>

// Opens the allow-listed libraries into the global table, as tables that scripts may add to; for a trusted script Lua's own io,
// os and debug, and all of them as they are. Raises on lack of memory: call it protected.
void panini_open_libraries(lua_State *L, int is_trusted);
// Pops the function on top of L and makes it that one of a library: a global table at this point.
void panini_set_library_function(lua_State *L, const char *library, const char *name);
#endif
