// Validators: rules compiled once, run over Lua values in C. The host fills the rules in while a script is loaded; a run
// calls no Lua but the `check` functions, and these may wait. Thread of the Lua state.
#ifndef PANINI_VALIDATOR_H
#define PANINI_VALIDATOR_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PANINI_TYPE_ANY = 0,
    PANINI_TYPE_STRING,
    PANINI_TYPE_INTEGER,
    PANINI_TYPE_NUMBER,
    PANINI_TYPE_BOOLEAN,
    PANINI_TYPE_ARRAY,
    PANINI_TYPE_OBJECT,
    PANINI_TYPE_VALIDATOR,
};

enum {
    PANINI_RULE_NULL = 1,             // panini.null is allowed
    PANINI_RULE_OPTIONAL = 2,         // may be missing
    PANINI_RULE_MINIMUM = 4,          // `minimum` is set
    PANINI_RULE_MAXIMUM = 8,
    PANINI_RULE_INTEGER_BOUNDS = 16,  // integers are compared with `least` and `most`
};

enum {
    // How deep validators and items may nest: bounds C's recursion and the length of a path.
    PANINI_VALIDATOR_DEPTH = 32,
    PANINI_VALIDATOR_SLOTS_FIRST = 4,
    // Slots of every validator's constants.
    PANINI_VALIDATOR_NAMES = 1,   // the set of the fields' names
    PANINI_VALIDATOR_SCHEMA = 2,  // for the host
};

// What one value must be. Members named `..._slot` are positions in the validator's table of constants; 0 is none.
typedef struct panini_rule {
    uint8_t type;
    uint8_t flags;
    int32_t items;  // the rule of an array's elements; -1: anything
    int32_t name_slot, default_slot, validator_slot, choices_slot, check_slot, minimum_slot, maximum_slot;
    // Texts of violations.
    int32_t choices_text_slot, pattern_text_slot, minimum_text_slot, maximum_text_slot;
    int64_t least, most;  // lengths, or integers
    // Bytes of strings that the constants keep alive.
    const char *name;
    size_t name_length;
    const uint8_t *pattern;
} panini_rule;

typedef struct panini_validator {
    int32_t field_count;  // rules[0 ..< field_count] are the fields, in the order of their names
    int32_t rule_count;
    int32_t depth;
    int32_t weight;       // fields, nested ones included
    int32_t violation_limit;
    int32_t refuses_unknown;
    int64_t pattern_steps;
    panini_rule rules[];
} panini_validator;

// Pushes the metatable of validators with `validate`; the table of methods is left above it, for the host to add to, and
// popped by it. Raises only for want of memory.
void panini_validator_push_metatable(lua_State *L);

// Pops the table of constants and pushes a validator with room for `rule_count` rules, all zero. Raises only for want of
// memory.
panini_validator *panini_validator_push(lua_State *L, int metatable_reference, int rule_count);

static inline panini_rule *panini_validator_rules(panini_validator *validator) { return validator->rules; }

// The validator at an index, or NULL when the value is something else. Never raises.
panini_validator *panini_validator_at(lua_State *L, int index, int metatable_reference);

// Runs one rule of the validator at an index over the value on top, without its checks. 1: it passes. 0: the path and the
// text of the first violation are pushed. For the host, with 1000 free slots on the stack: then it raises only for want of
// memory.
int panini_validator_try_rule(lua_State *L, int validator_index, int rule, int value_index);

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

// Whether the whole text matches a compiled pattern. 1, 0, or -1 when `steps` are used up, or the run is over; counts them
// down.
int panini_pattern_matches(
    const uint8_t *program, const char *text, size_t length, int64_t *steps, const volatile int *is_over);

// A compiled pattern: the number of items (two bytes, little endian), the items of four bytes, sets of 32 bytes.
enum {
    PANINI_PATTERN_BYTE = 0,  // a: the byte
    PANINI_PATTERN_SET,       // a: the set's number
    PANINI_PATTERN_ANY,
    PANINI_PATTERN_OPEN,      // a capture begins; a: its number
    PANINI_PATTERN_CLOSE,     // it ends; a: its number
    PANINI_PATTERN_POSITION,  // an empty capture
    PANINI_PATTERN_REFERENCE, // what capture a has matched
    PANINI_PATTERN_BALANCE,   // from a to its counterpart b
    PANINI_PATTERN_FRONTIER,  // a: the set's number
};
enum { PANINI_ONCE = 0, PANINI_STAR, PANINI_PLUS, PANINI_LAZY, PANINI_OPTIONAL };
enum { PANINI_PATTERN_CAPTURES = 32, PANINI_PATTERN_ITEMS = 200 };

#endif
