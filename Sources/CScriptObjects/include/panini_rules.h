// What a compiled validator consists of: one rule per value. The host fills them in. Thread of the Lua state.
#ifndef PANINI_RULES_H
#define PANINI_RULES_H

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

static inline panini_rule *panini_validator_rules(panini_validator *validator) { return validator->rules; }

// Runs one rule of the validator at an index over the value on top, without its checks. 1: it passes. 0: the path and the
// text of the first violation are pushed. For the host, with 1000 free slots on the stack: then it raises only for want of
// memory.
int panini_validator_try_rule(lua_State *L, int validator_index, int rule, int value_index);

#endif
