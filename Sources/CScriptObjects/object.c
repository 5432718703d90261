// Owns: the userdata behind objects of the host, and its finalizer, the only kind there is: scripts have none. An object is at
// index 1 while it is looked at (panini_vm.h has the rule).

#include "panini_object.h"

#include <lauxlib.h>

#include "panini_address.h"
#include "panini_call.h"
#include "panini_values.h"
#include "panini_vm.h"

// Runs inside any allocation of Lua, so the host's function must not come back here.
static int object_gc(lua_State *L) {
    panini_object *object = lua_touserdata(L, 1);
    void *held = object->object;
    object->object = NULL;
    if (held == NULL) return 0;
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    object->release(held);
    panini_leave_host(vm, could_fail);
    return 0;
}

// The user values of an object: the method that was asked for last, and its name. So a loop makes no function per call.
enum { KEPT_METHOD = 1, KEPT_NAME, KEPT_COUNT = 2 };

// Upvalues: the methods, the host's function.
static int object_index(lua_State *L) {
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, KEPT_NAME);
    if (lua_rawequal(L, 2, 3)) {
        lua_getiuservalue(L, 1, KEPT_METHOD);
        return 1;
    }
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TLIGHTUSERDATA) return 0;
    void *context = lua_touserdata(L, 3);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    panini_push_bound_function(L, (panini_host_function)lua_touserdata(L, lua_upvalueindex(2)), context);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 1, KEPT_NAME);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, 1, KEPT_METHOD);
    return 1;
}

static int object_tostring(lua_State *L) {
    panini_push_address(L, 1);
    lua_pushfstring(L, "%s: %s", lua_tostring(L, lua_upvalueindex(1)), lua_tostring(L, -1));
    return 1;
}

static void set_closure(lua_State *L, const char *key, lua_CFunction function, int upvalues) {
    lua_pushcclosure(L, function, upvalues);
    lua_pushstring(L, key);
    lua_insert(L, -2);
    lua_rawset(L, -3);
}

void panini_object_push_metatable(
    lua_State *L, const char *type_name, panini_host_function call, void (*release)(void *object)) {
    lua_createtable(L, 0, 6);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, (void *)call);
    set_closure(L, "__index", object_index, 2);
    set_closure(L, "__gc", object_gc, 0);
    lua_pushstring(L, type_name);
    set_closure(L, "__tostring", object_tostring, 1);
    lua_pushliteral(L, "__name");
    lua_pushstring(L, type_name);
    lua_rawset(L, -3);
    // Scripts cannot reach the metatable, so its functions are only ever called with an object.
    lua_pushliteral(L, "__metatable");
    lua_pushstring(L, type_name);
    lua_rawset(L, -3);
    lua_pushliteral(L, "release");
    lua_pushlightuserdata(L, (void *)release);
    lua_rawset(L, -3);
}

void panini_object_push(lua_State *L, int metatable_reference, void *object) {
    panini_object *block = lua_newuserdatauv(L, sizeof(panini_object), KEPT_COUNT);
    block->object = object;
    block->release = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_pushliteral(L, "release");
    lua_rawget(L, -2);
    block->release = (void (*)(void *))lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_setmetatable(L, -2);
}
