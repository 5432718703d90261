// Signals of the long-running commands. SIGINT and SIGTERM: the first stops gracefully, the second ends the program at once
// with 128 plus its number. SIGHUP reloads, where there is something to reload. No handler runs in a signal's context: the main thread takes signals with sigwait.

import Glibc
import Synchronization

enum StopSignals {
    private struct State {
        var stop: (@Sendable () -> Void)?
        var received = 0
        var reload: (@Sendable () -> Void)?
    }

    private static let state = Mutex(State())

    /// Makes SIGINT and SIGTERM wait for ``handleForever()``. Call it before the first thread is started, so that all
    /// threads inherit it.
    static func block() {
        var set = signals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Says what the first signal does; it is done at once when the signal has already come.
    static func onStop(_ stop: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            state.stop = stop
            return state.received > 0
        }
        if isLate {
            stop()
        }
    }

    /// Says what SIGHUP does. Without it SIGHUP ends the program as SIGTERM does.
    static func onReload(_ reload: @escaping @Sendable () -> Void) {
        state.withLock { $0.reload = reload }
    }

    /// Waits for signals on the calling thread.
    static func handleForever() -> Never {
        var set = signals()
        while true {
            var number: CInt = 0
            guard sigwait(&set, &number) == 0 else { continue }
            if number == SIGHUP, let reload = state.withLock({ $0.reload }) {
                reload()
                continue
            }
            let (stop, count) = state.withLock { state in
                state.received += 1
                return (state.stop, state.received)
            }
            if count > 1 {
                // At once: no handler may delay it, neither a running script nor a stuck console.
                _exit(128 + number)
            }
            stop?()
        }
    }

    private static func signals() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGHUP)
        return set
    }
}
