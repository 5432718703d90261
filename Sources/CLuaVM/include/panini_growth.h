// Runs that are one instruction of Lua and grow the stack: a chain of `__call` that has no end. Each link of it moves all values
// of the stack by one place, and no hook is looked at in between. All that can be met from outside is the growth of the stack, to
// twice its size each time, and each step of it takes four times as long as the one before. Lives on the thread of its Lua state.
#ifndef PANINI_GROWTH_H
#define PANINI_GROWTH_H
#include <stddef.h>

#include "panini_vm.h"

// A chain gets to a stack of so many bytes in a millisecond. What grows by less is not looked at.
enum { PANINI_LARGE_GROWTH = 16 << 10 };

// Whether a block of that size is a stack which grows in the same instruction for the second time, and the run would be over its
// budget before it grows once more. Called by the allocator.
int panini_growth_is_too_long(panini_vm *vm, size_t size);
// A part of an object has that size now. Called by the allocator.
void panini_note_growth(panini_vm *vm, size_t size);
#endif
