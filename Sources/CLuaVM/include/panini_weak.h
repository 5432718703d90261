// Tables with weak keys and strong values. To clear them Lua's collector goes over all of them again and again, in one step
// that nothing can interrupt: up to once for each value, when the values are keys themselves. So their number is
// bounded. Lives on the thread of its Lua state.
#ifndef PANINI_WEAK_H
#define PANINI_WEAK_H
#include <lua.h>

#include "panini_vm.h"

// Between two looks a state may grow by so much: while it has no tables with weak keys, with them, where it is some five
// hundred values, and after a mode or the number of places was found to be wrong.
enum { PANINI_LONG_WEAK_STEP = 256 * 1024, PANINI_SHORT_WEAK_STEP = 64 * 1024, PANINI_ALARMED_WEAK_STEP = 16 * 1024 };

// Looks at the tables with weak keys: whether all is fine, a metatable was made weak after it was given to a table (it is
// strong again), or there are more values in them than weak_limit (or so many places for them that they are strong from now on).
// Raises nothing.
enum { PANINI_WEAK_FINE, PANINI_WEAK_LATE, PANINI_WEAK_MANY };
int panini_weak_check(lua_State *L);

// Makes the lists. Raises only for want of memory.
void panini_open_weak(lua_State *L);
// Notes that the table at 1 gets the metatable at 2. Raises when that one was made weak after it was given to others.
void panini_note_metatable(lua_State *L);

// The state has grown by weak_step bytes since the last look: the next instruction looks. Called by the allocator.
void panini_weak_due(panini_vm *vm);
// Before a collection that cannot be put off: looks at once, makes strong what would hold it up, and ends the run for it. Takes
// no memory and raises nothing; safe in the allocator, wherever Lua itself may collect.
void panini_weak_settle(panini_vm *vm);
#endif
