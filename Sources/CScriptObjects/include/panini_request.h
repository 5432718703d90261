// The request object that HTTP handlers see (`req`). Thread of the Lua state. Knows nothing of connections: bytes, whose
// fields are made on first use, and functions of the host.
#ifndef PANINI_REQUEST_H
#define PANINI_REQUEST_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PANINI_REQUEST_METHOD = 1,
    PANINI_REQUEST_PATH,
    PANINI_REQUEST_PARAMS,
    PANINI_REQUEST_QUERY,
    PANINI_REQUEST_QUERY_ALL,
    PANINI_REQUEST_HEADERS,
    PANINI_REQUEST_BODY,
    PANINI_REQUEST_COOKIES,
    PANINI_REQUEST_REMOTE_ADDRESS,
    PANINI_REQUEST_CONTEXT,
    // Functions.
    PANINI_REQUEST_JSON,
    PANINI_REQUEST_FORM,
    // Functions that are not fields.
    PANINI_REQUEST_WRITE,
    PANINI_REQUEST_SEND_EVENT,
};

// A request owns a copy of its bytes in one userdata block, so that scripts may keep it, and so that Lua's collector knows
// what it costs.
typedef struct panini_request {
    uint64_t number;  // the host's; 0: none
    int32_t route;
    uint32_t method_length, path_length, query_length, address_length, headers_length, body_length;
    char bytes[];  // method, path, query, address, headers, body
} panini_request;

typedef struct panini_request_host {
    void *context;
    // Pushes a field's value and returns 1. Must not raise; PANINI_RAISE with an error value on top.
    int (*make)(lua_State *L, void *context, panini_request *request, int field);
    // A function of the request: arguments from index 1. Returns as host functions do.
    int (*call)(lua_State *L, void *context, panini_request *request, int function);
} panini_request_host;

// Pushes the metatable of requests; the caller keeps a reference. `host` must outlive the state. Raises only for want of
// memory.
void panini_request_push_metatable(lua_State *L, const panini_request_host *host);

// Pushes a request with room for `size` bytes; the lengths are 0 and the bytes the host's to fill in. It holds nothing of the
// host's: objects with a finalizer would live for two cycles of the collector, and be finished in one go. Raises only for
// want of memory.
panini_request *panini_request_push(lua_State *L, int metatable_reference, uint64_t number, size_t size);

static inline char *panini_request_bytes(panini_request *request) { return request->bytes; }

// Pushes a function of the request at an index: one of PANINI_REQUEST_JSON and those after it. Raises only for want of
// memory.
void panini_request_push_function(lua_State *L, int index, const panini_request_host *host, int function);

// Pushes what req.json() gives for the request at index 1. `context` is the host. Raises what decoding says: only for C
// functions that Lua called.
void panini_request_push_json(lua_State *L, void *context);

// Sets a metatable on the table on top that finds names in lower case however they are written, and has `all(name)`, which
// gives the values of a name in the table below it, of lists; pops that one. Raises only for want of memory.
void panini_request_finish_headers(lua_State *L);

#endif
