// Owns: how text reaches Lua's compiler. No hook runs in there, and some texts take it a time that grows with their square
// (one condition of 200,000 `or`s: a minute); but it asks for its text piece by piece, and may be ended where it does. The text
// is an argument, or the host's, or in the slot KEPT (panini_vm.h has the rule).
#include "panini_load.h"

#include <lauxlib.h>

#include "panini_kill.h"
#include "panini_run.h"
#include "panini_vm.h"
#include "panini_watch.h"

// Small enough for the compiler to be back in some milliseconds whatever it is given.
enum { PIECE = 256 };

typedef struct unread {
    const char *text;
    size_t length;
} unread;

static const char *take(unread *from, size_t *size) {
    const char *piece = from->text;
    *size = from->length < PIECE ? from->length : PIECE;
    from->text += *size;
    from->length -= *size;
    return *size == 0 ? NULL : piece;
}

static const char *next_of_text(lua_State *L, void *data, size_t *size) {
    panini_check(L);
    return take(data, size);
}

int panini_load_text(lua_State *L, const char *text, size_t length, const char *name) {
    unread left = {text, length};
    return lua_load(L, next_of_text, &left, name, "t");
}

// Where the function's last text is kept, behind the arguments of `load`: its bytes must live until all are read.
enum { KEPT = 5 };

static const char *next_of_function(lua_State *L, void *data, size_t *size) {
    unread *left = data;
    panini_check(L);
    if (left->length == 0) {
        luaL_checkstack(L, 2, "too many nested functions");
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            *size = 0;
            return NULL;
        }
        if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
        lua_replace(L, KEPT);
        left->text = lua_tolstring(L, KEPT, &left->length);
    }
    return take(left, size);
}

int panini_load_pieces(lua_State *L, const char *name) {
    unread left = {NULL, 0};
    lua_settop(L, KEPT);
    return lua_load(L, next_of_function, &left, name, "t");
}

int panini_compile(panini_vm *vm, lua_State *L, const char *text, size_t length, const char *name) {
    panini_activation here = {L, vm->calls.activation};
    int could_fail = vm->calls.may_fail;
    if (vm->calls.activation == NULL) vm->calls.stack_base = (char *)&here;
    vm->calls.activation = &here;
    vm->calls.may_fail = 1;
    panini_watch *watch = here.previous == NULL ? begin_run(vm, vm->run.budget) : NULL;
    int status = panini_load_text(L, text, length, name);
    int was_ended = watch == NULL ? vm->kill.is_due : end_run(vm, L, watch);
    vm->calls.may_fail = could_fail;
    vm->calls.activation = here.previous;
    return was_ended && status != LUA_OK ? PANINI_KILLED : status;
}
