// What becomes of an inner call that failed when whoever wraps it ends without an answer of its own. For the .c files of
// this target only: middlewares, and on_invalid of validators.
#ifndef PANINI_OUTCOME_H
#define PANINI_OUTCOME_H
#include <lua.h>
#include <stdbool.h>

// Pops the error value and pushes a record of it: the outcome of a call that raised.
void panini_push_raised(lua_State *L);

// Pushes a record of the values from `first` to the top: the outcome of a call that returned.
void panini_push_returned(lua_State *L, int first);

// Whether the values from `first` to the top are `nil, err`.
bool panini_is_error(lua_State *L, int first);

// Whether the error value at an index takes the place of the inner error at another one: it is another one, and the script
// meant to raise it. What Lua itself raises, such as `attempt to index a nil value`, comes of an answer that is missing.
bool panini_takes_place(lua_State *L, int status, int error, int inner);

// Says that the string on top was raised and goes nowhere, but to the log. May not raise; the stack stays as it is.
typedef void (*panini_covered_function)(lua_State *L, void *context, int kind);

// A call that wraps an inner one has ended: its results, or its error value, lie above `base`, and the record of the inner
// outcome, or no table, is on top and popped. Leaves what goes outward on top and returns the number of values, or raises.
int panini_settle_outcome(
    lua_State *L, int base, int status, panini_covered_function covered, void *context, int kind);

// Pushes the values of the record at an index, which is the top, or raises its error.
int panini_give_outcome(lua_State *L, int record);
#endif
