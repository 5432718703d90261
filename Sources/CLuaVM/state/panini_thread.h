// The flags of a thread. For the .c files of this target only.
#ifndef PANINI_THREAD_H
#define PANINI_THREAD_H
#include <lua.h>
#include <stdint.h>

enum {
    // Owned by the host's pool.
    THREAD_POOLED = 1,
    // A coroutine of the script that waits for the host: neither the script may resume nor close it.
    THREAD_WAITING = 2,
    // Waits inside a coroutine that it resumed; that coroutine is on top of its stack.
    THREAD_INNER = 4,
    // Ended by force, it or one that it had resumed: it may be without hooks (panini_kill.c), and nothing runs on it again.
    THREAD_ENDED = 8,
};

static inline uintptr_t *thread_word(lua_State *L) { return (uintptr_t *)lua_getextraspace(L); }
static inline int thread_has(lua_State *L, int flag) { return (*thread_word(L) & (uintptr_t)flag) != 0; }
static inline void thread_set(lua_State *L, int flag) { *thread_word(L) |= (uintptr_t)flag; }
static inline void thread_clear(lua_State *L, int flag) { *thread_word(L) &= ~(uintptr_t)flag; }
#endif
