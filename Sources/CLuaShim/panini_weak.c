// Owns: which tables have weak keys, and how many values are in them. Metatables are looked at when they are given to a table:
// one that becomes weak afterwards is found at the next look, and made strong again. Addresses are compared, and never followed
// (panini_vm.h has the rule).
#include "panini_weak.h"

#include <lauxlib.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_watchdog.h"

// In the registry: the text, the metatables that were not weak when they were given, by their addresses, and the tables with
// weak keys, by theirs. Both lists hold their values weakly, which the collector does in one go.
static char mode_key, others_key, tables_key;

static const char late_text[] = "__mode = \"k\" must be in the metatable before setmetatable gets it";

static void make_list(lua_State *L, const void *key) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void panini_open_weak(lua_State *L) {
    lua_pushliteral(L, "__mode");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &mode_key);
    make_list(L, &others_key);
    make_list(L, &tables_key);
}

// Whether the metatable at an index gives weak keys with strong values.
static int has_weak_keys(lua_State *L, int index) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &mode_key);
    int is_weak = 0;
    // A number would be converted.
    if (lua_rawget(L, index) == LUA_TSTRING) {
        const char *mode = lua_tostring(L, -1);
        is_weak = strchr(mode, 'k') != NULL && strchr(mode, 'v') == NULL;
    }
    lua_pop(L, 1);
    return is_weak;
}

void panini_note_metatable(lua_State *L) {
    int is_weak = has_weak_keys(L, 2);
    const void *metatable = lua_topointer(L, 2);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &others_key);
    int is_known = lua_rawgetp(L, -1, metatable) != LUA_TNIL;
    lua_pop(L, 1);
    if (is_weak) {
        if (is_known) luaL_error(L, "%s", late_text);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
        lua_pushvalue(L, 1);
        lua_rawsetp(L, -2, lua_topointer(L, 1));
        lua_pop(L, 1);
        panini_vm_of(L)->weak_step = PANINI_SHORT_WEAK_STEP;
    } else if (!is_known) {
        lua_pushvalue(L, 2);
        lua_rawsetp(L, -2, metatable);
    }
    lua_pop(L, 1);
    panini_vm_of(L)->has_metatables = 1;
}

static int is_object(int type) {
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
}

// The values in the table on top that the collector may have to come back for; no more than `most`.
static size_t count_values(lua_State *L, size_t most) {
    size_t count = 0;
    const panini_vm *vm = panini_vm_of(L);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (is_object(lua_type(L, -1)) && is_object(lua_type(L, -2))) count++;
        lua_pop(L, 1);
        if (count > most || panini_is_killed(vm)) {
            lua_pop(L, 1);
            break;
        }
    }
    return count;
}

static int has_too_many(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    size_t left = vm->weak_limit;
    int is_over = 0;
    vm->weak_step = PANINI_LONG_WEAK_STEP;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
    lua_pushnil(L);
    while (!is_over && lua_next(L, -2)) {
        vm->weak_step = PANINI_SHORT_WEAK_STEP;
        // A table counts as well: one value each in many of them is no better.
        size_t count = 1 + count_values(L, left);
        is_over = count > left;
        left -= is_over ? 0 : count;
        lua_pop(L, 1);
        // The run is to end for something else.
        if (!is_over && panini_is_killed(vm)) {
            lua_pop(L, 2);
            return 0;
        }
    }
    lua_pop(L, is_over ? 2 : 1);
    return is_over;
}

// Makes strong what became weak late; whether there was any.
static int end_late_ones(lua_State *L) {
    int found = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &others_key);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (panini_is_killed(panini_vm_of(L))) {
            lua_pop(L, 2);
            break;
        }
        if (has_weak_keys(L, lua_gettop(L))) {
            lua_rawgetp(L, LUA_REGISTRYINDEX, &mode_key);
            lua_pushnil(L);
            lua_rawset(L, -3);
            found = 1;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return found;
}

int panini_weak_check(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    vm->is_weak_due = 0;
    vm->unchecked = 0;
    if (!vm->has_metatables || vm->weak_limit == 0) return PANINI_WEAK_FINE;
    if (end_late_ones(L)) return PANINI_WEAK_LATE;
    return has_too_many(L) ? PANINI_WEAK_MANY : PANINI_WEAK_FINE;
}

void panini_weak_due(panini_vm *vm) {
    vm->unchecked = 0;
    // A run without a budget is not ended by anything.
    if (!vm->has_metatables || vm->weak_limit == 0 || vm->cpu_budget == 0 || vm->activation == NULL) return;
    vm->is_weak_due = 1;
    panini_hook_next(vm);
}

void panini_weak_hook(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (!vm->is_weak_due) return;
    switch (panini_weak_check(L)) {
    case PANINI_WEAK_LATE: luaL_error(L, "%s", late_text); break;
    case PANINI_WEAK_MANY:
        panini_watchdog_count_kill();
        panini_kill_for_weak_keys(L);
        break;
    default: break;
    }
}
