// The object that WebSocket handlers see (`ws`). Thread of the Lua state. Knows nothing of connections: a pointer that the
// host gave, functions of the host, and a few values.
#ifndef PANINI_WEBSOCKET_H
#define PANINI_WEBSOCKET_H

#include <lua.h>
#include <stdint.h>

enum {
    // Functions.
    PANINI_WEBSOCKET_RECEIVE = 1,
    PANINI_WEBSOCKET_SEND,
    PANINI_WEBSOCKET_SEND_BINARY,
    PANINI_WEBSOCKET_CLOSE,
    // Values.
    PANINI_WEBSOCKET_ID,
    PANINI_WEBSOCKET_PROTOCOL,
    PANINI_WEBSOCKET_CONTEXT,
};

typedef struct panini_websocket {
    void *session;  // the host's; NULL once the host has let go of it
    int64_t id;
    int32_t code;  // the close code when there is no session any more
} panini_websocket;

typedef struct panini_websocket_host {
    void *context;
    // A function of the object: arguments from index 1. Returns as host functions do.
    int (*call)(lua_State *L, void *context, panini_websocket *socket, int function);
    // Pushes the subprotocol, or nil, and returns 1. Must not raise.
    int (*protocol)(lua_State *L, void *context, panini_websocket *socket);
} panini_websocket_host;

// Pushes the metatable of these objects; the caller keeps a reference. `host` must outlive the state. Raises only for want
// of memory.
void panini_websocket_push_metatable(lua_State *L, const panini_websocket_host *host);

// Pushes an object. Raises only for want of memory.
panini_websocket *panini_websocket_push(lua_State *L, int metatable_reference, void *session, int64_t id);

#endif
