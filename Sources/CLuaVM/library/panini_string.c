// The string library: Lua's own, but for what can run for as long as a script likes in one call. Called by Lua.
//
// Pointers into Lua's objects (panini_vm.h has the rule): the texts are the arguments, whose slots stay as they are while
// callbacks run and buffers grow; of an iteration they are upvalues.
#define _GNU_SOURCE
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "panini_address.h"
#include "panini_kill.h"
#include "panini_library.h"
#include "panini_match.h"
#include "panini_memory.h"
#include "panini_vm.h"

// A position as scripts give it: from 1, from the end when negative; below the beginning is the beginning.
static size_t first_position(lua_Integer position, size_t length) {
    if (position > 0) return (size_t)position;
    if (position == 0 || position < -(lua_Integer)length) return 1;
    return length + (size_t)position + 1;
}

// ---- find, match

static bool has_specials(const char *pattern, size_t length) {
    for (size_t i = 0; i < length; i++) {
        switch (pattern[i]) {
            case '^': case '$': case '*': case '+': case '?': case '.': case '(': case '[': case '%': case '-': return true;
            default: break;
        }
    }
    return false;
}

// Short texts byte by byte, which is fast where they are rare; long ones in time linear in both lengths, whatever they hold.
static const char *find_text(lua_State *L, const char *at, size_t length, const char *text, size_t text_length) {
    enum { SHORT_TEXT = 32 };
    if (text_length == 0) return at;
    if (text_length > SHORT_TEXT) return memmem(at, length, text, text_length);
    if (text_length > length) return NULL;
    const char *last = at + (length - text_length) + 1;
    for (uint64_t turn = 0; at < last && (at = memchr(at, *text, (size_t)(last - at))) != NULL; at++, turn++) {
        if (memcmp(at, text, text_length) == 0) return at;
        panini_check_turn(L, turn);
    }
    return NULL;
}

static int search(lua_State *L, bool is_find) {
    size_t length, pattern_length;
    const char *subject = luaL_checklstring(L, 1, &length), *pattern = luaL_checklstring(L, 2, &pattern_length);
    size_t skipped = first_position(luaL_optinteger(L, 3, 1), length) - 1;
    if (skipped > length) {
        luaL_pushfail(L);
        return 1;
    }
    const char *at = subject + skipped;
    if (is_find && (lua_toboolean(L, 4) || !has_specials(pattern, pattern_length))) {
        const char *found = find_text(L, at, length - skipped, pattern, pattern_length);
        if (found == NULL) {
            luaL_pushfail(L);
            return 1;
        }
        lua_pushinteger(L, found - subject + 1);
        lua_pushinteger(L, found - subject + (lua_Integer)pattern_length);
        return 2;
    }
    bool is_anchored = pattern_length > 0 && *pattern == '^';
    matching m;
    match_begin(&m, L, subject, length, pattern + is_anchored, pattern_length - is_anchored);
    do {
        if (!is_anchored && (at = match_candidate(&m, at)) == NULL) break;
        const char *end = match_at(&m, at);
        if (end == NULL) continue;
        if (!is_find) return match_push_captures(&m, at, end, 1);
        lua_pushinteger(L, at - subject + 1);
        lua_pushinteger(L, end - subject);
        return match_push_captures(&m, NULL, NULL, 0) + 2;
    } while (at++ < m.end && !is_anchored);
    luaL_pushfail(L);
    return 1;
}

static int string_find(lua_State *L) { return search(L, true); }

static int string_match(lua_State *L) { return search(L, false); }

// ---- gmatch

typedef struct iteration {
    matching m;
    const char *at;    // where the next search begins; NULL: there is none
    const char *last;  // where the last match ended
} iteration;

// Upvalues: the subject and the pattern, which stay alive by it, and the iteration.
static int next_match(lua_State *L) {
    iteration *i = lua_touserdata(L, lua_upvalueindex(3));
    i->m.L = L;
    for (const char *at = i->at; at != NULL && at <= i->m.end; at++) {
        if ((at = match_candidate(&i->m, at)) == NULL) break;
        const char *end = match_at(&i->m, at);
        if (end == NULL || end == i->last) continue;
        i->at = i->last = end;
        return match_push_captures(&i->m, at, end, 1);
    }
    i->at = NULL;
    return 0;
}

static int string_gmatch(lua_State *L) {
    size_t length, pattern_length;
    const char *subject = luaL_checklstring(L, 1, &length), *pattern = luaL_checklstring(L, 2, &pattern_length);
    size_t skipped = first_position(luaL_optinteger(L, 3, 1), length) - 1;
    lua_settop(L, 2);
    iteration *i = lua_newuserdatauv(L, sizeof *i, 0);
    match_begin(&i->m, L, subject, length, pattern, pattern_length);
    i->at = skipped > length ? NULL : subject + skipped;
    i->last = NULL;
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

// ---- gsub

// Appends the replacement text, with its references to captures.
static void add_text(matching *m, luaL_Buffer *buffer, const char *at, const char *end) {
    size_t length;
    const char *text = lua_tolstring(m->L, 3, &length), *last = text + length, *percent;
    while ((percent = memchr(text, '%', (size_t)(last - text))) != NULL) {
        luaL_addlstring(buffer, text, (size_t)(percent - text));
        char what = percent[1];
        if (what == '%') {
            luaL_addchar(buffer, '%');
        } else if (what == '0') {
            luaL_addlstring(buffer, at, (size_t)(end - at));
        } else if (what >= '1' && what <= '9') {
            int index = what - '1';
            if (index < m->count && m->captures[index].length >= 0) {
                luaL_addlstring(buffer, m->captures[index].at, (size_t)m->captures[index].length);
            } else {
                // The whole match, a position, or a mistake.
                match_push_capture(m, index, at, end);
                luaL_addvalue(buffer);
            }
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
        text = percent + 2;
    }
    luaL_addlstring(buffer, text, (size_t)(last - text));
}

// Appends what replaces a match; false when that is the match itself.
static bool add_replacement(matching *m, luaL_Buffer *buffer, const char *at, const char *end, int type) {
    lua_State *L = m->L;
    switch (type) {
        case LUA_TFUNCTION:
            lua_pushvalue(L, 3);
            lua_call(L, match_push_captures(m, at, end, 1), 1);
            break;
        case LUA_TTABLE:
            match_push_capture(m, 0, at, end);
            lua_gettable(L, 3);
            break;
        default: add_text(m, buffer, at, end); return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(buffer, at, (size_t)(end - at));
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(buffer);
    return true;
}

static int string_gsub(lua_State *L) {
    size_t length, pattern_length;
    const char *subject = luaL_checklstring(L, 1, &length), *pattern = luaL_checklstring(L, 2, &pattern_length);
    int type = lua_type(L, 3);
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE || type == LUA_TFUNCTION, 3,
        "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)length + 1), count = 0;
    bool is_anchored = pattern_length > 0 && *pattern == '^', has_changed = false;
    matching m;
    match_begin(&m, L, subject, length, pattern + is_anchored, pattern_length - is_anchored);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    const char *at = subject, *last = NULL, *from = subject;
    while (count < most) {
        const char *candidate = is_anchored ? at : match_candidate(&m, at);
        if (candidate == NULL) break;
        at = candidate;
        const char *end = match_at(&m, at);
        if (end != NULL && end != last) {
            count++;
            panini_check_turn(L, (uint64_t)count);
            luaL_addlstring(&buffer, from, (size_t)(at - from));
            has_changed |= add_replacement(&m, &buffer, at, end, type);
            at = last = from = end;
        } else if (at < m.end) {
            at++;
        } else {
            break;
        }
        if (is_anchored) break;
    }
    if (has_changed) {
        luaL_addlstring(&buffer, from, (size_t)(m.end - from));
        luaL_pushresult(&buffer);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

// ---- rep

static int string_rep(lua_State *L) {
    size_t length, between;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_Integer times = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &between);
    size_t unit = length + between;
    if (times <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    // As Lua's own string library has it.
    if (unit < length || unit > (size_t)INT_MAX / (size_t)times) {
        return luaL_error(L, "resulting string too large");
    }
    size_t total = (size_t)times * unit - between, filled = length < total ? unit : length;
    // Buffers of the C library take their memory past the collector: what could be freed is freed here. Whether it is enough
    // is told below.
    (void)panini_has_room(panini_vm_of(L), total);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(L, &buffer, total);
    memcpy(to, text, length);
    if (filled > length) memcpy(to + length, separator, between);
    while (filled < total) {
        size_t piece = filled < total - filled ? filled : total - filled;
        memcpy(to + filled, to, piece);
        filled += piece;
    }
    luaL_pushresultsize(&buffer, total);
    return 1;
}

// ---- format

// Whether what stands between the percent sign and the letter p is what Lua takes there.
static bool is_address_format(const char *modifiers, size_t length) {
    size_t at = length > 0 && *modifiers == '-';
    if (length - at > 2) return false;
    for (; at < length; at++) {
        if (modifiers[at] < (at == 0 ? '1' : '0') || modifiers[at] > '9') return false;
    }
    return true;
}

// Whether a format has so many conversions, or so long texts for them, that the run may be over before all is written.
static bool is_long(lua_State *L, const char *format, size_t length) {
    enum { MOST_CONVERSIONS = 64, MOST_BYTES = 1 << 20 };
    size_t bytes = 0;
    for (int argument = lua_gettop(L); argument > 1; argument--) {
        if (lua_type(L, argument) == LUA_TSTRING) bytes += lua_rawlen(L, argument);
        if (bytes > MOST_BYTES) return true;
    }
    int count = 0;
    for (const char *at = format; (at = memchr(at, '%', length - (size_t)(at - format))) != NULL; at++) {
        if (++count > MOST_CONVERSIONS) return true;
    }
    return false;
}

// One conversion after the other, by Lua's own function.
static int format_in_parts(lua_State *L) {
    int top = lua_gettop(L), argument = 1;
    size_t length;
    const char *at = lua_tolstring(L, 1, &length), *end = at + length;
    luaL_checkstack(L, 8, NULL);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (const char *percent; (percent = memchr(at, '%', (size_t)(end - at))) != NULL;) {
        panini_check(L);
        luaL_addlstring(&buffer, at, (size_t)(percent - at));
        at = percent + 1;
        if (at < end && *at == '%') {
            luaL_addchar(&buffer, '%');
            at++;
            continue;
        }
        while (at < end && *at != '\0' && strchr("-+ #0123456789.", *at) != NULL) at++;
        if (at < end) at++;
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushlstring(L, percent, (size_t)(at - percent));
        bool has_argument = ++argument <= top;
        if (has_argument) lua_pushvalue(L, argument);
        lua_call(L, has_argument ? 2 : 1, 1);
        luaL_addvalue(&buffer);
    }
    luaL_addlstring(&buffer, at, (size_t)(end - at));
    luaL_pushresult(&buffer);
    return 1;
}

// Lua's own function, upvalue 1, is given texts for what it would show the address of.
static int string_format(lua_State *L) {
    size_t length;
    const char *format = luaL_checklstring(L, 1, &length), *end = format + length;
    int top = lua_gettop(L), argument = 1;
    char *changed = NULL;
    for (const char *at = format; (at = memchr(at, '%', (size_t)(end - at))) != NULL; at++) {
        const char *modifiers = ++at;
        if (*at == '%') continue;
        at += strspn(at, "-+ #0.123456789");
        // Of what is missing, or no conversion at all, Lua itself says so.
        if (at >= end || ++argument > top) break;
        int type = lua_type(L, argument);
        bool is_address = *at == 'p' && is_address_format(modifiers, (size_t)(at - modifiers));
        if (is_address) {
            panini_push_address(L, argument);
        } else if (*at == 's' && type != LUA_TSTRING && type != LUA_TNUMBER) {
            panini_tolstring(L, argument, NULL);
        } else {
            continue;
        }
        lua_replace(L, argument);
        if (!is_address) continue;
        if (changed == NULL) {
            luaL_checkstack(L, 1, NULL);
            changed = lua_newuserdatauv(L, length + 1, 0);
            memcpy(changed, format, length);
        }
        changed[at - format] = 's';
    }
    if (changed != NULL) {
        lua_pushlstring(L, changed, length);
        lua_replace(L, 1);
    }
    lua_settop(L, top);
    if (is_long(L, format, length)) return format_in_parts(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// string.pack. Its texts may be numbers, which are read to their end: one text, given a thousand times, takes as often as long.
// Upvalue: Lua's own function.
static int string_pack(lua_State *L) {
    enum { MOST = 64 << 20 };
    size_t all = 0;
    for (int argument = lua_gettop(L); argument > 1; argument--) {
        if (lua_type(L, argument) != LUA_TSTRING) continue;
        all += lua_rawlen(L, argument);
        if (all > MOST) return luaL_error(L, "the texts to pack are longer than %d bytes together", (int)MOST);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int string_dump(lua_State *L) {
    return luaL_error(L, "string.dump is closed: bytecode is never loaded, load takes text");
}

int panini_open_string(lua_State *L) {
    static const luaL_Reg replaced[] = {
        {"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"rep", string_rep},     {NULL, NULL},
    };
    luaopen_string(L);
    luaL_setfuncs(L, replaced, 0);
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -2, "format");
    lua_getfield(L, -1, "pack");
    lua_pushcclosure(L, string_pack, 1);
    lua_setfield(L, -2, "pack");
    panini_set_bounded(L, "char");
    lua_pushcfunction(L, string_dump);
    lua_setfield(L, -2, "dump");
    return 1;
}
