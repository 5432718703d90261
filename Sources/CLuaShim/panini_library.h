// The parts of the allow-list, for the .c files of this target only. Each opens like Lua's own and pushes its table.
#ifndef PANINI_LIBRARY_H
#define PANINI_LIBRARY_H
#include <lua.h>

// In the registry: Lua's own next.
#define PANINI_NEXT_FIELD "panini.next"

// The basic library, into the globals; pushes nothing.
void panini_open_base(lua_State *L, int is_trusted);
int panini_open_debug(lua_State *L);
int panini_open_string(lua_State *L);
int panini_open_table(lua_State *L);
int panini_open_utf8(lua_State *L);
int panini_open_os(lua_State *L);

// Whether the value at an index is Lua's own `error`, under whatever name.
int panini_is_error_function(lua_State *L, int index);

// Pushes what scripts know as package.loaded: name -> module.
void panini_push_modules(lua_State *L);

// Replaces the table on top by one that reads the same and cannot be written to.
void panini_push_read_only(lua_State *L, const char *name);
#endif
