// Creation, memory, protected calls and the trampoline to host functions. A host function is an upvalue, the text of an error
// its caller's (panini_vm.h has the rule).
#include "panini_vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panini_address.h"
#include "panini_coroutine.h"
#include "panini_internal.h"
#include "panini_kill.h"
#include "panini_libraries.h"
#include "panini_rehash.h"
#include "panini_run.h"
#include "panini_weak.h"

static char traceback_key, spare_key;

// ---- memory

// Lua collects now, all at once.
static void *refuse(panini_vm *vm) {
    vm->refused++;
    panini_weak_settle(vm);
    return NULL;
}

// Counts, and refuses what would pass the limit or what the system has not got. A refusal raises in Lua, so it is
// only allowed while nothing but Lua and C lies up to the protected call. Otherwise the limit is soft, and real
// exhaustion ends the process with a word.
static void *allocate(void *context, void *block, size_t old_size, size_t new_size) {
    panini_vm *vm = context;
    // Of a new block Lua says here which object it is for; 0: for none, but for a part of one.
    int is_part = old_size == 0;
    if (block == NULL) old_size = 0;
#if PANINI_MEMORY_TESTS
    if (new_size > old_size && vm->may_fail && panini_has_fault(&vm->faults)) return NULL;
#endif
    if (new_size == 0) {
        panini_pool_resize(&vm->pool, block, old_size, 0, vm->bytes_in_use);
        vm->bytes_in_use -= old_size;
        return NULL;
    }
    if (new_size > old_size && vm->bytes_limit != 0 && vm->may_fail) {
        size_t growth = new_size - old_size;
        vm->unchecked += growth;
        if (vm->unchecked > vm->weak_step) panini_weak_due(vm);
        size_t limit = vm->has_reserve ? vm->bytes_limit + PANINI_RESERVE : vm->bytes_limit;
        if (vm->bytes_in_use > limit || growth > limit - vm->bytes_in_use) {
            return refuse(vm);
        }
        if (is_part && block == NULL && new_size >= PANINI_REHASH_BYTES && panini_rehash_is_too_long(vm, new_size)) {
            panini_kill_for(vm, PANINI_KILL_FOR_KEYS);
            return refuse(vm);
        }
    }
    void *result = panini_pool_resize(&vm->pool, block, old_size, new_size, vm->bytes_in_use);
    if (result == NULL) {
        // Shrinking cannot fail for Lua: the old block is still large enough.
        if (new_size <= old_size) {
            vm->bytes_in_use -= old_size - new_size;
            return block;
        }
        if (vm->may_fail) return refuse(vm);
        fprintf(stderr, "panini: out of memory: %zu bytes for a Lua state that uses %zu\n", new_size, vm->bytes_in_use);
        abort();
    }
    vm->bytes_in_use += new_size - old_size;
    if (vm->bytes_in_use > vm->bytes_peak) vm->bytes_peak = vm->bytes_in_use;
    return result;
}

int panini_make_room(panini_vm *vm, size_t bytes) {
    enum { LONGEST_PAUSE = 1024 };
    vm->refused++;
    if (bytes > vm->bytes_limit) return 0;
    if (vm->skipped_collections > 0) {
        vm->skipped_collections--;
        return 0;
    }
    panini_collect(vm->main);
    if (vm->bytes_in_use <= vm->bytes_limit - bytes) {
        vm->collection_pause = 0;
        vm->refused--;
        return 1;
    }
    vm->collection_pause = vm->collection_pause < LONGEST_PAUSE ? vm->collection_pause * 2 + 1 : LONGEST_PAUSE;
    vm->skipped_collections = vm->collection_pause;
    return 0;
}

int panini_raise_without_memory(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (vm->has_reserve && vm->bytes_in_use <= vm->bytes_limit + PANINI_RESERVE) return 0;
    // As Lua itself does before it refuses.
    panini_collect(L);
    panini_check(L);
    if (vm->bytes_in_use <= vm->bytes_limit) return 0;
    vm->refused++;
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
}

int panini_is_exhausted(panini_vm *vm) {
    if (vm->bytes_limit == 0) return 0;
    panini_collect(vm->main);
    return vm->bytes_in_use > vm->bytes_limit - vm->bytes_limit / 10;
}

// Reached only by a raise outside of any protected call, which this target exists to prevent.
static int panic(lua_State *L) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no text)";
    fprintf(stderr, "panini: unprotected Lua error: %s\n", text);
    return 0;
}

// ---- collector

// A cycle marks all that lives, mostly the libraries in a small state: with Lua's pause of 200 % that happens every
// sixty messages or so. A small state may therefore grow to ten times its size before the next cycle; a large one keeps
// Lua's own measure.
enum { LARGE_STATE = 4 << 20, SMALL_PAUSE = 1000, LARGE_PAUSE = 200 };

// ---- life

static int set_up(lua_State *L) {
    // The registry's first slots are Lua's; the ones up to the first reference are filled so that the references
    // that follow stay in the array part.
    for (int slot = 3; slot < PANINI_FIRST_REFERENCE; slot++) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, LUA_REGISTRYINDEX, slot);
    }
    // Lua pushes this text where an error would have nobody to go to: it must be there already when memory is short.
    lua_pushliteral(L, "error in error handling");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
    int is_trusted = lua_toboolean(L, 1);
    panini_open_weak(L);
    panini_open_rehash(L);
    panini_open_libraries(L, is_trusted);
    panini_open_require(L, is_trusted);
    return 0;
}

panini_vm *panini_vm_create(int is_trusted) {
    panini_vm *vm = aligned_alloc(16, (sizeof(panini_vm) + 15) & ~(size_t)15);
    if (vm == NULL) return NULL;
    *vm = (panini_vm){0};
    vm->weak_step = PANINI_LONG_WEAK_STEP;
    panini_open_addresses(vm);
    vm->may_fail = 1;
    vm->main = lua_newstate(allocate, vm);
    vm->may_fail = 0;
    if (vm->main == NULL) {
        free(vm);
        return NULL;
    }
    lua_atpanic(vm->main, panic);
    // Found by the linker now, and not in a signal's context.
    lua_sethook(vm->main, NULL, 0, 0);
    lua_gc(vm->main, LUA_GCSETPAUSE, SMALL_PAUSE);
    *thread_word(vm->main) = (uintptr_t)vm;
    lua_pushcfunction(vm->main, set_up);
    lua_pushboolean(vm->main, is_trusted);
    if (panini_call(vm, vm->main, 1, 0) != LUA_OK) {
        panini_vm_destroy(vm);
        return NULL;
    }
    return vm;
}

void panini_vm_destroy(panini_vm *vm) {
    lua_close(vm->main);
    panini_watchdog_settle();
    panini_pool_destroy(&vm->pool);
    free(vm->kill_note);
    free(vm);
}

void panini_tune_collector(panini_vm *vm) {
    int is_large = vm->bytes_in_use > (vm->is_large ? LARGE_STATE / 2 : LARGE_STATE);
    if (is_large == vm->is_large) return;
    vm->is_large = is_large;
    lua_gc(vm->main, LUA_GCSETPAUSE, is_large ? LARGE_PAUSE : SMALL_PAUSE);
}

void panini_collect(lua_State *L) {
    panini_weak_settle(panini_vm_of(L));
    lua_gc(L, LUA_GCCOLLECT);
}

const char *panini_lua_release(void) {
    return LUA_RELEASE;
}

// ---- protected calls

int panini_vm_set_budget(panini_vm *vm, uint64_t budget) {
    if (budget != 0 && !panini_watchdog_need(budget)) return 0;
    vm->cpu_budget = budget;
    panini_watch *watch = panini_thread_watch;
    if (watch != NULL && vm->activation != NULL && atomic_load_explicit(&watch->vm, memory_order_relaxed) == vm) {
        atomic_store_explicit(&watch->budget, budget, memory_order_relaxed);
    }
    return 1;
}

void panini_vm_set_label(panini_vm *vm, const char *text, size_t length) {
    if (length >= sizeof vm->label) length = sizeof vm->label - 1;
    memcpy(vm->label, text, length);
    vm->label[length] = 0;
}

// Keeps the error value as it is and files the traceback, while the failing stack still stands.
static int record_traceback(lua_State *L) {
    lua_settop(L, 1);
    if (panini_vm_of(L)->killed || !lua_checkstack(L, 40)) return 1;
    luaL_traceback(L, L, NULL, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
    return 1;
}

static int call_within(panini_vm *vm, lua_State *L, int arguments, int results, uint64_t budget) {
    panini_activation here = {L, vm->activation};
    int could_fail = vm->may_fail;
    int handler = lua_gettop(L) - arguments;
    int is_outermost = vm->activation == NULL;
    if (is_outermost) vm->stack_base = (char *)&here;
    lua_pushcfunction(L, record_traceback);
    lua_insert(L, handler);
    vm->activation = &here;
    vm->may_fail = 1;
    panini_watch *watch = is_outermost ? begin_run(vm, budget) : NULL;
    int status = lua_pcall(L, arguments, results, handler);
    if (end_run(vm, L, watch) && status != LUA_OK) status = PANINI_KILLED;
    vm->may_fail = could_fail;
    vm->activation = here.previous;
    lua_remove(L, handler);
    return status;
}

int panini_call(panini_vm *vm, lua_State *L, int arguments, int results) {
    return call_within(vm, L, arguments, results, vm->cpu_budget);
}

int panini_call_after(panini_vm *vm, lua_State *L, int arguments, int results) {
    int had_reserve = vm->has_reserve;
    vm->has_reserve = 1;
    int status = call_within(vm, L, arguments, results, vm->cpu_budget / 10 + 1);
    vm->has_reserve = had_reserve;
    return status;
}

void panini_push_traceback(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &traceback_key);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &traceback_key);
}

// ---- host functions

// Swift runs between the two lines that touch may_fail, and has returned before anything is raised or suspended.
static int called(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L);
}

int panini_run_host_function(lua_State *L) {
    panini_host_function function = (panini_host_function)lua_touserdata(L, lua_upvalueindex(1));
    void *context = lua_touserdata(L, lua_upvalueindex(2));
    panini_vm *vm = panini_vm_of(L);
    if (vm->killed) return panini_raise_killed(L);
    int could_fail = vm->may_fail;
    vm->may_fail = 0;
    int results = function(L, context);
    vm->may_fail = could_fail;
    if (results > 0) {
        panini_check_made(L);
        return results;
    }
    if (vm->killed) return panini_raise_killed(L);
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
    if (vm->notice == NULL) return;
    int could_fail = vm->may_fail;
    vm->may_fail = 0;
    vm->notice(L, vm->notice_context, notice);
    vm->may_fail = could_fail;
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
