// The headers of a message, as scripts see them. For the .c files of this target only.
#ifndef PANINI_HEADERS_H
#define PANINI_HEADERS_H

#include <lua.h>
#include <stddef.h>

// Pushes the table of headers (name -> first value, `all` as a method) of a header block. Raises for want of memory, and when the
// run is to end: only for C functions that Lua called.
void panini_headers_push(lua_State *L, const char *block, size_t length);

#endif
