// The beginning and the end of a state.
#ifndef PANINI_LIFE_H
#define PANINI_LIFE_H
#include "panini_vm.h"

// Makes a state with the libraries that scripts may use, or with all that trusted ones may. NULL when there is no memory for
// it.
panini_vm *panini_vm_create(int is_trusted);
// Closes the state and frees everything. Host functions are no longer called.
void panini_vm_destroy(panini_vm *vm);

// What reports of the watchdog call the state.
void panini_vm_set_label(panini_vm *vm, const char *text, size_t length);

// "Lua 5.4.4".
const char *panini_lua_release(void);
#endif
