// Owns: what happens between two middlewares: the functions they call to go on, results that come back, errors and waits
// that pass through. Called by Lua itself.

#include "panini_middleware.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "panini_internal.h"
#include "panini_kill.h"
#include "panini_values.h"

// ---- receiving: listen_publish, listen_request, http_request

enum { STEP_FUNCTION = 1, STEP_NEXT, STEP_KIND };
// `state` of a callback: false until it is called, then true, or the error that a one-way message's handler returned.
enum { CALLBACK_NEXT = 1, CALLBACK_MESSAGE, CALLBACK_STATE, CALLBACK_KIND };
enum { RECEIVE_MESSAGE = 1, RECEIVE_CALLBACK = 2 };

static int callback_returned(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int count = lua_gettop(L);
    // Nobody waits for the result of a one-way message: the error must not be lost by a middleware that returns nothing.
    if (count >= 2 && lua_tointeger(L, lua_upvalueindex(CALLBACK_KIND)) == PANINI_LISTEN_PUBLISH && lua_isnil(L, 1) &&
        !lua_isnil(L, 2)) {
        lua_pushvalue(L, 2);
        lua_replace(L, lua_upvalueindex(CALLBACK_STATE));
    }
    return count;
}

static int callback(lua_State *L) {
    if (!lua_isboolean(L, lua_upvalueindex(CALLBACK_STATE)) || lua_toboolean(L, lua_upvalueindex(CALLBACK_STATE))) {
        return luaL_error(L, "callback was called twice for one message");
    }
    if (!lua_isnoneornil(L, 1) && !lua_rawequal(L, 1, lua_upvalueindex(CALLBACK_MESSAGE))) {
        return luaL_error(L, "callback takes the message that the middleware was given; set msg.data to change it");
    }
    lua_pushboolean(L, 1);
    lua_replace(L, lua_upvalueindex(CALLBACK_STATE));
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(CALLBACK_NEXT));
    lua_pushvalue(L, lua_upvalueindex(CALLBACK_MESSAGE));
    lua_callk(L, 1, LUA_MULTRET, 0, callback_returned);
    return callback_returned(L, LUA_OK, 0);
}

static int receive_returned(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int count = lua_gettop(L) - RECEIVE_CALLBACK;
    if (count > 0) return count;
    lua_getupvalue(L, RECEIVE_CALLBACK, CALLBACK_STATE);
    if (lua_isboolean(L, -1)) return 0;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int receive_step(lua_State *L) {
    lua_settop(L, RECEIVE_MESSAGE);
    lua_pushvalue(L, lua_upvalueindex(STEP_NEXT));
    lua_pushvalue(L, RECEIVE_MESSAGE);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, lua_upvalueindex(STEP_KIND));
    lua_pushcclosure(L, callback, CALLBACK_KIND);
    lua_pushvalue(L, lua_upvalueindex(STEP_FUNCTION));
    lua_pushvalue(L, RECEIVE_MESSAGE);
    lua_pushvalue(L, RECEIVE_CALLBACK);
    lua_callk(L, 2, LUA_MULTRET, 0, receive_returned);
    return receive_returned(L, LUA_OK, 0);
}

// ---- sending: send_publish, send_request

// `state` of the inner call: false until it is made, true when it gave true, else a table of what it gave.
enum { INNER_NEXT = 1, INNER_SUBJECT, INNER_MESSAGE, INNER_OPTIONS, INNER_STATE, INNER_KIND };
enum { SEND_SUBJECT = 1, SEND_MESSAGE, SEND_OPTIONS, SEND_INNER };

static int inner_returned(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int count = lua_gettop(L);
    if (count == 1 && lua_isboolean(L, 1) && lua_toboolean(L, 1)) return count;
    luaL_checkstack(L, 4, NULL);
    lua_createtable(L, count, 1);
    for (int i = 1; i <= count; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, count);
    lua_rawseti(L, -2, 0);
    lua_replace(L, lua_upvalueindex(INNER_STATE));
    return count;
}

// publish(subject, message [, options]): what is left out stays as it was.
static int inner_send(lua_State *L) {
    int kind = (int)lua_tointeger(L, lua_upvalueindex(INNER_KIND));
    if (!lua_isboolean(L, lua_upvalueindex(INNER_STATE)) || lua_toboolean(L, lua_upvalueindex(INNER_STATE))) {
        return luaL_error(
            L, "%s was called twice by one middleware for one message",
            kind == PANINI_SEND_PUBLISH ? "publish" : "request");
    }
    lua_pushboolean(L, 1);
    lua_replace(L, lua_upvalueindex(INNER_STATE));
    int count = lua_gettop(L);
    if (count > SEND_OPTIONS) count = SEND_OPTIONS;
    lua_settop(L, count);
    for (int i = count + 1; i <= SEND_OPTIONS; i++) lua_pushvalue(L, lua_upvalueindex(INNER_NEXT + i));
    if (lua_isnil(L, SEND_OPTIONS)) {
        lua_pushvalue(L, lua_upvalueindex(INNER_OPTIONS));
        lua_replace(L, SEND_OPTIONS);
    }
    lua_pushvalue(L, lua_upvalueindex(INNER_NEXT));
    lua_insert(L, 1);
    lua_callk(L, SEND_OPTIONS, LUA_MULTRET, 0, inner_returned);
    return inner_returned(L, LUA_OK, 0);
}

// A middleware that returns nothing leaves the caller what the inner call gave: a refused send is not lost by it.
static int send_returned(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    int count = lua_gettop(L) - SEND_INNER;
    if (count > 0) return count;
    lua_getupvalue(L, SEND_INNER, INNER_STATE);
    if (lua_isboolean(L, -1)) return lua_toboolean(L, -1) ? 1 : 0;
    int table = lua_gettop(L);
    lua_rawgeti(L, table, 0);
    count = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, count, NULL);
    for (int i = 1; i <= count; i++) lua_rawgeti(L, table, i);
    return count;
}

// Pushes a copy of the table at an index.
static void push_copy(lua_State *L, int index) {
    lua_createtable(L, 0, 2);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

// Middlewares get options of their own to change: the caller may keep its table and send with it again.
static void own_options(lua_State *L) {
    if (lua_type(L, SEND_OPTIONS) != LUA_TTABLE) {
        lua_createtable(L, 0, 1);
        lua_replace(L, SEND_OPTIONS);
        return;
    }
    push_copy(L, SEND_OPTIONS);
    lua_replace(L, SEND_OPTIONS);
    if (panini_field(L, SEND_OPTIONS, "headers") == LUA_TTABLE) {
        lua_pushliteral(L, "headers");
        push_copy(L, SEND_INNER);
        lua_rawset(L, SEND_OPTIONS);
    }
    lua_settop(L, SEND_OPTIONS);
}

static int send_step(lua_State *L) {
    luaL_checkstack(L, 12, NULL);
    lua_settop(L, SEND_OPTIONS);
    own_options(L);
    lua_pushvalue(L, lua_upvalueindex(STEP_NEXT));
    lua_pushvalue(L, SEND_SUBJECT);
    lua_pushvalue(L, SEND_MESSAGE);
    lua_pushvalue(L, SEND_OPTIONS);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, lua_upvalueindex(STEP_KIND));
    lua_pushcclosure(L, inner_send, INNER_KIND);
    lua_pushvalue(L, lua_upvalueindex(STEP_FUNCTION));
    lua_pushvalue(L, SEND_SUBJECT);
    lua_pushvalue(L, SEND_MESSAGE);
    lua_pushvalue(L, SEND_INNER);
    lua_pushvalue(L, SEND_OPTIONS);
    lua_callk(L, 4, LUA_MULTRET, 0, send_returned);
    return send_returned(L, LUA_OK, 0);
}

void panini_middleware_push_step(lua_State *L, int kind) {
    lua_pushinteger(L, kind);
    lua_pushcclosure(L, kind <= PANINI_SEND_REQUEST ? send_step : receive_step, STEP_KIND);
}

// ---- native middlewares

enum { NATIVE_NEXT = 1, NATIVE_HOST, NATIVE_LAYER, NATIVE_KIND };
// Above the arguments: the token and the message handler, then what the inner call gave.
enum { NATIVE_SLOTS = 2 };

// Message handler: an error that passes through a native step keeps the traceback of where it was raised.
static int record_traceback(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_TRACED_ERROR);
    bool is_known = !lua_isnil(L, -1) && lua_rawequal(L, -1, 1);
    lua_settop(L, 1);
    if (is_known) return 1;
    if (panini_vm_of(L)->killed || !lua_checkstack(L, 40)) return 1;
    luaL_traceback(L, L, NULL, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_TRACED_TEXT);
    lua_pushvalue(L, 1);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_TRACED_ERROR);
    return 1;
}

static void forget_traceback(lua_State *L) {
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_TRACED_ERROR);
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, PANINI_TRACED_TEXT);
}

void panini_middleware_push_traceback(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_TRACED_ERROR);
    if (lua_isnil(L, -1) || !lua_rawequal(L, -1, -2)) {
        lua_settop(L, -2);
        lua_pushnil(L);
        return;
    }
    lua_settop(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, PANINI_TRACED_TEXT);
    // Fields of the registry's array that exist: nothing is allocated.
    forget_traceback(L);
}

static int native_called(lua_State *L, int status, lua_KContext context) {
    (void)status;
    int kept = (int)(context >> 1), failed = (int)(context & 1);
    int base = panini_middleware_argument_count((int)lua_tointeger(L, lua_upvalueindex(NATIVE_KIND))) + NATIVE_SLOTS;
    int count = lua_gettop(L) - base - kept;
    if (count > 0) {
        if (failed) forget_traceback(L);
        return count;
    }
    lua_settop(L, base + kept);
    return failed ? lua_error(L) : kept;
}

static int native_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const panini_middleware_host *host = lua_touserdata(L, lua_upvalueindex(NATIVE_HOST));
    int kind = (int)lua_tointeger(L, lua_upvalueindex(NATIVE_KIND));
    int base = panini_middleware_argument_count(kind) + NATIVE_SLOTS;
    panini_check(L);
    bool failed = status != LUA_OK && status != LUA_YIELD;
    luaL_checkstack(L, 20, NULL);
    panini_vm *vm = panini_vm_of(L);
    int could_fail = vm->may_fail;
    vm->may_fail = 0;
    int results = host->after(L, host->context, lua_tointeger(L, base - 1), kind, base, failed);
    vm->may_fail = could_fail;
    panini_check(L);
    switch (results) {
        case PANINI_KEEP: return failed ? lua_error(L) : lua_gettop(L) - base;
        case PANINI_RAISE: return lua_error(L);
        case PANINI_CALL: {
            lua_KContext kept = ((lua_KContext)(lua_gettop(L) - 3 - base) << 1) | failed;
            lua_callk(L, 2, LUA_MULTRET, kept, native_called);
            return native_called(L, LUA_OK, kept);
        }
        default:
            if (failed) forget_traceback(L);
            return results;
    }
}

static int unobserved_returned(lua_State *L, int status, lua_KContext count) {
    (void)status;
    return lua_gettop(L) - (int)count;
}

static int native_step(lua_State *L) {
    const panini_middleware_host *host = lua_touserdata(L, lua_upvalueindex(NATIVE_HOST));
    int kind = (int)lua_tointeger(L, lua_upvalueindex(NATIVE_KIND));
    int count = panini_middleware_argument_count(kind);
    luaL_checkstack(L, 20, NULL);
    lua_settop(L, count);
    int64_t token = 0;
    panini_vm *vm = panini_vm_of(L);
    int could_fail = vm->may_fail;
    vm->may_fail = 0;
    int decision = host->before(L, host->context, lua_tointeger(L, lua_upvalueindex(NATIVE_LAYER)), kind, &token);
    vm->may_fail = could_fail;
    panini_check(L);
    if (decision == PANINI_RAISE) return lua_error(L);
    if (decision >= PANINI_STOP) return decision - PANINI_STOP;
    if (decision == PANINI_PROCEED) {
        lua_pushvalue(L, lua_upvalueindex(NATIVE_NEXT));
        for (int i = 1; i <= count; i++) lua_pushvalue(L, i);
        lua_callk(L, count, LUA_MULTRET, count, unobserved_returned);
        return unobserved_returned(L, LUA_OK, count);
    }
    lua_pushinteger(L, token);
    lua_pushcfunction(L, record_traceback);
    lua_pushvalue(L, lua_upvalueindex(NATIVE_NEXT));
    for (int i = 1; i <= count; i++) lua_pushvalue(L, i);
    int status = lua_pcallk(L, count, LUA_MULTRET, count + NATIVE_SLOTS, 0, native_returned);
    return native_returned(L, status, 0);
}

void panini_middleware_push_native_step(lua_State *L, const panini_middleware_host *host, int64_t layer, int kind) {
    lua_pushlightuserdata(L, (void *)host);
    lua_pushinteger(L, layer);
    lua_pushinteger(L, kind);
    lua_pushcclosure(L, native_step, NATIVE_KIND);
}

// ---- app.add_middleware(m, ...)

static int add_made(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_settop(L, 1);
    return panini_run_host_function(L);
}

// Upvalues: the host function, its context, the app.
static int add(lua_State *L) {
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(3))) lua_remove(L, 1);
    if (lua_type(L, 1) != LUA_TFUNCTION) {
        if (lua_gettop(L) > 1) {
            return luaL_error(
                L, "app.add_middleware: further arguments are for a function that makes the middleware; the first one is %s",
                luaL_typename(L, 1));
        }
        return panini_run_host_function(L);
    }
    lua_callk(L, lua_gettop(L) - 1, 1, 0, add_made);
    return add_made(L, LUA_OK, 0);
}

void panini_middleware_push_adder(lua_State *L, panini_host_function function, void *context) {
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, context);
    lua_rotate(L, -3, -1);
    lua_pushcclosure(L, add, 3);
}
