// The io library and the parts of os that scripts get in place of Lua's own: what they write goes to the host, line by line
// into the log; files and processes are closed. Called by Lua. Texts and streams are on the stack while they are used
// (panini_vm.h has the rule).
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "panini_call.h"
#include "panini_kill.h"
#include "panini_library.h"
#include "panini_vm.h"

enum { INPUT = 0, OUTPUT = 1, ERRORS = 2 };

typedef struct stream {
    int number;
} stream;

static stream *check_stream(lua_State *L, int index) { return luaL_checkudata(L, index, LUA_FILEHANDLE); }

// ---- streams

// Writes the arguments from `first` on as one text.
static void write_arguments(lua_State *L, int number, int first) {
    panini_vm *vm = panini_vm_of(L);
    int count = lua_gettop(L);
    if (number == INPUT) luaL_error(L, "io.stdin cannot be written to");
    if (count < first) return;
    for (int index = first; index <= count; index++) luaL_checkstring(L, index);
    luaL_checkstack(L, 2, NULL);
    // Strings and numbers only: no metamethod runs.
    lua_concat(L, count - first + 1);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    if (vm->callbacks.output == NULL) {
        fwrite(text, 1, length, number == ERRORS ? stderr : stdout);
        return;
    }
    int could_fail = panini_enter_host(vm);
    vm->callbacks.output(vm->callbacks.output_context, number, text, length);
    panini_leave_host(vm, could_fail);
    panini_check(L);
}

static void flush(lua_State *L, int number) {
    panini_vm *vm = panini_vm_of(L);
    if (number == INPUT) return;
    if (vm->callbacks.output == NULL) {
        fflush(number == ERRORS ? stderr : stdout);
        return;
    }
    int could_fail = panini_enter_host(vm);
    vm->callbacks.output(vm->callbacks.output_context, number, NULL, 0);
    panini_leave_host(vm, could_fail);
}

static int stream_write(lua_State *L) {
    stream *to = check_stream(L, 1);
    lua_pushvalue(L, 1);
    lua_insert(L, 1);
    write_arguments(L, to->number, 3);
    lua_settop(L, 1);
    return 1;
}

static int stream_flush(lua_State *L) {
    flush(L, check_stream(L, 1)->number);
    lua_settop(L, 1);
    return 1;
}

// Standard streams stay open.
static int stream_close(lua_State *L) {
    flush(L, check_stream(L, 1)->number);
    lua_pushboolean(L, 1);
    return 1;
}

static int stream_setvbuf(lua_State *L) {
    check_stream(L, 1);
    lua_pushboolean(L, 1);
    return 1;
}

static int stream_seek(lua_State *L) {
    check_stream(L, 1);
    luaL_pushfail(L);
    lua_pushstring(L, strerror(ESPIPE));
    lua_pushinteger(L, ESPIPE);
    return 3;
}

// There is nothing to read: the end of the file.
static int read_nothing(lua_State *L) {
    luaL_pushfail(L);
    return 1;
}

static int stream_lines(lua_State *L) {
    check_stream(L, 1);
    lua_pushcfunction(L, read_nothing);
    return 1;
}

static int stream_text(lua_State *L) {
    static const char *const names[] = {"file (stdin)", "file (stdout)", "file (stderr)"};
    lua_pushstring(L, names[check_stream(L, 1)->number]);
    return 1;
}

static void make_metatable(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"write", stream_write}, {"flush", stream_flush}, {"close", stream_close}, {"setvbuf", stream_setvbuf},
        {"seek", stream_seek},   {"read", read_nothing},  {"lines", stream_lines}, {NULL, NULL},
    };
    luaL_newmetatable(L, LUA_FILEHANDLE);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, stream_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

// ---- io

// upvalue 1 of the functions that have a default stream: a table of them by number
static int default_number(lua_State *L, int number) {
    lua_rawgeti(L, lua_upvalueindex(1), number);
    int found = check_stream(L, -1)->number;
    lua_pop(L, 1);
    return found;
}

static int io_write(lua_State *L) {
    write_arguments(L, default_number(L, OUTPUT), 1);
    lua_rawgeti(L, lua_upvalueindex(1), OUTPUT);
    return 1;
}

static int io_flush(lua_State *L) {
    flush(L, default_number(L, OUTPUT));
    lua_rawgeti(L, lua_upvalueindex(1), OUTPUT);
    return 1;
}

static int io_close(lua_State *L) {
    if (!lua_isnone(L, 1)) return stream_close(L);
    flush(L, default_number(L, OUTPUT));
    lua_pushboolean(L, 1);
    return 1;
}

// io.input, io.output: the default stream, which another one may become.
static int choose(lua_State *L, int number, const char *name) {
    if (!lua_isnoneornil(L, 1)) {
        if (lua_isstring(L, 1)) return luaL_error(L, "%s: files are closed to scripts (--trust opens them)", name);
        check_stream(L, 1);
        lua_pushvalue(L, 1);
        lua_rawseti(L, lua_upvalueindex(1), number);
    }
    lua_rawgeti(L, lua_upvalueindex(1), number);
    return 1;
}

static int io_input(lua_State *L) { return choose(L, INPUT, "io.input"); }

static int io_output(lua_State *L) { return choose(L, OUTPUT, "io.output"); }

static int no_file(lua_State *L, const char *name) {
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: files are closed to scripts (--trust opens them)", name);
    lua_pushinteger(L, EACCES);
    return 3;
}

static int is_mode(const char *mode) {
    if (*mode == 0 || strchr("rwa", *mode) == NULL) return 0;
    mode++;
    mode += *mode == '+';
    return strspn(mode, "b") == strlen(mode);
}

static int io_open(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    luaL_argcheck(L, is_mode(luaL_optstring(L, 2, "r")), 2, "invalid mode");
    return no_file(L, name);
}

static int io_lines(lua_State *L) { return no_file(L, luaL_optstring(L, 1, "standard input")); }

static int io_tmpfile(lua_State *L) { return no_file(L, "io.tmpfile"); }

static int io_type(lua_State *L) {
    luaL_checkany(L, 1);
    if (luaL_testudata(L, 1, LUA_FILEHANDLE) != NULL) lua_pushliteral(L, "file");
    else luaL_pushfail(L);
    return 1;
}

int panini_open_io(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", io_open}, {"lines", io_lines}, {"tmpfile", io_tmpfile}, {"read", read_nothing}, {"type", io_type}, {NULL, NULL},
    };
    static const luaL_Reg of_defaults[] = {
        {"write", io_write}, {"flush", io_flush}, {"close", io_close}, {"input", io_input}, {"output", io_output}, {NULL, NULL},
    };
    static const char *const names[] = {"stdin", "stdout", "stderr"};
    make_metatable(L);
    luaL_newlib(L, functions);
    lua_newtable(L);
    for (int number = INPUT; number <= ERRORS; number++) {
        stream *made = lua_newuserdatauv(L, sizeof *made, 0);
        made->number = number;
        luaL_setmetatable(L, LUA_FILEHANDLE);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, names[number]);
        lua_rawseti(L, -2, number);
    }
    lua_insert(L, -2);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, of_defaults, 1);
    lua_remove(L, -2);
    panini_set_closed(L, "popen", "io.popen", NULL);
    return 1;
}

// ---- os

// Texts of numbers and dates are those of C; no script changes that for the process.
static int os_setlocale(lua_State *L) {
    const char *wanted = luaL_optstring(L, 1, NULL);
    static const char *const categories[] = {"all", "collate", "ctype", "monetary", "numeric", "time", NULL};
    luaL_checkoption(L, 2, "all", categories);
    if (wanted == NULL || *wanted == 0 || strcmp(wanted, "C") == 0 || strcmp(wanted, "POSIX") == 0) {
        lua_pushliteral(L, "C");
    } else {
        luaL_pushfail(L);
    }
    return 1;
}

void panini_close_os(lua_State *L) {
    lua_pushcfunction(L, os_setlocale);
    lua_setfield(L, -2, "setlocale");
    panini_set_closed(L, "execute", "os.execute", NULL);
    panini_set_closed(L, "exit", "os.exit", "a service ends with its program, and error(...) ends what runs");
    panini_set_closed(L, "getenv", "os.getenv", NULL);
    panini_set_closed(L, "remove", "os.remove", NULL);
    panini_set_closed(L, "rename", "os.rename", NULL);
    panini_set_closed(L, "tmpname", "os.tmpname", NULL);
}
