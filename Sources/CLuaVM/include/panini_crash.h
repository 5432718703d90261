// What the program says when it crashes: the signal, the thread, whose script ran there, and where, as addresses in the
// program's file. No registers and no memory: nothing that a script has in hand gets into a log. Then the signal takes its
// course, with a core dump where the system makes them.
#ifndef PANINI_CRASH_H
#define PANINI_CRASH_H

// Installs the handlers, for the whole process; before other threads exist. `version` is kept.
void panini_crash_report(const char *version);

// Gives the calling thread a stack for the handler, so that it is heard of as well when its own is full.
void panini_crash_prepare_thread(void);
#endif
