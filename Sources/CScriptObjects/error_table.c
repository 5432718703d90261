// Owns: the error tables that calls return to scripts: { code =, message = }, which tostring gives the message of. The table is on
// the stack while it is made (panini_vm.h has the rule).

#include "panini_error_table.h"

#include <lauxlib.h>

#include "panini_base.h"
#include "panini_values.h"

static int error_tostring(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (panini_field(L, 1, "message") == LUA_TSTRING) return 1;
    lua_pushliteral(L, "error");
    return 1;
}

void panini_error_push_metatable(lua_State *L) {
    lua_createtable(L, 0, 4);
    lua_pushliteral(L, "__tostring");
    lua_pushcfunction(L, error_tostring);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__name");
    lua_pushliteral(L, "panini.error");
    lua_rawset(L, -3);
    panini_hide_metatable(L);
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
