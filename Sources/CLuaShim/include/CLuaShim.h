// The public face of the C layer between Swift and Lua: one umbrella over small headers, each with its own
// .c file. Everything that can raise a Lua error lives behind these functions, so that no Swift frame ever
// lies between a raise and the protected call that catches it.
#ifndef PANINI_CLUASHIM_H
#define PANINI_CLUASHIM_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "panini_coroutine.h"
#include "panini_crash.h"
#include "panini_error.h"
#include "panini_event.h"
#include "panini_fetch.h"
#include "panini_handle.h"
#include "panini_kill.h"
#include "panini_libraries.h"
#include "panini_load.h"
#include "panini_message.h"
#include "panini_middleware.h"
#include "panini_number.h"
#include "panini_object.h"
#include "panini_request.h"
#include "panini_share.h"
#include "panini_validator.h"
#include "panini_values.h"
#include "panini_vm.h"
#include "panini_watchdog.h"
#include "panini_websocket.h"
#endif
