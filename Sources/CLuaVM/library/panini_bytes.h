// Work over bytes of any number, in pieces between which the run may be ended (panini_spend in panini_kill.h). For the library's
// .c files only. The bytes lie where no garbage collection and no growing buffer moves them.
#ifndef PANINI_BYTES_H
#define PANINI_BYTES_H
#include <lauxlib.h>
#include <stddef.h>
#include <string.h>

#include "panini_kill.h"

// The first such byte from `at` on, or NULL. Bytes that are fewer than a piece are not counted.
const char *panini_find_far_byte(lua_State *L, const char *at, const char *end, char byte);
static inline const char *panini_find_byte(lua_State *L, const char *at, const char *end, char byte) {
    if (end - at <= PANINI_WORK) return memchr(at, byte, (size_t)(end - at));
    return panini_find_far_byte(L, at, end, byte);
}
// The first place of a text, or NULL; in time linear in both lengths, whatever they hold.
const char *panini_find_text(lua_State *L, const char *at, size_t length, const char *text, size_t text_length);
// As memcpy.
void panini_copy(lua_State *L, char *to, const char *from, size_t length);
// As luaL_addlstring.
void panini_add_bytes(lua_State *L, luaL_Buffer *buffer, const char *from, size_t length);
#endif
