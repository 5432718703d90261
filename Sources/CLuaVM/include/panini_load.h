// Compiling text within the budget. Text only: bytecode can crash the interpreter.
#ifndef PANINI_LOAD_H
#define PANINI_LOAD_H
#include <lua.h>

#include "panini_vm.h"

// As luaL_loadbufferx in mode "t", but ends when the run is to end: the error is then the one of panini_kill.h. For C
// functions that Lua has called.
int panini_load_text(lua_State *L, const char *text, size_t length, const char *name);

// The same for the texts that the function at 1 returns, until there is none.
int panini_load_pieces(lua_State *L, const char *name);

// Like the first for the host: within a run, or as one of its own. PANINI_KILLED when it was ended, with something on the stack
// that is no text.
int panini_compile(panini_vm *vm, lua_State *L, const char *text, size_t length, const char *name);
#endif
