// Owns: the Lua face of a request. Called by Lua itself, but for what pushes.
//
// Pointers into Lua's objects (panini_vm.h has the rule): a request is at index 1 of the function that runs, or its upvalue,
// until that returns; so are texts.

#include "panini_request.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_values.h"
#include "panini_vm.h"

static const char *const field_names[] = {
    [PANINI_REQUEST_METHOD] = "method",   [PANINI_REQUEST_PATH] = "path",
    [PANINI_REQUEST_PARAMS] = "params",   [PANINI_REQUEST_QUERY] = "query",
    [PANINI_REQUEST_QUERY_ALL] = "query_all", [PANINI_REQUEST_HEADERS] = "headers",
    [PANINI_REQUEST_BODY] = "body",       [PANINI_REQUEST_COOKIES] = "cookies",
    [PANINI_REQUEST_REMOTE_ADDRESS] = "remote_address", [PANINI_REQUEST_CONTEXT] = "context",
    [PANINI_REQUEST_JSON] = "json",       [PANINI_REQUEST_FORM] = "form",
};
enum { FIELD_COUNT = sizeof field_names / sizeof field_names[0] };

// Lets the host run: while Swift is on the stack, a refused allocation must not raise.
static int host_run(
    lua_State *L, int (*function)(lua_State *, void *, panini_request *, int), const panini_request_host *host,
    panini_request *request, int argument) {
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    int results = function(L, host->context, request, argument);
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

// The table of fields that were made holds what the body was decoded to, too.
enum { MADE_JSON = PANINI_REQUEST_SEND_EVENT + 1 };

// Pushes the table of fields of the request at an index that have been made.
static void push_made(lua_State *L, int index) {
    if (lua_getiuservalue(L, index, 1) == LUA_TTABLE) return;
    lua_settop(L, -2);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, 1);
}

// Upvalues: the request, the host, the function's number. A dot and a colon call alike.
static int call_function(lua_State *L) {
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(1))) lua_remove(L, 1);
    const panini_request_host *host = lua_touserdata(L, lua_upvalueindex(2));
    panini_request *request = lua_touserdata(L, lua_upvalueindex(1));
    int function = (int)lua_tointeger(L, lua_upvalueindex(3));
    static const char *const names[] = {
        [PANINI_REQUEST_JSON] = "req.json", [PANINI_REQUEST_FORM] = "req.form", [PANINI_REQUEST_WRITE] = "write",
        [PANINI_REQUEST_SEND_EVENT] = "send",
    };
    panini_refuse_surplus(L, names[function], function >= PANINI_REQUEST_WRITE);
    if (function != PANINI_REQUEST_JSON) return host_run(L, host->call, host, request, function);
    // Decoded once: a validator's defaults are in it.
    lua_settop(L, 0);
    push_made(L, lua_upvalueindex(1));
    if (lua_rawgeti(L, 1, MADE_JSON) != LUA_TNIL) return 1;
    lua_settop(L, 1);
    host_run(L, host->call, host, request, function);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 1, MADE_JSON);
    return 1;
}

void panini_request_push_function(lua_State *L, int index, const panini_request_host *host, int function) {
    lua_pushvalue(L, index);
    lua_pushlightuserdata(L, (void *)host);
    lua_pushinteger(L, function);
    lua_pushcclosure(L, call_function, 3);
}

void panini_request_push_json(lua_State *L, void *context) {
    const panini_request_host *host = context;
    panini_request_push_function(L, 1, host, PANINI_REQUEST_JSON);
    lua_call(L, 0, 1);
}

// Upvalues: field name -> number, the host.
static int request_index(lua_State *L) {
    panini_request *request = lua_touserdata(L, 1);
    const panini_request_host *host = lua_touserdata(L, lua_upvalueindex(2));
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    int field = (int)lua_tointeger(L, 2);
    if (field == 0) return 0;
    push_made(L, 1);
    if (lua_rawgeti(L, 3, field) != LUA_TNIL) return 1;
    lua_settop(L, 3);
    if (field >= PANINI_REQUEST_JSON) panini_request_push_function(L, 1, host, field);
    else host_run(L, host->make, host, request, field);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 3, field);
    return 1;
}

static int request_newindex(lua_State *L) {
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    return luaL_error(L, "req.%s is read-only; keep values of your own in req.context", key);
}

static void set_text(lua_State *L, const char *key) {
    lua_pushstring(L, key);
    lua_pushliteral(L, "panini.request");
    lua_rawset(L, -3);
}

void panini_request_push_metatable(lua_State *L, const panini_request_host *host) {
    lua_createtable(L, 0, 4);
    lua_pushliteral(L, "__index");
    lua_createtable(L, 0, FIELD_COUNT);
    for (int field = 1; field < FIELD_COUNT; field++) {
        lua_pushstring(L, field_names[field]);
        lua_pushinteger(L, field);
        lua_rawset(L, -3);
    }
    lua_pushlightuserdata(L, (void *)host);
    lua_pushcclosure(L, request_index, 2);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__newindex");
    lua_pushcfunction(L, request_newindex);
    lua_rawset(L, -3);
    set_text(L, "__name");
    // Scripts cannot reach the metatable, so its functions are only ever called with a request.
    set_text(L, "__metatable");
}

panini_request *panini_request_push(lua_State *L, int metatable_reference, uint64_t number, size_t size) {
    panini_request *request = lua_newuserdatauv(L, sizeof(panini_request) + size, 1);
    *request = (panini_request){.number = number, .route = -1};
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
    return request;
}

// ---- headers: upvalue 1 is the table of lists

static void push_lower(lua_State *L, int index) {
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(L, &buffer, length);
    for (size_t i = 0; i < length;) {
        size_t from = i, end = length - i < PANINI_WORK ? length : i + PANINI_WORK;
        for (; i < end; i++) to[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] | 0x20) : text[i];
        panini_spend(L, end - from);
    }
    luaL_pushresultsize(&buffer, length);
}

static int headers_all(lua_State *L) {
    if (lua_istable(L, 1)) lua_remove(L, 1);  // headers:all(name) and headers.all(name)
    panini_refuse_surplus(L, "headers.all", 1);
    luaL_checktype(L, 1, LUA_TSTRING);
    push_lower(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TTABLE) lua_createtable(L, 0, 0);
    return 1;
}

// Upvalue: the function `all`.
static int headers_index(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    push_lower(L, 2);
    if (lua_rawequal(L, 2, -1)) {
        // No such header; or the method.
        lua_pushliteral(L, "all");
        if (!lua_rawequal(L, 2, -1)) return 0;
        lua_pushvalue(L, lua_upvalueindex(1));
        return 1;
    }
    lua_rawget(L, 1);
    return 1;
}

void panini_request_finish_headers(lua_State *L) {
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "__index");
    lua_pushvalue(L, -4);
    lua_pushcclosure(L, headers_all, 1);
    lua_pushcclosure(L, headers_index, 1);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__metatable");
    lua_pushliteral(L, "panini.headers");
    lua_rawset(L, -3);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}
