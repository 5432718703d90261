// Owns: helpers of the host on Lua values. What Swift calls here raises for want of memory alone.
//
// Pointers into Lua's objects (panini_vm.h has the rule): texts are on the stack until the text that is made of them is.

#include "panini_values.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "panini_address.h"
#include "panini_call.h"
#include "panini_kill.h"
#include "panini_vm.h"

int panini_next(lua_State *L, int index) {
    if (!panini_is_killed(panini_vm_of(L))) return lua_next(L, index);
    lua_settop(L, -2);
    return 0;
}

int panini_next_of_changing(lua_State *L, int index) {
    if (!lua_isnil(L, -1)) {
        index = lua_absindex(L, index);
        lua_pushvalue(L, -1);
        // A key with a value is found.
        int is_there = lua_rawget(L, index) != LUA_TNIL;
        lua_settop(L, is_there ? -2 : -3);
        if (!is_there) return -1;
    }
    return panini_next(L, index);
}

void *panini_userdata_at(lua_State *L, int index, int metatable_reference) {
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    int same = lua_rawequal(L, -1, -2);
    lua_settop(L, -3);
    return same ? lua_touserdata(L, index) : NULL;
}

int panini_field(lua_State *L, int index, const char *name) {
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

int panini_function_origin(lua_State *L, int index, char *buffer, size_t size) {
    lua_Debug info;
    lua_pushvalue(L, index);
    if (!lua_getinfo(L, ">S", &info) || info.linedefined < 0) return 0;
    const char *source = *info.source == '@' ? info.source + 1 : info.short_src;
    snprintf(buffer, size, "%s:%d", source, info.linedefined);
    return 1;
}

void panini_refuse_surplus(lua_State *L, const char *name, int most) {
    int given = lua_gettop(L);
    if (given <= most) return;
    while (given > most && lua_isnil(L, given)) given--;
    if (given <= most) return;
    // Of a method the object stands in front of the arguments.
    int hidden = strchr(name, ':') != NULL, count = most - hidden;
    luaL_checkstack(L, 8, NULL);
    if (count == 0) lua_pushfstring(L, "%s takes no arguments, got %d", name, given - hidden);
    else lua_pushfstring(L, "%s takes %d argument%s, got %d", name, count, count == 1 ? "" : "s", given - hidden);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    panini_push_positioned(L, text, length);
    lua_error(L);
}

// ---- texts

static int to_text(lua_State *L) {
    panini_tolstring(L, 1, NULL);
    return 1;
}

int panini_has_text(lua_State *L, int index) {
    if (luaL_getmetafield(L, index, "__tostring") == LUA_TNIL) return 0;
    lua_settop(L, -2);
    return 1;
}

void panini_push_text(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    panini_vm *vm = panini_vm_of(L);
    int could_fail = vm->calls.may_fail;
    index = lua_absindex(L, index);
    lua_pushcfunction(L, to_text);
    lua_pushvalue(L, index);
    vm->calls.may_fail = 1;
    int status = lua_pcall(L, 1, 1, 0);
    vm->calls.may_fail = could_fail;
    if (status == LUA_OK) return;
    const char *reason = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
    lua_pushfstring(L, "(a %s whose __tostring failed: %s)", luaL_typename(L, index), reason);
    lua_rotate(L, -2, 1);
    lua_settop(L, -2);
}

void panini_push_type_name(lua_State *L, int index) {
    int type = luaL_getmetafield(L, index, "__name");
    if (type == LUA_TSTRING) return;
    if (type != LUA_TNIL) lua_settop(L, -2);
    lua_pushstring(L, luaL_typename(L, index));
}

// ---- functions bound to a value: upvalues are the function, its context, the value

static void drop_self(lua_State *L) {
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(3))) lua_remove(L, 1);
}

static int call_bound(lua_State *L) {
    drop_self(L);
    return panini_run_host_function(L);
}

static void push_bound(lua_State *L, lua_CFunction call, panini_host_function function, void *context) {
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, context);
    lua_rotate(L, -3, -1);
    lua_pushcclosure(L, call, 3);
}

void panini_push_bound_function(lua_State *L, panini_host_function function, void *context) {
    push_bound(L, call_bound, function, context);
}

void panini_push_twice_bound_function(lua_State *L, panini_host_function function, void *context) {
    lua_insert(L, -2);
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, context);
    // self, second, function, context -> function, context, self, second
    lua_rotate(L, -4, 2);
    lua_pushcclosure(L, call_bound, 4);
}
