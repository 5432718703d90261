// What scripts see where Lua would show an address: a number that is the object's own for as long as it lives, and says
// nothing of where the program or the object lies.
#ifndef PANINI_ADDRESS_H
#define PANINI_ADDRESS_H
#include <lua.h>

#include "panini_vm.h"

// Makes the state's key. Before anything is shown.
void panini_open_addresses(panini_vm *vm);

// Random bytes that nobody can guess.
void panini_fill_random(void *bytes, size_t size);

// Pushes the number of the value at an index, "0x" and 16 digits; "(null)" for what has no address.
void panini_push_address(lua_State *L, int index);

// As luaL_tolstring, with that number.
const char *panini_tolstring(lua_State *L, int index, size_t *length);
#endif
