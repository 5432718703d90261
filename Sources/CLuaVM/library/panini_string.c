// The string library: Lua's own, but for what can run for as long as a script likes in one call. Called by Lua.
//
// Pointers into Lua's objects (panini_vm.h has the rule): the texts are the arguments, whose slots stay as they are while
// callbacks run and buffers grow; of an iteration they are upvalues.
#define _GNU_SOURCE
#include <ctype.h>
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "panini_address.h"
#include "panini_bytes.h"
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

static bool has_specials(lua_State *L, const char *pattern, size_t length) {
    for (; length > PANINI_WORK; pattern += PANINI_WORK, length -= PANINI_WORK) {
        if (has_specials(L, pattern, PANINI_WORK)) return true;
        panini_check(L);
    }
    for (size_t i = 0; i < length; i++) {
        switch (pattern[i]) {
            case '^': case '$': case '*': case '+': case '?': case '.': case '(': case '[': case '%': case '-': return true;
            default: break;
        }
    }
    return false;
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
    if (is_find && (lua_toboolean(L, 4) || !has_specials(L, pattern, pattern_length))) {
        const char *found = panini_find_text(L, at, length - skipped, pattern, pattern_length);
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
        int count = 0;
        if (is_find) {
            lua_pushinteger(L, at - subject + 1);
            lua_pushinteger(L, end - subject);
            count = match_push_captures(&m, NULL, NULL, 0) + 2;
        } else {
            count = match_push_captures(&m, at, end, 1);
        }
        match_pause(&m);
        return count;
    } while (at++ < m.end && !is_anchored);
    match_pause(&m);
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
    match_resume(&i->m, L);
    for (const char *at = i->at; at != NULL && at <= i->m.end; at++) {
        if ((at = match_candidate(&i->m, at)) == NULL) break;
        const char *end = match_at(&i->m, at);
        if (end == NULL || end == i->last) continue;
        i->at = i->last = end;
        int count = match_push_captures(&i->m, at, end, 1);
        match_pause(&i->m);
        return count;
    }
    match_pause(&i->m);
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

// Appends so many bytes, which are not the buffer's own. Whoever goes on looks.
static inline void add_bytes(matching *m, luaL_Buffer *buffer, const char *from, size_t length) {
    if (length > PANINI_WORK) {
        panini_add_bytes(m->L, buffer, from, length);
        return;
    }
    luaL_addlstring(buffer, from, length);
    m->work += length;
}

// Appends the replacement text, with its references to captures.
static void add_text(matching *m, luaL_Buffer *buffer, const char *at, const char *end) {
    size_t length;
    const char *text = lua_tolstring(m->L, 3, &length), *last = text + length;
    while (text < last) {
        size_t piece = (size_t)(last - text) < PANINI_WORK ? (size_t)(last - text) : PANINI_WORK;
        const char *percent = memchr(text, '%', piece);
        if (percent == NULL) {
            add_bytes(m, buffer, text, piece);
            if ((text += piece) < last) match_spend(m, 0);
            continue;
        }
        add_bytes(m, buffer, text, (size_t)(percent - text));
        match_spend(m, 2);
        char what = percent[1];
        if (what == '%') {
            luaL_addchar(buffer, '%');
        } else if (what == '0') {
            add_bytes(m, buffer, at, (size_t)(end - at));
        } else if (what >= '1' && what <= '9') {
            int index = what - '1';
            if (index < m->count && m->captures[index].length >= 0) {
                add_bytes(m, buffer, m->captures[index].at, (size_t)m->captures[index].length);
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
        add_bytes(m, buffer, at, (size_t)(end - at));
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    size_t before = buffer->n;
    luaL_addvalue(buffer);
    m->work += buffer->n - before;
    return true;
}

static int string_gsub(lua_State *L) {
    // What a match takes beside its bytes, in bytes.
    enum { MATCH_COST = 64 };
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
            match_spend(&m, MATCH_COST);
            add_bytes(&m, &buffer, from, (size_t)(at - from));
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
        add_bytes(&m, &buffer, from, (size_t)(m.end - from));
        luaL_pushresult(&buffer);
    } else {
        lua_pushvalue(L, 1);
    }
    match_pause(&m);
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
    size_t total = (size_t)times * unit - between, filled = unit;
    // Buffers of the C library take their memory past the collector: what could be freed is freed here. Whether it is enough
    // is told below.
    (void)panini_has_room(panini_vm_of(L), total);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(L, &buffer, total);
    if (unit <= PANINI_WORK) {
        memcpy(to, text, length);
        if (times > 1) memcpy(to + length, separator, between);
        for (; filled <= PANINI_WORK / 2 && filled < total; filled *= 2) {
            memcpy(to + filled, to, filled < total - filled ? filled : total - filled);
        }
        panini_spend(L, filled);
    } else {
        panini_copy(L, to, text, length);
        if (times > 1) panini_copy(L, to + length, separator, between);
    }
    // So many units as are copied at once lie at the beginning.
    for (size_t copied = filled; filled < total; filled += copied) {
        if (copied > total - filled) copied = total - filled;
        panini_copy(L, to + filled, to, copied);
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
    size_t bytes = length;
    if (bytes > MOST_BYTES) return true;
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

// Behind the modifiers of a conversion, or so far that Lua refuses them.
static const char *modifiers_end(const char *at, const char *end) {
    enum { MOST = 64 };
    if (end - at > MOST) end = at + MOST;
    while (at < end && *at != '\0' && strchr("-+ #0123456789.", *at) != NULL) at++;
    return at;
}

// What %q makes of a text.
static void add_quoted(lua_State *L, luaL_Buffer *buffer, const char *text, size_t length) {
    luaL_addchar(buffer, '"');
    for (const char *at = text, *end = text + length; at < end; at++) {
        panini_spend(L, 1);
        if (*at == '"' || *at == '\\' || *at == '\n') {
            luaL_addchar(buffer, '\\');
            luaL_addchar(buffer, *at);
        } else if (iscntrl((unsigned char)*at)) {
            char number[8];
            bool needs_zeros = at + 1 < end && isdigit((unsigned char)at[1]);
            int count = snprintf(number, sizeof number, needs_zeros ? "\\%03d" : "\\%d", (unsigned char)*at);
            luaL_addlstring(buffer, number, (size_t)count);
        } else {
            luaL_addchar(buffer, *at);
        }
    }
    luaL_addchar(buffer, '"');
}

// One conversion after the other, by Lua's own function where it is not a whole text.
static int format_in_parts(lua_State *L) {
    int top = lua_gettop(L), argument = 1;
    size_t length;
    const char *at = lua_tolstring(L, 1, &length), *end = at + length;
    luaL_checkstack(L, 8, NULL);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (const char *percent; (percent = panini_find_byte(L, at, end, '%')) != NULL;) {
        panini_add_bytes(L, &buffer, at, (size_t)(percent - at));
        at = percent + 1;
        if (at < end && *at == '%') {
            panini_spend(L, 2);
            luaL_addchar(&buffer, '%');
            at++;
            continue;
        }
        panini_check(L);
        at = modifiers_end(at, end);
        if (at < end) at++;
        size_t text_length;
        if (at - percent == 2 && (at[-1] == 's' || at[-1] == 'q') && argument < top && lua_type(L, argument + 1) == LUA_TSTRING) {
            const char *text = lua_tolstring(L, ++argument, &text_length);
            if (at[-1] == 'q') add_quoted(L, &buffer, text, text_length);
            else panini_add_bytes(L, &buffer, text, text_length);
            continue;
        }
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushlstring(L, percent, (size_t)(at - percent));
        bool has_argument = ++argument <= top;
        if (has_argument) lua_pushvalue(L, argument);
        lua_call(L, has_argument ? 2 : 1, 1);
        panini_spend(L, lua_rawlen(L, -1));
        luaL_addvalue(&buffer);
    }
    panini_add_bytes(L, &buffer, at, (size_t)(end - at));
    luaL_pushresult(&buffer);
    return 1;
}

// Lua's own function, upvalue 1, is given texts for what it would show the address of.
static int string_format(lua_State *L) {
    size_t length;
    const char *format = luaL_checklstring(L, 1, &length), *end = format + length;
    int top = lua_gettop(L), argument = 1;
    char *changed = NULL;
    for (const char *at = format; (at = panini_find_byte(L, at, end, '%')) != NULL; at++) {
        const char *modifiers = ++at;
        panini_spend(L, 2);
        if (*at == '%') continue;
        at = modifiers_end(at, end);
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
            panini_copy(L, changed, format, length);
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

// Lua's own functions read a format of string.pack in one go: it must not be long. They allow for one argument each but for
// blanks and padding.
static void check_pack_format(lua_State *L) {
    enum { MOST = 1 << 20 };
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > MOST) {
        luaL_error(L, "the format is longer than %d bytes", (int)MOST);
    }
}

// The same of what a format pads the texts with.
static void check_padding(lua_State *L) {
    enum { MOST_PADDING = 16 << 20 };
    size_t length, padding = 0;
    check_pack_format(L);
    const char *format = luaL_checklstring(L, 1, &length), *end = format + length;
    for (const char *at = format; (at = memchr(at, 'c', (size_t)(end - at))) != NULL;) {
        size_t size = 0;
        while (++at < end && *at >= '0' && *at <= '9' && size <= MOST_PADDING) size = size * 10 + (size_t)(*at - '0');
        padding += size;
    }
    if (padding <= MOST_PADDING) return;
    // What is filled by the texts themselves is copied, which takes next to nothing.
    for (int argument = lua_gettop(L); argument > 1; argument--) {
        if (lua_type(L, argument) != LUA_TSTRING) continue;
        size_t filled = lua_rawlen(L, argument);
        padding -= filled < padding ? filled : padding;
    }
    if (padding > MOST_PADDING) luaL_error(L, "the format pads more than %d bytes", (int)MOST_PADDING);
}

// string.unpack and string.packsize. Upvalue: Lua's own function.
static int string_unpack(lua_State *L) {
    check_pack_format(L);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// string.pack. Its texts may be numbers, which are read to their end: one text, given a thousand times, takes as often as long.
// Upvalue: Lua's own function.
static int string_pack(lua_State *L) {
    enum { MOST = 64 << 20 };
    size_t all = 0;
    check_padding(L);
    for (int argument = lua_gettop(L); argument > 1; argument--) {
        if (lua_type(L, argument) != LUA_TSTRING) continue;
        all += lua_rawlen(L, argument);
        if (all > MOST) return luaL_error(L, "the texts to pack are longer than %d bytes together", (int)MOST);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// ---- one byte after the other

// Makes a text of the same length, `change` piece by piece; `change` is told which bytes of the text these are.
static int convert(lua_State *L, void (*change)(char *to, const char *text, size_t length, size_t from, size_t count)) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(L, &buffer, length);
    for (size_t done = 0, count; done < length; done += count) {
        count = length - done < PANINI_WORK ? length - done : PANINI_WORK;
        change(to, text, length, done, count);
        panini_spend(L, count);
    }
    luaL_pushresultsize(&buffer, length);
    return 1;
}

static void lower(char *to, const char *text, size_t length, size_t from, size_t count) {
    (void)length;
    for (size_t i = from; i < from + count; i++) to[i] = (char)tolower((unsigned char)text[i]);
}

static void upper(char *to, const char *text, size_t length, size_t from, size_t count) {
    (void)length;
    for (size_t i = from; i < from + count; i++) to[i] = (char)toupper((unsigned char)text[i]);
}

static void reverse(char *to, const char *text, size_t length, size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) to[i] = text[length - i - 1];
}

static int string_lower(lua_State *L) { return convert(L, lower); }

static int string_upper(lua_State *L) { return convert(L, upper); }

static int string_reverse(lua_State *L) { return convert(L, reverse); }

static int string_dump(lua_State *L) {
    return luaL_error(L, "string.dump is closed: bytecode is never loaded, load takes text");
}

int panini_open_string(lua_State *L) {
    static const luaL_Reg replaced[] = {
        {"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"rep", string_rep},     {"lower", string_lower},
        {"upper", string_upper}, {"reverse", string_reverse}, {NULL, NULL},
    };
    luaopen_string(L);
    luaL_setfuncs(L, replaced, 0);
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -2, "format");
    lua_getfield(L, -1, "pack");
    lua_pushcclosure(L, string_pack, 1);
    lua_setfield(L, -2, "pack");
    for (int i = 0; i < 2; i++) {
        static const char *const unpacking[] = {"unpack", "packsize"};
        lua_getfield(L, -1, unpacking[i]);
        lua_pushcclosure(L, string_unpack, 1);
        lua_setfield(L, -2, unpacking[i]);
    }
    panini_set_bounded(L, "char");
    lua_pushcfunction(L, string_dump);
    lua_setfield(L, -2, "dump");
    return 1;
}
