// Functions of the basic library and of debug that differ from Lua's own: they let no script catch the end of its run, load
// text only, and leave the host's tables alone. Called by Lua.
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_load.h"
#include "panini_library.h"
#include "panini_values.h"
#include "panini_vm.h"
#include "panini_weak.h"

// ---- protected calls

// Of pcall and xpcall: `below` values lie under the results, the last of them is true.
static int call_ended(lua_State *L, int status, lua_KContext below) {
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)below + 1;
    panini_check(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int base_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    panini_check(L);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    return call_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 1, call_ended), 1);
}

static int traceback(lua_State *L);

// Stands for the script's message handler, upvalue 1, which must not see the end of a run.
static int run_handler(lua_State *L) {
    if (panini_vm_of(L)->killed) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static int base_xpcall(lua_State *L) {
    luaL_checktype(L, 2, LUA_TFUNCTION);
    panini_check(L);
    // 1 handler, 2 true, 3 function, then its arguments.
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 2);
    if (lua_tocfunction(L, 2) != traceback) lua_pushcclosure(L, run_handler, 1);
    lua_replace(L, 1);
    lua_replace(L, 2);
    lua_insert(L, 3);
    return call_ended(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, 2, call_ended), 2);
}

// How many of the frames from 1 to `level` are run_handler's: they are not there for the script.
static int hidden_frames(lua_State *L, int level) {
    lua_Debug frame;
    int count = 0;
    for (int at = 1; at <= level + count && at < 16 && lua_getstack(L, at, &frame); at++) {
        lua_getinfo(L, "f", &frame);
        count += lua_tocfunction(L, -1) == run_handler;
        lua_pop(L, 1);
    }
    return count;
}

// debug.traceback([thread,] [message [, level]])
static int traceback(lua_State *L) {
    lua_State *thread = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int first = thread == L && !lua_isthread(L, 1) ? 0 : 1;
    const char *message = lua_tostring(L, first + 1);
    if (message == NULL && !lua_isnoneornil(L, first + 1)) {
        lua_pushvalue(L, first + 1);
        return 1;
    }
    lua_Integer level = luaL_optinteger(L, first + 2, thread == L ? 1 : 0);
    if (level < 0 || level > 1 << 30) level = 1 << 30;
    // 5.4.4 takes more of the stack than it asks for.
    luaL_checkstack(L, 60, NULL);
    if (thread == L) level += hidden_frames(L, (int)level);
    luaL_traceback(L, thread, message, (int)level);
    return 1;
}

// ---- loading

// Text chunks only. A `mode` that excludes text therefore excludes everything.
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
        status = panini_load_text(L, text, length, name);
    } else {
        const char *name = luaL_optstring(L, 2, "=(load)");
        luaL_checktype(L, 1, LUA_TFUNCTION);
        status = panini_load_pieces(L, name);
    }
    if (status != LUA_OK) {
        panini_check(L);
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

// No finalizers for scripts: they would run at any allocation, Swift's included. What the JSON codec
// made may get another metatable although its own one is protected.
static int base_setmetatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) {
            return luaL_error(L, "__gc is not available: use <close> variables");
        }
        lua_pop(L, 1);
        panini_note_metatable(L);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        lua_getmetatable(L, 1);
        panini_push_array_metatable(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_EMPTY_OBJECT_METATABLE);
        if (!lua_rawequal(L, -2, -3) && !lua_rawequal(L, -1, -3)) return luaL_error(L, "cannot change a protected metatable");
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

// ---- read-only tables

// In the metatable of a read-only table, at this key: the table it stands for.
static char contents_key;

static int refuse_write(lua_State *L) {
    return luaL_error(
        L, "the library '%s' cannot be changed (%s): keep functions of your own in a table of your own",
        lua_tostring(L, lua_upvalueindex(1)), luaL_tolstring(L, 2, NULL));
}

// Pushes what the value at an index stands for when it is a read-only table, or nothing. Whether it is one.
static int push_contents(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return 0;
    int is_one = lua_rawgetp(L, -1, &contents_key) == LUA_TTABLE;
    if (is_one) lua_remove(L, -2);
    else lua_pop(L, 2);
    return is_one;
}

static int iterate(lua_State *L) {
    push_contents(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, PANINI_NEXT_FIELD);
    lua_insert(L, -2);
    lua_pushnil(L);
    return 3;
}

void panini_push_read_only(lua_State *L, const char *name) {
    lua_newtable(L);
    lua_createtable(L, 0, 6);
    lua_pushvalue(L, -3);
    lua_rawsetp(L, -2, &contents_key);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_pushcclosure(L, refuse_write, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, iterate);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

// ---- the host's tables

static int refuse_assignment(lua_State *L) {
    return luaL_error(
        L, "%s.%s cannot be assigned: %s", lua_tostring(L, lua_upvalueindex(1)), luaL_tolstring(L, 2, NULL),
        lua_tostring(L, lua_upvalueindex(2)));
}

void panini_push_fixed(lua_State *L, const char *name, const char *hint) {
    lua_pushvalue(L, -1);
    panini_push_read_only(L, name);
    lua_getmetatable(L, -1);
    lua_pushliteral(L, "__newindex");
    lua_pushstring(L, name);
    lua_pushstring(L, hint);
    lua_pushcclosure(L, refuse_assignment, 2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static int base_next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (push_contents(L, 1)) lua_replace(L, 1);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

static int base_rawget(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (push_contents(L, 1)) lua_replace(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int base_rawset(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (push_contents(L, 1)) return luaL_error(L, "a standard library cannot be changed");
    lua_rawset(L, 1);
    return 1;
}

// ---- globals that nobody declared

static int new_global(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    lua_settop(L, 3);
    if (vm->global_made != NULL && lua_type(L, 2) == LUA_TSTRING) {
        int could_fail = vm->may_fail;
        vm->may_fail = 0;
        vm->global_made(L, vm->global_context);
        vm->may_fail = could_fail;
        lua_settop(L, 3);
    }
    lua_rawset(L, 1);
    return 0;
}

// The table of globals is on top.
static void watch_globals(lua_State *L) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, new_global);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

// ---- error

// In the registry: Lua's own function.
static char error_key;

int panini_is_error_function(lua_State *L, int index) {
    lua_CFunction function = lua_tocfunction(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
    int is_one = function != NULL && function == lua_tocfunction(L, -1);
    lua_pop(L, 1);
    return is_one;
}

// ---- the list

void panini_open_base(lua_State *L, int is_trusted) {
    static const char *const removed[] = {"dofile", "loadfile", NULL};
    static const luaL_Reg replaced[] = {
        {"load", base_load},
        {"setmetatable", base_setmetatable},
        {"collectgarbage", base_collectgarbage},
        {"pcall", base_pcall},
        {"xpcall", base_xpcall},
        {NULL, NULL},
    };
    static const luaL_Reg read_only[] = {
        {"next", base_next}, {"rawget", base_rawget}, {"rawset", base_rawset}, {NULL, NULL},
    };
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_getfield(L, -1, "next");
    lua_setfield(L, LUA_REGISTRYINDEX, PANINI_NEXT_FIELD);
    lua_getfield(L, -1, "error");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    for (const char *const *name = removed; *name != NULL; name++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *name);
    }
    luaL_setfuncs(L, replaced, 0);
    if (!is_trusted) luaL_setfuncs(L, read_only, 0);
    watch_globals(L);
    lua_pop(L, 1);
}

int panini_open_debug(lua_State *L) {
    static const luaL_Reg functions[] = {{"traceback", traceback}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
