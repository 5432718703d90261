// Owns: how a run is ended: the hook, the error, and the note of where it was.
#include "panini_kill.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panini_thread.h"
#include "panini_vm.h"

// The error's value: nobody else has this address.
static char sentinel;

static _Atomic uint64_t kill_count;

uint64_t panini_kill_count(void) { return atomic_load_explicit(&kill_count, memory_order_relaxed); }

void panini_count_kill(void) { atomic_fetch_add_explicit(&kill_count, 1, memory_order_relaxed); }

enum { PLACE_SIZE = 80, TRACE_SIZE = 1600, TRACE_LEVELS = 14 };

typedef struct panini_kill_note {
    char place[PLACE_SIZE];
    char trace[TRACE_SIZE];
} panini_kill_note;

const char *panini_kill_place(const panini_vm *vm) { return vm->kill.note ? vm->kill.note->place : ""; }

const char *panini_kill_traceback(const panini_vm *vm) { return vm->kill.note ? vm->kill.note->trace : ""; }

// One line of the traceback. None of this takes memory of Lua's.
static void note_frame(lua_State *L, lua_Debug *frame, panini_kill_note *note) {
    if (!lua_getinfo(L, "Sln", frame)) return;
    if (frame->currentline > 0 && note->place[0] == 0) {
        snprintf(note->place, PLACE_SIZE, "%s:%d", frame->short_src, frame->currentline);
    }
    size_t length = strlen(note->trace);
    char line[16] = "";
    if (frame->currentline > 0) snprintf(line, sizeof line, "%d:", frame->currentline);
    const char *name = frame->name ? frame->name : *frame->what == 'm' ? "main chunk" : "?";
    snprintf(
        note->trace + length, TRACE_SIZE - length, "\n\t%s:%s in %s'%s'", frame->short_src, line,
        *frame->what == 'm' ? "" : "function ", name);
}

static void note_place(panini_vm *vm) {
    vm->kill.has_note = 1;
    if (vm->kill.note == NULL) vm->kill.note = malloc(sizeof *vm->kill.note);
    panini_kill_note *note = vm->kill.note;
    if (note == NULL) return;
    note->place[0] = 0;
    strcpy(note->trace, "stack traceback:");
    int left = TRACE_LEVELS;
    for (panini_activation *at = vm->calls.activation; at != NULL && left > 0; at = at->previous) {
        lua_Debug frame;
        for (int level = 0; left > 0 && lua_getstack(at->thread, level, &frame); level++, left--) {
            note_frame(at->thread, &frame, note);
        }
    }
}

static void hook(lua_State *L, lua_Debug *event);

int panini_raise_killed(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (!vm->kill.has_note) note_place(vm);
    // The thread that was told may be another one: what this one would close on its way out does not run either.
    if (lua_gethook(L) == NULL) lua_sethook(L, hook, LUA_MASKCOUNT | LUA_MASKCALL, 1);
    lua_pushlightuserdata(L, &sentinel);
    return lua_error(L);
}

// Runs before the next instruction or call of the thread that it was set on. The end of the run is all that it raises: Lua
// leaves a thread without hooks when one has raised, and runs message handlers and, as the thread is closed, __close in that
// state. A thread that was ended is marked, so that nothing is run on it again.
static void hook(lua_State *L, lua_Debug *event) {
    (void)event;
    panini_vm *vm = panini_vm_of(L);
    if (!vm->kill.is_due) {
        // For the look at weak tables, or left over from a run that has ended just in time.
        lua_sethook(L, NULL, 0, 0);
        vm->growth.size = 0;
        if (vm->kill.look != NULL) vm->kill.look(L);
        if (!vm->kill.is_due) return;
    }
    thread_set(L, THREAD_ENDED);
    panini_raise_killed(L);
}

void panini_hook_next(panini_vm *vm) {
    panini_activation *at = vm->calls.activation;
    if (at != NULL) lua_sethook(at->thread, hook, LUA_MASKCOUNT | LUA_MASKCALL, 1);
}

void panini_kill_from_signal(panini_vm *vm) {
    if (!vm->kill.is_due) vm->kill.reason = PANINI_KILL_FOR_TIME;
    vm->kill.is_due = 1;
    panini_hook_next(vm);
}

void panini_kill_given_up(panini_vm *vm) {
    if (!vm->kill.is_due) vm->kill.reason = PANINI_KILL_GIVEN_UP;
    vm->kill.is_due = 1;
    panini_hook_next(vm);
}

void panini_kill_for(panini_vm *vm, int reason) {
    // Lua asks twice for memory, and collects in between.
    if (!vm->kill.is_due) {
        panini_count_kill();
        vm->kill.reason = reason;
        vm->kill.is_due = 1;
        panini_hook_next(vm);
    }
    // Where it was is not seen any more when Lua's error has passed.
    if (!vm->kill.has_note) note_place(vm);
}

int panini_settle_kill(panini_vm *vm, lua_State *L) {
    int was_raised = vm->kill.has_note;
    vm->kill.is_due = 0;
    vm->kill.has_note = 0;
    lua_sethook(L, NULL, 0, 0);
    return was_raised;
}
