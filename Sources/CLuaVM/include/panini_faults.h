// Refused allocations, for tests: every so-many-th request of a state for memory is refused, as if there were none. Lua then
// collects all it can and asks again; that is granted, or refused as well. So one number gives a collection at any allocation,
// the other one an error of it. And the collector's own pace, as fast and as slow as it goes. As always, nothing is refused while
// Swift is on the stack. Only in debug builds and in the fuzzers': elsewhere nothing of it is on the way of an allocation.
#ifndef PANINI_FAULTS_H
#define PANINI_FAULTS_H
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

typedef struct panini_faults {
    // Requests from one fault to the next; 0: there are none.
    uint64_t every;
    // How often a request is refused: 1, and the collection that follows makes room for it; 2, and it fails.
    uint32_t attempts;
    uint32_t refused;
    // Until the next one.
    uint64_t left;
    // How many there were.
    uint64_t count;
} panini_faults;

// 0: this build has none of it.
int panini_set_faults(panini_faults *faults, uint64_t every, uint32_t attempts);

// How the collector runs: `pause` and `multiplier` are those of the manual, of generational mode the minor and the major one. A
// step is of 2^`step` bytes.
void panini_set_collector(lua_State *L, int is_generational, int pause, int multiplier, int step);
// Not 0: states that are made from now on find that tables are laid out in another way. Only in debug builds.
extern _Atomic int panini_forget_tables;
// Whether this build has that.
int panini_set_forget_tables(int is_on);

// What Lua itself counts in bytes. After a full collection it is what the allocator counts, but for what the host has charged.
size_t panini_counted_bytes(lua_State *L);

// For the allocator: whether this request, which may fail, is to be refused.
static inline int panini_has_fault(panini_faults *faults) {
    if (faults->every == 0) return 0;
    if (faults->refused > 0) {
        if (faults->refused < faults->attempts) {
            faults->refused++;
            return 1;
        }
        faults->refused = 0;
        faults->left = faults->every;
        return 0;
    }
    if (--faults->left > 0) return 0;
    faults->refused = 1;
    faults->count++;
    return 1;
}
#endif
