// Owns: which tables have weak keys, and how many values are in them. Metatables are looked at when they are given to a table:
// one that becomes weak afterwards is found at the next look, and made strong again. A look is made before each collection
// that is certain to come (memory was refused, the host asks for one), and whenever the state has grown. Addresses are
// compared, and never followed (panini_vm.h has the rule).
#include "panini_weak.h"

#include <lauxlib.h>
#include <string.h>

#include "panini_kill.h"
#include "panini_rehash.h"
#include "panini_vm.h"

// In the registry: the text, the metatables that were not weak when they were given, by their addresses, and the tables with
// weak keys, by theirs. Both lists hold their values weakly, which the collector does in one go.
static char mode_key, others_key, tables_key;
// The thread whose stack looks use that are made in the middle of anything.
static char scout_key;

static const char late_text[] = "__mode = \"k\" must be in the metatable before setmetatable gets it";

static void make_list(lua_State *L, const void *key) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static void look_if_due(lua_State *L);

void panini_open_weak(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    vm->weak.step = PANINI_LONG_WEAK_STEP;
    vm->kill.look = look_if_due;
    vm->weak.scout = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scout_key);
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
        panini_vm *vm = panini_vm_of(L);
        if (vm->weak.step > PANINI_SHORT_WEAK_STEP) vm->weak.step = PANINI_SHORT_WEAK_STEP;
        // What it holds already counts as if it had come now.
        vm->weak.unchecked += panini_table_places(L, 1) * PANINI_REHASH_NODE;
        vm->weak.has_metatables = 1;
        if (vm->weak.unchecked > vm->weak.step) panini_weak_due(vm);
    } else if (!is_known) {
        lua_pushvalue(L, 2);
        lua_rawsetp(L, -2, metatable);
    }
    lua_pop(L, 1);
    panini_vm_of(L)->weak.has_metatables = 1;
}

static int is_object(int type) {
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
}

// Whether a look is to end with its run. One in the middle of anything comes before a collection, whatever became of the run.
static int is_over(lua_State *L) {
    const panini_vm *vm = panini_vm_of(L);
    return L != vm->weak.scout && panini_is_killed(vm);
}

// The values in the table on top that the collector may have to come back for; no more than `most`. Where the layout of tables
// is not known, those that a value may take without any allocation, too.
static size_t count_values(lua_State *L, size_t most) {
    int counts_all = panini_vm_of(L)->newindex_name == NULL;
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (is_object(lua_type(L, -2)) && (counts_all || is_object(lua_type(L, -1)))) count++;
        lua_pop(L, 1);
        if (count > most || is_over(L)) {
            lua_pop(L, 1);
            break;
        }
    }
    return count;
}

// How many places the hash parts of weak tables may have all together: room for twice the values. Values come into places
// that are there without any allocation, between two looks; the number of places grows by an allocation alone.
static size_t most_places(const panini_vm *vm) {
    size_t places = 64;
    while (places / 2 < vm->weak.limit) places *= 2;
    return places;
}

// Whether the table on top has weak keys now: a script may have changed the mode, or the host (end_all).
static int is_weak(lua_State *L) {
    if (!lua_getmetatable(L, -1)) return 0;
    int result = has_weak_keys(L, lua_gettop(L));
    lua_pop(L, 1);
    return result;
}

enum { WEAK_FEW, WEAK_MANY_VALUES, WEAK_MANY_PLACES };

static int count_all(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    size_t left = vm->weak.limit, places_left = most_places(vm);
    int found = WEAK_FEW;
    vm->weak.step = vm->weak.has_alarm ? PANINI_ALARMED_WEAK_STEP : PANINI_LONG_WEAK_STEP;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
    lua_pushnil(L);
    // Bounded: a step for each table, and for its values as long as they are few; half a look would find nothing wrong.
    while (lua_next(L, -2)) {
        if (vm->weak.step > PANINI_SHORT_WEAK_STEP) vm->weak.step = PANINI_SHORT_WEAK_STEP;
        if (!is_weak(L)) {
            lua_pop(L, 1);
            continue;
        }
        size_t places = panini_table_places(L, lua_gettop(L));
        // A table counts as well: one value each in many of them is no better.
        size_t count = places > places_left || left == 0 ? 0 : 1 + count_values(L, left);
        lua_pop(L, 1);
        // The run is to end for something else.
        if (is_over(L)) {
            lua_pop(L, 2);
            return WEAK_FEW;
        }
        if (places > places_left || (count > left && vm->newindex_name == NULL)) {
            lua_pop(L, 2);
            return WEAK_MANY_PLACES;
        }
        if (count > left || count == 0) found = WEAK_MANY_VALUES;
        left -= count > left ? left : count;
        places_left -= places;
    }
    lua_pop(L, 1);
    return found;
}

// The metatable on top gives no mode any more. Takes no memory.
static void make_strong(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &mode_key);
    lua_pushnil(L);
    lua_rawset(L, -3);
}

// Makes strong what became weak late; whether there was any.
static int end_late_ones(lua_State *L) {
    int found = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &others_key);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (is_over(L)) {
            lua_pop(L, 2);
            break;
        }
        if (has_weak_keys(L, lua_gettop(L))) {
            make_strong(L);
            found = 1;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return found;
}

// Makes all tables with weak keys strong, for they have too many places: the next collection finds none of them. What they hold
// stays for as long as the script keeps the tables.
static void end_all(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &tables_key);
    lua_pushnil(L);
    // Bounded: a step for each table. One that stayed weak would hold the collector.
    while (lua_next(L, -2)) {
        if (is_weak(L)) {
            lua_getmetatable(L, -1);
            make_strong(L);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

int panini_weak_check(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    vm->weak.is_due = 0;
    vm->weak.unchecked = 0;
    if (!vm->weak.has_metatables || vm->weak.limit == 0) return PANINI_WEAK_FINE;
    if (end_late_ones(L)) {
        vm->weak.has_alarm = 1;
        return PANINI_WEAK_LATE;
    }
    int found = count_all(L);
    if (found == WEAK_MANY_PLACES) {
        vm->weak.has_alarm = 1;
        end_all(L);
    }
    return found == WEAK_FEW ? PANINI_WEAK_FINE : PANINI_WEAK_MANY;
}

// A run without a budget is not ended by anything.
static int may_end_runs(const panini_vm *vm) { return vm->run.budget != 0 && vm->calls.activation != NULL; }

void panini_weak_due(panini_vm *vm) {
    vm->weak.unchecked = 0;
    if (!vm->weak.has_metatables || vm->weak.limit == 0 || !may_end_runs(vm)) return;
    vm->weak.is_due = 1;
    panini_hook_next(vm);
}

// Looks, and ends the run for what it finds: by then nothing is left to hold up a collection.
static void look(panini_vm *vm, lua_State *L) {
    int found = panini_weak_check(L);
    if (found == PANINI_WEAK_FINE || !may_end_runs(vm)) return;
    panini_kill_for(vm, found == PANINI_WEAK_LATE ? PANINI_KILL_FOR_LATE_MODE : PANINI_KILL_FOR_WEAK_KEYS);
}

// At the next instruction after panini_weak_due.
static void look_if_due(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (vm->weak.is_due) look(vm, L);
}

void panini_weak_settle(panini_vm *vm) {
    if (vm->weak.has_metatables && vm->weak.limit != 0 && vm->run.budget != 0) look(vm, vm->weak.scout);
}
