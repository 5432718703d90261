// The CPU budget of runs. A run is one entry of the host into a Lua state, up to its return. While one goes on nothing is
// measured: entering and leaving are a few stores. One thread, the watchdog, looks at all others every few milliseconds;
// one that holds on to a run for longer than its budget gets a signal, whose handler arms Lua's hook.
#ifndef PANINI_WATCHDOG_H
#define PANINI_WATCHDOG_H
#include <stdint.h>

// What the watchdog says of a thread that does not come back although its run was to end. Called on the watchdog's thread.
typedef struct panini_wedge {
    uint64_t thread_number;  // of panini_watch_number
    char thread_name[16];
    char label[64];          // the state's: panini_vm_set_label
    double seconds;          // how long the run has gone on; for `is_over`, how long it was wedged
    int is_over;             // it came back after all
} panini_wedge;

typedef void (*panini_wedge_function)(void *context, const panini_wedge *wedge);

// Says who hears of wedged threads, and after how many nanoseconds beyond the budget. One for the process; NULL: nobody.
void panini_watchdog_report(uint64_t grace_nanoseconds, panini_wedge_function function, void *context);

// The real-time signal to use; before the first state with a budget is made. 0: the first one that nobody handles.
// Returns 0 when it is none, or when it is too late.
int panini_watchdog_set_signal(int number);
// The signal in use, 0 before the first budget.
int panini_watchdog_signal(void);

// A number for the calling thread, from 1, as reports have it; 0 when there is no memory for it.
uint64_t panini_watch_number(void);

// Nothing of Lua is to run any more on the thread of that number: the run that goes on is ended as soon as it can be, each
// later one before its first instruction. For good; any thread may ask. Returns 0 when there is no such thread.
int panini_watchdog_give_up(uint64_t number);

// CPU time of the calling thread in nanoseconds.
uint64_t panini_thread_time(void);
// A clock that stands still while the thread waits for a processor that others have: what a thread could take of its time
// is a matter of that. May go back a little.
uint64_t panini_available_time(void);
#endif
