// Owns: the Lua face of a fetch. Called by Lua itself, but for what pushes.
//
// Pointers into Lua's objects (panini_vm.h has the rule): the guard lies in a slot of its own until the call ends.

#include "panini_fetch.h"

#include <lauxlib.h>

#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_values.h"
#include "panini_vm.h"

enum { FETCH_URL = 1, FETCH_OPTIONS, FETCH_FUNCTION, FETCH_RESPONSE, FETCH_GUARD = PANINI_FETCH_GUARD, FETCH_TOP = FETCH_GUARD };
// Upvalues of the function.
enum { FETCH_HOST = 1, FETCH_GUARD_METATABLE };

static const panini_fetch_host *host_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(FETCH_HOST)); }

// Called however a streamed call ends: by its end, an error in the script's function, or the end of its coroutine.
static int guard_close(lua_State *L) {
    const panini_fetch_host *host = host_of(L);
    int64_t *number = lua_touserdata(L, 1);
    if (number && *number) host->cancel(host->context, *number);
    return 0;
}

static int continued(lua_State *L, int status, lua_KContext context);

// Asks for what follows, and waits for it.
static int wait_for_next(lua_State *L) {
    const panini_fetch_host *host = host_of(L);
    panini_vm *vm = panini_vm_of(L);
    lua_settop(L, FETCH_TOP);
    int could_fail = panini_enter_host(vm);
    int results = host->next(L, host->context, *(int64_t *)lua_touserdata(L, FETCH_GUARD));
    panini_leave_host(vm, could_fail);
    panini_check(L);
    if (results == PANINI_SUSPEND) return panini_suspend_then(L, 0, continued);
    return results >= 0 ? results : lua_error(L);
}

// What the script's function returned is on top: false, and it wants no more.
static int called(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
        lua_pushvalue(L, FETCH_RESPONSE);
        return 1;
    }
    return wait_for_next(L);
}

static int continued(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    luaL_checkstack(L, 8, NULL);
    panini_check_made(L);
    switch (lua_type(L, FETCH_TOP + 1)) {
        case LUA_TTABLE:
            lua_settop(L, FETCH_TOP + 1);
            lua_replace(L, FETCH_RESPONSE);
            return wait_for_next(L);
        case LUA_TSTRING:
            lua_settop(L, FETCH_TOP + 1);
            lua_pushvalue(L, FETCH_FUNCTION);
            lua_insert(L, FETCH_TOP + 1);
            lua_pushvalue(L, FETCH_RESPONSE);
            lua_callk(L, 2, 1, 0, called);
            return called(L, LUA_OK, 0);
        case LUA_TBOOLEAN:
            lua_pushvalue(L, FETCH_RESPONSE);
            return 1;
        default:
            return lua_gettop(L) - FETCH_TOP;
    }
}

static int fetch(lua_State *L) {
    const panini_fetch_host *host = host_of(L);
    panini_vm *vm = panini_vm_of(L);
    luaL_checkstack(L, 8, NULL);
    panini_refuse_surplus(L, "app.http.fetch", FETCH_OPTIONS);
    int64_t *guard = NULL;
    if (lua_type(L, FETCH_OPTIONS) == LUA_TTABLE) {
        lua_settop(L, FETCH_OPTIONS);
        if (panini_field(L, FETCH_OPTIONS, "stream") == LUA_TFUNCTION) {
            lua_pushnil(L);
            guard = lua_newuserdatauv(L, sizeof *guard, 0);
            *guard = 0;
            lua_pushvalue(L, lua_upvalueindex(FETCH_GUARD_METATABLE));
            lua_setmetatable(L, -2);
            lua_toclose(L, FETCH_GUARD);
        } else {
            lua_settop(L, FETCH_OPTIONS);
        }
    }
    int could_fail = panini_enter_host(vm);
    int results = host->start(L, host->context, guard);
    panini_leave_host(vm, could_fail);
    panini_check(L);
    if (results >= 0) return results;
    if (results != PANINI_SUSPEND) return lua_error(L);
    return guard ? panini_suspend_then(L, 0, continued) : panini_suspend(L);
}

void panini_fetch_push(lua_State *L, const panini_fetch_host *host) {
    lua_pushlightuserdata(L, (void *)host);
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "__close");
    lua_pushlightuserdata(L, (void *)host);
    lua_pushcclosure(L, guard_close, FETCH_HOST);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__metatable");
    lua_pushboolean(L, 0);
    lua_rawset(L, -3);
    lua_pushcclosure(L, fetch, FETCH_GUARD_METATABLE);
}
