// The allow-list: what a script sees of Lua's own libraries. Nothing here reaches files, processes, the environment,
// bytecode or finalizers. Functions replaced here keep the manual's contract except where a comment says so.
#include "panini_libraries.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "panini_coroutine.h"
#include "panini_internal.h"

// ---- base

// Text chunks only: bytecode can crash the interpreter. A `mode` that excludes text therefore excludes everything.
enum { LOAD_RESERVED = 5 };

static const char *read_piece(lua_State *L, void *data, size_t *size) {
    (void)data;
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *size = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
    // Kept in a slot of its own: the bytes must live until the next call.
    lua_replace(L, LOAD_RESERVED);
    return lua_tolstring(L, LOAD_RESERVED, size);
}

static int base_load(lua_State *L) {
    size_t length = 0;
    const char *text = lua_tolstring(L, 1, &length);
    const char *mode = luaL_optstring(L, 3, "t");
    int has_environment = !lua_isnone(L, 4);
    int status;
    if (strchr(mode, 't') == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "only text chunks can be loaded");
        return 2;
    }
    if (text != NULL) {
        const char *name = luaL_optstring(L, 2, text);
        status = luaL_loadbufferx(L, text, length, name, "t");
    } else {
        const char *name = luaL_optstring(L, 2, "=(load)");
        luaL_checktype(L, 1, LUA_TFUNCTION);
        lua_settop(L, LOAD_RESERVED);
        status = lua_load(L, read_piece, NULL, name, "t");
    }
    if (status != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_environment) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    }
    return 1;
}

// No finalizers for scripts: they would run at any allocation, Swift's included. An array made by the JSON codec may
// get another metatable although its own one is protected.
static int base_setmetatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "__gc is not available: use <close> variables");
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        lua_getmetatable(L, 1);
        panini_push_array_metatable(L);
        if (!lua_rawequal(L, -1, -2)) return luaL_error(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

// Collections are the host's business.
static int base_collectgarbage(lua_State *L) {
    const char *option = luaL_optstring(L, 1, "collect");
    if (strcmp(option, "count") != 0) {
        return luaL_error(L, "collectgarbage('%s') is not available: only 'count' is", option);
    }
    lua_pushnumber(L, (lua_Number)panini_vm_of(L)->bytes_in_use / 1024.0);
    return 1;
}

// ---- null and arrays

static int null_tostring(lua_State *L) {
    lua_pushliteral(L, "null");
    return 1;
}

// Light userdata share one metatable: it gives null its name, and keeps scripts away from it.
static void open_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "null");
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "null");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static void open_arrays(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__name");
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_ARRAY_METATABLE);
}

// ---- the list

static void remove_fields(lua_State *L, const char *const *names) {
    for (; *names != NULL; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

// Makes the global library `name` keep only `names`.
static void keep_fields(lua_State *L, const char *name, const char *const *names) {
    lua_newtable(L);
    for (; *names != NULL; names++) {
        lua_getfield(L, -2, *names);
        lua_setfield(L, -2, *names);
    }
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

void panini_open_libraries(lua_State *L) {
    static const char *const base_removed[] = {"dofile", "loadfile", NULL};
    static const luaL_Reg base_replaced[] = {
        {"load", base_load},
        {"setmetatable", base_setmetatable},
        {"collectgarbage", base_collectgarbage},
        {NULL, NULL},
    };
    static const char *const string_removed[] = {"dump", NULL};
    static const char *const os_kept[] = {"time", "clock", "date", "difftime", NULL};
    static const char *const debug_kept[] = {"traceback", NULL};

    open_arrays(L);
    open_null(L);

    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    remove_fields(L, base_removed);
    luaL_setfuncs(L, base_replaced, 0);
    lua_pop(L, 1);

    luaL_requiref(L, LUA_COLIBNAME, panini_open_coroutine, 1);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    lua_pop(L, 4);

    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    remove_fields(L, string_removed);
    lua_pop(L, 1);
    // The metatable of strings belongs to every string there is.
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);

    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 1);
    keep_fields(L, LUA_OSLIBNAME, os_kept);
    luaL_requiref(L, LUA_DBLIBNAME, luaopen_debug, 1);
    keep_fields(L, LUA_DBLIBNAME, debug_kept);
}
