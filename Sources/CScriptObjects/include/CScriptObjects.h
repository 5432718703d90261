// The objects that scripts hold: messages, requests, WebSockets, handles, validators, and the functions that the host
// wraps around handlers. One umbrella over small headers, each with its own .c file. Stands on CLuaVM, which knows
// nothing of them.
#ifndef PANINI_CSCRIPTOBJECTS_H
#define PANINI_CSCRIPTOBJECTS_H
#include "panini_error_table.h"
#include "panini_fetch.h"
#include "panini_handle.h"
#include "panini_message.h"
#include "panini_middleware.h"
#include "panini_object.h"
#include "panini_pattern.h"
#include "panini_request.h"
#include "panini_rules.h"
#include "panini_validator.h"
#include "panini_websocket.h"
#endif
