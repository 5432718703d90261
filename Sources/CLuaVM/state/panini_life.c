// Owns: the beginning and the end of a state. The text of an error lies on the stack (panini_vm.h has the rule).
#include "panini_life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panini_address.h"
#include "panini_call.h"
#include "panini_libraries.h"
#include "panini_memory.h"
#include "panini_pool.h"
#include "panini_rehash.h"
#include "panini_require.h"
#include "panini_thread.h"
#include "panini_vm.h"
#include "panini_watch.h"
#include "panini_weak.h"

static char spare_key;

// Reached only by a raise outside of any protected call, which this target exists to prevent.
static int panic(lua_State *L) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(no text)";
    fprintf(stderr, "panini: unprotected Lua error: %s\n", text);
    return 0;
}

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
    panini_open_addresses(vm);
    vm->calls.may_fail = 1;
    vm->main = lua_newstate(panini_allocate, vm);
    vm->calls.may_fail = 0;
    if (vm->main == NULL) {
        free(vm);
        return NULL;
    }
    lua_atpanic(vm->main, panic);
    // Found by the linker now, and not in a signal's context.
    lua_sethook(vm->main, NULL, 0, 0);
    panini_open_memory(vm);
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
    free(vm->kill.note);
    free(vm);
}

void panini_vm_set_label(panini_vm *vm, const char *text, size_t length) {
    if (length >= sizeof vm->label) length = sizeof vm->label - 1;
    memcpy(vm->label, text, length);
    vm->label[length] = 0;
}

const char *panini_lua_release(void) {
    return LUA_RELEASE;
}
