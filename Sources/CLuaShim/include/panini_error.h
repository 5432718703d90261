// Turns any error value into something a person can read, without letting a broken __tostring do harm.
#ifndef PANINI_ERROR_H
#define PANINI_ERROR_H
#include <lua.h>

#include "panini_vm.h"

// Pops the error value on top of L; pushes its text (always a string) and its code (an integer, a string or nil).
// Returns 1 when the value was a table.
int panini_describe_error(panini_vm *vm, lua_State *L);
// Pushes the traceback of `thread` onto L, or nil when there is no memory for it.
void panini_push_thread_traceback(panini_vm *vm, lua_State *L, lua_State *thread);
#endif
