// Owns: matching Lua patterns. Lua's own matcher cannot be interrupted; this one counts what it does, bytes of the pattern and
// of the text alike, and looks whether its run is to end each time that it has done so much (panini_kill.h says how much).
// Whatever takes as long as a text or a pattern is long goes in pieces. Everything else is as the manual says, with Lua's texts
// for errors. The caller keeps the texts (panini_vm.h has the rule).
#include "panini_match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

// What a turn of the loops counts as, in bytes; of a set, so many bytes are read between two looks.
enum { DEEPEST = 200, TURN = 8, PIECE = 4096 };

// ---- classes of characters

enum {
    IS_ALPHA = 1, IS_CONTROL = 2, IS_DIGIT = 4, IS_GRAPH = 8, IS_LOWER = 16, IS_PUNCTUATION = 32, IS_SPACE = 64, IS_UPPER = 128,
    IS_ALNUM = 256, IS_HEX = 512, IS_ZERO = 1024,
};

static uint16_t classes[256];   // what a byte is
static uint16_t letters[256];   // what the letter of a class stands for; 0: it is no class

static void fill_tables(void) {
    static const struct {
        char letter;
        uint16_t class;
    } names[] = {
        {'a', IS_ALPHA}, {'c', IS_CONTROL}, {'d', IS_DIGIT}, {'g', IS_GRAPH},  {'l', IS_LOWER},
        {'p', IS_PUNCTUATION}, {'s', IS_SPACE}, {'u', IS_UPPER}, {'w', IS_ALNUM}, {'x', IS_HEX},
        // Not in the manual any more, and still Lua's.
        {'z', IS_ZERO},
    };
    for (int byte = 0; byte < 256; byte++) {
        classes[byte] = (uint16_t)((isalpha(byte) ? IS_ALPHA : 0) | (iscntrl(byte) ? IS_CONTROL : 0) |
            (isdigit(byte) ? IS_DIGIT : 0) | (isgraph(byte) ? IS_GRAPH : 0) | (islower(byte) ? IS_LOWER : 0) |
            (ispunct(byte) ? IS_PUNCTUATION : 0) | (isspace(byte) ? IS_SPACE : 0) | (isupper(byte) ? IS_UPPER : 0) |
            (isalnum(byte) ? IS_ALNUM : 0) | (isxdigit(byte) ? IS_HEX : 0) |
            (byte == 0 ? IS_ZERO : 0));
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        letters[(uint8_t)names[i].letter] = names[i].class;
        letters[toupper(names[i].letter)] = names[i].class;
    }
}

// Whether a byte is of the class that stands behind a percent sign.
static inline bool in_class(uint8_t byte, uint8_t letter) {
    uint16_t class = letters[letter];
    if (class == 0) return byte == letter;
    bool is_in = (classes[byte] & class) != 0;
    return letter & 0x20 ? is_in : !is_in;
}

// Whether a byte is of the member at `*set`, which goes on behind it.
static inline bool is_member(uint8_t byte, const char **set, const char *last) {
    uint8_t first = (uint8_t)*(*set)++;
    if (first == '%') return in_class(byte, (uint8_t)*(*set)++);
    if (**set != '-' || *set + 1 >= last) return first == byte;
    bool is_one = first <= byte && byte <= (uint8_t)(*set)[1];
    *set += 2;
    return is_one;
}

// `set` is behind the bracket, `last` at the closing one. The caller counts the set.
static bool in_set(uint8_t byte, const char *set, const char *last) {
    bool found = *set != '^';
    if (!found) set++;
    while (set < last) {
        if (is_member(byte, &set, last)) return found;
    }
    return !found;
}

// The same with looks, for long sets.
static bool in_long_set(const matching *m, uint8_t byte, const char *set, const char *last) {
    bool found = *set != '^';
    if (!found) set++;
    for (const char *stop = set + PIECE; set < last;) {
        if (is_member(byte, &set, last)) return found;
        if (set < stop) continue;
        stop = set + PIECE;
        panini_check(m->L);
    }
    return !found;
}

// Whether the set from `p` to `end` has a byte.
static inline bool has(const matching *m, uint8_t byte, const char *p, const char *end) {
    return end - p > PIECE ? in_long_set(m, byte, p + 1, end - 1) : in_set(byte, p + 1, end - 1);
}

// ---- steps

// Behind the set that begins at `p`.
static const char *find_set_end(matching *m, const char *p) {
    const char *at = p + 1, *stop = at + PIECE;
    if (*at == '^') at++;
    do {
        if (at == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
        if (*at++ == '%' && at < m->pattern_end) at++;
        if (at < stop) continue;
        stop = at + PIECE;
        panini_check(m->L);
    } while (*at != ']');
    m->set = p;
    m->set_end = at + 1;
    // In a pattern of many sets each is looked for again.
    match_spend(m, (size_t)(at - p));
    return at + 1;
}

// Behind the one item, set or class that begins at `p`.
static inline const char *item_end(matching *m, const char *p) {
    // The end of a set is looked for once, however often the item is tried.
    if (*p == '[') return p == m->set ? m->set_end : find_set_end(m, p);
    if (*p++ != '%') return p;
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
}

// Whether the byte at `s` is one of the item from `p` to `end`. The caller counts the item.
static inline bool takes(const matching *m, const char *s, const char *p, const char *end) {
    switch (*p) {
        case '.': return true;
        case '%': return in_class((uint8_t)*s, (uint8_t)p[1]);
        case '[': return has(m, (uint8_t)*s, p, end);
        default: return *s == *p;
    }
}

static inline bool fits(const matching *m, const char *s, const char *p, const char *end) {
    return s < m->end && takes(m, s, p, end);
}

// How far the text may be read from `s` on when each byte of it counts as `cost` bytes, before what was read is counted.
static inline const char *next_stop(const matching *m, const char *s, size_t cost) {
    size_t left = (size_t)(m->end - s);
    if (left * cost <= PANINI_WORK) return m->end;
    size_t count = PANINI_WORK / cost + 1;
    return left < count ? m->end : s + count;
}

static const char *match(matching *m, const char *s, const char *p);

// As many as there are, then fewer.
static const char *most(matching *m, const char *s, const char *p, const char *end) {
    const char *last = s;
    if (*p == '.') {
        last = m->end;
    } else {
        size_t cost = (size_t)(end - p);
        for (const char *from = s, *stop; from < m->end; from = last) {
            stop = next_stop(m, from, cost);
            while (last < stop && takes(m, last, p, end)) last++;
            match_spend(m, (size_t)(last - from + 1) * cost);
            if (last < stop) break;
        }
    }
    for (; last >= s; last--) {
        const char *found = match(m, last, end + 1);
        if (found != NULL) return found;
    }
    return NULL;
}

// As few as possible.
static const char *fewest(matching *m, const char *s, const char *p, const char *end) {
    for (;; s++) {
        const char *found = match(m, s, end + 1);
        if (found != NULL) return found;
        if (!fits(m, s, p, end)) return NULL;
        // Looked at with the next item.
        m->work += (size_t)(end - p);
    }
}

static const char *open_capture(matching *m, const char *s, const char *p, ptrdiff_t length) {
    if (m->count >= MATCH_CAPTURES) luaL_error(m->L, "too many captures");
    m->captures[m->count].at = s;
    m->captures[m->count].length = length;
    m->count++;
    const char *found = match(m, s, p);
    if (found == NULL) m->count--;
    return found;
}

static const char *close_capture(matching *m, const char *s, const char *p) {
    int open = m->count - 1;
    while (open >= 0 && m->captures[open].length != CAPTURE_OPEN) open--;
    if (open < 0) luaL_error(m->L, "invalid pattern capture");
    m->captures[open].length = s - m->captures[open].at;
    const char *found = match(m, s, p);
    if (found == NULL) m->captures[open].length = CAPTURE_OPEN;
    return found;
}

// %b: behind the text that begins with the first byte and ends with its counterpart.
static const char *balanced(matching *m, const char *s, const char *p) {
    if (m->pattern_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->end || *s != p[0]) return NULL;
    size_t open = 1;
    for (const char *from = ++s, *stop; from < m->end; from = s) {
        stop = next_stop(m, from, 1);
        for (; s < stop; s++) {
            if (*s == p[1]) {
                if (--open > 0) continue;
                match_spend(m, (size_t)(s - from));
                return s + 1;
            }
            if (*s == p[0]) open++;
        }
        match_spend(m, (size_t)(s - from));
    }
    return NULL;
}

// %1 to %9: behind a repetition of the capture.
static const char *repeated(matching *m, const char *s, int digit) {
    int index = digit - '1';
    if (index < 0 || index >= m->count || m->captures[index].length == CAPTURE_OPEN) {
        luaL_error(m->L, "invalid capture index %%%d", index + 1);
    }
    // Of a position, no text is that long.
    size_t length = (size_t)m->captures[index].length;
    if ((size_t)(m->end - s) < length) return NULL;
    for (const char *at = m->captures[index].at; length > 0;) {
        size_t piece = length < PANINI_WORK ? length : PANINI_WORK;
        if (memcmp(s, at, piece) != 0) {
            match_spend(m, piece);
            return NULL;
        }
        match_spend(m, piece);
        s += piece;
        at += piece;
        length -= piece;
    }
    return s;
}

// Where a match of the rest of the pattern ends. Recursion happens where there is a choice; what must be so is a turn of the
// loop.
static const char *match(matching *m, const char *s, const char *p) {
    if (m->depth-- == 0) luaL_error(m->L, "pattern too complex");
    while (p != m->pattern_end) {
        match_spend(m, TURN);
        switch (*p) {
            case '(':
                s = p[1] == ')' ? open_capture(m, s, p + 2, CAPTURE_POSITION) : open_capture(m, s, p + 1, CAPTURE_OPEN);
                goto done;
            case ')': s = close_capture(m, s, p + 1); goto done;
            case '$':
                if (p + 1 != m->pattern_end) break;
                if (s != m->end) s = NULL;
                goto done;
            case '%':
                if (p[1] == 'b') {
                    if ((s = balanced(m, s, p + 2)) == NULL) goto done;
                    p += 4;
                    continue;
                }
                if (p[1] == 'f') {
                    p += 2;
                    if (*p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
                    const char *end = item_end(m, p);
                    uint8_t before = s == m->begin ? 0 : (uint8_t)s[-1], here = s < m->end ? (uint8_t)*s : 0;
                    m->work += 2 * (size_t)(end - p);
                    if (has(m, before, p, end) || !has(m, here, p, end)) {
                        s = NULL;
                        goto done;
                    }
                    p = end;
                    continue;
                }
                if (p[1] >= '0' && p[1] <= '9') {
                    if ((s = repeated(m, s, p[1])) == NULL) goto done;
                    p += 2;
                    continue;
                }
                break;
            default: break;
        }
        const char *end = item_end(m, p);
        m->work += (size_t)(end - p);
        switch (end < m->pattern_end ? *end : 0) {
            case '?': {
                const char *found;
                if (fits(m, s, p, end) && (found = match(m, s + 1, end + 1)) != NULL) {
                    s = found;
                    goto done;
                }
                p = end + 1;
                continue;
            }
            case '*': s = most(m, s, p, end); goto done;
            case '+': s = fits(m, s, p, end) ? most(m, s + 1, p, end) : NULL; goto done;
            case '-': s = fewest(m, s, p, end); goto done;
            default:
                if (!fits(m, s, p, end)) {
                    s = NULL;
                    goto done;
                }
                s++;
                p = end;
        }
    }
done:
    m->depth++;
    return s;
}

// ---- entries

void match_begin(
    matching *m, lua_State *L, const char *subject, size_t length, const char *pattern, size_t pattern_length) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    match_resume(m, L);
    m->begin = subject;
    m->end = subject + length;
    m->pattern = pattern;
    m->pattern_end = pattern + pattern_length;
    m->set = NULL;
    // The byte behind the pattern is a zero.
    bool is_plain = pattern_length > 0 && *pattern != 0 && strchr("$.([%)", *pattern) == NULL;
    bool must_be_there = pattern[pattern_length > 0] == 0 || strchr("*?-", pattern[1]) == NULL;
    m->finder = is_plain && must_be_there ? pattern : NULL;
}

const char *match_at(matching *m, const char *at) {
    m->depth = DEEPEST;
    m->count = 0;
    return match(m, at, m->pattern);
}

const char *match_candidate(matching *m, const char *at) {
    if (m->finder == NULL) return at;
    while (at < m->end) {
        size_t piece = (size_t)(m->end - at) < PANINI_WORK ? (size_t)(m->end - at) : PANINI_WORK;
        const char *found = memchr(at, *m->finder, piece);
        match_spend(m, found != NULL ? (size_t)(found - at) : piece);
        if (found != NULL) return found;
        at += piece;
    }
    return NULL;
}

void match_push_capture(matching *m, int index, const char *at, const char *end) {
    if (index >= m->count) {
        if (index != 0) luaL_error(m->L, "invalid capture index %%%d", index + 1);
        match_spend(m, (size_t)(end - at));
        lua_pushlstring(m->L, at, (size_t)(end - at));
        return;
    }
    ptrdiff_t length = m->captures[index].length;
    if (length == CAPTURE_OPEN) luaL_error(m->L, "unfinished capture");
    if (length == CAPTURE_POSITION) {
        lua_pushinteger(m->L, m->captures[index].at - m->begin + 1);
        return;
    }
    match_spend(m, (size_t)length);
    lua_pushlstring(m->L, m->captures[index].at, (size_t)length);
}

int match_push_captures(matching *m, const char *at, const char *end, int whole) {
    int count = m->count == 0 && whole ? 1 : m->count;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++) match_push_capture(m, i, at, end);
    return count;
}
