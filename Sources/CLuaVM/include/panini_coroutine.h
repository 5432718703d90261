// Coroutines of the host (pooled, one per handler) and of the script (coroutine.create), and the suspension that
// passes from a host function through all of them.
#ifndef PANINI_COROUTINE_H
#define PANINI_COROUTINE_H
#include <lua.h>

#include "panini_vm.h"

// Makes a thread for the host on top of L: scripts can neither resume nor close it.
lua_State *panini_new_pooled_thread(lua_State *L);
// In panini_vm's run_time: the coroutine has taken too much over its life, and is ended instead.
static const uint64_t PANINI_OVER_RATE = UINT64_MAX;
// Starts or continues a pooled thread. Lua's status. `raises`: the values are one error that the waiting call raises.
int panini_resume(panini_vm *vm, lua_State *thread, int arguments, int raises, int *results);
// Whether a host function that L is calling may return PANINI_SUSPEND: no C call boundary up to the pooled thread.
int panini_can_suspend(lua_State *L);
// Ends a thread for good, and the script's coroutines it waits in, running their pending __close methods. Returns
// the resulting status; the thread's error value, when there is one, is on its top.
int panini_close_thread(panini_vm *vm, lua_State *thread);
// Suspends the calling host function; only for the end of a lua_CFunction. Raises when that is impossible here.
int panini_suspend(lua_State *L);
// The same, going on in `then` when the host continues the coroutine.
int panini_suspend_then(lua_State *L, lua_KContext context, lua_KFunction then);
// The coroutine library, for luaL_requiref.
int panini_open_coroutine(lua_State *L);
#endif
