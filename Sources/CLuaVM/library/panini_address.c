// Owns: numbers in place of addresses. Each state has a key; under it an address becomes a number by a block cipher of 64 bits,
// Speck64/128: two objects never have the same, and whoever knows many of them knows nothing of the next. The address is a
// number here, nothing is read there; the texts that are taken lie on the stack until they are used up (panini_vm.h has the rule).
#include "panini_address.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "panini_vm.h"

_Static_assert(PANINI_ADDRESS_ROUNDS == 27, "what Speck64/128 has");

static inline uint32_t rotated(uint32_t word, unsigned left) { return word << left | word >> (32 - left); }

static inline void round_of(uint32_t *x, uint32_t *y, uint32_t key) {
    *x = (rotated(*x, 24) + *y) ^ key;
    *y = rotated(*y, 3) ^ *x;
}

void panini_fill_random(void *bytes, size_t size) {
    char *to = bytes;
    for (size_t done = 0; done < size;) {
        ssize_t count = getrandom(to + done, size - done, 0);
        if (count <= 0) {
            // No such call, which no kernel of these years lacks: the clock is better than nothing.
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            to[done++] ^= (char)(now.tv_nsec >> 3);
            continue;
        }
        done += (size_t)count;
    }
}

void panini_open_addresses(panini_vm *vm) {
    uint32_t key[4];
    panini_fill_random(key, sizeof key);
    uint32_t word = key[0], more[3] = {key[1], key[2], key[3]};
    for (uint32_t number = 0; number < PANINI_ADDRESS_ROUNDS; number++) {
        vm->address_key.words[number] = word;
        round_of(&more[number % 3], &word, number);
    }
}

static uint64_t shown(const panini_vm *vm, const void *address) {
    uint64_t number = (uint64_t)(uintptr_t)address;
    uint32_t x = (uint32_t)(number >> 32), y = (uint32_t)number;
    for (int i = 0; i < PANINI_ADDRESS_ROUNDS; i++) round_of(&x, &y, vm->address_key.words[i]);
    return (uint64_t)x << 32 | y;
}

void panini_push_address(lua_State *L, int index) {
    const void *address = lua_topointer(L, index);
    if (address == NULL) {
        lua_pushliteral(L, "(null)");
        return;
    }
    char text[24];
    snprintf(text, sizeof text, "0x%016" PRIx64, shown(panini_vm_of(L), address));
    lua_pushstring(L, text);
}

static int has_address(int type) {
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD || type == LUA_TLIGHTUSERDATA;
}

const char *panini_tolstring(lua_State *L, int index, size_t *length) {
    index = lua_absindex(L, index);
    if (!has_address(lua_type(L, index))) return luaL_tolstring(L, index, length);
    if (luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        return luaL_tolstring(L, index, length);
    }
    int type = luaL_getmetafield(L, index, "__name");
    const char *name = type == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, index);
    panini_push_address(L, index);
    lua_pushfstring(L, "%s: %s", name, lua_tostring(L, -1));
    lua_remove(L, -2);
    if (type != LUA_TNIL) lua_remove(L, -2);
    return lua_tolstring(L, -1, length);
}
