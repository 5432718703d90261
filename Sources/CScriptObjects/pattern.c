// Owns: matching compiled Lua patterns against whole strings. Its own matcher and not Lua's, for its steps are counted: a
// pattern that tries everything twice cannot hold the host, and every few thousand it looks whether its run is to end. Takes no
// memory, and so may hold a text of Lua's. Recursion goes one item forward each time, so that the length
// of the pattern bounds it.

#include "panini_pattern.h"

#include <stdbool.h>
#include <string.h>

typedef struct matcher {
    const uint8_t *items;
    const uint8_t *sets;
    int item_count;
    const uint8_t *begin, *end;
    int64_t *steps;
    int64_t next_look;  // at so many steps left
    const volatile int *is_over;
    const uint8_t *capture_begin[PANINI_PATTERN_CAPTURES];
    const uint8_t *capture_end[PANINI_PATTERN_CAPTURES];
} matcher;

static bool in_set(const matcher *m, int set, uint8_t byte) {
    return (m->sets[set * 32 + (byte >> 3)] >> (byte & 7)) & 1;
}

static bool takes(const matcher *m, const uint8_t *item, const uint8_t *at) {
    if (at == m->end) return false;
    switch (item[0]) {
        case PANINI_PATTERN_BYTE: return *at == item[2];
        case PANINI_PATTERN_SET: return in_set(m, item[2], *at);
        default: return true;
    }
}

static bool look(matcher *m) {
    enum { LOOK_EVERY = 8192 };
    if (*m->is_over) *m->steps = -1;
    m->next_look = *m->steps > LOOK_EVERY ? *m->steps - LOOK_EVERY : 0;
    return *m->steps >= 0;
}

static bool spend(matcher *m, int64_t steps) {
    *m->steps -= steps;
    return *m->steps >= m->next_look || look(m);
}

// The end of a balanced text that begins here, or NULL.
static const uint8_t *balanced(matcher *m, const uint8_t *item, const uint8_t *at) {
    if (at == m->end || *at != item[2]) return NULL;
    int64_t open = 1;
    for (const uint8_t *next = at + 1; next < m->end; next++) {
        if (!spend(m, 1)) return NULL;
        if (*next == item[3]) {
            if (--open == 0) return next + 1;
        } else if (*next == item[2]) {
            open++;
        }
    }
    return NULL;
}

// Behind all bytes from here on that an item takes; NULL when the steps are used up.
static const uint8_t *behind_taken(matcher *m, const uint8_t *item, const uint8_t *at) {
    enum { PIECE = 8192 };
    for (;;) {
        const uint8_t *from = at, *stop = m->end - at > PIECE ? at + PIECE : m->end;
        while (at < stop && takes(m, item, at)) at++;
        if (!spend(m, at - from)) return NULL;
        if (at < stop || at == m->end) return at;
    }
}

static bool match(matcher *m, int item_index, const uint8_t *at) {
    for (;; item_index++) {
        if (!spend(m, 1)) return false;
        if (item_index == m->item_count) return at == m->end;
        const uint8_t *item = m->items + item_index * 4;
        switch (item[0]) {
            case PANINI_PATTERN_OPEN: {
                const uint8_t *before = m->capture_begin[item[2]];
                m->capture_begin[item[2]] = at;
                if (match(m, item_index + 1, at)) return true;
                m->capture_begin[item[2]] = before;
                return false;
            }
            case PANINI_PATTERN_CLOSE: {
                const uint8_t *before = m->capture_end[item[2]];
                m->capture_end[item[2]] = at;
                if (match(m, item_index + 1, at)) return true;
                m->capture_end[item[2]] = before;
                return false;
            }
            case PANINI_PATTERN_POSITION: continue;
            case PANINI_PATTERN_REFERENCE: {
                size_t length = (size_t)(m->capture_end[item[2]] - m->capture_begin[item[2]]);
                if ((size_t)(m->end - at) < length || !spend(m, (int64_t)length)) return false;
                if (memcmp(at, m->capture_begin[item[2]], length) != 0) return false;
                at += length;
                continue;
            }
            case PANINI_PATTERN_BALANCE:
                at = balanced(m, item, at);
                if (at == NULL) return false;
                continue;
            case PANINI_PATTERN_FRONTIER: {
                uint8_t before = at == m->begin ? 0 : at[-1], here = at == m->end ? 0 : *at;
                if (in_set(m, item[2], before) || !in_set(m, item[2], here)) return false;
                continue;
            }
            default: break;
        }
        switch (item[1]) {
            case PANINI_ONCE:
                if (!takes(m, item, at)) return false;
                at++;
                continue;
            case PANINI_OPTIONAL:
                if (takes(m, item, at) && match(m, item_index + 1, at + 1)) return true;
                continue;
            case PANINI_LAZY:
                while (!match(m, item_index + 1, at)) {
                    if (!takes(m, item, at) || !spend(m, 1)) return false;
                    at++;
                }
                return true;
            default: {
                const uint8_t *least = item[1] == PANINI_PLUS ? at + 1 : at;
                if ((at = behind_taken(m, item, at)) == NULL || at < least) return false;
                // Nothing follows: only the longest run can reach the end.
                if (item_index + 1 == m->item_count) return at == m->end;
                for (;; at--) {
                    if (match(m, item_index + 1, at)) return true;
                    if (at == least || *m->steps < 0) return false;
                }
            }
        }
    }
}

int panini_pattern_matches(
    const uint8_t *program, const char *text, size_t length, int64_t *steps, const volatile int *is_over) {
    matcher m;
    m.item_count = program[0] | program[1] << 8;
    m.items = program + 2;
    m.sets = m.items + m.item_count * 4;
    m.begin = (const uint8_t *)text;
    m.end = m.begin + length;
    m.steps = steps;
    m.is_over = is_over;
    look(&m);
    if (match(&m, 0, m.begin)) return 1;
    return *steps < 0 ? -1 : 0;
}
