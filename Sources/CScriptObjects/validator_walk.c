// Owns: the walk of a compiled validator over a Lua value. Calls no Lua: tables are read raw, checks are only noted. Lua
// functions here raise for want of memory or stack, with C frames alone up to the protecting call.
//
// A value may hold one table many times, and a client may have made it: every step looks whether the run is to end. The walk
// then stops and raises nothing, for the host calls it too; whoever called it raises.
//
// Pointers into Lua's objects (panini_vm.h has the rule): names and patterns of rules belong to texts in the validator's
// constants. A key of the value belongs to a text on the stack, or to one in a table on the stack that nobody else has: the
// value itself may be a weak table, and loses its keys whenever the collector runs.

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_pattern.h"
#include "panini_rules.h"
#include "panini_vm.h"
#include "panini_validator_walk.h"

typedef struct step {
    const char *key;  // NULL: a position
    size_t length;
    lua_Integer position;
} step;

typedef struct walk {
    lua_State *L;
    panini_vm *vm;
    const panini_validator *root;
    const void *array_metatable, *empty_object_metatable;
    int list;    // stack index of the violations
    int checks;  // of the pending checks; 0: checks are not wanted
    int violations;
    bool is_full;  // there are violations enough, or the run is to end
    lua_Integer check_count;
    int64_t steps;
    int depth;
    step path[PANINI_VALIDATOR_DEPTH + 1];
} walk;

static bool is_over(walk *w) {
    if (!panini_is_killed(w->vm)) return false;
    w->is_full = true;
    return true;
}

// ---- violations

// How much of a name a path shows.
enum { SHOWN_NAME = 64 };

static bool is_plain(const char *name, size_t length) {
    if (length == 0) return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c >= 0x80;
        if (!ok) return false;
    }
    return true;
}

// Whole characters only: the path goes into JSON.
static size_t shown_length(const char *name, size_t length) {
    if (length <= SHOWN_NAME) return length;
    size_t shown = SHOWN_NAME;
    while (shown > 0 && ((unsigned char)name[shown] & 0xC0) == 0x80) shown--;
    return shown;
}

static void push_path(walk *w) {
    lua_State *L = w->L;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 0; i < w->depth; i++) {
        const step *s = &w->path[i];
        if (s->key == NULL) {
            char number[32];
            int length = snprintf(number, sizeof number, "[%lld]", (long long)s->position);
            luaL_addlstring(&text, number, (size_t)length);
            continue;
        }
        size_t shown = shown_length(s->key, s->length);
        bool plain = is_plain(s->key, shown);
        if (!plain) luaL_addstring(&text, "[\"");
        else if (i > 0) luaL_addchar(&text, '.');
        luaL_addlstring(&text, s->key, shown);
        if (shown < s->length) luaL_addstring(&text, "...");
        if (!plain) luaL_addstring(&text, "\"]");
    }
    luaL_pushresult(&text);
}

static void append(lua_State *L, int list, int path, const char *code, int message) {
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "path");
    lua_pushvalue(L, path);
    lua_rawset(L, -3);
    lua_pushliteral(L, "code");
    lua_pushstring(L, code);
    lua_rawset(L, -3);
    lua_pushliteral(L, "message");
    lua_pushvalue(L, message);
    lua_rawset(L, -3);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

int panini_walk_report(lua_State *L, int list, int limit, const char *code) {
    luaL_checkstack(L, 8, NULL);
    int message = lua_gettop(L), path = message - 1;
    if (lua_isnil(L, list)) {
        lua_createtable(L, 1, 0);
        lua_replace(L, list);
    }
    lua_Unsigned count = lua_rawlen(L, list);
    bool fits = count < (lua_Unsigned)limit;
    if (fits) {
        append(L, list, path, code, message);
    } else if (count == (lua_Unsigned)limit) {
        lua_pushliteral(L, "");
        lua_pushfstring(L, "more than %d violations: the rest was not looked at", limit);
        append(L, list, message + 1, "too_many", message + 2);
    }
    lua_settop(L, path - 1);
    return fits;
}

// The message is on top, and popped.
static void report(walk *w, const char *code) {
    w->violations++;
    push_path(w);
    lua_insert(w->L, -2);
    if (!panini_walk_report(w->L, w->list, w->root->violation_limit, code)) w->is_full = true;
}

static void report_text(walk *w, const char *code, int constants, int slot) {
    lua_rawgeti(w->L, constants, slot);
    report(w, code);
}

// ---- types

static const char *const wanted[] = {
    [PANINI_TYPE_ANY] = "a value", [PANINI_TYPE_STRING] = "a string", [PANINI_TYPE_INTEGER] = "an integer",
    [PANINI_TYPE_NUMBER] = "a number", [PANINI_TYPE_BOOLEAN] = "a boolean", [PANINI_TYPE_ARRAY] = "an array",
    [PANINI_TYPE_OBJECT] = "an object", [PANINI_TYPE_VALIDATOR] = "an object",
};

static bool has_metatable(walk *w, int value, const void *metatable) {
    lua_State *L = w->L;
    if (!lua_getmetatable(L, value)) return false;
    bool same = lua_topointer(L, -1) == metatable;
    lua_settop(L, -2);
    return same;
}

static bool is_marked(walk *w, int value) { return has_metatable(w, value, w->array_metatable); }

// A table that is not marked as an array and has nothing at position 1.
static bool is_object(walk *w, int value) {
    lua_State *L = w->L;
    if (!lua_istable(L, value) || is_marked(w, value)) return false;
    bool has_first = lua_rawgeti(L, value, 1) != LUA_TNIL;
    lua_settop(L, -2);
    return !has_first;
}

// The length of an array; -1: the value is none.
static lua_Integer array_length(walk *w, int value) {
    lua_State *L = w->L;
    if (!lua_istable(L, value)) return -1;
    lua_Integer length = (lua_Integer)lua_rawlen(L, value), count = 0;
    if (is_marked(w, value)) return length;
    lua_pushnil(L);
    while (lua_next(L, value)) {
        int exact = 0;
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointegerx(L, -2, &exact) : 0;
        if (!exact || key < 1 || key > length || is_over(w)) {
            lua_settop(L, -3);
            return -1;
        }
        lua_settop(L, -2);
        count++;
    }
    // A table without entries may be either, unless it was read from JSON and is known to be an object.
    if (count == 0 && has_metatable(w, value, w->empty_object_metatable)) return -1;
    return count == length ? length : -1;
}

static const char *found(walk *w, int type, int value) {
    lua_State *L = w->L;
    switch (lua_type(L, value)) {
        case LUA_TSTRING: return "a string";
        case LUA_TBOOLEAN: return "a boolean";
        case LUA_TTABLE:
            if (type == PANINI_TYPE_ARRAY && !is_object(w, value)) return "a table that is no list";
            return is_object(w, value) ? "an object" : "an array";
        case LUA_TNUMBER:
            if (type != PANINI_TYPE_INTEGER) return "a number";
            return lua_tonumber(L, value) >= -0x1p63 && lua_tonumber(L, value) < 0x1p63 ? "a fraction"
                                                                                        : "a number beyond 64 bits";
        case LUA_TNIL: return "nil";
        case LUA_TFUNCTION: return "a function";
        default: return "a value without a JSON form";
    }
}

static void report_type(walk *w, int type, int value) {
    lua_pushfstring(w->L, "must be %s, not %s", wanted[type], found(w, type, value));
    report(w, "type");
}

// ---- single values

static void check_choices(walk *w, const panini_rule *rule, int constants, int value) {
    lua_State *L = w->L;
    if (!rule->choices_slot) return;
    lua_rawgeti(L, constants, rule->choices_slot);
    lua_pushvalue(L, value);
    bool known = lua_rawget(L, -2) != LUA_TNIL;
    lua_settop(L, -3);
    if (!known) report_text(w, "enum", constants, rule->choices_text_slot);
}

// Whether one bound holds; written so that it does not for NaN.
static bool in_order(lua_State *L, int constants, int slot, int value, bool is_minimum) {
    lua_rawgeti(L, constants, slot);
    int bound = lua_gettop(L);
    bool holds = is_minimum ? lua_compare(L, bound, value, LUA_OPLE) : lua_compare(L, value, bound, LUA_OPLE);
    lua_settop(L, bound - 1);
    return holds;
}

static void check_number(walk *w, const panini_rule *rule, int constants, int value) {
    if (!(rule->flags & (PANINI_RULE_MINIMUM | PANINI_RULE_MAXIMUM))) return;
    lua_State *L = w->L;
    bool low, high;
    if (rule->flags & PANINI_RULE_INTEGER_BOUNDS && lua_isinteger(L, value)) {
        lua_Integer number = lua_tointeger(L, value);
        low = rule->flags & PANINI_RULE_MINIMUM && number < rule->least;
        high = rule->flags & PANINI_RULE_MAXIMUM && number > rule->most;
    } else {
        low = rule->flags & PANINI_RULE_MINIMUM && !in_order(L, constants, rule->minimum_slot, value, true);
        high = rule->flags & PANINI_RULE_MAXIMUM && !in_order(L, constants, rule->maximum_slot, value, false);
    }
    if (low) report_text(w, "min", constants, rule->minimum_text_slot);
    if (high) report_text(w, "max", constants, rule->maximum_text_slot);
}

// Reports a length out of bounds; whether it was too large.
static bool check_length(walk *w, const panini_rule *rule, int constants, int64_t length) {
    if (rule->flags & PANINI_RULE_MINIMUM && length < rule->least) {
        report_text(w, "min", constants, rule->minimum_text_slot);
    }
    if (!(rule->flags & PANINI_RULE_MAXIMUM) || length <= rule->most) return false;
    report_text(w, "max", constants, rule->maximum_text_slot);
    return true;
}

// Characters as JSON Schema counts them: bytes that do not continue one. Of a run that is over, some of them.
static int64_t characters(walk *w, const char *text, size_t length) {
    int64_t count = 0;
    for (size_t i = 0; i < length && !(i > 0 && is_over(w));) {
        size_t end = length - i < PANINI_WORK ? length : i + PANINI_WORK;
        for (; i < end; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return count;
}

static void check_string(walk *w, const panini_rule *rule, int constants, int value) {
    size_t length;
    const char *text = lua_tolstring(w->L, value, &length);
    if (rule->flags & (PANINI_RULE_MINIMUM | PANINI_RULE_MAXIMUM)) {
        // A text that is too long is not looked at any further: its length is the sender's choice.
        if (check_length(w, rule, constants, characters(w, text, length)) || is_over(w)) return;
    }
    if (!rule->pattern) return;
    w->steps += 16 * (int64_t)length;
    switch (panini_pattern_matches(rule->pattern, text, length, &w->steps, panini_kill_flag(w->vm))) {
        case 0: report_text(w, "pattern", constants, rule->pattern_text_slot); break;
        case -1:
            if (is_over(w)) return;
            w->steps = -1;
            lua_pushliteral(w->L, "takes too many steps to match its pattern");
            report(w, "pattern");
            break;
        default: break;
    }
}

// ---- tables

static void check_value(walk *w, const panini_validator *validator, const panini_rule *rule, int constants, int value);

// Pushes a copy of a default, which is plain data of bounded depth.
static void push_copy(walk *w, int index) {
    lua_State *L = w->L;
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, (int)lua_rawlen(L, index), 0);
    int copy = lua_gettop(L);
    if (lua_getmetatable(L, index)) lua_setmetatable(L, copy);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        push_copy(w, copy + 2);
        lua_rawset(L, copy);
        lua_settop(L, is_over(w) ? copy : copy + 1);
        if (w->is_full) return;
    }
}

static void field_is_missing(walk *w, const panini_rule *rule, int constants, int value) {
    lua_State *L = w->L;
    if (rule->default_slot) {
        lua_rawgeti(L, constants, rule->name_slot);
        lua_rawgeti(L, constants, rule->default_slot);
        int fallback = lua_gettop(L);
        push_copy(w, fallback);
        lua_remove(L, fallback);
        lua_rawset(L, value);
    } else if (!(rule->flags & PANINI_RULE_OPTIONAL)) {
        w->path[w->depth++] = (step){rule->name, rule->name_length, 0};
        lua_pushliteral(L, "is missing");
        report(w, "required");
        w->depth--;
    }
}

// A key that no field has: a text, or a position. A text is kept at `slot` of a table on the stack.
typedef struct unknown_key {
    const char *text;
    size_t length;
    lua_Integer position;
    lua_Integer slot;
} unknown_key;

static bool comes_before(const unknown_key *a, const unknown_key *b) {
    if (!a->text || !b->text) return a->text != NULL || (b->text == NULL && a->position < b->position);
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order < 0 : a->length < b->length;
}

// Heaps of keys: the last one by name is on top.
static void move_down(unknown_key *keys, size_t count, unknown_key key) {
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_before(&keys[child], &keys[child + 1])) child++;
        if (!comes_before(&key, &keys[child])) break;
        keys[at] = keys[child];
    }
    keys[at] = key;
}

static void move_up(unknown_key *keys, size_t at, unknown_key key) {
    for (size_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!comes_before(&keys[parent], &key)) break;
        keys[at] = keys[parent];
    }
    keys[at] = key;
}

// The next key of the table at `value` that no field has, from the key on top on, in place of it.
static bool next_unknown(walk *w, int names, int value) {
    lua_State *L = w->L;
    while (lua_next(L, value)) {
        lua_settop(L, -2);
        if (is_over(w)) {
            lua_settop(L, -2);
            return false;
        }
        lua_pushvalue(L, -1);
        bool known = lua_rawget(L, names) != LUA_TNIL;
        lua_settop(L, -2);
        if (!known) return true;
    }
    return false;
}

static size_t count_unknown(walk *w, int names, int value) {
    size_t count = 0;
    lua_pushnil(w->L);
    while (next_unknown(w, names, value)) count++;
    return count;
}

// The first keys by name, as many as there is room for, as a heap; how many they are, which may be fewer than were counted:
// to make room takes memory, and the table may be weak. Their texts go to the table on top.
static size_t gather_unknown(walk *w, int names, int value, unknown_key *keys, size_t room) {
    lua_State *L = w->L;
    int kept = lua_gettop(L);
    size_t count = 0;
    lua_pushnil(L);
    while (next_unknown(w, names, value)) {
        unknown_key key = {.slot = count < room ? (lua_Integer)count + 1 : keys[0].slot};
        if (lua_type(L, -1) == LUA_TSTRING) key.text = lua_tolstring(L, -1, &key.length);
        else if (lua_isinteger(L, -1)) key.position = lua_tointeger(L, -1);
        else key.text = "?", key.length = 1;
        if (count == room && !comes_before(&key, &keys[0])) continue;
        lua_pushvalue(L, -1);
        lua_rawseti(L, kept, key.slot);
        if (count < room) {
            move_up(keys, count, key);
            count++;
        } else {
            move_down(keys, count, key);
        }
    }
    return count;
}

// In the order of their names: a table's own order is not the same from one run to the next. No more of them are looked at
// than can be reported: a client may send a million.
static void refuse_unknown(walk *w, int constants, int value) {
    lua_State *L = w->L;
    lua_rawgeti(L, constants, PANINI_VALIDATOR_NAMES);
    int names = lua_gettop(L);
    size_t room = count_unknown(w, names, value);
    if (room > (size_t)w->root->violation_limit + 1) room = (size_t)w->root->violation_limit + 1;
    if (room > 0) {
        unknown_key *keys = lua_newuserdatauv(L, room * sizeof(unknown_key), 0);
        lua_createtable(L, (int)room, 0);
        size_t count = gather_unknown(w, names, value, keys, room);
        for (size_t last = count; last-- > 1 && !is_over(w);) {
            unknown_key key = keys[last];
            keys[last] = keys[0];
            move_down(keys, last, key);
        }
        for (size_t i = 0; i < count && !w->is_full; i++) {
            w->path[w->depth++] = (step){keys[i].text, keys[i].length, keys[i].position};
            lua_pushliteral(L, "is not a known field");
            report(w, "unknown");
            w->depth--;
        }
    }
    lua_settop(L, names - 1);
}

static void check_fields(walk *w, const panini_validator *validator, int constants, int value) {
    lua_State *L = w->L;
    luaL_checkstack(L, 16, NULL);
    int base = lua_gettop(L);
    for (int i = 0; i < validator->field_count && !w->is_full; i++) {
        const panini_rule *rule = &validator->rules[i];
        lua_rawgeti(L, constants, rule->name_slot);
        if (lua_rawget(L, value) == LUA_TNIL) {
            field_is_missing(w, rule, constants, value);
        } else {
            w->path[w->depth++] = (step){rule->name, rule->name_length, 0};
            check_value(w, validator, rule, constants, base + 1);
            w->depth--;
        }
        lua_settop(L, base);
    }
    if (validator->refuses_unknown && !w->is_full) refuse_unknown(w, constants, value);
}

static void check_items(
    walk *w, const panini_validator *validator, const panini_rule *rule, int constants, int value, lua_Integer length) {
    lua_State *L = w->L;
    luaL_checkstack(L, 16, NULL);
    int base = lua_gettop(L);
    for (lua_Integer i = 1; i <= length && !w->is_full; i++) {
        int type = lua_rawgeti(L, value, i);
        w->path[w->depth++] = (step){NULL, 0, i};
        if (type == LUA_TNIL) {
            lua_pushliteral(L, "is missing: an array has no holes");
            report(w, "required");
        } else {
            check_value(w, validator, &validator->rules[rule->items], constants, base + 1);
        }
        w->depth--;
        lua_settop(L, base);
    }
}

static void check_array(walk *w, const panini_validator *validator, const panini_rule *rule, int constants, int value) {
    lua_Integer length = array_length(w, value);
    if (length < 0) {
        report_type(w, PANINI_TYPE_ARRAY, value);
    } else if (!check_length(w, rule, constants, length) && rule->items >= 0) {
        check_items(w, validator, rule, constants, value, length);
    }
}

static void check_nested(walk *w, const panini_rule *rule, int constants, int value) {
    lua_State *L = w->L;
    if (!is_object(w, value)) return report_type(w, PANINI_TYPE_OBJECT, value);
    lua_rawgeti(L, constants, rule->validator_slot);
    const panini_validator *nested = lua_touserdata(L, -1);
    lua_getiuservalue(L, -1, 1);
    int top = lua_gettop(L);
    check_fields(w, nested, top, value);
    lua_settop(L, top - 2);
}

// Notes a check for later. A check inside the value that fails then keeps this one from running.
static void note_check(walk *w, const panini_rule *rule, int constants, int value, lua_Integer first) {
    lua_State *L = w->L;
    if (lua_isnil(L, w->checks)) {
        lua_createtable(L, CHECK_SIZE, 0);
        lua_replace(L, w->checks);
    }
    lua_Integer at = w->check_count++ * CHECK_SIZE;
    lua_rawgeti(L, constants, rule->check_slot);
    lua_rawseti(L, w->checks, at + CHECK_FUNCTION);
    lua_pushvalue(L, value);
    lua_rawseti(L, w->checks, at + CHECK_VALUE);
    push_path(w);
    lua_rawseti(L, w->checks, at + CHECK_PATH);
    lua_pushinteger(L, first);
    lua_rawseti(L, w->checks, at + CHECK_FIRST);
}

// The value lies at an index that is not nil; the stack is as high afterwards.
static void check_value(walk *w, const panini_validator *validator, const panini_rule *rule, int constants, int value) {
    lua_State *L = w->L;
    if (is_over(w)) return;
    int type = lua_type(L, value);
    if (type == LUA_TLIGHTUSERDATA && lua_touserdata(L, value) == NULL) {
        if (rule->flags & PANINI_RULE_NULL) return;
        lua_pushliteral(L, "must not be null");
        return report(w, "null");
    }
    int before = w->violations;
    lua_Integer first = w->check_count;
    bool fits = true;
    switch (rule->type) {
        case PANINI_TYPE_STRING:
            if ((fits = type == LUA_TSTRING)) check_string(w, rule, constants, value);
            break;
        case PANINI_TYPE_INTEGER: {
            int exact = type == LUA_TNUMBER;
            if (exact) lua_tointegerx(L, value, &exact);
            if ((fits = exact)) check_number(w, rule, constants, value);
            break;
        }
        case PANINI_TYPE_NUMBER:
            if ((fits = type == LUA_TNUMBER)) check_number(w, rule, constants, value);
            break;
        case PANINI_TYPE_BOOLEAN: fits = type == LUA_TBOOLEAN; break;
        case PANINI_TYPE_ARRAY: check_array(w, validator, rule, constants, value); break;
        case PANINI_TYPE_OBJECT: fits = is_object(w, value); break;
        case PANINI_TYPE_VALIDATOR: check_nested(w, rule, constants, value); break;
        default: break;
    }
    if (!fits) report_type(w, rule->type, value);
    else check_choices(w, rule, constants, value);
    if (rule->check_slot && w->checks && w->violations == before) note_check(w, rule, constants, value, first);
}

// ---- entries

static void begin(walk *w, lua_State *L, const panini_validator *validator, int list, int checks) {
    w->L = L;
    w->vm = panini_vm_of(L);
    w->root = validator;
    w->list = list;
    w->checks = checks;
    w->violations = 0;
    w->is_full = false;
    w->check_count = 0;
    w->steps = validator->pattern_steps;
    w->depth = 0;
    panini_push_array_metatable(L);
    w->array_metatable = lua_topointer(L, -1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_EMPTY_OBJECT_METATABLE);
    w->empty_object_metatable = lua_topointer(L, -1);
    lua_settop(L, -3);
}

void panini_walk_value(lua_State *L, const panini_validator *validator, int validator_index) {
    walk w;
    luaL_checkstack(L, 16, NULL);
    begin(&w, L, validator, RUN_VIOLATIONS, RUN_CHECKS);
    int top = lua_gettop(L);
    if (is_object(&w, RUN_VALUE)) {
        lua_getiuservalue(L, validator_index, 1);
        check_fields(&w, validator, top + 1, RUN_VALUE);
    } else if (lua_isnil(L, RUN_VALUE)) {
        lua_pushliteral(L, "is missing");
        report(&w, "required");
    } else if (lua_islightuserdata(L, RUN_VALUE) && lua_touserdata(L, RUN_VALUE) == NULL) {
        lua_pushliteral(L, "must not be null");
        report(&w, "null");
    } else {
        report_type(&w, PANINI_TYPE_OBJECT, RUN_VALUE);
    }
    lua_settop(L, top);
    panini_check(L);
}

int panini_validator_try_rule(lua_State *L, int validator_index, int rule, int value_index) {
    walk w;
    int value = lua_absindex(L, value_index);
    const panini_validator *validator = lua_touserdata(L, validator_index);
    lua_getiuservalue(L, validator_index, 1);
    int constants = lua_gettop(L);
    lua_pushnil(L);
    begin(&w, L, validator, constants + 1, 0);
    check_value(&w, validator, &validator->rules[rule], constants, value);
    if (lua_isnil(L, constants + 1)) {
        lua_settop(L, constants - 1);
        return 1;
    }
    lua_rawgeti(L, constants + 1, 1);
    lua_pushliteral(L, "path");
    lua_rawget(L, constants + 2);
    lua_pushliteral(L, "message");
    lua_rawget(L, constants + 2);
    lua_replace(L, constants + 1);
    lua_replace(L, constants);
    lua_settop(L, constants + 1);
    return 0;
}
