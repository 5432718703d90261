// Owns: the Lua face of a WebSocket. Called by Lua itself, but for what pushes. The object is at index 1 of the function that
// runs, or its upvalue, until that returns (panini_vm.h has the rule).

#include "panini_websocket.h"

#include <lauxlib.h>
#include <string.h>

#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_values.h"
#include "panini_vm.h"

static const char *const names[] = {
    [PANINI_WEBSOCKET_RECEIVE] = "receive",         [PANINI_WEBSOCKET_SEND] = "send",
    [PANINI_WEBSOCKET_SEND_BINARY] = "send_binary", [PANINI_WEBSOCKET_CLOSE] = "close",
    [PANINI_WEBSOCKET_ID] = "id",                   [PANINI_WEBSOCKET_PROTOCOL] = "protocol",
    [PANINI_WEBSOCKET_CONTEXT] = "context",
};
enum { NAME_COUNT = sizeof names / sizeof names[0] };

// Upvalues: the object, the host, the function's number. A dot and a colon call alike.
static int call_function(lua_State *L) {
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(1))) lua_remove(L, 1);
    panini_websocket *socket = lua_touserdata(L, lua_upvalueindex(1));
    const panini_websocket_host *host = lua_touserdata(L, lua_upvalueindex(2));
    int function = (int)lua_tointeger(L, lua_upvalueindex(3));
    static const char *const shown[] = {
        [PANINI_WEBSOCKET_RECEIVE] = "ws.receive", [PANINI_WEBSOCKET_SEND] = "ws.send",
        [PANINI_WEBSOCKET_SEND_BINARY] = "ws.send_binary", [PANINI_WEBSOCKET_CLOSE] = "ws.close",
    };
    panini_refuse_surplus(L, shown[function], function == PANINI_WEBSOCKET_RECEIVE ? 0 : 2);
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    int results = host->call(L, host->context, socket, function);
    panini_leave_host(vm, could_fail);
    if (results > 0) {
        panini_check_made(L);
        return results;
    }
    panini_check(L);
    if (results == 0) return 0;
    if (results == PANINI_SUSPEND) return panini_suspend(L);
    return lua_error(L);
}

static int push_protocol(lua_State *L, const panini_websocket_host *host, panini_websocket *socket) {
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    int results = host->protocol(L, host->context, socket);
    panini_leave_host(vm, could_fail);
    return results;
}

// Upvalues: name -> number, the host. What was made is kept in the object's user value.
static int websocket_index(lua_State *L) {
    panini_websocket *socket = lua_touserdata(L, 1);
    const panini_websocket_host *host = lua_touserdata(L, lua_upvalueindex(2));
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    int name = (int)lua_tointeger(L, 2);
    if (name == 0) return 0;
    if (name == PANINI_WEBSOCKET_ID) {
        lua_pushinteger(L, socket->id);
        return 1;
    }
    if (name == PANINI_WEBSOCKET_PROTOCOL) return push_protocol(L, host, socket);
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
        lua_settop(L, 2);
        lua_createtable(L, PANINI_WEBSOCKET_CLOSE, 0);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    }
    if (lua_rawgeti(L, 3, name) != LUA_TNIL) return 1;
    lua_settop(L, 3);
    if (name == PANINI_WEBSOCKET_CONTEXT) {
        lua_createtable(L, 0, 2);
    } else {
        lua_pushvalue(L, 1);
        lua_pushlightuserdata(L, (void *)host);
        lua_pushinteger(L, name);
        lua_pushcclosure(L, call_function, 3);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, 3, name);
    return 1;
}

static int websocket_newindex(lua_State *L) {
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    return luaL_error(L, "ws.%s is read-only; keep values of your own in ws.context", key);
}

static int websocket_tostring(lua_State *L) {
    panini_websocket *socket = lua_touserdata(L, 1);
    lua_pushfstring(L, "websocket %I", (LUAI_UACINT)socket->id);
    return 1;
}

static void set_text(lua_State *L, const char *key) {
    lua_pushstring(L, key);
    lua_pushliteral(L, "panini.websocket");
    lua_rawset(L, -3);
}

void panini_websocket_push_metatable(lua_State *L, const panini_websocket_host *host) {
    lua_createtable(L, 0, 5);
    lua_pushliteral(L, "__index");
    lua_createtable(L, 0, NAME_COUNT);
    for (int name = 1; name < NAME_COUNT; name++) {
        lua_pushstring(L, names[name]);
        lua_pushinteger(L, name);
        lua_rawset(L, -3);
    }
    lua_pushlightuserdata(L, (void *)host);
    lua_pushcclosure(L, websocket_index, 2);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__newindex");
    lua_pushcfunction(L, websocket_newindex);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__tostring");
    lua_pushcfunction(L, websocket_tostring);
    lua_rawset(L, -3);
    set_text(L, "__name");
    // Scripts cannot reach the metatable, so its functions are only ever called with such an object.
    set_text(L, "__metatable");
}

panini_websocket *panini_websocket_push(lua_State *L, int metatable_reference, void *session, int64_t id) {
    panini_websocket *socket = lua_newuserdatauv(L, sizeof(panini_websocket), 1);
    *socket = (panini_websocket){.session = session, .id = id, .code = 0};
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
    return socket;
}
