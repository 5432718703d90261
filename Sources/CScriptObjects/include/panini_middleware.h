// Middlewares: the steps of a chain, as Lua functions. A step calls one middleware and gives it the rest of the chain; the
// host composes steps when registrations change. Thread of the Lua state; called by Lua, so that errors and waits pass
// through C and Lua frames only.
#ifndef PANINI_MIDDLEWARE_H
#define PANINI_MIDDLEWARE_H

#include <lua.h>
#include <stdint.h>

#include "panini_call.h"

// A kind is a number that the host gives. Its lowest bit says that the step stands around a send: then it has a subject, a
// message and options; other steps have one argument.
enum { PANINI_KIND_IS_SEND = 1 };

// What the host's `before` decides. From PANINI_STOP on: the number of results on top of the stack, plus PANINI_STOP.
enum { PANINI_PROCEED = 0, PANINI_OBSERVE = 1, PANINI_STOP = 2 };

// What the host's `after` returns besides a number of results: what the inner call gave stays.
enum { PANINI_KEEP = -4 };

// Middlewares of the host itself. Neither function may raise; both may return PANINI_RAISE with an error value on top.
typedef struct panini_middleware_host {
    void *context;
    // The arguments of the step are at 1...; the host may replace them. For PANINI_OBSERVE the number is handed to `after`.
    int (*before)(lua_State *L, void *context, int64_t layer, int kind, int64_t *token);
    // The inner call has ended: its results, or its error value, lie above `base`. PANINI_CALL: a function and two
    // arguments are on top; what it returns replaces the outcome, unless that is nothing or nil without an error. A single
    // nil replaces no failure.
    int (*after)(lua_State *L, void *context, int64_t token, int kind, int base, int failed);
    // A middleware raised an error, the text on top, over the failure of what it wraps: that failure goes out. The first
    // argument of the step is at 1. The stack stays as it is.
    void (*covered)(lua_State *L, void *context, int kind);
} panini_middleware_host;

// Pops a middleware's function and the function it wraps (on top), and pushes the step of both. `host` must outlive the
// step. `verb` is what errors call the wrapped function of a send, a constant: `publish`. Raises only for want of memory.
void panini_middleware_push_step(lua_State *L, const panini_middleware_host *host, int kind, const char *verb);

// Pops the function it wraps and pushes the step of a native middleware. `host` must outlive the step. Raises only for
// want of memory.
void panini_middleware_push_native_step(lua_State *L, const panini_middleware_host *host, int64_t layer, int kind);

// Pushes a host function that gets one middleware: a first argument that is a function is called with the further ones,
// and what it returns is the middleware. Pops the app's table, which is dropped when it is the first argument. Raises only
// for want of memory.
void panini_middleware_push_adder(lua_State *L, panini_host_function function, void *context);

// How many arguments a step of a kind has.
static inline int panini_middleware_argument_count(int kind) { return kind & PANINI_KIND_IS_SEND ? 3 : 1; }

#endif
