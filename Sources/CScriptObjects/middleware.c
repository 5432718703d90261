// Owns: what happens between two middlewares: the functions they call to go on, results that come back, errors and waits
// that pass through. Called by Lua itself.
//
// Holds no pointer into a Lua object (panini_vm.h has the rule).

#include "panini_middleware.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "panini_call.h"
#include "panini_error.h"
#include "panini_kill.h"
#include "panini_outcome.h"
#include "panini_values.h"
#include "panini_vm.h"

// ---- receiving: listen_publish, listen_request, http_request

enum { STEP_FUNCTION = 1, STEP_NEXT, STEP_KIND, STEP_HOST, STEP_VERB };
// `state` of a callback: false until it is called, then true, or the record of how the inner call failed.
enum { CALLBACK_NEXT = 1, CALLBACK_MESSAGE, CALLBACK_STATE };
enum { RECEIVE_MESSAGE = 1, RECEIVE_CALLBACK = 2, RECEIVE_BASE = 3 };

static bool has_failed(int status) { return status != LUA_OK && status != LUA_YIELD; }

// Keeps the error that was raised, which is on top, in the function's upvalue, and raises it again.
static int raise_noted(lua_State *L, int status, int upvalue) {
    // Without memory there is none for a record either.
    if (status == LUA_ERRMEM) return lua_error(L);
    luaL_checkstack(L, 4, NULL);
    lua_pushvalue(L, -1);
    panini_push_raised(L);
    lua_replace(L, lua_upvalueindex(upvalue));
    return lua_error(L);
}

static int callback_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    panini_check(L);
    if (has_failed(status)) return raise_noted(L, status, CALLBACK_STATE);
    if (panini_is_error(L, 2)) {
        panini_push_returned(L, 2);
        lua_replace(L, lua_upvalueindex(CALLBACK_STATE));
    }
    return lua_gettop(L) - 1;
}

static int callback(lua_State *L) {
    if (!lua_isboolean(L, lua_upvalueindex(CALLBACK_STATE)) || lua_toboolean(L, lua_upvalueindex(CALLBACK_STATE))) {
        return luaL_error(L, "callback was called twice for one message");
    }
    if (!lua_isnoneornil(L, 1) && !lua_rawequal(L, 1, lua_upvalueindex(CALLBACK_MESSAGE))) {
        return luaL_error(L, "callback takes the message that the middleware was given; set msg.data to change it");
    }
    panini_refuse_surplus(L, "callback", 1);
    lua_pushboolean(L, 1);
    lua_replace(L, lua_upvalueindex(CALLBACK_STATE));
    lua_settop(L, 0);
    lua_pushcfunction(L, panini_note_error);
    lua_pushvalue(L, lua_upvalueindex(CALLBACK_NEXT));
    lua_pushvalue(L, lua_upvalueindex(CALLBACK_MESSAGE));
    return callback_returned(L, lua_pcallk(L, 1, LUA_MULTRET, 1, 0, callback_returned), 0);
}

// Ends the step of a middleware in Lua: what it returned or raised lies above `base`, and the state of its inner call on top.
static int step_ended(lua_State *L, int base, int status) {
    const panini_middleware_host *host = lua_touserdata(L, lua_upvalueindex(STEP_HOST));
    int kind = (int)lua_tointeger(L, lua_upvalueindex(STEP_KIND));
    return panini_settle_outcome(L, base, status, host->covered, host->context, kind);
}

static int receive_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    panini_check(L);
    lua_getupvalue(L, RECEIVE_CALLBACK, CALLBACK_STATE);
    return step_ended(L, RECEIVE_BASE, status);
}

static int receive_step(lua_State *L) {
    luaL_checkstack(L, 12, NULL);
    lua_settop(L, RECEIVE_MESSAGE);
    lua_pushvalue(L, lua_upvalueindex(STEP_NEXT));
    lua_pushvalue(L, RECEIVE_MESSAGE);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, callback, CALLBACK_STATE);
    lua_pushcfunction(L, panini_note_error);
    lua_pushvalue(L, lua_upvalueindex(STEP_FUNCTION));
    lua_pushvalue(L, RECEIVE_MESSAGE);
    lua_pushvalue(L, RECEIVE_CALLBACK);
    return receive_returned(L, lua_pcallk(L, 2, LUA_MULTRET, RECEIVE_BASE, 0, receive_returned), 0);
}

// ---- sending: send_publish, send_request

// `state` of the inner call: false until it is made, true when it gave true, else the record of its outcome.
enum { INNER_NEXT = 1, INNER_SUBJECT, INNER_MESSAGE, INNER_OPTIONS, INNER_STATE, INNER_VERB };
enum { SEND_SUBJECT = 1, SEND_MESSAGE, SEND_OPTIONS, SEND_INNER, SEND_BASE };

static int inner_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    panini_check(L);
    if (has_failed(status)) return raise_noted(L, status, INNER_STATE);
    int count = lua_gettop(L) - 1;
    if (count == 1 && lua_isboolean(L, 2) && lua_toboolean(L, 2)) return count;
    panini_push_returned(L, 2);
    lua_replace(L, lua_upvalueindex(INNER_STATE));
    return count;
}

static const char *inner_name(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(INNER_VERB));
}

// publish(subject, message [, options]): what is left out stays as it was.
static int inner_send(lua_State *L) {
    if (!lua_isboolean(L, lua_upvalueindex(INNER_STATE)) || lua_toboolean(L, lua_upvalueindex(INNER_STATE))) {
        return luaL_error(L, "%s was called twice by one middleware for one message", inner_name(L));
    }
    panini_refuse_surplus(L, inner_name(L), SEND_OPTIONS);
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
    lua_pushcfunction(L, panini_note_error);
    lua_insert(L, 1);
    lua_pushvalue(L, lua_upvalueindex(INNER_NEXT));
    lua_insert(L, 2);
    return inner_returned(L, lua_pcallk(L, SEND_OPTIONS, LUA_MULTRET, 1, 0, inner_returned), 0);
}

// A middleware that returns nothing leaves the caller what the inner call gave.
static int send_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    panini_check(L);
    int count = lua_gettop(L) - SEND_BASE;
    lua_getupvalue(L, SEND_INNER, INNER_STATE);
    if (has_failed(status) || count > 0) return step_ended(L, SEND_BASE, status);
    if (lua_isboolean(L, -1)) return lua_toboolean(L, -1) ? 1 : 0;
    return panini_give_outcome(L, lua_gettop(L));
}

// Pushes a copy of the table at an index.
static void push_copy(lua_State *L, int index) {
    lua_createtable(L, 0, 2);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        panini_check(L);
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
    luaL_checkstack(L, 14, NULL);
    lua_settop(L, SEND_OPTIONS);
    own_options(L);
    lua_pushvalue(L, lua_upvalueindex(STEP_NEXT));
    lua_pushvalue(L, SEND_SUBJECT);
    lua_pushvalue(L, SEND_MESSAGE);
    lua_pushvalue(L, SEND_OPTIONS);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, lua_upvalueindex(STEP_VERB));
    lua_pushcclosure(L, inner_send, INNER_VERB);
    lua_pushcfunction(L, panini_note_error);
    lua_pushvalue(L, lua_upvalueindex(STEP_FUNCTION));
    lua_pushvalue(L, SEND_SUBJECT);
    lua_pushvalue(L, SEND_MESSAGE);
    lua_pushvalue(L, SEND_INNER);
    lua_pushvalue(L, SEND_OPTIONS);
    return send_returned(L, lua_pcallk(L, 4, LUA_MULTRET, SEND_BASE, 0, send_returned), 0);
}

void panini_middleware_push_step(lua_State *L, const panini_middleware_host *host, int kind, const char *verb) {
    lua_pushinteger(L, kind);
    lua_pushlightuserdata(L, (void *)host);
    if (!(kind & PANINI_KIND_IS_SEND)) return lua_pushcclosure(L, receive_step, STEP_HOST);
    lua_pushlightuserdata(L, (void *)verb);
    lua_pushcclosure(L, send_step, STEP_VERB);
}

// ---- native middlewares

enum { NATIVE_NEXT = 1, NATIVE_HOST, NATIVE_LAYER, NATIVE_KIND };
// Above the arguments: the token and the message handler, then what the inner call gave.
enum { NATIVE_SLOTS = 2 };

// The index of the error that the inner call ended with; its results, or its error value, lie above `base`.
static int inner_error(int base, bool failed) { return failed ? base + 1 : base + 2; }

// The host's function for a failure has ended: what it returned or raised lies above what the inner call gave.
static int native_called(lua_State *L, int status, lua_KContext context) {
    panini_check(L);
    const panini_middleware_host *host = lua_touserdata(L, lua_upvalueindex(NATIVE_HOST));
    int kind = (int)lua_tointeger(L, lua_upvalueindex(NATIVE_KIND));
    int kept = (int)(context >> 1);
    bool failed = context & 1;
    int base = panini_middleware_argument_count(kind) + NATIVE_SLOTS, inner = base + kept;
    if (has_failed(status)) {
        int error = lua_gettop(L);
        if (panini_takes_place(L, status, error, inner_error(base, failed))) return lua_error(L);
        if (!lua_rawequal(L, error, inner_error(base, failed))) {
            panini_vm *vm = panini_vm_of(L);
            int could_fail = panini_enter_host(vm);
            host->covered(L, host->context, kind);
            panini_leave_host(vm, could_fail);
            panini_check(L);
        }
    } else if (lua_gettop(L) > inner && (!lua_isnil(L, inner + 1) || panini_is_error(L, inner + 1))) {
        if (failed) panini_forget_error(L);
        return lua_gettop(L) - inner;
    }
    lua_settop(L, inner);
    return failed ? lua_error(L) : kept;
}

static int native_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    const panini_middleware_host *host = lua_touserdata(L, lua_upvalueindex(NATIVE_HOST));
    int kind = (int)lua_tointeger(L, lua_upvalueindex(NATIVE_KIND));
    int base = panini_middleware_argument_count(kind) + NATIVE_SLOTS;
    panini_check(L);
    bool failed = has_failed(status);
    int inner = lua_gettop(L);
    luaL_checkstack(L, 20, NULL);
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    int results = host->after(L, host->context, lua_tointeger(L, base - 1), kind, base, failed);
    panini_leave_host(vm, could_fail);
    panini_check(L);
    switch (results) {
        case PANINI_KEEP: return failed ? lua_error(L) : lua_gettop(L) - base;
        case PANINI_RAISE: return lua_error(L);
        case PANINI_CALL: {
            lua_KContext kept = ((lua_KContext)(inner - base) << 1) | failed;
            return native_called(L, lua_pcallk(L, 2, LUA_MULTRET, base, kept, native_called), kept);
        }
        default: break;
    }
    // Nil is no answer to a failure.
    if (failed || (inner >= base + 2 && lua_isnil(L, base + 1) && !lua_isnil(L, base + 2))) {
        int first = lua_gettop(L) - results + 1;
        if (results > 0 && lua_isnil(L, first) && !panini_is_error(L, first)) {
            lua_settop(L, inner);
            return failed ? lua_error(L) : inner - base;
        }
        panini_forget_error(L);
    }
    return results;
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
    int could_fail = panini_enter_host(vm);
    int decision = host->before(L, host->context, lua_tointeger(L, lua_upvalueindex(NATIVE_LAYER)), kind, &token);
    panini_leave_host(vm, could_fail);
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
    lua_pushcfunction(L, panini_note_error);
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
