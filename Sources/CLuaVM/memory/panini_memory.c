// Owns: what a state's allocator counts and refuses, and when its collector runs.
#include "panini_memory.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "panini_faults.h"
#include "panini_growth.h"
#include "panini_kill.h"
#include "panini_pool.h"
#include "panini_rehash.h"
#include "panini_vm.h"
#include "panini_weak.h"

// ---- the allocator

// Lua collects now, all at once.
static void *refuse(panini_vm *vm) {
    vm->memory.refused++;
    panini_weak_settle(vm);
    return NULL;
}

// Counts, and refuses what would pass the limit or what the system has not got. A refusal raises in Lua, so it is
// only allowed while nothing but Lua and C lies up to the protected call. Otherwise the limit is soft, and real
// exhaustion ends the process with a word.
void *panini_allocate(void *context, void *block, size_t old_size, size_t new_size) {
    panini_vm *vm = context;
    // Of a new block Lua says here which object it is for; 0: for none, but for a part of one.
    int is_part = block != NULL || old_size == 0;
    if (block == NULL) old_size = 0;
#if PANINI_MEMORY_TESTS
    if (new_size > old_size && vm->calls.may_fail && panini_has_fault(&vm->faults)) return NULL;
#endif
    if (new_size == 0) {
        panini_pool_resize(&vm->pool, block, old_size, 0, vm->memory.in_use);
        vm->memory.in_use -= old_size;
        return NULL;
    }
    size_t growth = new_size > old_size ? new_size - old_size : 0;
    if (growth >= PANINI_LARGE_GROWTH && vm->calls.may_fail) {
        if (vm->kill.is_due || (is_part && panini_growth_is_too_long(vm, new_size))) {
            // A run that is over gets nothing large any more. That it was ended is said, not that there was no memory.
            panini_kill_for(vm, PANINI_KILL_FOR_TIME);
            return refuse(vm);
        }
    }
    if (growth > 0 && vm->memory.limit != 0 && vm->calls.may_fail) {
        vm->weak.unchecked += growth;
        if (vm->weak.unchecked > vm->weak.step) panini_weak_due(vm);
        size_t limit = vm->memory.has_reserve ? vm->memory.limit + PANINI_RESERVE : vm->memory.limit;
        if (vm->memory.in_use > limit || growth > limit - vm->memory.in_use) {
            return refuse(vm);
        }
        if (is_part && block == NULL && new_size >= PANINI_REHASH_BYTES && panini_rehash_is_too_long(vm, new_size)) {
            panini_kill_for(vm, PANINI_KILL_FOR_KEYS);
            return refuse(vm);
        }
    }
    void *result = panini_pool_resize(&vm->pool, block, old_size, new_size, vm->memory.in_use);
    if (result == NULL) {
        // Shrinking cannot fail for Lua: the old block is still large enough.
        if (new_size <= old_size) {
            vm->memory.in_use -= old_size - new_size;
            return block;
        }
        if (vm->calls.may_fail) return refuse(vm);
        fprintf(stderr, "panini: out of memory: %zu bytes for a Lua state that uses %zu\n", new_size, vm->memory.in_use);
        abort();
    }
    vm->memory.in_use += new_size - old_size;
    if (vm->memory.in_use > vm->memory.peak) vm->memory.peak = vm->memory.in_use;
    if (growth >= PANINI_LARGE_GROWTH && is_part) panini_note_growth(vm, new_size);
    return result;
}

int panini_make_room(panini_vm *vm, size_t bytes) {
    enum { LONGEST_PAUSE = 1024 };
    vm->memory.refused++;
    if (bytes > vm->memory.limit) return 0;
    if (vm->memory.skipped_collections > 0) {
        vm->memory.skipped_collections--;
        return 0;
    }
    panini_collect(vm->main);
    if (vm->memory.in_use <= vm->memory.limit - bytes) {
        vm->memory.collection_pause = 0;
        vm->memory.refused--;
        return 1;
    }
    vm->memory.collection_pause = vm->memory.collection_pause < LONGEST_PAUSE ? vm->memory.collection_pause * 2 + 1 : LONGEST_PAUSE;
    vm->memory.skipped_collections = vm->memory.collection_pause;
    return 0;
}

int panini_raise_without_memory(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (vm->memory.has_reserve && vm->memory.in_use <= vm->memory.limit + PANINI_RESERVE) return 0;
    // As Lua itself does before it refuses.
    panini_collect(L);
    panini_check(L);
    if (vm->memory.in_use <= vm->memory.limit) return 0;
    vm->memory.refused++;
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
}

int panini_is_exhausted(panini_vm *vm) {
    if (vm->memory.limit == 0) return 0;
    panini_collect(vm->main);
    return vm->memory.in_use > vm->memory.limit - vm->memory.limit / 10;
}

// ---- the collector

// A cycle marks all that lives, mostly the libraries in a small state: with Lua's pause of 200 % that happens every
// sixty calls or so. A small state may therefore grow to ten times its size before the next cycle; a large one keeps
// Lua's own measure.
enum { LARGE_STATE = 4 << 20, SMALL_PAUSE = 1000, LARGE_PAUSE = 200 };

void panini_open_memory(panini_vm *vm) { lua_gc(vm->main, LUA_GCSETPAUSE, SMALL_PAUSE); }

void panini_tune_collector(panini_vm *vm) {
    int is_large = vm->memory.in_use > (vm->memory.is_large ? LARGE_STATE / 2 : LARGE_STATE);
    if (is_large == vm->memory.is_large) return;
    vm->memory.is_large = is_large;
    lua_gc(vm->main, LUA_GCSETPAUSE, is_large ? LARGE_PAUSE : SMALL_PAUSE);
}

void panini_collect(lua_State *L) {
    panini_weak_settle(panini_vm_of(L));
    lua_gc(L, LUA_GCCOLLECT);
}

int panini_collect_step(lua_State *L) { return lua_gc(L, LUA_GCSTEP, 0); }

void panini_give_back_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void panini_release_free_memory(lua_State *L) {
    panini_pool_trim(&panini_vm_of(L)->pool);
    panini_give_back_memory();
}

void panini_settle_allocator(void) {
#ifdef __GLIBC__
    // Without this the C library raises its bound for blocks of their own up to 32 MB as such blocks come and go, and a
    // table that grows then lies in memory twice, and stays there.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
#endif
}
