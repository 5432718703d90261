// Owns: tables of the host that scripts may add to: what the host put there stays, but for functions that only refuse, which a
// script may replace by its own. A script holds an empty table that stands
// for two others, the host's contents and what the script has added; neither is ever handed out. Called by Lua. Texts are on the
// stack or upvalues while they are used (panini_vm.h has the rule).
#include "panini_shield.h"

#include <lauxlib.h>
#include <string.h>

#include "panini_address.h"
#include "panini_library.h"

// In the metatable of such a table, at these keys: the host's contents, and the script's additions.
static char contents_key, additions_key;

static int refuse(lua_State *L);

enum { CONTENTS = 1, ADDITIONS, WHOLE, MIRROR, CLOSED };

// upvalues: contents, additions, the name of the whole, nil or what takes the additions, too, and the
// functions that refuse
static int add(lua_State *L) {
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(CLOSED)) != LUA_TNIL) {
        // Without a function of the script's it refuses again, so that the contents keep their keys.
        if (lua_isnil(L, 3)) lua_replace(L, 3);
        lua_settop(L, 3);
        lua_rawset(L, lua_upvalueindex(CONTENTS));
        return 0;
    }
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(CONTENTS)) != LUA_TNIL) {
        // `table.unpack = table.unpack or unpack`, as libraries have it.
        if (lua_rawequal(L, -1, 3)) return 0;
        return luaL_error(
            L, "%s.%s is the host's and stays as it is: give the function another name, or keep it in a table of your own",
            lua_tostring(L, lua_upvalueindex(WHOLE)), panini_tolstring(L, 2, NULL));
    }
    lua_settop(L, 3);
    if (lua_istable(L, lua_upvalueindex(MIRROR))) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 3);
        lua_rawset(L, lua_upvalueindex(MIRROR));
    }
    lua_rawset(L, lua_upvalueindex(ADDITIONS));
    return 0;
}

// Whether the value at an index is such a table; pushes its contents and its additions when it is.
static int push_parts(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return 0;
    if (lua_rawgetp(L, -1, &contents_key) != LUA_TTABLE) {
        lua_pop(L, 2);
        return 0;
    }
    lua_rawgetp(L, -2, &additions_key);
    lua_remove(L, -3);
    return 1;
}

static int shielded_next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (!push_parts(L, 1)) {
        if (lua_next(L, 1)) return 2;
        lua_pushnil(L);
        return 1;
    }
    // 3 contents, whose keys never change, 4 additions.
    int is_start = lua_isnil(L, 2);
    lua_pushvalue(L, 2);
    int is_hosts = !is_start && lua_rawget(L, 3) != LUA_TNIL;
    lua_settop(L, 4);
    lua_pushvalue(L, 2);
    if (is_start || is_hosts) {
        if (lua_next(L, 3)) return 2;
        lua_pushnil(L);
    }
    if (lua_next(L, 4)) return 2;
    lua_pushnil(L);
    return 1;
}

static int iterate(lua_State *L) {
    lua_settop(L, 1);
    lua_pushcfunction(L, shielded_next);
    lua_insert(L, 1);
    lua_pushnil(L);
    return 3;
}

// Pushes a table with the functions that only refuse, by their names.
static void push_closed(lua_State *L, int contents) {
    lua_newtable(L);
    lua_pushnil(L);
    // Bounded: a table of the host's.
    while (lua_next(L, contents)) {
        if (lua_tocfunction(L, -1) != refuse) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

// Pushes an empty table that stands for two others; its metatable, without __newindex, is below it.
static void push_stand_in(lua_State *L, int contents, int additions) {
    lua_createtable(L, 0, 6);
    lua_pushvalue(L, contents);
    lua_rawsetp(L, -2, &contents_key);
    lua_pushvalue(L, additions);
    lua_rawsetp(L, -2, &additions_key);
    lua_pushvalue(L, contents);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, iterate);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
}

void panini_push_shielded(lua_State *L, const char *name, int mirror) {
    int contents = lua_gettop(L), additions = contents + 1;
    lua_newtable(L);
    // What the contents lack is looked for in the additions, also where Lua holds the contents itself, as of strings.
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, additions);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, contents);
    push_stand_in(L, contents, additions);
    lua_pushvalue(L, contents);
    lua_pushvalue(L, additions);
    lua_pushstring(L, name);
    if (mirror != 0) lua_pushvalue(L, mirror);
    else lua_pushnil(L);
    push_closed(L, contents);
    lua_pushcclosure(L, add, CLOSED);
    lua_setfield(L, -3, "__newindex");
    lua_replace(L, contents);
    lua_settop(L, contents);
}

static int refuse_assignment(lua_State *L) {
    return luaL_error(
        L, "%s.%s cannot be assigned: %s", lua_tostring(L, lua_upvalueindex(1)), panini_tolstring(L, 2, NULL),
        lua_tostring(L, lua_upvalueindex(2)));
}

void panini_push_fixed(lua_State *L, const char *name, const char *hint) {
    int contents = lua_gettop(L);
    lua_newtable(L);
    push_stand_in(L, contents, contents + 1);
    lua_pushstring(L, name);
    lua_pushstring(L, hint);
    lua_pushcclosure(L, refuse_assignment, 2);
    lua_setfield(L, -3, "__newindex");
    lua_replace(L, contents + 1);
    lua_settop(L, contents + 1);
}

int panini_push_contents(lua_State *L, int index) {
    if (!push_parts(L, index)) return 0;
    lua_pop(L, 1);
    return 1;
}

static int shielded_rawget(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (push_parts(L, 1)) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, 3) != LUA_TNIL) return 1;
        lua_settop(L, 4);
        lua_replace(L, 1);
        lua_settop(L, 2);
    }
    lua_rawget(L, 1);
    return 1;
}

static int shielded_rawset(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (push_parts(L, 1)) {
        // As an assignment does it, which sees to what stays.
        lua_settop(L, 3);
        lua_settable(L, 1);
        lua_settop(L, 1);
        return 1;
    }
    lua_rawset(L, 1);
    return 1;
}

void panini_set_shielded_access(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"next", shielded_next}, {"rawget", shielded_rawget}, {"rawset", shielded_rawset}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}

// ---- what is closed

// upvalues: name, the way out
static int refuse(lua_State *L) {
    const char *way = lua_tostring(L, lua_upvalueindex(2));
    return luaL_error(
        L, "%s is closed to scripts%s%s (--trust opens it)", lua_tostring(L, lua_upvalueindex(1)), way ? ": " : "", way ? way : "");
}

void panini_set_closed(lua_State *L, const char *field, const char *name, const char *way) {
    lua_pushstring(L, name);
    lua_pushstring(L, way);
    lua_pushcclosure(L, refuse, 2);
    lua_setfield(L, -2, field);
}
