// A descriptor by which an event loop is woken: eventfd(2), which Swift's C library leaves out.
#ifndef PANINI_EVENT_H
#define PANINI_EVENT_H

// A descriptor that can be read, for eight bytes, once it was set; -1 when there are none left.
int panini_event_make(void);
// False when that is impossible.
int panini_event_set(int descriptor);
#endif
