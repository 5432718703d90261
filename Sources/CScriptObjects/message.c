// Owns: the Lua face of a message. Every function here that may raise is called by Lua itself, with C frames only
// between it and the protecting call; the two that Swift calls (push, at) raise for want of memory alone.
//
// Pointers into Lua's objects (panini_vm.h has the rule): the bytes of a message belong to the message, which is at index 1 of
// the function that runs, or its upvalue, until that returns. A header block that outlives the message is an upvalue as well.

#include "panini_message.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "panini_call.h"
#include "panini_headers.h"
#include "panini_kill.h"
#include "panini_memory.h"
#include "panini_values.h"
#include "panini_vm.h"

enum field {
    FIELD_DATA = 1, FIELD_SUBJECT, FIELD_REPLY, FIELD_RAW, FIELD_HEADERS, FIELD_PARAMS, FIELD_TOKENS, FIELD_SIZE,
    FIELD_CONTEXT, FIELD_RESPOND,
};

static const char *const field_names[] = {
    [FIELD_DATA] = "data", [FIELD_SUBJECT] = "subject", [FIELD_REPLY] = "reply", [FIELD_RAW] = "raw",
    [FIELD_HEADERS] = "headers", [FIELD_PARAMS] = "params", [FIELD_TOKENS] = "tokens", [FIELD_SIZE] = "size",
    [FIELD_CONTEXT] = "context", [FIELD_RESPOND] = "respond",
};
enum { FIELD_COUNT = sizeof field_names / sizeof field_names[0] };

// User values of a message: its data, and the table of what else has been made.
enum { VALUE_DATA = 1, VALUE_MADE = 2 };

panini_message *panini_message_push(
    lua_State *L, int metatable_reference,
    const void *subject, size_t subject_length,
    const void *reply, size_t reply_length,
    const void *headers, size_t headers_length,
    const void *payload, size_t payload_length) {
    size_t size = sizeof(panini_message) + subject_length + reply_length + headers_length + payload_length;
    panini_message *m = lua_newuserdatauv(L, size, 2);
    m->owner = 0;
    m->endpoint = NULL;
    m->arrived = 0;
    m->request = 0;
    m->params_reference = 0;
    m->subject_length = (uint32_t)subject_length;
    m->reply_length = (uint32_t)reply_length;
    m->headers_length = (uint32_t)headers_length;
    m->payload_length = (uint32_t)payload_length;
    m->data_type = 0;
    m->flags = 0;
    char *to = m->bytes;
    if (subject_length) memcpy(to, subject, subject_length);
    to += subject_length;
    if (reply_length) memcpy(to, reply, reply_length);
    to += reply_length;
    if (headers_length) memcpy(to, headers, headers_length);
    to += headers_length;
    if (payload_length) memcpy(to, payload, payload_length);
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable_reference);
    lua_setmetatable(L, -2);
    return m;
}

panini_message *panini_message_detach(panini_message *message) {
    size_t size = sizeof(panini_message) + message->subject_length + message->reply_length + message->headers_length;
    panini_message *copy = malloc(size);
    if (copy == NULL) return NULL;
    memcpy(copy, message, size);
    copy->payload_length = 0;
    message->flags |= PANINI_MESSAGE_ANSWERED;
    return copy;
}

void panini_message_free(panini_message *detached) { free(detached); }

panini_message *panini_message_at(lua_State *L, int index, int metatable_reference) {
    return panini_userdata_at(L, index, metatable_reference);
}

// ---- texts that are none

enum { DATA_TYPE_BYTES = 2 };

// How many bytes of a text are plain ASCII.
static size_t plain_length(const char *text, size_t length) {
    size_t at = 0;
    for (uint64_t word; at + sizeof word <= length; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        if (word & UINT64_C(0x8080808080808080)) break;
    }
    while (at < length && !(text[at] & 0x80)) at++;
    return at;
}

// The bytes after a character's first that continue it, as many as `count`; the first of them is at least `least` and at most
// `most`, which leaves out overlong forms, surrogates and what is beyond U+10FFFF.
static bool continues(const unsigned char *at, const unsigned char *end, int count, unsigned least, unsigned most) {
    if (end - at < count || *at < least || *at > most) return false;
    for (int i = 1; i < count; i++) {
        if ((at[i] & 0xC0) != 0x80) return false;
    }
    return true;
}

static bool is_utf8(const char *text, size_t length) {
    size_t plain = plain_length(text, length);
    const unsigned char *at = (const unsigned char *)text + plain, *end = (const unsigned char *)text + length;
    while (at < end) {
        unsigned first = *at++;
        if (first < 0x80) continue;
        int count = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (first < 0xC2 || first > 0xF4 || !continues(at, end, count, least, most)) return false;
        at += count;
    }
    return true;
}

// What a listener gets is text, unless it asked for bytes: other bytes are the sender's fault, and found where they are read.
static void check_text(
    lua_State *L, const panini_message *m, const panini_message_callbacks *callbacks, const char *text, size_t length,
    const char *what) {
    if (m->owner == 0 || m->data_type == DATA_TYPE_BYTES || is_utf8(text, length)) return;
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    callbacks->not_text(L, callbacks->context, what);
    panini_leave_host(vm, could_fail);
    panini_check(L);
    lua_error(L);
}

static void check_subject(lua_State *L, const panini_message *m, const panini_message_callbacks *callbacks) {
    check_text(L, m, callbacks, panini_message_subject(m), m->subject_length, "subject");
}

// ---- fields made on first use ------------------------------------------------------------------------------------------

// Pushes the table of made fields of the message at index 1.
static void push_made(lua_State *L) {
    if (lua_getiuservalue(L, 1, VALUE_MADE) == LUA_TTABLE) return;
    lua_settop(L, -2);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, VALUE_MADE);
}

static void push_token(lua_State *L, const char *subject, size_t length, lua_Integer wanted) {
    const char *at = subject, *end = subject + length;
    for (lua_Integer index = 0;; index++) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        const char *stop = dot ? dot : end;
        if (index == wanted) {
            lua_pushlstring(L, at, (size_t)(stop - at));
            return;
        }
        if (!dot) break;
        at = dot + 1;
    }
    lua_pushnil(L);
}

static void push_params(lua_State *L, const panini_message *m) {
    lua_createtable(L, 0, 2);
    if (!m->params_reference) return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, m->params_reference);
    lua_Unsigned count = lua_rawlen(L, -1);
    for (lua_Unsigned i = 1; i + 1 <= count; i += 2) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        lua_Integer index = lua_tointeger(L, -1);
        lua_settop(L, -2);
        push_token(L, panini_message_subject(m), m->subject_length, index);
        lua_rawset(L, -4);
    }
    lua_settop(L, -2);
}

static void push_tokens(lua_State *L, const panini_message *m) {
    const char *at = panini_message_subject(m), *end = at + m->subject_length;
    lua_createtable(L, 4, 0);
    for (lua_Integer index = 1;; index++) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        const char *stop = dot ? dot : end;
        lua_pushlstring(L, at, (size_t)(stop - at));
        lua_rawseti(L, -2, index);
        if (!dot) return;
        at = dot + 1;
    }
}

static int call_back(lua_State *L, panini_message_function function, void *context, panini_message *m) {
    panini_vm *vm = panini_vm_of(L);
    int could_fail = panini_enter_host(vm);
    int results = function(L, context, m);
    panini_leave_host(vm, could_fail);
    if (results > 0) panini_check_made(L);
    else panini_check(L);
    return results < 0 ? lua_error(L) : results;
}

// msg.respond(...): upvalues are the message and the callbacks. msg:respond(...) drops the message.
static int message_respond(lua_State *L) {
    panini_message *m = lua_touserdata(L, lua_upvalueindex(1));
    const panini_message_callbacks *callbacks = lua_touserdata(L, lua_upvalueindex(2));
    if (lua_gettop(L) > 0 && lua_rawequal(L, 1, lua_upvalueindex(1))) lua_remove(L, 1);
    panini_refuse_surplus(L, "msg.respond", 2);
    return call_back(L, callbacks->respond, callbacks->context, m);
}

static int made_field(lua_State *L, panini_message *m, int field, const panini_message_callbacks *callbacks) {
    push_made(L);
    if (lua_rawgeti(L, -1, field) != LUA_TNIL) return 1;
    lua_settop(L, -2);
    switch (field) {
        case FIELD_HEADERS:
            check_text(L, m, callbacks, panini_message_headers(m), m->headers_length, "header block");
            panini_headers_push(L, panini_message_headers(m), m->headers_length);
            break;
        case FIELD_PARAMS:
            check_subject(L, m, callbacks);
            push_params(L, m);
            break;
        case FIELD_TOKENS:
            check_subject(L, m, callbacks);
            push_tokens(L, m);
            break;
        case FIELD_CONTEXT: lua_createtable(L, 0, 2); break;
        default:
            lua_pushvalue(L, 1);
            lua_pushlightuserdata(L, (void *)callbacks);
            lua_pushcclosure(L, message_respond, 2);
            break;
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, field);
    return 1;
}

void panini_message_push_data(lua_State *L, void *context) {
    panini_message *m = lua_touserdata(L, 1);
    if (m->flags & PANINI_MESSAGE_DECODED) {
        lua_getiuservalue(L, 1, VALUE_DATA);
        return;
    }
    if (m->payload_length == 0) {
        lua_pushnil(L);
        return;
    }
    const panini_message_callbacks *callbacks = context;
    call_back(L, callbacks->decode, callbacks->context, m);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, VALUE_DATA);
    m->flags |= PANINI_MESSAGE_DECODED;
}

// Upvalues: field name -> number, callbacks.
static int message_index(lua_State *L) {
    panini_message *m = lua_touserdata(L, 1);
    lua_settop(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    int field = (int)lua_tointeger(L, -1);
    switch (field) {
        case FIELD_DATA: panini_message_push_data(L, lua_touserdata(L, lua_upvalueindex(2))); return 1;
        case FIELD_SUBJECT:
            check_subject(L, m, lua_touserdata(L, lua_upvalueindex(2)));
            lua_pushlstring(L, panini_message_subject(m), m->subject_length);
            return 1;
        case FIELD_REPLY:
            check_text(
                L, m, lua_touserdata(L, lua_upvalueindex(2)), panini_message_reply(m), m->reply_length, "reply subject");
            lua_pushlstring(L, panini_message_reply(m), m->reply_length);
            return 1;
        case FIELD_RAW: lua_pushlstring(L, panini_message_payload(m), m->payload_length); return 1;
        case FIELD_SIZE: lua_pushinteger(L, m->payload_length); return 1;
        case 0: return 0;
        default: return made_field(L, m, field, lua_touserdata(L, lua_upvalueindex(2)));
    }
}

// `msg.data = value` replaces the data (middlewares do that); everything else is read-only.
static int message_newindex(lua_State *L) {
    panini_message *m = lua_touserdata(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    if (strcmp(key, "data") != 0) {
        return luaL_error(L, "msg.%s is read-only; keep values of your own in msg.context", key);
    }
    lua_settop(L, 3);
    lua_setiuservalue(L, 1, VALUE_DATA);
    m->flags |= PANINI_MESSAGE_DECODED;
    return 0;
}

static int message_tostring(lua_State *L) {
    const panini_message *m = lua_touserdata(L, 1);
    lua_pushliteral(L, "message on ");
    lua_pushlstring(L, panini_message_subject(m), m->subject_length);
    lua_concat(L, 2);
    return 1;
}

void panini_message_push_metatable(lua_State *L, const panini_message_callbacks *callbacks) {
    lua_createtable(L, 0, 4);

    lua_pushliteral(L, "__index");
    lua_createtable(L, 0, FIELD_COUNT);
    for (int field = 1; field < FIELD_COUNT; field++) {
        lua_pushstring(L, field_names[field]);
        lua_pushinteger(L, field);
        lua_rawset(L, -3);
    }
    lua_pushlightuserdata(L, (void *)callbacks);
    lua_pushcclosure(L, message_index, 2);
    lua_rawset(L, -3);

    lua_pushliteral(L, "__newindex");
    lua_pushcfunction(L, message_newindex);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__tostring");
    lua_pushcfunction(L, message_tostring);
    lua_rawset(L, -3);
    lua_pushliteral(L, "__name");
    lua_pushliteral(L, "panini.message");
    lua_rawset(L, -3);
    // Scripts cannot reach the metatable, so its functions are only ever called with a message.
    lua_pushliteral(L, "__metatable");
    lua_pushliteral(L, "panini.message");
    lua_rawset(L, -3);
}
