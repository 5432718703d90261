// Owns: the rule by which the failure of an inner call goes outward: it is lost only to a value that is
// not nil, or to another error. Called by Lua itself. Holds no pointer into a Lua object (panini_vm.h has the rule).

#include "panini_outcome.h"

#include <lauxlib.h>

#include "panini_call.h"
#include "panini_error.h"
#include "panini_kill.h"
#include "panini_vm.h"

// ---- errors on their way

bool panini_takes_place(lua_State *L, int status, int error, int inner) {
    if (status == LUA_ERRMEM) return true;
    return !lua_rawequal(L, error, inner) && panini_is_error_meant(L, error);
}

// ---- records: at 0 the number of values that follow, or -1 before an error that was raised

void panini_push_raised(lua_State *L) {
    lua_createtable(L, 1, 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, -1);
    lua_rawseti(L, -2, 0);
}

void panini_push_returned(lua_State *L, int first) {
    int count = lua_gettop(L) - first + 1;
    luaL_checkstack(L, 4, NULL);
    lua_createtable(L, count, 1);
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(L, first + i - 1);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, count);
    lua_rawseti(L, -2, 0);
}

bool panini_is_error(lua_State *L, int first) {
    return lua_gettop(L) > first && lua_isnil(L, first) && !lua_isnil(L, first + 1);
}

int panini_give_outcome(lua_State *L, int record) {
    lua_rawgeti(L, record, 0);
    int count = (int)lua_tointeger(L, -1);
    lua_settop(L, record);
    if (count < 0) {
        lua_rawgeti(L, record, 1);
        return lua_error(L);
    }
    luaL_checkstack(L, count, NULL);
    for (int i = 1; i <= count; i++) lua_rawgeti(L, record, i);
    return count;
}

// Pushes the error of the record at an index; false, and nothing pushed, when it is no failure.
static bool push_failure(lua_State *L, int record) {
    int top = lua_gettop(L);
    if (!lua_istable(L, record)) return false;
    lua_rawgeti(L, record, 0);
    lua_Integer count = lua_tointeger(L, -1);
    lua_settop(L, top);
    if (count < 0) {
        lua_rawgeti(L, record, 1);
        return true;
    }
    if (count < 2 || lua_rawgeti(L, record, 1) != LUA_TNIL) {
        lua_settop(L, top);
        return false;
    }
    lua_settop(L, top);
    if (lua_rawgeti(L, record, 2) != LUA_TNIL) return true;
    lua_settop(L, top);
    return false;
}

int panini_settle_outcome(
    lua_State *L, int base, int status, panini_covered_function covered, void *context, int kind) {
    luaL_checkstack(L, 8, NULL);
    int record = lua_gettop(L), count = record - 1 - base;
    bool has_raised = status != LUA_OK && status != LUA_YIELD;
    bool has_failed_inside = push_failure(L, record);
    if (has_raised) {
        int error = record - 1, inner = record + 1;
        if (!has_failed_inside || panini_takes_place(L, status, error, inner)) {
            lua_settop(L, error);
            return lua_error(L);
        }
        if (!lua_rawequal(L, error, inner)) {
            lua_pushvalue(L, error);
            panini_vm *vm = panini_vm_of(L);
            int could_fail = panini_enter_host(vm);
            covered(L, context, kind);
            panini_leave_host(vm, could_fail);
            panini_check(L);
        }
        lua_settop(L, record);
        return panini_give_outcome(L, record);
    }
    bool has_answered = count > 0 && (!lua_isnil(L, base + 1) || (count > 1 && !lua_isnil(L, base + 2)));
    if (has_failed_inside && !has_answered) {
        lua_settop(L, record);
        return panini_give_outcome(L, record);
    }
    lua_settop(L, record - 1);
    return count;
}
