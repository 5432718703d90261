// Owns: the watchdog's thread, the list of threads that run Lua, and the signal. What the handler does is safe in a signal's
// context: it reads and writes flags of its own thread and calls lua_sethook, which lua.c does in such a place, too.
#include "panini_watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "panini_kill.h"
#include "panini_share.h"
#include "panini_vm.h"
#include "panini_watch.h"

// How often a thread that runs is looked at. Small budgets want a closer look, a twentieth of the smallest one, and so do
// slices: a quarter.
static const uint64_t LONGEST_TICK = 10 * 1000 * 1000, SHORTEST_TICK = 1000 * 1000;
// After so many looks without any work the watchdog sleeps until there is some again.
enum { QUIET_TICKS = 100 };
// Time between two looks that counts at most: a machine that was asleep has not been wedged.
static const uint64_t LONGEST_STEP = 100 * 1000 * 1000;
// Between two signals for the same run.
static const uint64_t LONGEST_SIGNAL_PAUSE = 500 * 1000 * 1000;

// A thread's record with what only the watchdog looks at.
typedef struct watched {
    panini_watch watch;
    pthread_t thread;
    clockid_t clock;
    uint64_t number;
    char name[16];
    uint64_t last_run;
    uint64_t base, last_time;      // CPU time when the run was met, and at the last look
    uint64_t last_look;            // the watchdog's clock
    uint64_t held;                 // how long the run has been watched
    uint64_t stuck;                // how long it has been so since it was to end, or since it took CPU time last
    uint64_t next_signal;          // the watchdog's clock: when a run that is to end is told so again
    uint64_t signal_pause;         // the time between two signals
    int is_wedged;
    int schedule;                  // the file where the system says how long the thread has waited for a processor; -1: none
    uint64_t share_look, share_time;  // the watchdog's clock and the thread's CPU time when its owner was looked at
    struct watched *next;
} watched;

// One second of a share: which one, and how much of it.
typedef struct share_second {
    uint64_t second, held;
} share_second;

struct panini_share {
    // First: panini_share_words.
    _Atomic uint32_t is_over;
    // Whether its thread works for it now; its thread alone uses it.
    uint32_t is_entered;
    // Counts the owner's turns; its thread writes.
    _Atomic uint32_t turn;
    _Atomic uint64_t slice;
    // The rest is the watchdog's, and whoever has the mutex.
    uint32_t met_turn;
    uint64_t used;  // CPU time since the turn was met
    panini_share *next_free;
    share_second seconds[PANINI_SHARE_SECONDS + 1];
};

__thread panini_watch *panini_thread_watch __attribute__((tls_model("initial-exec")));
_Atomic int panini_watchdog_news;

// Guards the list, the settings and the watchdog's sleep. Never held while Lua runs.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition;
static watched *list;
// Shares are used again, and never given back: a service may end in the middle of its own work, and whoever does that work looks
// at its share once more.
static panini_share *free_shares;
static uint64_t thread_count;
static int given_up_count;
static pthread_key_t thread_key;
static int is_started, has_failed;
static int wanted_signal, used_signal;
static uint64_t tick = LONGEST_TICK;
static uint64_t grace = 5ull * 1000 * 1000 * 1000;
static panini_wedge_function report_function;
static void *report_context;

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec time = {0, 0};
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t panini_thread_time(void) { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

uint64_t panini_wall_time(void) { return nanoseconds(CLOCK_MONOTONIC); }

int panini_watchdog_signal(void) { return used_signal; }

// ---- the signal

// Runs on the thread that has overrun. Late signals find another run, or none.
static void overrun(int number) {
    (void)number;
    int saved = errno;
    panini_watch *watch = panini_thread_watch;
    if (watch != NULL) {
        uint64_t run = atomic_load_explicit(&watch->run, memory_order_relaxed);
        panini_vm *vm = atomic_load_explicit(&watch->vm, memory_order_relaxed);
        if ((run & 1) && run == atomic_load_explicit(&watch->victim, memory_order_relaxed) && vm != NULL) {
            if (atomic_load_explicit(&watch->is_given_up, memory_order_relaxed)) panini_kill_given_up(vm);
            else panini_kill_from_signal(vm);
        }
    }
    errno = saved;
}

// The configured signal, or the first real-time signal that nobody has a handler for.
static int install_signal(void) {
    int first = wanted_signal ? wanted_signal : SIGRTMIN + 4, last = wanted_signal ? wanted_signal : SIGRTMAX;
    for (int number = first; number <= last; number++) {
        struct sigaction old, action;
        if (sigaction(number, NULL, &old) != 0 || old.sa_handler != SIG_DFL) continue;
        memset(&action, 0, sizeof action);
        action.sa_handler = overrun;
        // Calls of the system go on: an event loop does not notice.
        action.sa_flags = SA_RESTART | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        if (sigaction(number, &action, NULL) == 0) return number;
    }
    return 0;
}

int panini_watchdog_set_signal(int number) {
    if (number != 0 && (number < SIGRTMIN || number > SIGRTMAX)) return 0;
    pthread_mutex_lock(&mutex);
    int isDone = !is_started;
    if (isDone) wanted_signal = number;
    pthread_mutex_unlock(&mutex);
    return isDone;
}

// ---- the watchdog's thread

static void report(watched *thread, uint64_t time, int is_over) {
    if (report_function == NULL) return;
    panini_wedge wedge;
    memset(&wedge, 0, sizeof wedge);
    wedge.thread_number = thread->number;
    memcpy(wedge.thread_name, thread->name, sizeof wedge.thread_name);
    // A state waits for the mutex before it goes: what is read here is still there.
    panini_vm *vm = is_over ? NULL : atomic_load_explicit(&thread->watch.vm, memory_order_relaxed);
    if (vm != NULL) memcpy(wedge.label, vm->label, sizeof wedge.label);
    wedge.seconds = (double)time / 1e9;
    wedge.is_over = is_over;
    report_function(report_context, &wedge);
}

static void meet_run(watched *thread, uint64_t run, uint64_t now) {
    if (thread->is_wedged) report(thread, thread->held, 1);
    thread->is_wedged = 0;
    thread->last_run = run;
    thread->held = thread->stuck = 0;
    thread->next_signal = 0;
    thread->signal_pause = LONGEST_TICK;
    thread->last_look = now;
    if (!(run & 1)) return;
    thread->base = thread->last_time = nanoseconds(thread->clock);
    atomic_store_explicit(&thread->watch.seen_time, thread->base, memory_order_relaxed);
    atomic_store_explicit(&thread->watch.seen, run, memory_order_release);
}

// Looks at one thread; whether it has done anything. `pause` becomes shorter when a run is about to end.
static int look_at(watched *thread, uint64_t now, uint64_t *pause) {
    uint64_t run = atomic_load_explicit(&thread->watch.run, memory_order_acquire);
    if (run != thread->last_run) {
        meet_run(thread, run, now);
        return 1;
    }
    if (!(run & 1)) return 0;
    uint64_t step = now - thread->last_look;
    if (step > LONGEST_STEP) step = LONGEST_STEP;
    thread->last_look = now;
    thread->held += step;
    uint64_t budget = atomic_load_explicit(&thread->watch.budget, memory_order_relaxed);
    uint64_t time = nanoseconds(thread->clock), used = time - thread->base;
    // A busy machine gives a thread little time, but some: such a thread is not stuck.
    int stands_still = time - thread->last_time < step / 100;
    thread->last_time = time;
    if (budget == 0) return 1;
    int is_given_up = atomic_load_explicit(&thread->watch.is_given_up, memory_order_relaxed);
    int is_over = used >= budget || is_given_up;
    thread->stuck = is_over || stands_still ? thread->stuck + step : 0;
    if (is_over) {
        if (atomic_load_explicit(&thread->watch.victim, memory_order_relaxed) != run) {
            panini_count_kill();
        }
        atomic_store_explicit(&thread->watch.victim, run, memory_order_relaxed);
        // Again and again: Lua may have been between two threads of its own. But with pauses that grow: arming the hook walks
        // over all calls under way, hundreds of thousands at worst, and a thread that is told anew before it is done with
        // the last time does nothing else any more.
        if (now >= thread->next_signal) {
            pthread_kill(thread->thread, used_signal);
            thread->next_signal = now + thread->signal_pause;
            if (thread->signal_pause < LONGEST_SIGNAL_PAUSE) thread->signal_pause *= 2;
        }
    } else if (budget - used < *pause) {
        *pause = budget - used < SHORTEST_TICK / 4 ? SHORTEST_TICK / 4 : budget - used;
    }
    if (!thread->is_wedged && thread->stuck >= grace + (is_over ? 0 : budget)) {
        thread->is_wedged = 1;
        report(thread, thread->held, 0);
    }
    return 1;
}

// Gives the time since the last look to whom the thread works for now: what is met by chance, often enough, is met in
// proportion to its time. Whether it works for anybody.
static int look_at_owner(watched *thread, uint64_t now, uint64_t *pause) {
    panini_share *share = atomic_load_explicit(&thread->watch.owner, memory_order_acquire);
    uint64_t step = now - thread->share_look, time = nanoseconds(thread->clock), delta = time - thread->share_time;
    thread->share_look = now;
    thread->share_time = time;
    if (share == NULL) return 0;
    if (step > LONGEST_STEP) step = LONGEST_STEP;
    if (delta > step) delta = step;
    // A thread that waits works for nobody. One that a busy machine lets wait does.
    if (delta < step / 100) return 0;
    uint64_t second = now / 1000000000u;
    share_second *place = &share->seconds[second % (PANINI_SHARE_SECONDS + 1)];
    if (place->second != second) *place = (share_second){second, 0};
    place->held += step;
    uint32_t turn = atomic_load_explicit(&share->turn, memory_order_relaxed);
    share->used = turn == share->met_turn ? share->used + delta : 0;
    share->met_turn = turn;
    uint64_t slice = atomic_load_explicit(&share->slice, memory_order_relaxed);
    if (share->used >= slice) {
        // A turn that begins at this moment may so find its slice used up. It then goes on with the next one.
        atomic_store_explicit(&share->is_over, 1, memory_order_relaxed);
    } else if (slice - share->used < *pause) {
        *pause = slice - share->used < SHORTEST_TICK ? SHORTEST_TICK : slice - share->used;
    }
    return 1;
}

static int look_at_all(uint64_t *pause) {
    int is_busy = 0;
    uint64_t now = nanoseconds(CLOCK_MONOTONIC);
    for (watched *thread = list; thread != NULL; thread = thread->next) {
        is_busy |= look_at(thread, now, pause);
        is_busy |= look_at_owner(thread, now, pause);
    }
    return is_busy;
}

// Waits with the mutex given back.
static void wait_for(uint64_t pause) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t sum = (uint64_t)until.tv_nsec + pause;
    until.tv_sec += (time_t)(sum / 1000000000u);
    until.tv_nsec = (long)(sum % 1000000000u);
    pthread_cond_timedwait(&condition, &mutex, &until);
}

static int sleeps(void) { return atomic_load(&panini_watchdog_news) & PANINI_WATCHDOG_SLEEPS; }

static void *watch(void *unused) {
    (void)unused;
    prctl(PR_SET_NAME, "lua-watchdog");
    pthread_mutex_lock(&mutex);
    for (int quiet = 0;;) {
        uint64_t pause = tick;
        quiet = look_at_all(&pause) ? 0 : quiet + 1;
        if (quiet < QUIET_TICKS) {
            wait_for(pause);
            continue;
        }
        // A run that begins from here on wakes the watchdog, unless its thread has not seen the flag yet: the second look
        // finds that one.
        atomic_fetch_or(&panini_watchdog_news, PANINI_WATCHDOG_SLEEPS);
        wait_for(tick);
        if (sleeps() && !look_at_all(&pause)) {
            while (sleeps()) pthread_cond_wait(&condition, &mutex);
        }
        atomic_fetch_and(&panini_watchdog_news, ~PANINI_WATCHDOG_SLEEPS);
        quiet = 0;
    }
    return NULL;
}

// With the mutex.
static void wake(void) {
    atomic_fetch_and(&panini_watchdog_news, ~PANINI_WATCHDOG_SLEEPS);
    pthread_cond_signal(&condition);
}

static void wake_if_asleep(void) {
    if (!sleeps()) return;
    pthread_mutex_lock(&mutex);
    wake();
    pthread_mutex_unlock(&mutex);
}

void panini_watchdog_begun(panini_watch *watch, panini_vm *vm) {
    wake_if_asleep();
    if (atomic_load_explicit(&watch->is_given_up, memory_order_relaxed)) panini_kill_given_up(vm);
}

int panini_watchdog_give_up(uint64_t number) {
    pthread_mutex_lock(&mutex);
    watched *thread = list;
    while (thread != NULL && thread->number != number) thread = thread->next;
    if (thread != NULL && !atomic_load(&thread->watch.is_given_up)) {
        atomic_store(&thread->watch.is_given_up, 1);
        given_up_count++;
        atomic_fetch_or(&panini_watchdog_news, PANINI_THREADS_GIVEN_UP);
        // A run that goes on is told with the next look.
        wake();
    }
    pthread_mutex_unlock(&mutex);
    return thread != NULL;
}

void panini_watchdog_settle(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

static int start(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&condition, &attributes);
    pthread_condattr_destroy(&attributes);
    used_signal = install_signal();
    if (used_signal == 0) return 0;
    // No signal of the program's is meant for this thread.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread;
    int status = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (status == 0) pthread_detach(thread);
    return status == 0;
}

static void start_once(void) {
    if (is_started || has_failed) return;
    is_started = start();
    has_failed = !is_started;
}

static int need_looks(uint64_t wanted) {
    pthread_mutex_lock(&mutex);
    start_once();
    if (wanted < SHORTEST_TICK) wanted = SHORTEST_TICK;
    if (wanted < tick) tick = wanted;
    int is_there = is_started;
    pthread_mutex_unlock(&mutex);
    return is_there;
}

int panini_watchdog_need(uint64_t budget) { return need_looks(budget / 20); }

// ---- shares

panini_share *panini_share_make(uint64_t slice) {
    if (!need_looks(slice / 4)) return NULL;
    pthread_mutex_lock(&mutex);
    panini_share *share = free_shares;
    if (share != NULL) free_shares = share->next_free;
    pthread_mutex_unlock(&mutex);
    if (share == NULL) share = malloc(sizeof *share);
    if (share == NULL) return NULL;
    memset(share, 0, sizeof *share);
    atomic_init(&share->slice, slice);
    return share;
}

void panini_share_set_slice(panini_share *share, uint64_t slice) {
    need_looks(slice / 4);
    atomic_store_explicit(&share->slice, slice, memory_order_relaxed);
}

void panini_share_free(panini_share *share) {
    panini_watch *watch = panini_thread_watch;
    if (watch != NULL && atomic_load_explicit(&watch->owner, memory_order_relaxed) == share) {
        atomic_store_explicit(&watch->owner, NULL, memory_order_release);
    }
    pthread_mutex_lock(&mutex);
    share->next_free = free_shares;
    free_shares = share;
    pthread_mutex_unlock(&mutex);
}

panini_share *panini_share_enter(panini_share *share) {
    panini_watch *watch = panini_thread_watch;
    if (watch == NULL && (watch = panini_watch_make()) == NULL) return NULL;
    panini_share *previous = atomic_load_explicit(&watch->owner, memory_order_relaxed);
    if (previous != NULL) previous->is_entered = 0;
    if (share != NULL) share->is_entered = 1;
    atomic_store_explicit(&watch->owner, share, memory_order_release);
    if (share != NULL && atomic_load_explicit(&panini_watchdog_news, memory_order_relaxed)) wake_if_asleep();
    return previous;
}

void panini_share_begin_turn(panini_share *share) {
    atomic_fetch_add_explicit(&share->turn, 1, memory_order_relaxed);
    atomic_store_explicit(&share->is_over, 0, memory_order_relaxed);
}

uint64_t panini_share_busy(panini_share *share, unsigned seconds) {
    if (seconds > PANINI_SHARE_SECONDS) seconds = PANINI_SHARE_SECONDS;
    uint64_t now = nanoseconds(CLOCK_MONOTONIC) / 1000000000u, sum = 0;
    pthread_mutex_lock(&mutex);
    for (unsigned index = 0; index <= PANINI_SHARE_SECONDS; index++) {
        share_second at = share->seconds[index];
        if (at.second < now && at.second + seconds >= now) sum += at.held;
    }
    pthread_mutex_unlock(&mutex);
    return sum;
}

void panini_watchdog_report(uint64_t grace_nanoseconds, panini_wedge_function function, void *context) {
    pthread_mutex_lock(&mutex);
    grace = grace_nanoseconds;
    report_function = function;
    report_context = context;
    pthread_mutex_unlock(&mutex);
}

// ---- the list of threads

static void thread_ended(void *value) {
    watched *thread = value;
    panini_thread_watch = NULL;
    pthread_mutex_lock(&mutex);
    for (watched **at = &list; *at != NULL; at = &(*at)->next) {
        if (*at != thread) continue;
        *at = thread->next;
        break;
    }
    // The watchdog may not have seen yet that it had come back.
    if (thread->is_wedged) report(thread, thread->held, 1);
    if (atomic_load(&thread->watch.is_given_up) && --given_up_count == 0) {
        atomic_fetch_and(&panini_watchdog_news, ~PANINI_THREADS_GIVEN_UP);
    }
    pthread_mutex_unlock(&mutex);
    if (thread->schedule >= 0) close(thread->schedule);
    free(thread);
}

static void make_key(void) { pthread_key_create(&thread_key, thread_ended); }

panini_watch *panini_watch_make(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    watched *thread = calloc(1, sizeof *thread);
    if (thread == NULL) return NULL;
    thread->thread = pthread_self();
    if (pthread_getcpuclockid(thread->thread, &thread->clock) != 0 || pthread_setspecific(thread_key, thread) != 0) {
        free(thread);
        return NULL;
    }
    prctl(PR_GET_NAME, thread->name);
    thread->schedule = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    pthread_mutex_lock(&mutex);
    // The signal must be known by now: Swift's own threads block all signals, and those that they make do so, too.
    start_once();
    thread->number = ++thread_count;
    thread->next = list;
    list = thread;
    if (used_signal != 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, used_signal);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    pthread_mutex_unlock(&mutex);
    panini_thread_watch = &thread->watch;
    return panini_thread_watch;
}

// The second number of the file: nanoseconds in which the thread could have run.
static uint64_t waited_time(const watched *thread) {
    char text[96];
    ssize_t length = pread(thread->schedule, text, sizeof text - 1, 0);
    if (length <= 0) return 0;
    text[length] = 0;
    char *rest;
    strtoull(text, &rest, 10);
    return strtoull(rest, NULL, 10);
}

uint64_t panini_available_time(void) {
    // Reading the file takes longer than what is timed by it.
    static const uint64_t PAUSE = 20 * 1000 * 1000;
    static __thread uint64_t looked, waited;
    uint64_t now = panini_wall_time();
    panini_watch *watch = panini_thread_watch;
    if (watch != NULL && ((watched *)watch)->schedule >= 0 && now - looked > PAUSE) {
        looked = now;
        waited = waited_time((watched *)watch);
    }
    return now - waited;
}

uint64_t panini_watch_number(void) {
    panini_watch *watch = panini_thread_watch ? panini_thread_watch : panini_watch_make();
    return watch ? ((watched *)watch)->number : 0;
}
