// Owns: the table that a header block becomes: name -> first value, and `all` as a method. Called by Lua itself. The block is an
// upvalue of `all`, or the caller's while the table is made (panini_vm.h has the rule).

#include "panini_headers.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_values.h"

static bool next_header(
    const char **cursor, const char *end, const char **name, size_t *name_length, const char **value,
    size_t *value_length) {
    while (*cursor < end) {
        const char *line = *cursor;
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        *cursor = stop < end ? stop + 1 : end;
        if (stop > line && stop[-1] == '\r') stop--;
        const char *colon = memchr(line, ':', (size_t)(stop - line));
        if (!colon || colon == line) continue;  // Junk in a header block costs that line, not the message.
        *name = line;
        *name_length = (size_t)(colon - line);
        const char *from = colon + 1;
        while (from < stop && (*from == ' ' || *from == '\t')) from++;
        while (stop > from && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
        *value = from;
        *value_length = (size_t)(stop - from);
        return true;
    }
    return false;
}

// headers:all(name): upvalue 1 is the block.
static int headers_all(lua_State *L) {
    size_t length, wanted_length;
    const char *block = lua_tolstring(L, lua_upvalueindex(1), &length);
    if (lua_istable(L, 1)) lua_remove(L, 1);  // headers:all(name) and headers.all(name)
    panini_refuse_surplus(L, "headers.all", 1);
    const char *wanted = luaL_checklstring(L, 1, &wanted_length);
    const char *cursor = memchr(block, '\n', length), *end = block + length, *name, *value;
    size_t name_length, value_length;
    lua_createtable(L, 1, 0);
    if (!cursor) return 1;
    cursor++;
    lua_Integer count = 0;
    for (uint64_t turn = 0; next_header(&cursor, end, &name, &name_length, &value, &value_length); turn++) {
        panini_check_turn(L, turn);
        if (name_length != wanted_length || memcmp(name, wanted, name_length) != 0) continue;
        lua_pushlstring(L, value, value_length);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

void panini_headers_push(lua_State *L, const char *block, size_t length) {
    lua_createtable(L, 0, 2);
    if (length > 0) {
        const char *cursor = memchr(block, '\n', length), *end = block + length, *name, *value;
        size_t name_length, value_length;
        if (cursor) cursor++;
        for (uint64_t turn = 0; cursor && next_header(&cursor, end, &name, &name_length, &value, &value_length); turn++) {
            panini_check_turn(L, turn);
            lua_pushlstring(L, name, name_length);
            lua_pushvalue(L, -1);
            lua_rawget(L, -3);
            bool seen = !lua_isnil(L, -1);
            lua_settop(L, -2);
            if (seen) {
                lua_settop(L, -2);
                continue;
            }
            lua_pushlstring(L, value, value_length);
            lua_rawset(L, -3);
        }
    }
    // The method table is per message because `all` reads the block; it is made only when headers are asked for.
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, "__index");
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "all");
    lua_pushlstring(L, block ? block : "", length);
    lua_pushcclosure(L, headers_all, 1);
    lua_rawset(L, -3);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__metatable");
    lua_pushliteral(L, "panini.headers");
    lua_rawset(L, -3);
    lua_setmetatable(L, -2);
}
