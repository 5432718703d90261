// Tables of the host that scripts may read, and not change. Thread of the Lua state.
#ifndef PANINI_SHIELD_H
#define PANINI_SHIELD_H
#include <lua.h>

// Pushes a table that reads as the one on top does and refuses every assignment: `name.key cannot be assigned: hint`. What
// is put into the one below shows in it. Raises only for want of memory.
void panini_push_fixed(lua_State *L, const char *name, const char *hint);
#endif
