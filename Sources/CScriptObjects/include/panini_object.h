// Objects of the host in scripts: a userdata that owns a reference to one, and gives it back when Lua has no more use of it.
// Thread of the Lua state; knows nothing of what the object is.
#ifndef PANINI_OBJECT_H
#define PANINI_OBJECT_H

#include <lua.h>

#include "panini_call.h"

typedef struct panini_object {
    void *object;
    void (*release)(void *object);
} panini_object;

// Pops a table { method's name = context as light userdata } and pushes the metatable of a class of objects; the caller
// keeps a reference. Methods are host functions: `call` with the method's context, the object as PANINI_BOUND_VALUE, the
// arguments from index 1, with the object dropped when it came first. `release` must not call Lua. Raises only for want of
// memory.
void panini_object_push_metatable(
    lua_State *L, const char *type_name, panini_host_function call, void (*release)(void *object));

// Pushes an object, whose reference the userdata owns from here on. Raises only for want of memory.
void panini_object_push(lua_State *L, int metatable_reference, void *object);

#endif
