// The table library: Lua's own, but for what loops over as many elements as a script claims to have. Called by Lua.
//
// Pointers into Lua's objects (panini_vm.h has the rule): what is sorted by lies in a userdata in the slot BUFFER, a separator is
// an argument. The table itself may change with every element: no length of it is trusted.
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdbool.h>

#include "panini_bytes.h"
#include "panini_kill.h"
#include "panini_library.h"

enum { READS = 1, WRITES = 2, HAS_LENGTH = 4 };

// A table, or something whose metatable has what is needed of one.
static void check_table(lua_State *L, int index, int needs) {
    if (lua_istable(L, index)) return;
    static const char *const names[] = {"__index", "__newindex", "__len"};
    bool fits = lua_getmetatable(L, index) != 0;
    for (int i = 0; i < 3 && fits; i++) {
        if (!(needs & 1 << i)) continue;
        lua_pushstring(L, names[i]);
        fits = lua_rawget(L, -2) != LUA_TNIL;
        lua_pop(L, 1);
    }
    if (!fits) luaL_checktype(L, index, LUA_TTABLE);
    lua_pop(L, 1);
}

static lua_Integer length_of(lua_State *L, int needs) {
    check_table(L, 1, needs | HAS_LENGTH);
    return luaL_len(L, 1);
}

enum { CHUNK = 1024 };

// to[target + i] = from[first + i] for i from 0 to count - 1.
static void copy_up(lua_State *L, int from, lua_Integer first, int to, lua_Integer target, lua_Integer count) {
    for (lua_Integer done = 0; done < count;) {
        panini_check(L);
        lua_Integer stop = count - done < CHUNK ? count : done + CHUNK;
        for (; done < stop; done++) {
            lua_geti(L, from, first + done);
            lua_seti(L, to, target + done);
        }
    }
}

// The same from the end.
static void copy_down(lua_State *L, int from, lua_Integer first, int to, lua_Integer target, lua_Integer count) {
    while (count > 0) {
        panini_check(L);
        lua_Integer stop = count < CHUNK ? 0 : count - CHUNK;
        while (count > stop) {
            count--;
            lua_geti(L, from, first + count);
            lua_seti(L, to, target + count);
        }
    }
}

static int table_insert(lua_State *L) {
    lua_Integer end = (lua_Integer)((lua_Unsigned)length_of(L, READS | WRITES) + 1);
    lua_Integer position = end;
    switch (lua_gettop(L)) {
        case 2: break;
        case 3:
            position = luaL_checkinteger(L, 2);
            luaL_argcheck(L, (lua_Unsigned)position - 1 < (lua_Unsigned)end, 2, "position out of bounds");
            copy_down(L, 1, position, 1, position + 1, end - position);
            break;
        default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, position);
    return 0;
}

static int table_remove(lua_State *L) {
    lua_Integer length = length_of(L, READS | WRITES);
    lua_Integer position = luaL_optinteger(L, 2, length);
    if (position != length) {
        luaL_argcheck(L, (lua_Unsigned)position - 1 <= (lua_Unsigned)length, 1, "position out of bounds");
    }
    lua_geti(L, 1, position);
    if (position < length) {
        copy_up(L, 1, position + 1, 1, position, length - position);
        position = length;
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

static int table_move(lua_State *L) {
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), target = luaL_checkinteger(L, 4);
    int to = lua_isnoneornil(L, 5) ? 1 : 5;
    check_table(L, 1, READS);
    check_table(L, to, WRITES);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer count = last - first + 1;
        luaL_argcheck(L, target <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        // Backwards where going forwards would overwrite what is still to be moved.
        bool is_clear = target > last || target <= first || (to != 1 && !lua_compare(L, 1, to, LUA_OPEQ));
        (is_clear ? copy_up : copy_down)(L, 1, first, to, target, count);
    }
    lua_pushvalue(L, to);
    return 1;
}

static int table_concat(lua_State *L) {
    size_t between;
    lua_Integer length = length_of(L, READS);
    const char *separator = luaL_optlstring(L, 2, "", &between);
    lua_Integer at = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, length);
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    // What an element takes beside its bytes, in bytes.
    enum { ELEMENT_COST = 64 };
    while (at <= last) {
        lua_geti(L, 1, at);
        if (!lua_isstring(L, -1)) {
            return luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)at);
        }
        size_t before = buffer.n;
        luaL_addvalue(&buffer);
        if (at == last) break;
        if (between <= PANINI_WORK) luaL_addlstring(&buffer, separator, between);
        else panini_add_bytes(L, &buffer, separator, between);
        panini_spend(L, ELEMENT_COST + (buffer.n - before));
        at++;
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int table_unpack(lua_State *L) {
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = luaL_opt(L, luaL_checkinteger, 3, luaL_len(L, 1));
    if (first > last) return 0;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;
    if (count >= (lua_Unsigned)INT_MAX || !lua_checkstack(L, (int)++count)) {
        return luaL_error(L, "too many results to unpack");
    }
    // Each may go through a chain of __index.
    for (lua_Unsigned done = 0; done < count; done++) {
        panini_check_turn(L, done);
        lua_geti(L, 1, first + (lua_Integer)done);
    }
    return (int)count;
}

// ---- sort: a merge sort of positions, so that neither a comparison that contradicts itself nor one that changes the table
// can lead anywhere. The values lie on the stack, or in a list when there are too many.

enum { FUNCTION = 2, BUFFER = 3, VALUES = 4 };
// So many positions are copied one by one.
enum { FEW = 64 };
// More than that would come too close to the end of Lua's stack.
static const lua_Integer MOST_ON_STACK = 200000;

typedef struct sorting {
    lua_State *L;
    bool has_function, is_list;
    uint32_t turns;
} sorting;

static inline void push_value(const sorting *s, uint32_t position) {
    if (s->is_list) lua_rawgeti(s->L, VALUES, (lua_Integer)position + 1);
    else lua_pushvalue(s->L, VALUES + (int)position);
}

// Whether the run is to end, asked once in a while; to compare long texts takes as long as they are.
static inline void look(sorting *s, uint32_t cost) {
    enum { EVERY = 1024 };
    s->turns += cost;
    if (s->turns < EVERY) return;
    s->turns = 0;
    panini_check(s->L);
}

static inline uint32_t text_cost(lua_State *L, int index) {
    enum { BYTES_PER_TURN = 64 };
    return lua_type(L, index) == LUA_TSTRING ? (uint32_t)(lua_rawlen(L, index) / BYTES_PER_TURN) : 0;
}

// Whether one value comes before another.
static bool precedes(sorting *s, uint32_t left, uint32_t right) {
    lua_State *L = s->L;
    bool result;
    look(s, 1);
    if (s->has_function) {
        lua_pushvalue(L, FUNCTION);
        push_value(s, left);
        push_value(s, right);
        lua_call(L, 2, 1);
        result = lua_toboolean(L, -1);
        lua_pop(L, 1);
    } else if (!s->is_list) {
        look(s, text_cost(L, VALUES + (int)left));
        result = lua_compare(L, VALUES + (int)left, VALUES + (int)right, LUA_OPLT);
    } else {
        push_value(s, left);
        push_value(s, right);
        look(s, text_cost(L, -2));
        result = lua_compare(L, -2, -1, LUA_OPLT);
        lua_pop(L, 2);
    }
    return result;
}

// The rest of a piece, which is in order.
static inline void copy_positions(lua_State *L, uint32_t *to, const uint32_t *from, uint64_t count) {
    if (count > FEW) panini_copy(L, (char *)to, (const char *)from, count * sizeof *to);
    else for (uint64_t i = 0; i < count; i++) to[i] = from[i];
}

// Sorts `count` positions; both arrays are as long. Returns the one with the result.
static uint32_t *sort_positions(sorting *s, uint32_t *from, uint32_t *to, uint32_t count) {
    enum { PIECE = 6 };
    for (uint32_t first = 0; first < count; first += PIECE) {
        uint32_t end = count - first < PIECE ? count : first + PIECE;
        for (uint32_t i = first + 1; i < end; i++) {
            uint32_t value = from[i], at = i;
            for (; at > first && precedes(s, value, from[at - 1]); at--) from[at] = from[at - 1];
            from[at] = value;
        }
    }
    for (uint64_t width = PIECE; width < count; width *= 2) {
        for (uint64_t first = 0; first < count; first += 2 * width) {
            uint64_t middle = first + width < count ? first + width : count;
            uint64_t end = first + 2 * width < count ? first + 2 * width : count;
            uint64_t left = first, right = middle, out = first;
            // What is in order already is not compared any further.
            if (right < end && precedes(s, from[right], from[right - 1])) {
                while (left < middle && right < end) {
                    to[out++] = precedes(s, from[right], from[left]) ? from[right++] : from[left++];
                }
            }
            copy_positions(s->L, to + out, from + left, middle - left);
            copy_positions(s->L, to + out + (middle - left), from + right, end - right);
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    return from;
}

// Whole numbers need neither Lua's comparison nor its stack.
static int64_t *sort_integers(lua_State *L, int64_t *from, int64_t *to, size_t count) {
    enum { PIECE = PANINI_WORK / sizeof *to };
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t first = 0; first < count; first += 2 * width) {
            size_t middle = first + width < count ? first + width : count;
            size_t end = first + 2 * width < count ? first + 2 * width : count;
            size_t left = first, right = middle, out = first;
            if (end - first <= PIECE) {
                panini_spend(L, (end - first) * sizeof *to);
                while (left < middle && right < end) to[out++] = from[right] < from[left] ? from[right++] : from[left++];
                while (left < middle) to[out++] = from[left++];
                while (right < end) to[out++] = from[right++];
                continue;
            }
            while (left < middle && right < end) {
                panini_check(L);
                size_t stop = end - out < PIECE ? end : out + PIECE;
                while (out < stop && left < middle && right < end) {
                    to[out++] = from[right] < from[left] ? from[right++] : from[left++];
                }
            }
            panini_copy(L, (char *)(to + out), (const char *)(from + left), (middle - left) * sizeof *to);
            out += middle - left;
            panini_copy(L, (char *)(to + out), (const char *)(from + right), (end - right) * sizeof *to);
        }
        int64_t *other = from;
        from = to;
        to = other;
    }
    return from;
}

// Leaves the values above BUFFER: one by one, or as a list. Whether all are whole numbers.
static bool read_values(sorting *s, lua_Integer length) {
    lua_State *L = s->L;
    bool are_integers = true;
    if (s->is_list) lua_newtable(L);
    for (lua_Integer i = 1; i <= length; i++) {
        panini_check_turn(L, (uint64_t)i);
        lua_geti(L, 1, i);
        are_integers = are_integers && lua_isinteger(L, -1);
        if (s->is_list) lua_rawseti(L, VALUES, i);
    }
    return are_integers;
}

static int table_sort(lua_State *L) {
    lua_Integer length = length_of(L, READS | WRITES);
    if (length < 2) return 0;
    luaL_argcheck(L, length < INT_MAX, 1, "array too big");
    sorting s = {.L = L, .has_function = !lua_isnoneornil(L, FUNCTION)};
    if (s.has_function) luaL_checktype(L, FUNCTION, LUA_TFUNCTION);
    lua_settop(L, BUFFER);
    s.is_list = length > MOST_ON_STACK || !lua_checkstack(L, (int)length + LUA_MINSTACK);
    bool are_integers = read_values(&s, length) && !s.has_function;
    if (are_integers) {
        int64_t *numbers = lua_newuserdatauv(L, (size_t)length * 2 * sizeof *numbers, 0);
        lua_replace(L, BUFFER);
        for (lua_Integer i = 0; i < length; i++) {
            panini_check_turn(L, (uint64_t)i);
            if (s.is_list) push_value(&s, (uint32_t)i);
            numbers[i] = lua_tointeger(L, s.is_list ? -1 : VALUES + (int)i);
            if (s.is_list) lua_pop(L, 1);
        }
        numbers = sort_integers(L, numbers, numbers + length, (size_t)length);
        for (lua_Integer i = 0; i < length; i++) {
            panini_check_turn(L, (uint64_t)i);
            lua_pushinteger(L, numbers[i]);
            lua_seti(L, 1, i + 1);
        }
        return 0;
    }
    uint32_t *positions = lua_newuserdatauv(L, (size_t)length * 2 * sizeof *positions, 0);
    lua_replace(L, BUFFER);
    for (uint32_t i = 0; i < (uint32_t)length; i++) {
        panini_check_turn(L, i);
        positions[i] = i;
    }
    positions = sort_positions(&s, positions, positions + length, (uint32_t)length);
    for (lua_Integer i = 0; i < length; i++) {
        panini_check_turn(L, (uint64_t)i);
        push_value(&s, positions[i]);
        lua_seti(L, 1, i + 1);
    }
    return 0;
}

int panini_open_table(lua_State *L) {
    static const luaL_Reg replaced[] = {
        {"insert", table_insert}, {"remove", table_remove}, {"move", table_move},
        {"concat", table_concat}, {"sort", table_sort},     {"unpack", table_unpack},
        {NULL, NULL},
    };
    luaopen_table(L);
    luaL_setfuncs(L, replaced, 0);
    return 1;
}
