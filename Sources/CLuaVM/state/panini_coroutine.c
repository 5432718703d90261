// The coroutine library, written so that a wait for the host suspends every coroutine between the waiting call and
// the handler: an inner resume that comes back waiting makes the outer coroutine yield too, and passes the host's
// results inwards when it is continued. The script sees a call that took its time.
//
// Pointers into Lua's objects (panini_vm.h has the rule): a thread lies on the stack of who resumes it, or is an upvalue, and the
// host keeps its own in the registry.
#include "panini_coroutine.h"

#include <lauxlib.h>

#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_run.h"
#include "panini_thread.h"
#include "panini_vm.h"
#include "panini_watch.h"
#include "panini_watchdog.h"

// How many closes may nest, and how much C stack may be in use when one starts. Lua 5.4.4 does not count them
// itself and runs out of C stack.
enum { CLOSE_DEPTH = 100, CLOSE_STACK_BYTES = 128 * 1024 };

// Segments that the watchdog has never met are timed by the clock on the wall, which is cheap, but says too much where other
// programs want the processor: from this part of the budget on they are measured.
enum { UNMEASURED_PART = 64 };

// ---- the host's side

lua_State *panini_new_pooled_thread(lua_State *L) {
    lua_State *thread = lua_newthread(L);
    thread_set(thread, THREAD_POOLED);
    return thread;
}

int panini_resume(panini_vm *vm, lua_State *thread, int arguments, int raises, int *results) {
    panini_activation here = {thread, vm->calls.activation};
    int could_fail = vm->calls.may_fail;
    lua_State *from = NULL;
    panini_watch *watch = NULL;
    uint64_t used = vm->run.time, begin = 0;
    if (vm->calls.activation == NULL) vm->calls.stack_base = (char *)&here;
    else from = vm->calls.activation->thread;
    vm->calls.activation = &here;
    vm->calls.may_fail = 1;
    vm->calls.raise_on_resume = raises;
    if (from == NULL) {
        // One that the watchdog has met before, or that has begun to add up, is measured; one that has never waited costs no
        // look at a clock.
        if (used != 0) begin = panini_thread_time();
        else if (vm->run.is_continued) begin = panini_wall_time();
        watch = begin_run(vm, used < vm->run.budget ? vm->run.budget - used : 1);
        // So short segments that no look of the watchdog's would end them.
        if (used != 0 && watch != NULL && used >= vm->run.budget) {
            panini_kill_for(vm, used == PANINI_OVER_RATE ? PANINI_KILL_FOR_RATE : PANINI_KILL_FOR_TIME);
        }
    }
    int is_continued = vm->run.is_continued;
    uint64_t wall = is_continued ? vm->run.wall : 0;
    int status = lua_resume(thread, from, arguments, results);
    if (status == LUA_YIELD && watch != NULL) {
        if (used != 0) {
            vm->run.time = used + panini_thread_time() - begin;
        } else if (atomic_load_explicit(&watch->seen, memory_order_acquire) == run_number(watch)) {
            uint64_t seen = atomic_load_explicit(&watch->seen_time, memory_order_relaxed);
            vm->run.time = panini_thread_time() - seen + 1;
        } else if (is_continued) {
            wall += panini_wall_time() - begin;
            if (wall > vm->run.budget / UNMEASURED_PART) vm->run.time = 1;
        }
        vm->run.wall = wall;
    }
    if (end_run(vm, thread, watch) && status != LUA_OK && status != LUA_YIELD) {
        thread_set(thread, THREAD_ENDED);
        status = PANINI_KILLED;
    }
    vm->calls.may_fail = could_fail;
    vm->calls.activation = here.previous;
    return status;
}

int panini_can_suspend(lua_State *L) {
    panini_activation *at = panini_vm_of(L)->calls.activation;
    if (at == NULL || at->thread != L) return 0;
    for (; at != NULL; at = at->previous) {
        if (!lua_isyieldable(at->thread)) return 0;
        if (thread_has(at->thread, THREAD_POOLED)) return 1;
    }
    return 0;
}

// What the host pushed above the waiting call's own values is the call's result.
static int host_continued(lua_State *L, int status, lua_KContext top) {
    (void)status;
    panini_vm *vm = panini_vm_of(L);
    if (vm->calls.raise_on_resume) {
        vm->calls.raise_on_resume = 0;
        return lua_error(L);
    }
    panini_check_made(L);
    return lua_gettop(L) - (int)top;
}

int panini_suspend(lua_State *L) {
    if (!panini_can_suspend(L)) {
        return luaL_error(L, "cannot wait here: not inside a handler, or inside a callback of a function that "
                             "cannot be suspended (as table.sort or string.gsub)");
    }
    return panini_suspend_then(L, (lua_KContext)lua_gettop(L), host_continued);
}

int panini_suspend_then(lua_State *L, lua_KContext context, lua_KFunction then) {
    if (!thread_has(L, THREAD_POOLED)) thread_set(L, THREAD_WAITING);
    return lua_yieldk(L, 0, context, then);
}

// Lua's own reset, with the record that makes the chain of running threads true while __close methods run. A thread that was
// ended by force stays as it is.
static int reset(panini_vm *vm, lua_State *thread) {
    if (thread_has(thread, THREAD_ENDED)) return lua_status(thread);
    panini_activation here = {thread, vm->calls.activation};
    int could_fail = vm->calls.may_fail;
    if (vm->calls.activation == NULL) vm->calls.stack_base = (char *)&here;
#if LUA_VERSION_RELEASE_NUM >= 50406
    lua_State *from = vm->calls.activation ? vm->calls.activation->thread : NULL;
#endif
    vm->calls.activation = &here;
    vm->calls.may_fail = 1;
    vm->calls.close_depth++;
    panini_watch *watch = here.previous == NULL ? begin_run(vm, vm->run.budget / 10 + 1) : NULL;
#if LUA_VERSION_RELEASE_NUM >= 50406
    int status = lua_closethread(thread, from);
#else
    int status = lua_resetthread(thread);
#endif
    vm->calls.close_depth--;
    if (vm->kill.is_due) thread_set(thread, THREAD_ENDED);
    if (end_run(vm, thread, watch)) status = PANINI_KILLED;
    vm->calls.may_fail = could_fail;
    vm->calls.activation = here.previous;
    return status;
}

static int close_too_deep(panini_vm *vm) {
    char here;
    return vm->calls.close_depth >= CLOSE_DEPTH ||
           (vm->calls.activation != NULL && vm->calls.stack_base - &here > (ptrdiff_t)CLOSE_STACK_BYTES);
}

int panini_close_thread(panini_vm *vm, lua_State *thread) {
    // Innermost first, as unwinding would do it.
    if (thread_has(thread, THREAD_INNER)) {
        thread_clear(thread, THREAD_INNER);
        lua_State *inner = lua_tothread(thread, -1);
        if (inner != NULL && thread_has(inner, THREAD_WAITING)) panini_close_thread(vm, inner);
    }
    thread_clear(thread, THREAD_WAITING);
    if (close_too_deep(vm)) return lua_status(thread);
    return reset(vm, thread);
}

// ---- the script's side

typedef enum { RUNNING, SUSPENDED, NORMAL, DEAD } thread_state;
static const char *const state_names[] = {"running", "suspended", "normal", "dead"};

static thread_state state_of(lua_State *L, lua_State *thread) {
    lua_Debug frame;
    if (L == thread) return RUNNING;
    switch (lua_status(thread)) {
        case LUA_YIELD:
            // Waiting for the host counts as busy: nobody but the host may continue it.
            return thread_has(thread, THREAD_POOLED | THREAD_WAITING) ? NORMAL : SUSPENDED;
        case LUA_OK:
            if (lua_getstack(thread, 0, &frame)) return NORMAL;
            if (thread_has(thread, THREAD_POOLED) || thread == panini_vm_of(thread)->main) return DEAD;
            return lua_gettop(thread) == 0 ? DEAD : SUSPENDED;
        default:
            return DEAD;
    }
}

static lua_State *check_thread(lua_State *L) {
    lua_State *thread = lua_tothread(L, 1);
    luaL_argexpected(L, thread, 1, "thread");
    return thread;
}

enum { RESUME_FAILED = -1, RESUME_WAITS = -2 };

// Runs `thread` with the top `arguments` values of L. The number of values it left on L, or RESUME_FAILED with the
// error on L, or RESUME_WAITS.
static int run(lua_State *L, lua_State *thread, int arguments) {
    panini_vm *vm = panini_vm_of(L);
    int results = 0;
    if (!lua_checkstack(thread, arguments)) {
        lua_pushliteral(L, "too many arguments to resume");
        return RESUME_FAILED;
    }
    panini_check(L);
    lua_xmove(L, thread, arguments);
    panini_activation here = {thread, vm->calls.activation};
    vm->calls.activation = &here;
    int status = lua_resume(thread, L, arguments, &results);
    vm->calls.activation = here.previous;
    if (vm->kill.is_due && status != LUA_OK && status != LUA_YIELD) thread_set(thread, THREAD_ENDED);
    // Whatever became of it: nothing is closed, nothing passes for a result.
    panini_check(L);
    // The thread that was to look at weak tables ran no further instruction.
    if (vm->weak.is_due) panini_hook_next(vm);
    if (status == LUA_YIELD && thread_has(thread, THREAD_WAITING)) return RESUME_WAITS;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(thread, L, 1);
        return RESUME_FAILED;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(thread, results);
        lua_pushliteral(L, "too many results to resume");
        return RESUME_FAILED;
    }
    lua_xmove(thread, L, results);
    return results;
}

static int start_or_continue(lua_State *L, lua_State *thread, int arguments) {
    thread_state state = state_of(L, thread);
    if (state != SUSPENDED) {
        if (thread_has(thread, THREAD_WAITING)) {
            lua_pushliteral(L, "cannot resume a coroutine that waits for the host");
        } else {
            lua_pushfstring(L, "cannot resume %s coroutine", state == DEAD ? "dead" : "non-suspended");
        }
        return RESUME_FAILED;
    }
    return run(L, thread, arguments);
}

// The thread on top of L waits: so does L. Its host results arrive above that slot.
static int wait_with(lua_State *L, lua_State *thread, lua_KFunction then) {
    luaL_checkstack(L, 1, NULL);
    lua_checkstack(thread, 1);
    lua_pushthread(thread);
    lua_xmove(thread, L, 1);
    thread_set(L, thread_has(L, THREAD_POOLED) ? THREAD_INNER : THREAD_INNER | THREAD_WAITING);
    return lua_yieldk(L, 0, (lua_KContext)lua_gettop(L), then);
}

// Hands what the host pushed to the inner coroutine and runs it on.
static int continue_inner(lua_State *L, lua_KContext slot, lua_State **thread) {
    *thread = lua_tothread(L, (int)slot);
    thread_clear(L, THREAD_INNER | THREAD_WAITING);
    thread_clear(*thread, THREAD_WAITING);
    return run(L, *thread, lua_gettop(L) - (int)slot);
}

static int resume_continued(lua_State *L, int status, lua_KContext slot);

static int finish_resume(lua_State *L, lua_State *thread, int results) {
    if (results == RESUME_WAITS) return wait_with(L, thread, resume_continued);
    lua_pushboolean(L, results >= 0);
    int count = results >= 0 ? results : 1;
    lua_insert(L, -(count + 1));
    return count + 1;
}

static int resume_continued(lua_State *L, int status, lua_KContext slot) {
    (void)status;
    lua_State *thread;
    int results = continue_inner(L, slot, &thread);
    return finish_resume(L, thread, results);
}

static int library_resume(lua_State *L) {
    lua_State *thread = check_thread(L);
    return finish_resume(L, thread, start_or_continue(L, thread, lua_gettop(L) - 1));
}

static int wrap_continued(lua_State *L, int status, lua_KContext slot);

static int finish_wrap(lua_State *L, lua_State *thread, int results) {
    if (results == RESUME_WAITS) return wait_with(L, thread, wrap_continued);
    if (results >= 0) return results;
    int status = lua_status(thread);
    if (status != LUA_OK && status != LUA_YIELD) {
        // It died by this error: its pending closes run now, and may replace the error. They are not run when
        // closes nest too deeply; the error passes on all the same.
        panini_vm *vm = panini_vm_of(L);
        if (!close_too_deep(vm)) {
            lua_xmove(L, thread, 1);
            status = reset(vm, thread);
            panini_check(L);
            lua_xmove(thread, L, 1);
        }
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_continued(lua_State *L, int status, lua_KContext slot) {
    (void)status;
    lua_State *thread;
    int results = continue_inner(L, slot, &thread);
    return finish_wrap(L, thread, results);
}

static int call_wrapped(lua_State *L) {
    lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
    return finish_wrap(L, thread, start_or_continue(L, thread, lua_gettop(L)));
}

static int library_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *thread = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, thread, 1);
    return 1;
}

static int library_wrap(lua_State *L) {
    library_create(L);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

static int library_yield(lua_State *L) {
    // A handler's own coroutine belongs to the host: for the script it is the outermost one.
    if (thread_has(L, THREAD_POOLED)) return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int library_status(lua_State *L) {
    lua_pushstring(L, state_names[state_of(L, check_thread(L))]);
    return 1;
}

static int library_isyieldable(lua_State *L) {
    lua_State *thread = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, !thread_has(thread, THREAD_POOLED) && lua_isyieldable(thread));
    return 1;
}

static int library_running(lua_State *L) {
    int is_main = lua_pushthread(L);
    lua_pushboolean(L, is_main || thread_has(L, THREAD_POOLED));
    return 2;
}

static int library_close(lua_State *L) {
    lua_State *thread = check_thread(L);
    thread_state state = state_of(L, thread);
    if (state != DEAD && state != SUSPENDED) {
        return luaL_error(L, "cannot close a %s coroutine", state_names[state]);
    }
    if (thread_has(thread, THREAD_POOLED) || thread == panini_vm_of(L)->main) {
        lua_pushboolean(L, 1);
        return 1;
    }
    panini_vm *vm = panini_vm_of(L);
    if (thread_has(thread, THREAD_ENDED)) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "the coroutine was ended with its run");
        return 2;
    }
    if (close_too_deep(vm)) return luaL_error(L, "C stack overflow (coroutine.close nested too deeply)");
    panini_check(L);
    int status = reset(vm, thread);
    panini_check(L);
    if (status == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(thread, L, 1);
    return 2;
}

int panini_open_coroutine(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"create", library_create},   {"resume", library_resume},           {"running", library_running},
        {"status", library_status},   {"wrap", library_wrap},               {"yield", library_yield},
        {"isyieldable", library_isyieldable}, {"close", library_close},     {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
