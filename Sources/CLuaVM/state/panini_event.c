#include "panini_event.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int panini_event_make(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int panini_event_set(int descriptor) {
    uint64_t one = 1;
    return write(descriptor, &one, sizeof one) == (ssize_t)sizeof one;
}
