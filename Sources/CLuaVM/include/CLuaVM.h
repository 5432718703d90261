// The public face of the C layer between Swift and Lua: one umbrella over small headers, each with its own
// .c file. Everything that can raise a Lua error lives behind these functions, so that no Swift frame ever
// lies between a raise and the protected call that catches it. Knows a state, its budgets and its library, and
// nothing of what a host puts into it.
#ifndef PANINI_CLUAVM_H
#define PANINI_CLUAVM_H
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "panini_address.h"
#include "panini_base.h"
#include "panini_budget.h"
#include "panini_call.h"
#include "panini_coroutine.h"
#include "panini_crash.h"
#include "panini_error.h"
#include "panini_event.h"
#include "panini_faults.h"
#include "panini_growth.h"
#include "panini_kill.h"
#include "panini_libraries.h"
#include "panini_life.h"
#include "panini_load.h"
#include "panini_memory.h"
#include "panini_number.h"
#include "panini_parts.h"
#include "panini_pool.h"
#include "panini_require.h"
#include "panini_share.h"
#include "panini_shield.h"
#include "panini_values.h"
#include "panini_vm.h"
#include "panini_watchdog.h"
#include "panini_weak.h"
#endif
