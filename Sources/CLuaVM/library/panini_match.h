// Lua patterns over strings, for panini_match.c and panini_string.c only.
#ifndef PANINI_MATCH_H
#define PANINI_MATCH_H
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "panini_kill.h"

enum { MATCH_CAPTURES = 32 };
// Lengths of captures that have none.
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef struct matching {
    lua_State *L;
    const char *begin, *end;                  // the subject
    const char *pattern, *pattern_end;        // without the anchor
    const char *finder;                       // the pattern's first item when it is one byte that must be there
    size_t work;                              // since the last look whether the run is to end, as panini_spend counts it
    const char *set, *set_end;                // the set whose end was looked for last
    int depth;
    int count;                                // captures, open ones included
    struct {
        const char *at;
        ptrdiff_t length;
    } captures[MATCH_CAPTURES];
} matching;

// Prepares for a pattern, without its anchor.
void match_begin(
    matching *m, lua_State *L, const char *subject, size_t length, const char *pattern, size_t pattern_length);
// Where a match that begins exactly at `at` ends, or NULL. Raises for a malformed pattern.
const char *match_at(matching *m, const char *at);
// Goes on with a match from another call.
static inline void match_resume(matching *m, lua_State *L) {
    m->L = L;
    m->work = panini_vm_of(L)->kill.work;
}
// What was done counts for whoever comes next. Behind what calls the script there is no need: a call is a look.
static inline void match_pause(const matching *m) { panini_vm_of(m->L)->kill.work = m->work; }
// The first place from `at` on where a match can begin; NULL when there is none.
const char *match_candidate(matching *m, const char *at);
// So many bytes were read or copied on behalf of the match.
static inline void match_spend(matching *m, size_t bytes) {
    m->work += bytes;
    if (m->work < PANINI_WORK) return;
    m->work = 0;
    panini_check(m->L);
}
// Pushes a capture of the match from `at` to `end`, the whole match where there are no captures.
void match_push_capture(matching *m, int index, const char *at, const char *end);
// Pushes all captures, or when there are none and `whole` is set the whole match; their number.
int match_push_captures(matching *m, const char *at, const char *end, int whole);
#endif
