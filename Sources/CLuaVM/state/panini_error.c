// Each step that can run the script's code (fields behind __index, __tostring) has a protected call of its own, so
// that a failing one costs its part of the text and nothing else. Texts are on the stack while they are used (panini_vm.h has the
// rule).
#include "panini_error.h"

#include <lauxlib.h>

#include "panini_address.h"
#include "panini_base.h"
#include "panini_call.h"
#include "panini_kill.h"
#include "panini_vm.h"

// value, name -> value[name]
static int read_field(lua_State *L) {
    lua_gettable(L, 1);
    return 1;
}

static int to_text(lua_State *L) {
    panini_tolstring(L, 1, NULL);
    return 1;
}

// Pushes value 1's field, or nil when reading it fails.
static void push_field(lua_State *L, const char *name) {
    lua_pushcfunction(L, read_field);
    lua_pushvalue(L, 1);
    lua_pushstring(L, name);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
        panini_check(L);
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

static void push_text(lua_State *L) {
    int type = lua_type(L, 1);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        lua_pushvalue(L, 1);
        lua_tostring(L, -1);
        return;
    }
    if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushcfunction(L, to_text);
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
        panini_check(L);
        const char *inner = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
        lua_pushfstring(L, "(error object is a %s value whose __tostring failed: %s)", lua_typename(L, type), inner);
        return;
    }
    lua_pushfstring(L, "(error object is a %s value)", lua_typename(L, type));
}

// value -> text, code
static int describe(lua_State *L) {
    luaL_checkstack(L, 20, NULL);
    if (lua_type(L, 1) != LUA_TTABLE) {
        push_text(L);
        lua_pushnil(L);
        return 2;
    }
    push_field(L, "message");
    int text = lua_gettop(L);
    push_field(L, "code");
    int code = lua_gettop(L);
    int is_answer = lua_type(L, code) == LUA_TSTRING || lua_type(L, code) == LUA_TNUMBER;
    if (lua_type(L, text) == LUA_TNUMBER) {
        lua_tostring(L, text);
    } else if (lua_type(L, text) != LUA_TSTRING) {
        // An answer with a code alone has no text of its own; one that nobody meant says what it is.
        if (!is_answer || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) push_text(L);
        else lua_pushliteral(L, "error");
        lua_replace(L, text);
        lua_settop(L, code);
    }
    lua_pushvalue(L, text);
    if (lua_type(L, code) == LUA_TSTRING) {
        lua_pushvalue(L, code);
        return 2;
    }
    int exact = 0;
    lua_Integer number = lua_type(L, code) == LUA_TNUMBER ? lua_tointegerx(L, code, &exact) : 0;
    if (exact) lua_pushinteger(L, number);
    else lua_pushnil(L);
    return 2;
}

int panini_describe_error(panini_vm *vm, lua_State *L) {
    int is_table = lua_type(L, -1) == LUA_TTABLE;
    lua_checkstack(L, 20);
    lua_pushcfunction(L, describe);
    lua_insert(L, -2);
    if (panini_call_after(vm, L, 1, 2) != LUA_OK) {
        lua_pop(L, 1);
        panini_push_traceback(L);
        lua_pop(L, 1);
        lua_pushliteral(L, "(error object cannot be described)");
        lua_pushnil(L);
    }
    return is_table;
}

static int trace(lua_State *L) {
    lua_State *thread = lua_touserdata(L, 1);
    luaL_checkstack(L, 40, NULL);
    lua_settop(L, 0);
    luaL_traceback(L, thread, NULL, 0);
    return 1;
}

void panini_push_thread_traceback(panini_vm *vm, lua_State *L, lua_State *thread) {
    lua_checkstack(L, 20);
    lua_checkstack(thread, 20);
    lua_pushcfunction(L, trace);
    lua_pushlightuserdata(L, thread);
    if (panini_call_after(vm, L, 1, 1) != LUA_OK) {
        lua_pop(L, 1);
        panini_push_traceback(L);
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

// ---- the error that was noted last

int panini_note_error(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_NOTED_ERROR);
    int is_known = !lua_isnil(L, -1) && lua_rawequal(L, -1, 1);
    lua_settop(L, 1);
    panini_vm *vm = panini_vm_of(L);
    if (is_known || vm->kill.is_due || !lua_checkstack(L, 40)) return 1;
    lua_Debug frame;
    vm->is_error_meant = lua_getstack(L, 1, &frame) && lua_getinfo(L, "f", &frame) && panini_is_error_function(L, -1);
    lua_settop(L, 1);
    luaL_traceback(L, L, NULL, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_NOTED_TRACEBACK);
    lua_pushvalue(L, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_NOTED_ERROR);
    return 1;
}

void panini_forget_error(lua_State *L) {
    // Fields of the registry's array that exist: nothing is allocated.
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_NOTED_ERROR);
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_NOTED_TRACEBACK);
}

int panini_is_error_meant(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TSTRING) return 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_NOTED_ERROR);
    int is_noted = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    return is_noted && panini_vm_of(L)->is_error_meant;
}

void panini_take_noted_traceback(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_NOTED_ERROR);
    if (lua_isnil(L, -1) || !lua_rawequal(L, -1, -2)) {
        lua_settop(L, -2);
        lua_pushnil(L);
        return;
    }
    lua_settop(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_NOTED_TRACEBACK);
    panini_forget_error(L);
}
