// Functions of the basic library that differ from Lua's own: they let no script catch the end of its run, load text only, and
// leave the host's tables alone. Called by Lua. Texts are arguments, whose slots stay as they are (panini_vm.h has the rule).
#include "panini_base.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "panini_address.h"
#include "panini_call.h"
#include "panini_kill.h"
#include "panini_library.h"
#include "panini_load.h"
#include "panini_vm.h"
#include "panini_weak.h"

// In metatables of the host that scripts do not see.
static char hidden_key;

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

// Stands for the script's message handler, upvalue 1, which must not see the end of a run.
int panini_run_handler(lua_State *L) {
    if (panini_vm_of(L)->kill.is_due) return 1;
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
    if (lua_tocfunction(L, 2) != panini_traceback) lua_pushcclosure(L, panini_run_handler, 1);
    lua_replace(L, 1);
    lua_replace(L, 2);
    lua_insert(L, 3);
    return call_ended(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 1, 2, call_ended), 2);
}

// ---- loading

// Text chunks only, with or without --trust: bytecode is not checked by Lua. A `mode` that excludes text excludes everything.
static int base_load(lua_State *L) {
    size_t length = 0;
    const char *text = lua_tolstring(L, 1, &length);
    const char *mode = luaL_optstring(L, 3, "t");
    int has_environment = !lua_isnone(L, 4);
    int status;
    if (strchr(mode, 't') == NULL) {
        lua_pushnil(L);
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
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

// 1 a table, 2 a metatable with a finalizer, which is the value on top. Lua looks for it in this moment alone: the object has
// none, and the script finds its field as it was. Nothing in between takes memory.
static void set_without_finalizer(lua_State *L) {
    lua_pushliteral(L, "__gc");
    lua_insert(L, -2);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -3);
    lua_pushnil(L);
    lua_rawset(L, 2);
    lua_setmetatable(L, 1);
    lua_rawset(L, 2);
    panini_notice(L, PANINI_NOTICE_FINALIZER);
}

// ---- metatables of the host

void panini_hide_metatable(lua_State *L) {
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &hidden_key);
    // For whoever reads it in another way.
    lua_pushliteral(L, "__metatable");
    lua_pushboolean(L, 0);
    lua_rawset(L, -3);
}

// Whether the metatable on top is one of those.
static int is_hidden(lua_State *L) {
    int is_one = lua_rawgetp(L, -1, &hidden_key) != LUA_TNIL;
    lua_pop(L, 1);
    return is_one;
}

// No finalizers for scripts: they would run at any allocation, Swift's included. What the JSON codec
// made, and tables whose metatable is hidden, may get another metatable although their own one is protected.
int panini_setmetatable(lua_State *L) {
    int type = lua_type(L, 2), has_finalizer = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    lua_settop(L, 2);
    if (type == LUA_TTABLE) panini_note_metatable(L);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        lua_getmetatable(L, 1);
        int may_change = is_hidden(L);
        panini_push_array_metatable(L);
        if (!may_change && !lua_rawequal(L, -1, -2)) return luaL_error(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        has_finalizer = lua_rawget(L, 2) != LUA_TNIL;
    }
    if (has_finalizer) {
        set_without_finalizer(L);
    } else {
        lua_settop(L, 2);
        lua_setmetatable(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}

// The metatable of the globals is the host's: for scripts there is none, and they may set one. So are the one that the JSON
// codec puts on objects without members, and that of errors: copies of tables hand what they are given here to setmetatable.
int panini_getmetatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    if (is_hidden(L)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1;
}

static int base_tostring(lua_State *L) {
    luaL_checkany(L, 1);
    panini_tolstring(L, 1, NULL);
    return 1;
}

// When to collect is the host's business: what Lua's own would answer, and nothing is done.
static int base_collectgarbage(lua_State *L) {
    static const char *const options[] = {
        "collect", "count", "step", "isrunning", "stop", "restart", "incremental", "generational", "setpause",
        "setstepmul", NULL,
    };
    enum { COLLECT, COUNT, STEP, IS_RUNNING, STOP, RESTART, INCREMENTAL, GENERATIONAL, PAUSE, MULTIPLIER };
    int option = luaL_checkoption(L, 1, "collect", options);
    if (option == COUNT) {
        lua_pushnumber(L, (lua_Number)panini_vm_of(L)->memory.in_use / 1024.0);
        return 1;
    }
    panini_notice(L, PANINI_NOTICE_COLLECT);
    switch (option) {
        case STEP:
        case IS_RUNNING: lua_pushboolean(L, 1); break;
        case INCREMENTAL:
        case GENERATIONAL: lua_pushliteral(L, "incremental"); break;
        case PAUSE: lua_pushinteger(L, 200); break;
        case MULTIPLIER: lua_pushinteger(L, 100); break;
        default: lua_pushinteger(L, 0);
    }
    return 1;
}

// ---- globals that nobody declared

static int new_global(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    lua_settop(L, 3);
    if (vm->callbacks.global_made != NULL && lua_type(L, 2) == LUA_TSTRING) {
        int could_fail = panini_enter_host(vm);
        vm->callbacks.global_made(L, vm->callbacks.global_context);
        panini_leave_host(vm, could_fail);
        lua_settop(L, 3);
    }
    lua_rawset(L, 1);
    return 0;
}

// The table of globals is on top.
static void watch_globals(lua_State *L) {
    lua_createtable(L, 0, 4);
    lua_pushcfunction(L, new_global);
    lua_setfield(L, -2, "__newindex");
    panini_hide_metatable(L);
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
    static const luaL_Reg replaced[] = {
        {"load", base_load},
        {"setmetatable", panini_setmetatable},
        {"getmetatable", panini_getmetatable},
        {"collectgarbage", base_collectgarbage},
        {"pcall", base_pcall},
        {"xpcall", base_xpcall},
        {"tostring", base_tostring},
        {NULL, NULL},
    };
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_getfield(L, -1, "error");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    luaL_setfuncs(L, replaced, 0);
    if (!is_trusted) {
        panini_set_shielded_access(L);
        panini_set_closed(L, "dofile", "dofile", "require runs modules beside the script and in module_path");
        panini_set_closed(L, "loadfile", "loadfile", "require loads modules beside the script and in module_path");
    }
    watch_globals(L);
    lua_pop(L, 1);
}
