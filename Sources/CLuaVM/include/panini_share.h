// Whose work a thread does, and how much of it: the slices of services that share an event loop. Nothing is measured on the
// thread itself. The watchdog, which looks at all threads every few milliseconds while they work, gives what has passed since
// its last look to whoever it meets, and says by a flag when a slice is used up.
#ifndef PANINI_SHARE_H
#define PANINI_SHARE_H
#include <stdint.h>

// One service on one thread.
typedef struct panini_share panini_share;

// How far back panini_share_busy can look, in seconds.
enum { PANINI_SHARE_SECONDS = 8 };

// NULL when there is no memory, or no watchdog. `slice` is CPU time in nanoseconds.
panini_share *panini_share_make(uint64_t slice);
void panini_share_set_slice(panini_share *share, uint64_t slice);
// On the thread that it was used on, which does other work from here on. Its memory stays readable.
void panini_share_free(panini_share *share);

// What the calling thread does from here on is this share's; NULL: nobody's. Returns whose it was.
panini_share *panini_share_enter(panini_share *share);
// A whole slice from here on.
void panini_share_begin_turn(panini_share *share);
// How many of the last nanoseconds, of so many whole seconds, were this share's. Any thread, while the share is there.
uint64_t panini_share_busy(panini_share *share, unsigned seconds);

// The beginning of a share: whether its slice is used up, an atomic word that the watchdog sets and panini_share_begin_turn
// clears; and whether the share is the one that its thread works for.
static inline const uint32_t *panini_share_words(const panini_share *share) { return (const uint32_t *)share; }
static inline int panini_share_is_over(const panini_share *share) {
    return __atomic_load_n(panini_share_words(share), __ATOMIC_RELAXED) != 0;
}
// On its own thread.
static inline int panini_share_is_entered(const panini_share *share) { return panini_share_words(share)[1] != 0; }
#endif
