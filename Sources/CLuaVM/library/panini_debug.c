// The debug library: what scripts may know of their own functions and frames. Nothing of it reaches the host's functions, its
// values or the registry. Called by Lua.
//
// Pointers into Lua's objects (panini_vm.h has the rule): what Lua says of a function belongs to the function, which is an
// argument or on a stack that does not move meanwhile.
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "panini_library.h"

// How many of the frames from 1 to `level` are panini_run_handler's: they are not there for the script.
static int hidden_frames(lua_State *L, int level) {
    lua_Debug frame;
    int count = 0;
    for (int at = 1; at <= level + count && at < 16 && lua_getstack(L, at, &frame); at++) {
        lua_getinfo(L, "f", &frame);
        count += lua_tocfunction(L, -1) == panini_run_handler;
        lua_pop(L, 1);
    }
    return count;
}

// debug.traceback([thread,] [message [, level]])
int panini_traceback(lua_State *L) {
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

// The frame or the function that `debug.getinfo` is asked for, on top of `thread` when it is a function; 0: no such level.
static int find_frame(lua_State *L, lua_State *thread, int index, lua_Debug *info) {
    lua_Integer level = luaL_checkinteger(L, index);
    if (level < 0 || level > 1 << 30) return 0;
    if (thread == L && level > 0) level += hidden_frames(L, (int)level);
    return lua_getstack(thread, (int)level, info);
}

static void set_text(lua_State *L, const char *name, const char *text) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, int number) {
    lua_pushinteger(L, number);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, int flag) {
    lua_pushboolean(L, flag);
    lua_setfield(L, -2, name);
}

// debug.getinfo([thread,] function or level [, what])
static int getinfo(lua_State *L) {
    lua_State *thread = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int first = lua_isthread(L, 1) ? 2 : 1;
    const char *what = luaL_optstring(L, first + 1, "Slntu");
    for (const char *at = what; *at != 0; at++) {
        if (strchr("Slntu", *at) != NULL) continue;
        if (strchr("fLr", *at) == NULL) return luaL_argerror(L, first + 1, "invalid option");
        return luaL_error(L, "debug.getinfo gives S, l, n, t and u: '%c' is closed to scripts (--trust opens it)", *at);
    }
    lua_Debug info;
    char asked[8] = ">Slntu";
    if (lua_isfunction(L, first)) {
        luaL_checkstack(L, 2, NULL);
        if (!lua_checkstack(thread, 2)) return luaL_error(L, "stack overflow");
        lua_pushvalue(L, first);
        lua_xmove(L, thread, 1);
        lua_getinfo(thread, asked, &info);
    } else {
        if (!find_frame(L, thread, first, &info)) {
            luaL_pushfail(L);
            return 1;
        }
        lua_getinfo(thread, asked + 1, &info);
    }
    lua_newtable(L);
    if (strchr(what, 'S')) {
        lua_pushlstring(L, info.source, info.srclen);
        lua_setfield(L, -2, "source");
        set_text(L, "short_src", info.short_src);
        set_number(L, "linedefined", info.linedefined);
        set_number(L, "lastlinedefined", info.lastlinedefined);
        set_text(L, "what", info.what);
    }
    if (strchr(what, 'l')) set_number(L, "currentline", info.currentline);
    if (strchr(what, 'u')) {
        set_number(L, "nups", info.nups);
        set_number(L, "nparams", info.nparams);
        set_flag(L, "isvararg", info.isvararg);
    }
    if (strchr(what, 'n')) {
        set_text(L, "name", info.name);
        set_text(L, "namewhat", info.namewhat);
    }
    if (strchr(what, 't')) set_flag(L, "istailcall", info.istailcall);
    return 1;
}

// ---- upvalues: those of functions in C are the host's, and have an identity alone

static int getupvalue(lua_State *L) {
    int number = (int)luaL_checkinteger(L, 2);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (lua_iscfunction(L, 1)) return 0;
    const char *name = lua_getupvalue(L, 1, number);
    if (name == NULL) return 0;
    lua_pushstring(L, name);
    lua_insert(L, -2);
    return 2;
}

static int setupvalue(lua_State *L) {
    luaL_checkany(L, 3);
    int number = (int)luaL_checkinteger(L, 2);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (lua_iscfunction(L, 1)) return 0;
    lua_settop(L, 3);
    const char *name = lua_setupvalue(L, 1, number);
    if (name == NULL) return 0;
    lua_pushstring(L, name);
    return 1;
}

static void *upvalue_at(lua_State *L, int function, int number) {
    luaL_checktype(L, function, LUA_TFUNCTION);
    return lua_upvalueid(L, function, (int)luaL_checkinteger(L, number));
}

static int upvalueid(lua_State *L) {
    void *id = upvalue_at(L, 1, 2);
    if (id != NULL) lua_pushlightuserdata(L, id);
    else luaL_pushfail(L);
    return 1;
}

static int upvaluejoin(lua_State *L) {
    luaL_argcheck(L, upvalue_at(L, 1, 2) != NULL, 2, "invalid upvalue index");
    luaL_argcheck(L, upvalue_at(L, 3, 4) != NULL, 4, "invalid upvalue index");
    luaL_argcheck(L, !lua_iscfunction(L, 1), 1, "Lua function expected");
    luaL_argcheck(L, !lua_iscfunction(L, 3), 3, "Lua function expected");
    lua_upvaluejoin(L, 1, (int)lua_tointeger(L, 2), 3, (int)lua_tointeger(L, 4));
    return 0;
}

// ---- hooks and metatables

// Scripts set no hooks, so there is none.
static int gethook(lua_State *L) {
    luaL_pushfail(L);
    return 1;
}

// To take a hook away is no matter.
static int sethook(lua_State *L) {
    if (lua_isnoneornil(L, lua_isthread(L, 1) ? 2 : 1)) return 0;
    return luaL_error(L, "debug.sethook is closed to scripts: hooks are the host's (--trust opens it)");
}

// Of a table as setmetatable does it. Strings may go without their metatable for a while, as libraries have it that read tables
// as Lua; they get back the one they had.
static int set_metatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    lua_settop(L, 2);
    if (lua_istable(L, 1)) return panini_setmetatable(L);
    panini_push_string_metatable(L);
    if (lua_type(L, 1) != LUA_TSTRING || (type == LUA_TTABLE && !lua_rawequal(L, 2, -1))) {
        return luaL_error(
            L, "debug.setmetatable of a %s is closed to scripts: its metatable is the host's (--trust opens it)", luaL_typename(L, 1));
    }
    lua_pushvalue(L, 1);
    if (type == LUA_TTABLE) lua_pushvalue(L, 3);
    else lua_pushnil(L);
    lua_setmetatable(L, -2);
    return 1;
}

int panini_open_debug(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"traceback", panini_traceback}, {"getinfo", getinfo},     {"getupvalue", getupvalue},   {"setupvalue", setupvalue},
        {"upvalueid", upvalueid},        {"upvaluejoin", upvaluejoin}, {"gethook", gethook},
        {"sethook", sethook},            {"getmetatable", panini_getmetatable}, {"setmetatable", set_metatable}, {NULL, NULL},
    };
    static const char *const closed[] = {
        "debug.debug", "debug.getlocal", "debug.getregistry", "debug.getuservalue", "debug.setcstacklimit", "debug.setlocal",
        "debug.setuservalue", NULL,
    };
    luaL_newlib(L, functions);
    for (const char *const *name = closed; *name != NULL; name++) {
        panini_set_closed(L, *name + strlen("debug."), *name, NULL);
    }
    return 1;
}

int panini_open_trusted_debug(lua_State *L) {
    luaopen_debug(L);
    lua_pushcfunction(L, panini_traceback);
    lua_setfield(L, -2, "traceback");
    return 1;
}
