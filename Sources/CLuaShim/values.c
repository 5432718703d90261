// Owns: helpers of the host on Lua values. What Swift calls here raises for want of memory alone.

#include "panini_values.h"

#include <lauxlib.h>
#include <stdio.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "panini_coroutine.h"

int panini_next(lua_State *L, int index) { return lua_next(L, index); }

int panini_collect_step(lua_State *L) { return lua_gc(L, LUA_GCSTEP, 0); }

void panini_release_free_memory(lua_State *L) {
    panini_pool_trim(&panini_vm_of(L)->pool);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void panini_settle_allocator(void) {
#ifdef __GLIBC__
    // Without this the C library raises its bound for blocks of their own up to 32 MB as such blocks come and go, and a
    // table that grows then lies in memory twice, and stays there.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
#endif
}

static int error_tostring(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (panini_field(L, 1, "message") == LUA_TSTRING) return 1;
    lua_pushliteral(L, "error");
    return 1;
}

void panini_error_push_metatable(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "__tostring");
    lua_pushcfunction(L, error_tostring);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__name");
    lua_pushliteral(L, "panini.error");
    lua_rawset(L, -3);
}

void panini_error_push(
    lua_State *L, int metatable_reference, const char *code_text, size_t code_length, int64_t code_number,
    const char *message, size_t message_length) {
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "code");
    if (code_text) lua_pushlstring(L, code_text, code_length);
    else lua_pushinteger(L, code_number);
    lua_rawset(L, -3);
    lua_pushliteral(L, "message");
    lua_pushlstring(L, message, message_length);
    lua_rawset(L, -3);
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
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

// ---- functions bound to a value: upvalues are the function, its context, the value

static void drop_self(lua_State *L) {
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(3))) lua_remove(L, 1);
}

static int call_bound(lua_State *L) {
    drop_self(L);
    return panini_run_host_function(L);
}

static int call_text(lua_State *L) {
    drop_self(L);
    luaL_checkany(L, 1);
    luaL_tolstring(L, 1, NULL);
    lua_replace(L, 1);
    return panini_run_host_function(L);
}

static int call_printer(lua_State *L) {
    int count = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1) luaL_addchar(&text, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    lua_replace(L, 1);
    lua_settop(L, 1);
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

void panini_push_text_function(lua_State *L, panini_host_function function, void *context) {
    push_bound(L, call_text, function, context);
}

void panini_push_printer(lua_State *L, panini_host_function function, void *context) {
    lua_pushnil(L);
    push_bound(L, call_printer, function, context);
}
