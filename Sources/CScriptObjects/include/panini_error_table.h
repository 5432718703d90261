// The error tables that calls return to scripts. Thread of the Lua state.
#ifndef PANINI_ERROR_TABLE_H
#define PANINI_ERROR_TABLE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

// Pushes the metatable of error tables (`__tostring` gives the message); the caller keeps a reference. Raises only for
// want of memory.
void panini_error_push_metatable(lua_State *L);

// Pushes { code =, message = } with that metatable. `code_text` NULL: the code is `code_number`. Raises only for want of
// memory.
void panini_error_push(
    lua_State *L, int metatable_reference, const char *code_text, size_t code_length, int64_t code_number,
    const char *message, size_t message_length);

#endif
