// The system's Lua 5.4 (pkg-config lua5.4): nothing of our own lives in this target.
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>
