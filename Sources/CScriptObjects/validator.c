// Owns: the Lua face of validators: the userdata, `validate`, the guard that runs in place of a handler, and the calls of
// `check` functions, which may wait. Called by Lua itself, so that raising and yielding pass C frames only.
//
// Pointers into Lua's objects (panini_vm.h has the rule): a validator is on the stack or an upvalue while it runs, and is read
// from there again after every call. Texts are on the stack while they are used. What a script was given, as the list of
// violations by `on_invalid`, may have become anything.

#include "panini_validator.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "panini_call.h"
#include "panini_error.h"
#include "panini_error_table.h"
#include "panini_kill.h"
#include "panini_outcome.h"
#include "panini_rules.h"
#include "panini_validator_walk.h"
#include "panini_values.h"
#include "panini_vm.h"

panini_validator *panini_validator_push(lua_State *L, int metatable_reference, int rule_count) {
    size_t size = sizeof(panini_validator) + (size_t)rule_count * sizeof(panini_rule);
    panini_validator *validator = lua_newuserdatauv(L, size, 1);
    memset(validator, 0, size);
    validator->rule_count = rule_count;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
    return validator;
}

panini_validator *panini_validator_at(lua_State *L, int index, int metatable_reference) {
    return panini_userdata_at(L, index, metatable_reference);
}

// ---- checks

// What a check returned lies above the run's own values.
static void take_result(lua_State *L, lua_Integer number, int limit) {
    int count = lua_gettop(L) - RUN_CHECKS;
    lua_rawgeti(L, RUN_CHECKS, number * CHECK_SIZE + CHECK_PATH);
    if (count == 0) {
        char origin[256] = "?";
        lua_rawgeti(L, RUN_CHECKS, number * CHECK_SIZE + CHECK_FUNCTION);
        panini_function_origin(L, -1, origin, sizeof origin);
        luaL_error(
            L, "%s: the check of \"%s\" returned nothing; return true, or false and a text", origin,
            lua_tostring(L, -2));
    }
    if (!lua_toboolean(L, RUN_CHECKS + 1)) {
        if (count > 1 && lua_type(L, RUN_CHECKS + 2) == LUA_TSTRING) lua_pushvalue(L, RUN_CHECKS + 2);
        else lua_pushliteral(L, "is not accepted");
        panini_walk_report(L, RUN_VIOLATIONS, limit, "check");
        lua_pushinteger(L, number + 1);
        lua_rawseti(L, RUN_CHECKS, 0);
    }
    lua_settop(L, RUN_CHECKS);
}

// Calls the checks from `number` on. `then` goes on after one that waited.
static void run_checks(lua_State *L, lua_Integer number, int limit, lua_KFunction then) {
    if (lua_isnil(L, RUN_CHECKS)) return;
    luaL_checkstack(L, 8, NULL);
    lua_Integer count = (lua_Integer)lua_rawlen(L, RUN_CHECKS) / CHECK_SIZE;
    for (; number < count; number++) {
        lua_rawgeti(L, RUN_CHECKS, 0);
        lua_rawgeti(L, RUN_CHECKS, number * CHECK_SIZE + CHECK_FIRST);
        bool inner_failed = !lua_isnil(L, -2) && lua_tointeger(L, -2) > lua_tointeger(L, -1);
        lua_settop(L, RUN_CHECKS);
        if (inner_failed) continue;
        lua_rawgeti(L, RUN_CHECKS, number * CHECK_SIZE + CHECK_FUNCTION);
        lua_rawgeti(L, RUN_CHECKS, number * CHECK_SIZE + CHECK_VALUE);
        lua_callk(L, 1, LUA_MULTRET, (lua_KContext)number, then);
        take_result(L, number, limit);
    }
}

// ---- validator:validate(value)

// Upvalue: the metatable of validators.
static const panini_validator *check_self(lua_State *L) {
    bool same = false;
    if (lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1)) {
        same = lua_rawequal(L, -1, lua_upvalueindex(1));
        lua_pop(L, 1);
    }
    if (!same) luaL_error(L, "call it with a colon: validator:validate(value)");
    return lua_touserdata(L, 1);
}

static int validate_ended(lua_State *L) {
    if (lua_isnil(L, RUN_VIOLATIONS)) {
        lua_pushvalue(L, RUN_VALUE);
        return 1;
    }
    lua_pushnil(L);
    lua_pushvalue(L, RUN_VIOLATIONS);
    return 2;
}

static int validate_continued(lua_State *L, int status, lua_KContext number) {
    (void)status;
    const panini_validator *validator = lua_touserdata(L, RUN_SUBJECT);
    take_result(L, number, validator->violation_limit);
    run_checks(L, number + 1, validator->violation_limit, validate_continued);
    return validate_ended(L);
}

static int validate(lua_State *L) {
    panini_refuse_surplus(L, "validator:validate", RUN_VALUE);
    // Before anything else is on the stack: what is there at RUN_VALUE is validated, and returned.
    lua_settop(L, RUN_VALUE);
    const panini_validator *validator = check_self(L);
    lua_settop(L, RUN_CHECKS);
    panini_walk_value(L, validator, RUN_SUBJECT);
    run_checks(L, 0, validator->violation_limit, validate_continued);
    return validate_ended(L);
}

// ---- the guard

enum { GUARD_HANDLER = 1, GUARD_VALIDATOR, GUARD_ON_INVALID, GUARD_HOST };

static int guard_returned(lua_State *L, int status, lua_KContext base) {
    (void)status;
    return lua_gettop(L) - (int)base;
}

// Pushes the text of the error: the first violation, and how many there are.
static void push_summary(lua_State *L) {
    lua_Integer more = (lua_Integer)lua_rawlen(L, RUN_VIOLATIONS) - 1;
    bool is_whole = lua_rawgeti(L, RUN_VIOLATIONS, 1) == LUA_TTABLE;
    int first = lua_gettop(L);
    is_whole = is_whole && panini_field(L, first, "path") == LUA_TSTRING;
    is_whole = is_whole && panini_field(L, first, "message") == LUA_TSTRING;
    if (!is_whole) {
        // on_invalid has changed the list.
        lua_settop(L, first - 1);
        lua_pushliteral(L, "not valid");
        return;
    }
    const char *path = lua_tostring(L, first + 1);
    lua_pushfstring(L, "not valid: %s%s%s", path, *path ? " " : "the value ", lua_tostring(L, first + 2));
    if (more > 0) {
        lua_pushfstring(L, " (and %I more)", (LUAI_UACINT)more);
        lua_concat(L, 2);
    }
    lua_replace(L, first);
    lua_settop(L, first);
}

// Pushes nil and the error table.
static int refuse(lua_State *L) {
    const panini_guard_host *host = lua_touserdata(L, lua_upvalueindex(GUARD_HOST));
    lua_settop(L, RUN_VIOLATIONS);
    lua_pushnil(L);
    push_summary(L);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    panini_error_push(L, host->error_metatable, NULL, 0, 422, text, length);
    lua_remove(L, -2);
    lua_pushliteral(L, "errors");
    lua_pushvalue(L, RUN_VIOLATIONS);
    lua_rawset(L, -3);
    return 2;
}

enum { ON_INVALID_BASE = RUN_VIOLATIONS + 1 };

// A failed validation is answered by a value, or by an error that on_invalid meant; by nothing else it is lost.
static int on_invalid_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    panini_check(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        int error = lua_gettop(L);
        // Nothing was raised before.
        lua_pushnil(L);
        bool takes_place = panini_takes_place(L, status, error, error + 1);
        lua_settop(L, error);
        if (takes_place) return lua_error(L);
        const panini_guard_host *host = lua_touserdata(L, lua_upvalueindex(GUARD_HOST));
        panini_vm *vm = panini_vm_of(L);
        int could_fail = panini_enter_host(vm);
        host->covered(L, host->context);
        panini_leave_host(vm, could_fail);
        panini_check(L);
        return refuse(L);
    }
    int count = lua_gettop(L) - ON_INVALID_BASE;
    bool has_answered =
        count > 0 && (!lua_isnil(L, ON_INVALID_BASE + 1) || panini_is_error(L, ON_INVALID_BASE + 1));
    return has_answered ? count : refuse(L);
}

static int guard_ended(lua_State *L) {
    if (lua_isnil(L, RUN_VIOLATIONS)) {
        lua_settop(L, RUN_SUBJECT);
        lua_pushvalue(L, lua_upvalueindex(GUARD_HANDLER));
        lua_pushvalue(L, RUN_SUBJECT);
        lua_callk(L, 1, LUA_MULTRET, RUN_SUBJECT, guard_returned);
        return lua_gettop(L) - RUN_SUBJECT;
    }
    const panini_guard_host *host = lua_touserdata(L, lua_upvalueindex(GUARD_HOST));
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    host->failed(L, host->context);
    panini_leave_host(vm, could_fail);
    if (lua_isnil(L, lua_upvalueindex(GUARD_ON_INVALID))) return refuse(L);
    lua_settop(L, RUN_VIOLATIONS);
    lua_pushcfunction(L, panini_note_error);
    lua_pushvalue(L, lua_upvalueindex(GUARD_ON_INVALID));
    lua_pushvalue(L, RUN_SUBJECT);
    lua_pushvalue(L, RUN_VIOLATIONS);
    return on_invalid_returned(L, lua_pcallk(L, 2, LUA_MULTRET, ON_INVALID_BASE, 0, on_invalid_returned), 0);
}

static int guard_continued(lua_State *L, int status, lua_KContext number) {
    (void)status;
    const panini_validator *validator = lua_touserdata(L, lua_upvalueindex(GUARD_VALIDATOR));
    take_result(L, number, validator->violation_limit);
    run_checks(L, number + 1, validator->violation_limit, guard_continued);
    return guard_ended(L);
}

static int guard(lua_State *L) {
    const panini_guard_host *host = lua_touserdata(L, lua_upvalueindex(GUARD_HOST));
    const panini_validator *validator = lua_touserdata(L, lua_upvalueindex(GUARD_VALIDATOR));
    lua_settop(L, RUN_SUBJECT);
    host->push_value(L, host->push_context);
    lua_settop(L, RUN_CHECKS);
    panini_walk_value(L, validator, lua_upvalueindex(GUARD_VALIDATOR));
    run_checks(L, 0, validator->violation_limit, guard_continued);
    return guard_ended(L);
}

void panini_validator_push_guard(lua_State *L, const panini_guard_host *host) {
    lua_pushlightuserdata(L, (void *)host);
    lua_pushcclosure(L, guard, 4);
}

// Upvalues: the function, the host.
static int feed(lua_State *L) {
    const panini_guard_host *host = lua_touserdata(L, lua_upvalueindex(2));
    luaL_checkstack(L, 8, NULL);
    lua_settop(L, 1);
    host->push_value(L, host->push_context);
    // The value is on top, whatever else lies above the argument.
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    int base = lua_gettop(L) - 3;
    lua_callk(L, 2, LUA_MULTRET, (lua_KContext)base, guard_returned);
    return guard_returned(L, LUA_OK, (lua_KContext)base);
}

void panini_validator_push_feeder(lua_State *L, const panini_guard_host *host) {
    lua_pushlightuserdata(L, (void *)host);
    lua_pushcclosure(L, feed, 2);
}

// ---- the type

static void set_literal(lua_State *L, int table, const char *key) {
    lua_pushstring(L, key);
    lua_pushliteral(L, "panini.validator");
    lua_rawset(L, table);
}

void panini_validator_push_metatable(lua_State *L) {
    lua_createtable(L, 0, 3);
    int metatable = lua_gettop(L);
    set_literal(L, metatable, "__name");
    // Scripts cannot reach the metatable.
    set_literal(L, metatable, "__metatable");
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "validate");
    lua_pushvalue(L, metatable);
    lua_pushcclosure(L, validate, 1);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__index");
    lua_pushvalue(L, -2);
    lua_rawset(L, metatable);
}
