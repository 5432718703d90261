// Owns: what tests ask of the allocator and of the collector.
#include "panini_faults.h"

int panini_set_faults(panini_faults *faults, uint64_t every, uint32_t attempts) {
    *faults = (panini_faults){.every = every, .attempts = attempts, .left = every, .count = faults->count};
#if PANINI_MEMORY_TESTS
    return 1;
#else
    return 0;
#endif
}

_Atomic int panini_forget_tables;

int panini_set_forget_tables(int is_on) {
    panini_forget_tables = is_on;
#if PANINI_MEMORY_TESTS
    return 1;
#else
    return 0;
#endif
}

void panini_set_collector(lua_State *L, int is_generational, int pause, int multiplier, int step) {
    if (is_generational) lua_gc(L, LUA_GCGEN, pause, multiplier);
    else lua_gc(L, LUA_GCINC, pause, multiplier, step);
}

size_t panini_counted_bytes(lua_State *L) {
    return ((size_t)lua_gc(L, LUA_GCCOUNT) << 10) + (size_t)lua_gc(L, LUA_GCCOUNTB);
}
