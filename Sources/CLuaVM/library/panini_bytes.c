// Owns: work over bytes in pieces, so that a run ends however long its texts are. The caller keeps the texts (panini_vm.h has the
// rule).
#define _GNU_SOURCE
#include "panini_bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline size_t piece_of(size_t length) { return length < PANINI_WORK ? length : PANINI_WORK; }

void panini_copy(lua_State *L, char *to, const char *from, size_t length) {
    for (size_t piece; length > 0; length -= piece) {
        piece = piece_of(length);
        memcpy(to, from, piece);
        panini_spend(L, piece);
        to += piece;
        from += piece;
    }
}

void panini_add_bytes(lua_State *L, luaL_Buffer *buffer, const char *from, size_t length) {
    for (size_t piece; length > 0; length -= piece) {
        piece = piece_of(length);
        luaL_addlstring(buffer, from, piece);
        panini_spend(L, piece);
        from += piece;
    }
}

const char *panini_find_far_byte(lua_State *L, const char *at, const char *end, char byte) {
    while (at < end) {
        size_t piece = piece_of((size_t)(end - at));
        const char *found = memchr(at, byte, piece);
        panini_spend(L, found != NULL ? (size_t)(found - at) : piece);
        if (found != NULL) return found;
        at += piece;
    }
    return NULL;
}

// ---- texts in texts

// Where a text's largest suffix begins, by the order of bytes or by the opposite one, less one; and that suffix's period.
static ptrdiff_t largest_suffix(lua_State *L, const uint8_t *text, ptrdiff_t length, bool is_opposite, ptrdiff_t *period) {
    ptrdiff_t suffix = -1, other = 0, offset = 1;
    *period = 1;
    while (other + offset < length) {
        panini_spend(L, 1);
        uint8_t here = text[other + offset], there = text[suffix + offset];
        if (here == there) {
            if (offset < *period) {
                offset++;
            } else {
                other += *period;
                offset = 1;
            }
        } else if ((here < there) != is_opposite) {
            other += offset;
            offset = 1;
            *period = other - suffix;
        } else {
            suffix = other++;
            offset = *period = 1;
        }
    }
    return suffix;
}

// How many bytes two texts have in common from the beginning on.
static ptrdiff_t common_length(lua_State *L, const uint8_t *left, const uint8_t *right, ptrdiff_t length) {
    ptrdiff_t at = 0;
    while (at < length && left[at] == right[at]) {
        at++;
        if (at % PANINI_WORK == 0) panini_check(L);
    }
    panini_spend(L, (size_t)(at % PANINI_WORK) + 1);
    return at;
}

// Of a long text, without memory: the two-way algorithm of Crochemore and Perrin. The text is cut in two; its right part is
// compared forwards, then its left part backwards.
static const char *find_long_text(lua_State *L, const char *at, size_t size, const char *needle, size_t needle_size) {
    const uint8_t *text = (const uint8_t *)needle, *place = (const uint8_t *)at;
    ptrdiff_t length = (ptrdiff_t)needle_size, last = (ptrdiff_t)size - length, period, other_period;
    ptrdiff_t cut = largest_suffix(L, text, length, false, &period);
    ptrdiff_t other_cut = largest_suffix(L, text, length, true, &other_period);
    if (other_cut > cut) {
        cut = other_cut;
        period = other_period;
    }
    // The first byte of the right part.
    cut++;
    // A text that repeats itself remembers how much of it is known to fit after a step of its period.
    bool is_periodic = common_length(L, text, text + period, cut < length - period ? cut : length - period) == cut;
    if (!is_periodic) period = (cut > length - cut ? cut : length - cut) + 1;
    ptrdiff_t known = 0;
    for (ptrdiff_t position = 0; position <= last;) {
        ptrdiff_t from = known > cut ? known : cut;
        ptrdiff_t fitting = from + common_length(L, text + from, place + position + from, length - from);
        if (fitting < length) {
            position += fitting - cut + 1;
            known = 0;
            continue;
        }
        ptrdiff_t before = cut;
        while (before > known && text[before - 1] == place[position + before - 1]) {
            before--;
            panini_spend(L, 1);
        }
        if (before <= known) return at + position;
        position += period;
        known = is_periodic ? length - period : 0;
    }
    return NULL;
}

const char *panini_find_text(lua_State *L, const char *at, size_t length, const char *text, size_t text_length) {
    // Shorter ones byte by byte, which is fast where they are rare; what the C library prepares for longer ones is little beside a
    // piece of the text.
    enum { SHORT_TEXT = 32, LONG_TEXT = 4096 };
    if (text_length == 0) return at;
    if (text_length > length) return NULL;
    if (text_length > LONG_TEXT) return find_long_text(L, at, length, text, text_length);
    // Behind the last place where it could begin.
    const char *end = at + (length - text_length) + 1;
    if (text_length <= SHORT_TEXT) {
        bool is_far = length > PANINI_WORK;
        if (!is_far) panini_spend(L, length);
        for (; (at = panini_find_byte(L, at, end, *text)) != NULL; at++) {
            if (memcmp(at, text, text_length) == 0) return at;
            if (is_far) panini_spend(L, SHORT_TEXT);
        }
        return NULL;
    }
    while (at < end) {
        size_t piece = piece_of((size_t)(end - at));
        const char *found = memmem(at, piece + text_length - 1, text, text_length);
        panini_spend(L, found != NULL ? (size_t)(found - at) + text_length : piece);
        if (found != NULL) return found;
        at += piece;
    }
    return NULL;
}
