// Lua patterns that are compiled, matched against whole strings. Knows no Lua state.
#ifndef PANINI_PATTERN_H
#define PANINI_PATTERN_H

#include <stddef.h>
#include <stdint.h>

// Whether the whole text matches a compiled pattern. 1, 0, or -1 when `steps` are used up, or the run is over; counts them
// down.
int panini_pattern_matches(
    const uint8_t *program, const char *text, size_t length, int64_t *steps, const volatile int *is_over);

// A compiled pattern: the number of items (two bytes, little endian), the items of four bytes, sets of 32 bytes.
enum {
    PANINI_PATTERN_BYTE = 0,  // a: the byte
    PANINI_PATTERN_SET,       // a: the set's number
    PANINI_PATTERN_ANY,
    PANINI_PATTERN_OPEN,      // a capture begins; a: its number
    PANINI_PATTERN_CLOSE,     // it ends; a: its number
    PANINI_PATTERN_POSITION,  // an empty capture
    PANINI_PATTERN_REFERENCE, // what capture a has matched
    PANINI_PATTERN_BALANCE,   // from a to its counterpart b
    PANINI_PATTERN_FRONTIER,  // a: the set's number
};
enum { PANINI_ONCE = 0, PANINI_STAR, PANINI_PLUS, PANINI_LAZY, PANINI_OPTIONAL };
enum { PANINI_PATTERN_CAPTURES = 32, PANINI_PATTERN_ITEMS = 200 };

#endif
