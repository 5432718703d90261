// The libraries utf8 and os: Lua's own, but for what takes time in proportion to a string of any length. Called by Lua. The texts
// are arguments, whose slots stay as they are (panini_vm.h has the rule).
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_library.h"

static bool continues(const char *at) { return ((unsigned char)*at & 0xC0) == 0x80; }

// Behind the character at `at`, or NULL when there is none. The byte behind the string is a zero, which ends every sequence.
static const char *next_character(const char *at, bool is_lax) {
    unsigned char first = (unsigned char)*at;
    if (first < 0x80) return at + 1;
    int count = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF8 ? 3 : first < 0xFC ? 4 : first < 0xFE ? 5 : 0;
    if (count == 0) return NULL;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000};
    uint32_t code = first & (0x3Fu >> count);
    for (int i = 1; i <= count; i++) {
        if (!continues(at + i)) return NULL;
        code = code << 6 | ((unsigned char)at[i] & 0x3F);
    }
    if (code < least[count]) return NULL;
    if (!is_lax && (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))) return NULL;
    return at + count + 1;
}

static lua_Integer position(lua_Integer at, size_t length) {
    if (at >= 0) return at;
    return (size_t)-at > length ? 0 : (lua_Integer)length + at + 1;
}

static int utf8_len(lua_State *L) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_Integer at = position(luaL_optinteger(L, 2, 1), length), last = position(luaL_optinteger(L, 3, -1), length);
    bool is_lax = lua_toboolean(L, 4);
    luaL_argcheck(L, at >= 1 && --at <= (lua_Integer)length, 2, "initial position out of bounds");
    luaL_argcheck(L, --last < (lua_Integer)length, 3, "final position out of bounds");
    lua_Integer count = 0;
    for (; at <= last; count++) {
        if ((count & 0xFFFF) == 0xFFFF) panini_check(L);
        const char *next = next_character(text + at, is_lax);
        if (next == NULL) {
            luaL_pushfail(L);
            lua_pushinteger(L, at + 1);
            return 2;
        }
        at = next - text;
    }
    lua_pushinteger(L, count);
    return 1;
}

static int utf8_offset(lua_State *L) {
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_Integer length = (lua_Integer)size, wanted = luaL_checkinteger(L, 2);
    lua_Integer at = position(luaL_optinteger(L, 3, wanted >= 0 ? 1 : length + 1), size);
    luaL_argcheck(L, at >= 1 && --at <= length, 3, "position out of bounds");
    if (wanted == 0) {
        while (at > 0 && continues(text + at)) {
            panini_spend(L, 1);
            at--;
        }
        lua_pushinteger(L, at + 1);
        return 1;
    }
    if (continues(text + at)) return luaL_error(L, "initial position is a continuation byte");
    for (; wanted < 0 && at > 0; wanted++) {
        do {
            panini_spend(L, 1);
            at--;
        } while (at > 0 && continues(text + at));
    }
    if (wanted > 0) {
        for (wanted--; wanted > 0 && at < length; wanted--) {
            do {
                panini_spend(L, 1);
                at++;
            } while (continues(text + at));
        }
    }
    if (wanted == 0) lua_pushinteger(L, at + 1);
    else luaL_pushfail(L);
    return 1;
}

// Lua's own iterator of utf8.codes, upvalue 1, goes over all that continues a character before it is at the next one, which in a
// text that is none may be far: it is told to begin right before.
static int next_code(lua_State *L) {
    if (lua_rawlen(L, 1) <= PANINI_WORK) return lua_tocfunction(L, lua_upvalueindex(1))(L);
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_Unsigned at = (lua_Unsigned)lua_tointeger(L, 2);
    if (at > 0 && at < length && continues(text + at)) {
        do {
            panini_spend(L, 1);
            at++;
        } while (at < length && continues(text + at));
        // Lua's position counts from 1.
        lua_settop(L, 2);
        lua_pushinteger(L, (lua_Integer)at);
        lua_replace(L, 2);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// Upvalues: Lua's own function, and what stands for its iterators, the strict one and the other.
static int utf8_codes(lua_State *L) {
    bool is_lax = lua_toboolean(L, 2);
    int count = lua_tocfunction(L, lua_upvalueindex(1))(L);
    lua_pushvalue(L, lua_upvalueindex(is_lax ? 3 : 2));
    lua_replace(L, -1 - count);
    return count;
}

// The library is on top.
static void open_codes(lua_State *L) {
    lua_getfield(L, -1, "codes");
    for (int is_lax = 0; is_lax <= 1; is_lax++) {
        lua_pushvalue(L, -1 - is_lax);
        lua_pushliteral(L, "");
        lua_pushboolean(L, is_lax);
        lua_call(L, 2, 1);
        lua_pushcclosure(L, next_code, 1);
    }
    lua_pushcclosure(L, utf8_codes, 3);
    lua_setfield(L, -2, "codes");
}

int panini_open_utf8(lua_State *L) {
    static const luaL_Reg replaced[] = {{"len", utf8_len}, {"offset", utf8_offset}, {NULL, NULL}};
    luaopen_utf8(L);
    open_codes(L);
    panini_set_bounded(L, "char");
    luaL_setfuncs(L, replaced, 0);
    return 1;
}

// ---- os

enum { SHORT_FORMAT = 256 };

// os.date, where every conversion of a long format has a call of its own. Upvalue: Lua's own os.date.
static int os_date(lua_State *L) {
    size_t length;
    const char *format = luaL_optlstring(L, 1, "%c", &length);
    if (length <= SHORT_FORMAT || strncmp(format + (*format == '!'), "*t", 2) == 0) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        return lua_gettop(L);
    }
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_getfield(L, lua_upvalueindex(2), "time");
        lua_call(L, 0, 1);
        lua_replace(L, 2);
    }
    bool is_utc = *format == '!';
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    const char *end = format + length;
    uint64_t turn = 0;
    for (const char *at = format + is_utc; at < end; turn++) {
        panini_check_turn(L, turn);
        if (*at != '%') {
            luaL_addchar(&buffer, *at++);
            continue;
        }
        size_t count = at[1] == 'E' || at[1] == 'O' ? 3 : 2;
        if (at + count > end) count = (size_t)(end - at);
        char piece[5] = "!";
        memcpy(piece + is_utc, at, count);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushlstring(L, piece, count + is_utc);
        lua_pushvalue(L, 2);
        lua_call(L, 2, 1);
        luaL_addvalue(&buffer);
        at += count;
    }
    luaL_pushresult(&buffer);
    return 1;
}

int panini_open_os(lua_State *L) {
    static const char *const kept[] = {"time", "clock", "difftime", NULL};
    luaopen_os(L);
    lua_createtable(L, 0, 4);
    for (const char *const *name = kept; *name != NULL; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    lua_getfield(L, -2, "date");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, os_date, 2);
    lua_setfield(L, -2, "date");
    lua_remove(L, -2);
    panini_close_os(L);
    return 1;
}
