// The parts of the allow-list, for the .c files of this target only. Each opens like Lua's own and pushes its table.
#ifndef PANINI_LIBRARY_H
#define PANINI_LIBRARY_H
#include <lua.h>

// The basic library, into the globals; pushes nothing.
void panini_open_base(lua_State *L, int is_trusted);
int panini_open_debug(lua_State *L);
// Lua's own, with the host's traceback.
int panini_open_trusted_debug(lua_State *L);
int panini_open_io(lua_State *L);
int panini_open_math(lua_State *L);
int panini_open_string(lua_State *L);
int panini_open_table(lua_State *L);
int panini_open_utf8(lua_State *L);
int panini_open_os(lua_State *L);

// Pushes what scripts know as package.loaded: name -> module.
void panini_push_modules(lua_State *L);

// debug.traceback, and what stands for a script's message handler, whose frame it leaves out.
int panini_traceback(lua_State *L);
int panini_run_handler(lua_State *L);

// The basic library's own, which keep scripts away from what is the host's.
int panini_getmetatable(lua_State *L);
int panini_setmetatable(lua_State *L);
// Pushes the metatable of strings, and what scripts get to see in its place.
void panini_push_string_metatable(lua_State *L);

// Replaces the table on top by one that reads the same, and that scripts may add to but not change. What they add goes to the
// table at `mirror` as well, an absolute index; 0: to none.
void panini_push_shielded(lua_State *L, const char *name, int mirror);
// Whether the value at an index is such a table; pushes what the host put there when it is.
int panini_push_contents(lua_State *L, int index);
// Puts the functions that look through such tables, next, rawget and rawset, into the table on top.
void panini_set_shielded_access(lua_State *L);

// Puts a function into the table on top that raises: `name` is closed to scripts. `way` says what to use, NULL: nothing else.
void panini_set_closed(lua_State *L, const char *field, const char *name, const char *way);
// Replaces a function of Lua's, in the table on top, that reads each of any number of arguments as a number: texts that are too
// long for one are refused before.
void panini_set_bounded(lua_State *L, const char *field);
// The functions of os that are closed, and setlocale, into the table on top.
void panini_close_os(lua_State *L);
#endif
