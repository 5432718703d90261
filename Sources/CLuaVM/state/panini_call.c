// Owns: protected calls and the trampoline to host functions. A host function is an upvalue, the text of an error its caller's
// (panini_vm.h has the rule).
#include "panini_call.h"

#include <lauxlib.h>

#include "panini_coroutine.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_run.h"
#include "panini_vm.h"
#include "panini_watch.h"

static char traceback_key;

// ---- protected calls

// Keeps the error value as it is and files the traceback, while the failing stack still stands.
static int record_traceback(lua_State *L) {
    lua_settop(L, 1);
    if (panini_vm_of(L)->kill.is_due || !lua_checkstack(L, 40)) return 1;
    luaL_traceback(L, L, NULL, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
    return 1;
}

static int call_within(panini_vm *vm, lua_State *L, int arguments, int results, uint64_t budget) {
    panini_activation here = {L, vm->calls.activation};
    int could_fail = vm->calls.may_fail;
    int handler = lua_gettop(L) - arguments;
    int is_outermost = vm->calls.activation == NULL;
    if (is_outermost) vm->calls.stack_base = (char *)&here;
    lua_pushcfunction(L, record_traceback);
    lua_insert(L, handler);
    vm->calls.activation = &here;
    vm->calls.may_fail = 1;
    panini_watch *watch = is_outermost ? begin_run(vm, budget) : NULL;
    int status = lua_pcall(L, arguments, results, handler);
    if (end_run(vm, L, watch) && status != LUA_OK) status = PANINI_KILLED;
    vm->calls.may_fail = could_fail;
    vm->calls.activation = here.previous;
    lua_remove(L, handler);
    return status;
}

int panini_call(panini_vm *vm, lua_State *L, int arguments, int results) {
    return call_within(vm, L, arguments, results, vm->run.budget);
}

int panini_call_after(panini_vm *vm, lua_State *L, int arguments, int results) {
    int had_reserve = vm->memory.has_reserve;
    vm->memory.has_reserve = 1;
    int status = call_within(vm, L, arguments, results, vm->run.budget / 10 + 1);
    vm->memory.has_reserve = had_reserve;
    return status;
}

void panini_push_traceback(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
}

// ---- host functions

// Swift runs between panini_enter_host and panini_leave_host, and has returned before anything is raised or suspended.
static int called(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L);
}

int panini_run_host_function(lua_State *L) {
    panini_host_function function = (panini_host_function)lua_touserdata(L, lua_upvalueindex(1));
    void *context = lua_touserdata(L, lua_upvalueindex(2));
    panini_vm *vm = panini_vm_of(L);
    if (vm->kill.is_due) return panini_raise_killed(L);
    int could_fail = panini_enter_host(vm);
    int results = function(L, context);
    panini_leave_host(vm, could_fail);
    if (results > 0) {
        panini_check_made(L);
        return results;
    }
    if (vm->kill.is_due) return panini_raise_killed(L);
    if (results == 0) return 0;
    if (results == PANINI_SUSPEND) return panini_suspend(L);
    if (results == PANINI_RAISE) return lua_error(L);
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, called);
    return lua_gettop(L);
}

void panini_push_host_function(lua_State *L, panini_host_function function, void *context) {
    lua_pushlightuserdata(L, (void *)function);
    lua_pushlightuserdata(L, context);
    lua_pushcclosure(L, panini_run_host_function, 2);
}

void panini_notice(lua_State *L, int notice) {
    panini_vm *vm = panini_vm_of(L);
    if (vm->callbacks.notice == NULL) return;
    int could_fail = panini_enter_host(vm);
    vm->callbacks.notice(L, vm->callbacks.notice_context, notice);
    panini_leave_host(vm, could_fail);
}

void panini_push_positioned(lua_State *L, const char *message, size_t length) {
    lua_Debug frame;
    for (int level = 0; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline > 0) {
            lua_pushfstring(L, "%s:%d: ", frame.short_src, frame.currentline);
            lua_pushlstring(L, message, length);
            // Two strings: no metamethod can run, only memory is needed.
            lua_concat(L, 2);
            return;
        }
    }
    lua_pushlstring(L, message, length);
}
