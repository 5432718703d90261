// Turns any error value into something a person can read, without letting a broken __tostring do harm; and keeps of an error
// that passes through several calls where it was raised.
#ifndef PANINI_ERROR_H
#define PANINI_ERROR_H
#include <lua.h>

#include "panini_vm.h"

// Pops the error value on top of L; pushes its text (always a string) and its code (an integer, a string or nil).
// Returns 1 when the value was a table.
int panini_describe_error(panini_vm *vm, lua_State *L);
// Pushes the traceback of `thread` onto L, or nil when there is no memory for it.
void panini_push_thread_traceback(panini_vm *vm, lua_State *L, lua_State *thread);

// A message handler: notes the error, the traceback of where it was raised, and whether the script raised it on purpose, with
// `error`. An error that passes another such handler on its way stays noted as it was.
int panini_note_error(lua_State *L);
// Forgets the error that was noted last.
void panini_forget_error(lua_State *L);
// Whether the script raised the error value at an index on purpose. One that is no text never comes from Lua itself.
int panini_is_error_meant(lua_State *L, int index);
// Pushes the traceback that was noted for the error value on top, or nil, and forgets it. Never raises.
void panini_take_noted_traceback(lua_State *L);
#endif
