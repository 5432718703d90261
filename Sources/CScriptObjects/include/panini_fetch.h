// The call that scripts make to fetch from other servers (`app.http.fetch`). Thread of the Lua state. Knows nothing of HTTP:
// the host's functions, and the loop that gives a stream's pieces to the script's function, in the coroutine that waits.
#ifndef PANINI_FETCH_H
#define PANINI_FETCH_H

#include <lua.h>
#include <stdint.h>

// Where a streamed call keeps the number of its fetch.
enum { PANINI_FETCH_GUARD = 5 };

typedef struct panini_fetch_host {
    void *context;
    // The arguments are at 1 and 2. With `guard`, which is NULL when nothing is streamed: sets the number that the others
    // are given. Returns as host functions do; what the coroutine is then continued with is the result, or of a stream a
    // table (the response's head), a string (a piece), true (the end), or nil and an error.
    int (*start)(lua_State *L, void *context, int64_t *guard);
    // The piece was used, or the head seen: the coroutine waits for what follows. Returns PANINI_SUSPEND.
    int (*next)(lua_State *L, void *context, int64_t number);
    // Nobody wants more; also called when there is no more.
    void (*cancel)(void *context, int64_t number);
} panini_fetch_host;

// Pushes the function. `host` must outlive the state. Raises only for want of memory.
void panini_fetch_push(lua_State *L, const panini_fetch_host *host);

#endif
