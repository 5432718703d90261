// Lua patterns over strings, for panini_match.c and panini_string.c only.
#ifndef PANINI_MATCH_H
#define PANINI_MATCH_H
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum { MATCH_CAPTURES = 32 };
// Lengths of captures that have none.
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef struct matching {
    lua_State *L;
    const char *begin, *end;                  // the subject
    const char *pattern, *pattern_end;        // without the anchor
    const char *finder;                       // the pattern's first item when it is one byte that must be there
    uint32_t turns;                           // since the last look whether the run is to end
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
// The first place from `at` on where a match can begin; NULL when there is none.
const char *match_candidate(const matching *m, const char *at);
// Pushes a capture of the match from `at` to `end`, the whole match where there are no captures.
void match_push_capture(matching *m, int index, const char *at, const char *end);
// Pushes all captures, or when there are none and `whole` is set the whole match; their number.
int match_push_captures(matching *m, const char *at, const char *end, int whole);
#endif
