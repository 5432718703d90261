// Owns: the handlers of the signals that end the program. What they call is safe in a signal's context, or was called once
// before (backtrace loads a library the first time). They write a few lines to standard error, if it takes them now.
#define _GNU_SOURCE
#include "panini_crash.h"

#include <execinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "panini_vm.h"
#include "panini_watch.h"

enum { FRAMES = 40, STACK_BYTES = 64 << 10 };

static const char *program_version = "";
static atomic_flag is_reporting = ATOMIC_FLAG_INIT;
static __thread char handler_stack[STACK_BYTES] __attribute__((aligned(16)));

// ---- a line, without the C library's buffers

typedef struct line {
    char text[512];
    size_t length;
} line;

static void add(line *line, const char *text) {
    while (*text != 0 && line->length < sizeof line->text - 1) {
        // Names come from scripts.
        unsigned char byte = (unsigned char)*text++;
        line->text[line->length++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
}

static void add_number(line *line, uintptr_t number, unsigned base) {
    char digits[24];
    int at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    add(line, digits + at);
}

static void say(line *line) {
    line->text[line->length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line->text, line->length);
    (void)written;
    line->length = 0;
}

static const char *name_of(int number) {
    switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    case SIGTRAP: return "SIGTRAP";
    case SIGFPE: return "SIGFPE";
    case SIGABRT: return "SIGABRT";
    default: return "signal";
    }
}

static void report(int number, const siginfo_t *info) {
    // A reader that has stopped must not hold a program that is about to end. What is written here fits into what such a
    // pipe has room for then.
    struct pollfd stream = {STDERR_FILENO, POLLOUT, 0};
    if (poll(&stream, 1, 0) != 1) return;
    char thread[17] = "";
    prctl(PR_GET_NAME, thread);
    line line = {"", 0};
    add(&line, "panini: crashed: ");
    add(&line, name_of(number));
    if (info->si_code > 0 && (number == SIGSEGV || number == SIGBUS)) {
        add(&line, " at the address 0x");
        add_number(&line, (uintptr_t)info->si_addr, 16);
    } else if (info->si_code <= 0 && info->si_pid != getpid()) {
        add(&line, " sent by the process ");
        add_number(&line, (uintptr_t)info->si_pid, 10);
    }
    add(&line, ", on the thread ");
    add(&line, thread);
    panini_watch *watch = panini_thread_watch;
    panini_vm *vm = watch == NULL ? NULL : atomic_load_explicit(&watch->vm, memory_order_relaxed);
    if (vm != NULL) {
        add(&line, ", in a script of ");
        add(&line, vm->label);
    }
    say(&line);
    add(&line, "panini: version ");
    add(&line, program_version);
    add(&line, "; where it was, the innermost first:");
    say(&line);
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    // This function, the handler, and what the system has put between it and the crash.
    int own = count > 3 ? 3 : 0;
    backtrace_symbols_fd(frames + own, count - own, STDERR_FILENO);
}

static void crashed(int number, siginfo_t *info, void *context) {
    (void)context;
    // One that crashes while it says so is not heard.
    static __thread int is_mine;
    if (!is_mine) {
        is_mine = 1;
        if (!atomic_flag_test_and_set(&is_reporting)) report(number, info);
        // Another thread says why, and ends the program.
        else poll(NULL, 0, 5000);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void panini_crash_prepare_thread(void) {
    stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack, .ss_flags = 0};
    sigaltstack(&stack, NULL);
}

void panini_crash_report(const char *version) {
    program_version = version;
    void *frames[1];
    backtrace(frames, 1);
    panini_crash_prepare_thread();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = crashed;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
}
