// The message object that handlers see (`msg`), and small host handles. Lives on the thread of its Lua state. Knows
// nothing of NATS connections or of Swift types: bytes, flags and two callbacks.
//
// A message owns a copy of its bytes in one userdata block, so that scripts may keep it for as long as they like;
// everything else (data, headers, params, tokens, context) is made on first use.
#ifndef PANINI_MESSAGE_H
#define PANINI_MESSAGE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PANINI_MESSAGE_ANSWERED = 1,     // a reply has gone out, or the host has given up on one
    PANINI_MESSAGE_DECODED = 2,      // user value 1 holds `data`
    PANINI_MESSAGE_INVALID = 4,      // a validator has refused `data`
    PANINI_MESSAGE_HAS_HEADERS = 8,  // the host keeps headers for the reply
    PANINI_MESSAGE_UNSENT = 16,      // a reply could not go out
};

typedef struct panini_message {
    int64_t owner;             // the host's number of the listener; 0 for replies to requests
    void *endpoint;            // the host's statistics of whoever takes requests; NULL for everything else
    uint64_t arrived;          // the host's clock when a request came, in nanoseconds
    uint64_t request;          // the host's number of what functions share that its handler has spawned; 0: none
    int32_t params_reference;  // registry table { name, index, name, index, ... }, or 0
    uint32_t subject_length;
    uint32_t reply_length;
    uint32_t headers_length;
    uint32_t payload_length;
    uint8_t data_type;         // the host's code for json, string, bytes
    uint8_t flags;
    char bytes[];              // subject, reply, headers, payload
} panini_message;

static inline const char *panini_message_subject(const panini_message *m) { return m->bytes; }
static inline const char *panini_message_reply(const panini_message *m) { return m->bytes + m->subject_length; }
static inline const char *panini_message_headers(const panini_message *m) {
    return m->bytes + m->subject_length + m->reply_length;
}
static inline const char *panini_message_payload(const panini_message *m) {
    return m->bytes + m->subject_length + m->reply_length + m->headers_length;
}

// A host function on a message: arguments from index 1. Returns the number of results on top, or -1 with an error value
// on top. Never raises by itself.
typedef int (*panini_message_function)(lua_State *L, void *context, panini_message *message);

typedef struct panini_message_callbacks {
    void *context;
    panini_message_function decode;   // pushes `data` from the payload
    panini_message_function respond;  // msg.respond(value, options)
    // Bytes that the message has for a text are no UTF-8: pushes the error that says so, and returns -1.
    int (*not_text)(lua_State *L, void *context, const char *what);
} panini_message_callbacks;

// Pushes the metatable of messages; the caller keeps a reference. `callbacks` must outlive the state. Raises only for
// want of memory.
void panini_message_push_metatable(lua_State *L, const panini_message_callbacks *callbacks);

// Pushes a message made of the given bytes. Raises only for want of memory.
panini_message *panini_message_push(
    lua_State *L, int metatable_reference,
    const void *subject, size_t subject_length,
    const void *reply, size_t reply_length,
    const void *headers, size_t headers_length,
    const void *payload, size_t payload_length);

// A copy without the payload, outside of Lua, for whoever answers a handler that has failed: its coroutine, which kept the
// message alive, is gone by then. The message itself counts as answered from here on. NULL when there is no memory.
panini_message *panini_message_detach(panini_message *message);
void panini_message_free(panini_message *detached);

// Pushes `data` of the message at index 1, decoded now if it was not before. `callbacks` are those of the metatable. Raises
// what decoding says: only for C functions that Lua called.
void panini_message_push_data(lua_State *L, void *callbacks);

// The message at an index, or NULL when the value is something else. Never raises.
panini_message *panini_message_at(lua_State *L, int index, int metatable_reference);

#endif
