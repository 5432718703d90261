// Owns: what is known of how Lua 5.4 lays out tables and finds the place of a key. Reads, and never writes, what the API has
// no function for. Runs in the allocator: no function of Lua's that takes memory or may raise. So what lies on the stack stays
// where it is meanwhile (panini_vm.h has the rule).
#include "panini_rehash.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "panini_faults.h"
#include "panini_vm.h"

// How many places a value can be passed on by `__newindex`: Lua's own limit.
enum { LONGEST_CHAIN = 2000 };
// Values of a frame that are looked at: all of a Lua function's, and more than any C function has arguments.
enum { FRAME_VALUES = 300 };
// What a step from one key to the next takes, about (2.6 ns in a table of 3 MB, more in larger ones).
enum { STEP_NANOSECONDS = 4 };

// Tags of keys; the mark of what is collected is taken off.
enum { COLLECTED = 64, INTEGER = 0x03, FLOAT = 0x13, SHORT_STRING = 0x04, LONG_STRING = 0x14, TABLE = 0x05 };
enum { NIL = 0x00, FALSE = 0x01, TRUE = 0x11, NIL_MASK = 0x0F };

typedef struct node {
    uint64_t value;
    uint8_t value_tag, key_tag;
    int32_t next;
    union {
        int64_t integer;
        double number;
        uintptr_t address;
    } key;
} node;

typedef struct table {
    void *next_object;
    uint8_t tag, marked, flags, size_log;
    uint32_t array_size;
    void *array;
    node *nodes, *last_free;
    struct table *metatable;
} table;

typedef struct string {
    void *next_object;
    uint8_t tag, marked, extra, short_length;
    uint32_t hash;
} string;

_Static_assert(sizeof(node) == PANINI_REHASH_NODE, "a node is three words");

static uint32_t modulo(uint64_t number, uint32_t size) { return (uint32_t)(number % ((size - 1) | 1)); }

static uint32_t float_hash(double number) {
    int exponent;
    number = frexp(number, &exponent) * -(double)INT_MIN;
    if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0)) return 0;
    uint32_t sum = (uint32_t)exponent + (uint32_t)(int64_t)number;
    return sum <= INT_MAX ? sum : ~sum;
}

// Where a key's search begins in a hash part of `size` nodes, a power of two.
static uint32_t place_of(const node *at, uint32_t size) {
    switch (at->key_tag & ~COLLECTED) {
    case INTEGER: return modulo((uint64_t)at->key.integer, size);
    case FLOAT: return modulo(float_hash(at->key.number), size);
    case SHORT_STRING:
    case LONG_STRING: return ((const string *)at->key.address)->hash & (size - 1);
    case FALSE:
    case TRUE: return (at->key_tag == TRUE) & (size - 1);
    default: return modulo((uint32_t)at->key.address, size);
    }
}

// How many keys would be gone past, as far as `most`. Without memory to count in, none.
static uint64_t steps(const table *from, unsigned size_log, uint64_t most) {
    uint32_t size = (uint32_t)1 << size_log;
    uint32_t *counts = calloc(size, sizeof *counts);
    if (counts == NULL) return 0;
    uint64_t sum = 0;
    const node *end = from->nodes + ((size_t)1 << from->size_log);
    for (const node *at = from->nodes; at != end && sum <= most; at++) {
        if ((at->value_tag & NIL_MASK) != NIL) sum += counts[place_of(at, size)]++;
    }
    free(counts);
    return sum;
}

// A table gets a new hash part when there is no free node in its old one; then Lua's mark of the last free one has come to
// the first.
static int is_full(const table *of) { return of->last_free == of->nodes; }

// The table that takes what is assigned to absent keys of this one; NULL when it is this one, or a function does it.
static const table *assigned_instead(const table *of, const void *name) {
    const table *in = of->metatable;
    if (in == NULL) return NULL;
    const node *at = in->nodes + (((const string *)name)->hash & (((uint32_t)1 << in->size_log) - 1));
    for (;; at += at->next) {
        if (at->key_tag == (SHORT_STRING | COLLECTED) && (const void *)at->key.address == name) {
            return at->value_tag == (TABLE | COLLECTED) ? (const table *)(uintptr_t)at->value : NULL;
        }
        if (at->next == 0) return NULL;
    }
}

int panini_rehash_is_too_long(panini_vm *vm, size_t bytes) {
    unsigned size_log = (unsigned)__builtin_ctzll(bytes / PANINI_REHASH_NODE);
    if (bytes != (size_t)PANINI_REHASH_NODE << size_log || size_log > 30) return 0;
    if (vm->newindex_name == NULL || vm->run.budget == 0 || vm->calls.activation == NULL) return 0;
    uint64_t most = vm->run.budget / 10 / STEP_NANOSECONDS, all = (uint64_t)4 << size_log;
    if (most < all) most = all;
    // Lua has told its stack up to where its values are: its collector may run at this point, too.
    lua_State *L = vm->calls.activation->thread;
    int top = lua_gettop(L);
    for (int index = 1; index <= top && index <= FRAME_VALUES; index++) {
        if (lua_type(L, index) != LUA_TTABLE) continue;
        const table *at = lua_topointer(L, index);
        for (int hop = 0; at != NULL && hop < LONGEST_CHAIN; hop++) {
            int is_large = at->size_log >= PANINI_REHASH_SMALLEST - 1;
            if (is_large && is_full(at) && steps(at, size_log, most) > most) return 1;
            at = assigned_instead(at, vm->newindex_name);
        }
    }
    return 0;
}

size_t panini_table_places(lua_State *L, int index) {
    if (panini_vm_of(L)->newindex_name == NULL) return 0;
    const table *at = lua_topointer(L, index);
    return (size_t)1 << at->size_log;
}

// ---- whether it is so

// The table on top has one key of that tag, in 2^6 nodes.
static int is_as_expected(lua_State *L, uint8_t tag) {
    const table *at = lua_topointer(L, -1);
    if (at->size_log != 6 || at->metatable != NULL || is_full(at)) return 0;
    for (uint32_t place = 0; place < 64; place++) {
        const node *key = at->nodes + place;
        if (key->key_tag == NIL) continue;
        return (key->key_tag & ~COLLECTED) == tag && key->next == 0 && place_of(key, 64) == place && key->value_tag == TRUE;
    }
    return 0;
}

static int check_key(lua_State *L, uint8_t tag) {
    lua_createtable(L, 0, 64);
    lua_insert(L, -2);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    int result = is_as_expected(L, tag);
    lua_pop(L, 1);
    return result;
}

void panini_open_rehash(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    lua_pushinteger(L, 0x123456789abcdef);
    int is_known = check_key(L, INTEGER);
    lua_pushinteger(L, -77);
    is_known &= check_key(L, INTEGER);
    lua_pushnumber(L, -1234.5678e-9);
    is_known &= check_key(L, FLOAT);
    lua_pushnumber(L, 1.0e300);
    is_known &= check_key(L, FLOAT);
    lua_pushliteral(L, "__newindex");
    const void *name = lua_topointer(L, -1);
    is_known &= check_key(L, SHORT_STRING);
    lua_pushlightuserdata(L, vm);
    is_known &= check_key(L, LUA_TLIGHTUSERDATA);
    // Found as the metatable's field, too.
    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
    const void *target = lua_topointer(L, -1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    is_known = is_known && assigned_instead(lua_topointer(L, -1), name) == target;
    lua_pop(L, 1);
#if PANINI_MEMORY_TESTS
    if (panini_forget_tables) is_known = 0;
#endif
    // Lua keeps the name for itself: its address stays.
    vm->newindex_name = is_known ? name : NULL;
}
