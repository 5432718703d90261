// Owns: the userdata behind handles. Methods are closures over their handle, so that `h.wait()` and `h:wait()` are one; so the
// handle lives as long as the call (panini_vm.h has the rule).

#include "panini_handle.h"

#include <lauxlib.h>
#include <string.h>

#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_values.h"
#include "panini_vm.h"

// Upvalues: the handle, the function, its context, what errors call it.
static int call_method(lua_State *L) {
    panini_handle *handle = lua_touserdata(L, lua_upvalueindex(1));
    panini_handle_function function = (panini_handle_function)lua_touserdata(L, lua_upvalueindex(2));
    void *context = lua_touserdata(L, lua_upvalueindex(3));
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(1))) lua_remove(L, 1);
    panini_refuse_surplus(L, lua_tostring(L, lua_upvalueindex(4)), 0);
    panini_vm *vm = panini_vm_of(L);
    panini_check(L);
    int could_fail = panini_enter_host(vm);
    int results = function(L, context, handle);
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

// Upvalues: the method's name, the function, its context, what errors call the method.
static int handle_index(lua_State *L) {
    if (!lua_rawequal(L, 2, lua_upvalueindex(1))) return 0;
    lua_pushvalue(L, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_pushvalue(L, lua_upvalueindex(4));
    lua_pushcclosure(L, call_method, 4);
    return 1;
}

static void set_text(lua_State *L, const char *key, const char *text) {
    lua_pushstring(L, key);
    lua_pushstring(L, text);
    lua_rawset(L, -3);
}

void panini_handle_push_metatable(
    lua_State *L, const char *type_name, const char *method, panini_handle_function function, void *context) {
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "__index");
    lua_pushstring(L, method);
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, context);
    lua_pushfstring(L, "handle.%s", method);
    lua_pushcclosure(L, handle_index, 4);
    lua_rawset(L, -3);
    set_text(L, "__name", type_name);
    // Scripts cannot reach the metatable, so its functions are only ever called with a handle.
    set_text(L, "__metatable", type_name);
}

panini_handle *panini_handle_push(lua_State *L, int metatable_reference, int64_t id) {
    panini_handle *handle = lua_newuserdatauv(L, sizeof(panini_handle), 1);
    handle->id = id;
    handle->state = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
    return handle;
}
