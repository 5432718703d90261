// What it would cost Lua to put the keys of a full table into a new hash part, asked when the memory for that is asked for.
// Lua does it within one instruction, which no hook interrupts, and each key goes past those that share its place: the time
// grows with their square. 130,000 integers that are multiples of 2^18 - 1 take 20 seconds (measured), and a client may have
// chosen them.
#ifndef PANINI_REHASH_H
#define PANINI_REHASH_H
#include <lua.h>

#include "panini_vm.h"

// A hash part of fewer nodes is no matter of time.
enum { PANINI_REHASH_NODE = 24, PANINI_REHASH_SMALLEST = 12 };
#define PANINI_REHASH_BYTES ((size_t)PANINI_REHASH_NODE << PANINI_REHASH_SMALLEST)

// Finds out whether tables are laid out as this file expects: Lua does not promise it. Protected, with one argument slot.
void panini_open_rehash(lua_State *L);

// How many nodes the hash part of the table at an index has; 0 when that is not known.
size_t panini_table_places(lua_State *L, int index);

// For the allocator: a new block of so many bytes, at least PANINI_REHASH_BYTES, is asked for. Whether it would be the hash
// part of a table whose keys take more than a tenth of the budget.
int panini_rehash_is_too_long(panini_vm *vm, size_t bytes);
#endif
