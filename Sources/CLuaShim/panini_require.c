// require: each module runs once, may wait for the host while it runs, and is recorded by the loader. What is being
// loaded is known per thread, so that a real cycle is told from a module that another handler is still loading.
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "panini_coroutine.h"
#include "panini_internal.h"
#include "panini_kill.h"
#include "panini_libraries.h"
#include "panini_library.h"

// Registry: name -> thread that runs the module's body, with weak values: an abandoned coroutine gives the name back.
static char loading_key;
// Registry: of a trusted script, Lua's own list of searchers.
static char package_key;
// Registry: array of names in the order in which their loading began.
static char order_key;

static int is_running(panini_vm *vm, lua_State *thread) {
    for (panini_activation *at = vm->activation; at != NULL; at = at->previous) {
        if (at->thread == thread) return 1;
    }
    return 0;
}

// Ends the entry of a module, however its body ended: upvalue 1 is the name.
static int end_loading(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushnil(L);
    lua_rawset(L, -3);
    if (vm->loader.ended != NULL) {
        size_t length;
        const char *name = lua_tolstring(L, lua_upvalueindex(1), &length);
        int could_fail = vm->may_fail;
        vm->may_fail = 0;
        vm->loader.ended(vm->loader.context, name, length);
        vm->may_fail = could_fail;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &order_key);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    lua_Integer to = 1;
    for (lua_Integer from = 1; from <= count; from++) {
        lua_rawgeti(L, -1, from);
        if (lua_rawequal(L, -1, lua_upvalueindex(1))) lua_pop(L, 1);
        else lua_rawseti(L, -2, to++);
    }
    for (; to <= count; to++) {
        lua_pushnil(L);
        lua_rawseti(L, -2, to);
    }
    return 0;
}

// Leaves a to-be-closed value on top of L that runs end_loading. Notes `name` (at 1) as being loaded by L.
static void begin_loading(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushvalue(L, 1);
    lua_pushthread(L);
    lua_rawset(L, -3);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &order_key);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 2);

    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, end_loading, 1);
    lua_setfield(L, -2, "__close");
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
}

// Raises "circular require: a -> b -> a": the modules that the running chain is loading, from `name` on.
static int raise_cycle(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    int found = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &order_key);
    int loading = lua_gettop(L) - 1;
    int order = loading + 1;
    lua_pushliteral(L, "");
    lua_Integer count = (lua_Integer)lua_rawlen(L, order);
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(L, order, at);
        found = found || lua_rawequal(L, -1, 1);
        lua_pushvalue(L, -1);
        lua_rawget(L, loading);
        lua_State *thread = lua_tothread(L, -1);
        lua_pop(L, 1);
        if (found && thread != NULL && is_running(vm, thread)) {
            lua_pushliteral(L, " -> ");
            lua_concat(L, 3);
        } else {
            lua_pop(L, 1);
        }
    }
    return luaL_error(L, "circular require: %s%s", lua_tostring(L, -1), lua_tostring(L, 1));
}

// Pushes loaded[name]; whether there is something in it.
static int push_loaded(lua_State *L) {
    panini_push_modules(L);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return lua_toboolean(L, -1);
}

// Keeps the value on top as the module named at 1.
static void note_loaded(lua_State *L) {
    panini_push_modules(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

// 1 name, 2 path, 3 chunk, 4 to-be-closed; then the body's one result.
static int body_ended(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    if (!lua_isnil(L, -1)) note_loaded(L);
    if (!push_loaded(L)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        note_loaded(L);
    }
    lua_pushvalue(L, 2);
    return 2;
}

static int require(lua_State *L);

// The other coroutine is done with the module, well or not: look again.
static int require_again(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    lua_settop(L, 1);
    return require(L);
}

// Waits until another coroutine has loaded the module at 1; returns only by raising when that cannot be.
static int wait_for_loader(lua_State *L, const char *name, size_t length) {
    panini_vm *vm = panini_vm_of(L);
    if (vm->loader.wait == NULL || !panini_can_suspend(L)) {
        return luaL_error(L, "module '%s' is still being loaded by another coroutine that waits in it: "
                             "require it at file level, or keep waiting calls out of its body", name);
    }
    int could_fail = vm->may_fail;
    vm->may_fail = 0;
    vm->loader.wait(vm->loader.context, name, length);
    vm->may_fail = could_fail;
    return panini_suspend_then(L, 0, require_again);
}

// A trusted script's module in C: pushes its opening function and its path. Whether there is one.
static int find_native(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &package_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        return 0;
    }
    for (lua_Integer number = 3; number <= 4; number++) {
        lua_geti(L, -1, number);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 2);
        if (lua_isfunction(L, -2)) {
            lua_replace(L, 3);
            lua_replace(L, 2);
            lua_settop(L, 3);
            return 1;
        }
        lua_pop(L, 2);
    }
    lua_settop(L, 1);
    return 0;
}

static int require(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    lua_settop(L, 1);
    if (push_loaded(L)) return 1;
    lua_pop(L, 1);

    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    lua_State *loader = lua_tothread(L, -1);
    lua_pop(L, 2);
    if (loader != NULL) {
        if (is_running(vm, loader)) return raise_cycle(L);
        return wait_for_loader(L, name, length);
    }

    int outcome = -1;
    if (vm->loader.load != NULL) {
        int could_fail = vm->may_fail;
        vm->may_fail = 0;
        outcome = vm->loader.load(L, vm->loader.context, name, length);
        vm->may_fail = could_fail;
        panini_check(L);
    }
    if (outcome < 0 && find_native(L)) outcome = 1;
    if (outcome < 0) return luaL_error(L, "module '%s' not found", name);
    if (outcome == 0) return luaL_error(L, "error loading module '%s':\n\t%s", name, lua_tostring(L, -1));
    // 1 name, 2 chunk, 3 path -> 1 name, 2 path, 3 chunk, 4 to-be-closed, then the call. The to-be-closed value
    // must stay in its slot.
    lua_insert(L, 2);
    begin_loading(L);
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_callk(L, 2, 1, 0, body_ended);
    return body_ended(L, LUA_OK, 0);
}

// Trusted scripts have Lua's own package, less what concerns text: that comes from the host alone.
static void open_native(lua_State *L) {
    static const char *const hidden[] = {"path", "preload", "searchers", "searchpath", NULL};
    lua_getglobal(L, "require");
    lua_pushcfunction(L, luaopen_package);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "searchers");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &package_key);
    for (const char *const *name = hidden; *name != NULL; name++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *name);
    }
    lua_setglobal(L, "package");
    lua_setglobal(L, "require");
}

void panini_open_require(lua_State *L, int is_trusted) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &order_key);

    lua_pushcfunction(L, require);
    lua_setglobal(L, "require");
    // What libraries look for: package.loaded. There is no search path and no native code.
    lua_createtable(L, 0, 1);
    panini_push_modules(L);
    lua_setfield(L, -2, "loaded");
    lua_setglobal(L, "package");
    if (is_trusted) open_native(L);
}

// Threads that were ended have an error for their status, and what they were loading is still noted.
static int abandon(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        int status = lua_status(lua_tothread(L, 3));
        lua_settop(L, 2);
        if (status == LUA_OK || status == LUA_YIELD) continue;
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, end_loading, 1);
        lua_call(L, 0, 0);
    }
    return 0;
}

void panini_require_abandon(panini_vm *vm) {
    lua_checkstack(vm->main, 4);
    lua_pushcfunction(vm->main, abandon);
    if (panini_call_after(vm, vm->main, 0, 0) != LUA_OK) lua_pop(vm->main, 1);
}

static int set_loaded(lua_State *L) {
    note_loaded(L);
    return 0;
}

void panini_set_loaded(lua_State *L, const char *name) {
    lua_pushcfunction(L, set_loaded);
    lua_pushstring(L, name);
    lua_rotate(L, -3, -1);
    if (panini_call(panini_vm_of(L), L, 2, 0) != LUA_OK) lua_pop(L, 1);
}
