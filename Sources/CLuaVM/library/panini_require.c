// require: each module runs once, may wait for the host while it runs, and is recorded by the loader. What is being
// loaded is known per thread, so that a real cycle is told from a module that another coroutine is still loading.
//
// Pointers into Lua's objects (panini_vm.h has the rule): names are in the slot NAME or an upvalue. The threads that load are
// kept by nobody here: they are compared, or asked for their status where they lie on the stack.
#include "panini_require.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_library.h"
#include "panini_memory.h"
#include "panini_vm.h"

// Registry: name -> thread that runs the module's body, with weak values: an abandoned coroutine gives the name back.
static char loading_key;
// Registry: the table `package`, whatever the global of that name has become.
static char package_key;
// Registry: array of names in the order in which their loading began.
static char order_key;

static int is_running(panini_vm *vm, lua_State *thread) {
    for (panini_activation *at = vm->calls.activation; at != NULL; at = at->previous) {
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
        int could_fail = panini_enter_host(vm);
        vm->loader.ended(vm->loader.context, name, length);
        panini_leave_host(vm, could_fail);
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
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, end_loading, 1);
    lua_setfield(L, -2, "__close");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
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
    int could_fail = panini_enter_host(vm);
    vm->loader.wait(vm->loader.context, name, length);
    panini_leave_host(vm, could_fail);
    return panini_suspend_then(L, 0, require_again);
}

// ---- where modules come from

static int searcher_preload(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pushfstring(L, "no field package.preload['%s']", name);
        return 1;
    }
    lua_pushliteral(L, ":preload:");
    return 2;
}

// More is no name and no path of files: what the host does with them takes its time, and no run ends meanwhile.
enum { LONGEST_NAME = 1000, LONGEST_PATH = 1 << 16 };

// Raises the text on top at the script's own line: between it and a searcher lies `require`.
static int raise_at_script(lua_State *L) {
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    panini_push_positioned(L, text, length);
    return lua_error(L);
}

// Pushes package.path.
static const char *search_path(lua_State *L, size_t *length) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &package_key);
    lua_getfield(L, -1, "path");
    lua_remove(L, -2);
    if (lua_type(L, -1) != LUA_TSTRING) {
        lua_pushliteral(L, "'package.path' must be a string");
        raise_at_script(L);
    }
    const char *path = lua_tolstring(L, -1, length);
    if (*length > LONGEST_PATH) {
        lua_pushfstring(L, "'package.path' is longer than %d bytes", LONGEST_PATH);
        raise_at_script(L);
    }
    return path;
}

// The host's files: the compiled chunk and its path, or where they were looked for.
static int searcher_host(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    size_t length, path_length;
    const char *name = luaL_checklstring(L, 1, &length);
    if (vm->loader.load == NULL) return 0;
    if (length > LONGEST_NAME) {
        lua_pushfstring(L, "no file for a name of more than %d bytes", LONGEST_NAME);
        return 1;
    }
    const char *path = search_path(L, &path_length);
    int could_fail = panini_enter_host(vm);
    int outcome = vm->loader.load(L, vm->loader.context, name, length, path, path_length);
    panini_leave_host(vm, could_fail);
    panini_check_made(L);
    if (outcome != 0) return outcome > 0 ? 2 : 1;
    lua_pushfstring(L, "error loading module '%s':\n\t%s", name, lua_tostring(L, -1));
    return raise_at_script(L);
}

// package.searchpath(name, path [, separator [, replacement]])
static int searchpath(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    const char *name = luaL_checkstring(L, 1), *separator = luaL_optstring(L, 3, ".");
    const char *replacement = luaL_optstring(L, 4, "/");
    size_t length, path_length;
    const char *path = luaL_checklstring(L, 2, &path_length);
    luaL_argcheck(L, strlen(name) <= LONGEST_NAME, 1, "name too long");
    luaL_argcheck(L, path_length <= LONGEST_PATH, 2, "path too long");
    if (*separator != 0 && strchr(name, *separator) != NULL) name = luaL_gsub(L, name, separator, replacement);
    length = strlen(name);
    int outcome = -1;
    if (vm->loader.search == NULL) {
        lua_pushliteral(L, "");
    } else {
        int could_fail = panini_enter_host(vm);
        outcome = vm->loader.search(L, vm->loader.context, name, length, path, path_length);
        panini_leave_host(vm, could_fail);
        panini_check(L);
    }
    if (outcome > 0) return 1;
    luaL_pushfail(L);
    lua_insert(L, -2);
    return 2;
}

enum { NAME = 1, FOUND_PATH = 2, FOUND_LOADER = 3, SEARCHERS = 2, MESSAGE = 3 };

// Asks the searchers for the module at NAME: leaves FOUND_PATH and FOUND_LOADER, or raises with all they say.
static void find(lua_State *L) {
    lua_settop(L, NAME);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &package_key);
    lua_getfield(L, -1, "searchers");
    lua_remove(L, -2);
    if (!lua_istable(L, SEARCHERS)) luaL_error(L, "'package.searchers' must be a table");
    lua_pushliteral(L, "");
    for (lua_Integer number = 1;; number++) {
        panini_check_turn(L, (uint64_t)number);
        if (lua_rawgeti(L, SEARCHERS, number) == LUA_TNIL) {
            luaL_error(L, "module '%s' not found:%s", lua_tostring(L, NAME), lua_tostring(L, MESSAGE));
        }
        lua_pushvalue(L, NAME);
        lua_call(L, 1, 2);
        if (lua_isfunction(L, -2)) break;
        if (lua_isstring(L, -2)) {
            const char *said = lua_tostring(L, -2);
            // Lua's own searchers for modules in C begin with a line break of theirs in some releases.
            while (*said == '\n' || *said == '\t') said++;
            lua_pushfstring(L, "%s\n\t%s", lua_tostring(L, MESSAGE), said);
            lua_replace(L, MESSAGE);
        }
        lua_settop(L, MESSAGE);
    }
    lua_replace(L, FOUND_PATH);
    lua_replace(L, FOUND_LOADER);
    lua_settop(L, FOUND_LOADER);
}

// `require "a/b"` is `require "a.b"`, and `"./a"` is `"a"`: one module has one name. What leads out of the folder stays as it
// is, for the host to say so.
static void settle_name(lua_State *L) {
    const char *name = lua_tostring(L, NAME);
    for (; name[0] == '.' && name[1] == '/'; name += 2) panini_spend(L, 2);
    if (strchr(name, '/') == NULL && name == lua_tostring(L, NAME)) return;
    if (*name == '/' || strncmp(name, "../", 3) == 0 || strstr(name, "/../") != NULL) return;
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushvalue(L, NAME);
    int is_preloaded = lua_rawget(L, -2) != LUA_TNIL;
    lua_settop(L, NAME);
    if (is_preloaded) return;
    luaL_gsub(L, name, "/", ".");
    lua_replace(L, NAME);
}

static int require(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    size_t length;
    luaL_checkstring(L, NAME);
    lua_settop(L, NAME);
    if (push_loaded(L)) return 1;
    lua_pop(L, 1);
    settle_name(L);
    if (push_loaded(L)) return 1;
    lua_pop(L, 1);
    const char *name = lua_tolstring(L, NAME, &length);

    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushvalue(L, NAME);
    lua_rawget(L, -2);
    lua_State *loader = lua_tothread(L, -1);
    lua_pop(L, 2);
    if (loader != NULL) {
        if (is_running(vm, loader)) return raise_cycle(L);
        return wait_for_loader(L, name, length);
    }

    find(L);
    // 1 name, 2 path, 3 chunk, 4 to-be-closed, then the call. The to-be-closed value must stay in its slot.
    begin_loading(L);
    lua_pushvalue(L, FOUND_LOADER);
    lua_pushvalue(L, NAME);
    lua_pushvalue(L, FOUND_PATH);
    lua_callk(L, 2, 1, 0, body_ended);
    return body_ended(L, LUA_OK, 0);
}

// ---- package

// Pushes the table `package` of a script: as Lua's own, but for code that is not Lua.
static void push_package(lua_State *L) {
    lua_createtable(L, 0, 8);
    lua_pushliteral(L, "/\n;\n?\n!\n-\n");
    lua_setfield(L, -2, "config");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_createtable(L, 2, 0);
    lua_pushcfunction(L, searcher_preload);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -2, "searchers");
    lua_pushcfunction(L, searchpath);
    lua_setfield(L, -2, "searchpath");
    panini_set_closed(L, "loadlib", "package.loadlib", NULL);
}

// Trusted scripts have Lua's own package, but that modules in Lua come from the host: it watches them.
static void push_trusted_package(lua_State *L) {
    lua_pushcfunction(L, luaopen_package);
    lua_call(L, 0, 1);
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
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pop(L, 1);

    if (is_trusted) push_trusted_package(L);
    else push_package(L);
    lua_getfield(L, -1, "searchers");
    lua_pushcfunction(L, searcher_host);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
    panini_push_modules(L);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, LUA_LOADLIBNAME);
    lua_setfield(L, -2, "loaded");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_setfield(L, -2, "preload");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &package_key);
    lua_setglobal(L, LUA_LOADLIBNAME);
    lua_pushcfunction(L, require);
    lua_setglobal(L, "require");
}

// templates, whether they come first
static int add_search_path(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &package_key);
    int package = lua_gettop(L);
    lua_pushliteral(L, "path");
    if (lua_rawget(L, package) != LUA_TSTRING || lua_rawlen(L, -1) == 0) {
        lua_pushvalue(L, 1);
    } else {
        int is_first = lua_toboolean(L, 2);
        lua_pushfstring(L, "%s;%s", lua_tostring(L, is_first ? 1 : -1), lua_tostring(L, is_first ? -1 : 1));
    }
    lua_pushliteral(L, "path");
    lua_insert(L, -2);
    lua_rawset(L, package);
    return 0;
}

void panini_add_search_path(lua_State *L, const char *templates, int is_first) {
    lua_pushcfunction(L, add_search_path);
    lua_pushstring(L, templates);
    lua_pushboolean(L, is_first);
    if (panini_call(panini_vm_of(L), L, 2, 0) != LUA_OK) lua_pop(L, 1);
}

// Threads that were ended have an error for their status, and what they were loading is still noted.
static int abandon(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushnil(L);
    // Bounded: by the modules that are being loaded.
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
