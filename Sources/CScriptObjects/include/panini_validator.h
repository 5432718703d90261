// Validators: rules compiled once, run over Lua values in C. The host fills the rules in while a script is loaded; a run
// calls no Lua but the `check` functions, and these may wait. Thread of the Lua state.
#ifndef PANINI_VALIDATOR_H
#define PANINI_VALIDATOR_H

#include <lua.h>

#include "panini_rules.h"

// Pushes the metatable of validators with `validate`; the table of methods is left above it, for the host to add to, and
// popped by it. Raises only for want of memory.
void panini_validator_push_metatable(lua_State *L);

// Pops the table of constants and pushes a validator with room for `rule_count` rules, all zero. Raises only for want of
// memory.
panini_validator *panini_validator_push(lua_State *L, int metatable_reference, int rule_count);

// The validator at an index, or NULL when the value is something else. Never raises.
panini_validator *panini_validator_at(lua_State *L, int index, int metatable_reference);

// Where a guarded function's value comes from, and who hears of failures.
typedef struct panini_guard_host {
    // Pushes the value to validate of the argument at index 1. May raise.
    void (*push_value)(lua_State *L, void *context);
    void *push_context;
    // A value has failed; the argument is at index 1. Must not raise; nothing is pushed.
    void (*failed)(lua_State *L, void *context);
    // on_invalid raised an error, the text on top, that is not meant as an answer: the violations are what goes out. The
    // argument is at index 1. Must not raise; the stack stays as it is.
    void (*covered)(lua_State *L, void *context);
    void *context;
    int error_metatable;
} panini_guard_host;

// Pops a handler, a validator and an on_invalid function (or nil), in this order from below, and pushes a function of one
// argument. It validates the argument's value and calls the handler with the argument; a failing one goes to on_invalid,
// and without one, or when that answers nothing, the function returns nil and an error table of code 422 with the list.
// `host` must outlive the function. Raises only for want of memory.
void panini_validator_push_guard(lua_State *L, const panini_guard_host *host);

// Pops a function and pushes one of one argument: it calls the popped one with the argument and the argument's value, and
// returns what that returns. Nothing is validated; an error of the value is raised. `host` must outlive the function.
// Raises only for want of memory.
void panini_validator_push_feeder(lua_State *L, const panini_guard_host *host);

#endif
