// What app.listen and app.spawn return: a small userdata with a number, whose methods work with a dot and with a colon.
// Thread of the Lua state.
#ifndef PANINI_HANDLE_H
#define PANINI_HANDLE_H

#include <lua.h>
#include <stdint.h>

typedef struct panini_handle {
    int64_t id;
    int32_t state;  // the host's; starts at 0
} panini_handle;

// A method: the handle's own arguments from index 1. Returns as host functions do. Never raises by itself.
typedef int (*panini_handle_function)(lua_State *L, void *context, panini_handle *handle);

// Pushes the metatable of a kind of handle with one method; the caller keeps a reference. Raises only for want of memory.
void panini_handle_push_metatable(
    lua_State *L, const char *type_name, const char *method, panini_handle_function function, void *context);

// Pushes a handle with one user value. Raises only for want of memory.
panini_handle *panini_handle_push(lua_State *L, int metatable_reference, int64_t id);

#endif
