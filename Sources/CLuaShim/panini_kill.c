// Owns: how a run is ended: the hook, the error, and the note of where it was.
#include "panini_kill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "panini_internal.h"
#include "panini_run.h"
#include "panini_weak.h"

// The error's value: nobody else has this address.
static char sentinel;

enum { PLACE_SIZE = 80, TRACE_SIZE = 1600, TRACE_LEVELS = 14 };

typedef struct panini_kill_note {
    char place[PLACE_SIZE];
    char trace[TRACE_SIZE];
} panini_kill_note;

const char *panini_kill_place(const panini_vm *vm) { return vm->kill_note ? vm->kill_note->place : ""; }

const char *panini_kill_traceback(const panini_vm *vm) { return vm->kill_note ? vm->kill_note->trace : ""; }

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
    vm->has_kill_note = 1;
    if (vm->kill_note == NULL) vm->kill_note = malloc(sizeof *vm->kill_note);
    panini_kill_note *note = vm->kill_note;
    if (note == NULL) return;
    note->place[0] = 0;
    strcpy(note->trace, "stack traceback:");
    int left = TRACE_LEVELS;
    for (panini_activation *at = vm->activation; at != NULL && left > 0; at = at->previous) {
        lua_Debug frame;
        for (int level = 0; left > 0 && lua_getstack(at->thread, level, &frame); level++, left--) {
            note_frame(at->thread, &frame, note);
        }
    }
}

static void hook(lua_State *L, lua_Debug *event);

int panini_raise_killed(lua_State *L) {
    panini_vm *vm = panini_vm_of(L);
    if (!vm->has_kill_note) note_place(vm);
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
    if (!vm->killed) {
        // For the look at weak tables, or left over from a run that has ended just in time.
        lua_sethook(L, NULL, 0, 0);
        panini_weak_hook(L);
        if (!vm->killed) return;
    }
    thread_set(L, THREAD_ENDED);
    panini_raise_killed(L);
}

void panini_hook_next(panini_vm *vm) {
    panini_activation *at = vm->activation;
    if (at != NULL) lua_sethook(at->thread, hook, LUA_MASKCOUNT | LUA_MASKCALL, 1);
}

void panini_kill_from_signal(panini_vm *vm) {
    if (!vm->killed) vm->kill_reason = PANINI_KILL_FOR_TIME;
    vm->killed = 1;
    panini_hook_next(vm);
}

void panini_kill_given_up(panini_vm *vm) {
    if (!vm->killed) vm->kill_reason = PANINI_KILL_GIVEN_UP;
    vm->killed = 1;
    panini_hook_next(vm);
}

void panini_kill_for(panini_vm *vm, int reason) {
    // Lua asks twice for memory, and collects in between.
    if (!vm->killed) {
        panini_watchdog_count_kill();
        vm->kill_reason = reason;
        vm->killed = 1;
        panini_hook_next(vm);
    }
    // Where it was is not seen any more when Lua's error has passed.
    if (!vm->has_kill_note) note_place(vm);
}

void *panini_begin_work(panini_vm *vm) {
    return vm->activation == NULL ? begin_run(vm, vm->cpu_budget / 5 + 1) : NULL;
}

int panini_end_work(panini_vm *vm, void *work) {
    if (work == NULL) return vm->killed;
    int was_killed = vm->killed;
    end_run(vm, vm->main, work);
    return was_killed;
}

int panini_settle_kill(panini_vm *vm, lua_State *L) {
    int was_raised = vm->has_kill_note;
    vm->killed = 0;
    vm->has_kill_note = 0;
    lua_sethook(L, NULL, 0, 0);
    return was_raised;
}
