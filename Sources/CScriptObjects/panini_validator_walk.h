// Shared by validator.c and validator_walk.c only: one run of a validator.
#ifndef PANINI_VALIDATOR_WALK_H
#define PANINI_VALIDATOR_WALK_H
#include <lua.h>

#include "panini_rules.h"

// Stack indices of a run: the function's own argument or the validator, the value, and what the run leaves.
enum { RUN_SUBJECT = 1, RUN_VALUE = 2, RUN_VIOLATIONS = 3, RUN_CHECKS = 4 };

// Pending checks lie flat in a table: the function, the value, the path, the first check inside the value. At 0: the last
// check that failed.
enum { CHECK_FUNCTION = 1, CHECK_VALUE, CHECK_PATH, CHECK_FIRST, CHECK_SIZE = 4 };

// Runs over the value at RUN_VALUE; RUN_VIOLATIONS and RUN_CHECKS become tables when there are any. The stack is as high
// as before.
void panini_walk_value(lua_State *L, const panini_validator *validator, int validator_index);

// Pops a path and a text above it, and appends the violation to the list at `list`, which is made when there is none.
// Beyond the limit it appends one of code "too_many", and returns 0 from then on.
int panini_walk_report(lua_State *L, int list, int limit, const char *code);
#endif
