// The allow-list: what a script sees of Lua's own libraries. Nothing here reaches files, processes, the environment,
// bytecode or finalizers; what is closed raises an error that names the way. Functions replaced here keep the manual's contract
// except where a comment says so. Texts are on the stack while they are used (panini_vm.h has the rule).
#include "panini_libraries.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "panini_address.h"
#include "panini_base.h"
#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_library.h"
#include "panini_vm.h"

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
    // To a script it is as good as none: `getmetatable` gives nil, and another one may be set.
    lua_createtable(L, 0, 2);
    panini_hide_metatable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_EMPTY_OBJECT_METATABLE);
}

// ---- numbers

// Upvalue: Lua's own function, which reads every argument as a number. It reads a text to its end, and one text may be given a
// hundred thousand times.
static int bounded(lua_State *L) {
    enum { LONGEST_NUMBER = 512 };
    for (int argument = lua_gettop(L); argument > 0; argument--) {
        if (lua_type(L, argument) == LUA_TSTRING && lua_rawlen(L, argument) > LONGEST_NUMBER) {
            return luaL_typeerror(L, argument, "number");
        }
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

void panini_set_bounded(lua_State *L, const char *field) {
    lua_getfield(L, -1, field);
    lua_pushcclosure(L, bounded, 1);
    lua_setfield(L, -2, field);
}

// ---- math

// math.randomseed. Lua's own seed, which it returns, is the time and the address of the thread. Upvalue: Lua's own function.
static int math_randomseed(lua_State *L) {
    if (lua_isnone(L, 1)) {
        lua_Integer seed[2];
        panini_fill_random(seed, sizeof seed);
        lua_pushinteger(L, seed[0]);
        lua_pushinteger(L, seed[1]);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

int panini_open_math(lua_State *L) {
    luaopen_math(L);
    panini_set_bounded(L, "max");
    panini_set_bounded(L, "min");
    lua_getfield(L, -1, "randomseed");
    lua_pushcclosure(L, math_randomseed, 1);
    // The numbers that come without any seed tell of it, too.
    lua_pushvalue(L, -1);
    lua_call(L, 0, 0);
    lua_setfield(L, -2, "randomseed");
    return 1;
}

// ---- the list

// In the registry.
static char modules_key;

void panini_push_modules(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key); }

// Pushes a table with the functions that are global now.
static void push_functions(lua_State *L) {
    lua_newtable(L);
    lua_pushglobaltable(L);
    lua_pushnil(L);
    // Bounded: before there are scripts.
    while (lua_next(L, -2)) {
        if (lua_isfunction(L, -1)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -5);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

// Lua's own list of what is loaded gives functions in C their names in errors: for each of them Lua goes over the list and
// all tables in it, in one step. So it has the libraries alone, as they are here, and nothing that scripts can fill.
static void open_modules(lua_State *L, int is_trusted) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (!is_trusted) {
        push_functions(L);
        lua_setfield(L, -2, LUA_GNAME);
        lua_newtable(L);
        lua_pushglobaltable(L);
        lua_setfield(L, -2, LUA_GNAME);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
}

// Opens a library under its name: as a table that scripts may add to, or as it is.
static void open(lua_State *L, const char *name, lua_CFunction function, int is_trusted) {
    luaL_requiref(L, name, function, 0);
    if (!is_trusted) panini_push_shielded(L, name, 0);
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
    panini_push_modules(L);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

// In the registry: the metatable of strings, whether strings have it or not.
static char strings_key;

void panini_push_string_metatable(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &strings_key);
    lua_pushliteral(L, "__metatable");
    lua_rawget(L, -2);
}

// What getmetatable("") gives: a table that reads as the metatable of strings, with the library in place of its contents. What
// operators do with strings is the script's to say; what a finalizer or a mode would do, it is not.
static void shield_strings(lua_State *L) {
    static const char *const kept[] = {"__gc", "__metatable", "__mode", "__name", NULL};
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    int metatable = lua_gettop(L);
    lua_pushvalue(L, metatable);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &strings_key);
    lua_newtable(L);
    lua_getglobal(L, LUA_STRLIBNAME);
    lua_setfield(L, -2, "__index");
    for (const char *const *name = kept; *name != NULL; name++) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, *name);
    }
    panini_push_shielded(L, "getmetatable('')", metatable);
    lua_pushnil(L);
    // Bounded: before there are scripts.
    while (lua_next(L, metatable)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        if (strcmp(lua_tostring(L, -2), "__index") == 0) lua_pop(L, 2);
        else lua_settable(L, metatable + 1);
    }
    lua_setfield(L, metatable, "__metatable");
    lua_pop(L, 2);
}

void panini_open_libraries(lua_State *L, int is_trusted) {
    open_arrays(L);
    open_null(L);
    panini_open_base(L, is_trusted);
    open_modules(L, is_trusted);
    open(L, LUA_COLIBNAME, panini_open_coroutine, is_trusted);
    open(L, LUA_TABLIBNAME, panini_open_table, is_trusted);
    open(L, LUA_MATHLIBNAME, panini_open_math, is_trusted);
    open(L, LUA_UTF8LIBNAME, panini_open_utf8, is_trusted);
    open(L, LUA_STRLIBNAME, panini_open_string, is_trusted);
    open(L, LUA_DBLIBNAME, is_trusted ? panini_open_trusted_debug : panini_open_debug, is_trusted);
    open(L, LUA_OSLIBNAME, is_trusted ? luaopen_os : panini_open_os, is_trusted);
    open(L, LUA_IOLIBNAME, is_trusted ? luaopen_io : panini_open_io, is_trusted);
    if (!is_trusted) shield_strings(L);
}

// name, value
static int set_member(lua_State *L) {
    lua_getglobal(L, lua_tostring(L, 1));
    if (panini_push_contents(L, -1)) lua_remove(L, -2);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    return 0;
}

void panini_set_library_function(lua_State *L, const char *library, const char *name) {
    lua_pushcfunction(L, set_member);
    lua_pushstring(L, library);
    lua_pushstring(L, name);
    lua_rotate(L, -4, -1);
    if (panini_call(panini_vm_of(L), L, 3, 0) != LUA_OK) lua_pop(L, 1);
}
