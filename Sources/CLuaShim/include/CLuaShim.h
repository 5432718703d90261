// The public face of the C layer between Swift and Lua.
#ifndef PANINI_CLUASHIM_H
#define PANINI_CLUASHIM_H
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>
#endif
