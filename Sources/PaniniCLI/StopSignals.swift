// Signals of the long-running commands. SIGINT and SIGTERM: the first stops gracefully, the second ends the program at once
// with 128 plus its number; the echo of the first (SignalRepetition) is no second. SIGHUP reloads, where there is something to reload, and stops when it says that the terminal is gone.
// No handler runs in a signal's context: the main thread takes signals with sigtimedwait. It depends on no other thread: when a
// stop has taken its time and more, whatever holds the program, it ends it.

import Glibc
import Synchronization

enum StopSignals {
    /// Begins the stop; returns how many seconds it may take as the services say.
    typealias Stop = @Sendable () -> Double

    /// What a stop may take beyond that: for the connections, the log, and a worker that does not come back.
    static let margin = 10.0

    private struct State {
        var stop: Stop?
        var received = 0
        var isHungUp = false
        /// When the program is ended whatever it does, in seconds of the monotonic clock.
        var deadline: Double?
        var reload: (@Sendable () -> Void)?
    }

    private static let state = Mutex(State())

    /// Makes SIGINT and SIGTERM wait for ``handleForever(_:)``. Call it before the first thread is started, so that all
    /// threads inherit it.
    ///
    /// - Returns: The terminal that the program was started at, for ``handleForever(_:)``.
    static func block() -> ControllingTerminal {
        var set = signals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        return ControllingTerminal()
    }

    /// Says what the first signal does; it is done at once when the signal has already come.
    static func onStop(_ stop: @escaping Stop) {
        let isLate = state.withLock { state in
            state.stop = stop
            return state.received > 0 || state.isHungUp
        }
        if isLate { begin(stop) }
    }

    private static func begin(_ stop: Stop?) {
        // Nothing may have come so far that there is something to stop.
        let deadline = now + (stop?() ?? 0) + margin
        state.withLock { $0.deadline = deadline }
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Waits for a signal, no longer than until the program is to be ended.
    private static func wait(_ set: inout sigset_t, _ info: inout siginfo_t) -> CInt {
        guard let deadline = state.withLock({ $0.deadline }) else {
            return sigwaitinfo(&set, &info)
        }
        let rest = deadline - now
        guard rest > 0 else {
            // Neither the log nor the console may keep it: nobody may be reading them.
            let line = Array("panini: the stop takes longer than shutdown_timeout allows: ended\n".utf8)
            var poll = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
            if Glibc.poll(&poll, 1, 0) == 1 { _ = write(STDERR_FILENO, line, line.count) }
            _exit(CommandError.Code.failed.rawValue)
        }
        var pause = timespec(tv_sec: Int(min(rest, 1e6)), tv_nsec: Int((rest.truncatingRemainder(dividingBy: 1)) * 1e9))
        return sigtimedwait(&set, &info, &pause)
    }

    /// Says what SIGHUP does, unless the terminal is gone. Without it SIGHUP ends the program as SIGTERM does.
    static func onReload(_ reload: @escaping @Sendable () -> Void) {
        state.withLock { $0.reload = reload }
    }

    /// Waits for signals on the calling thread.
    static func handleForever(_ terminal: ControllingTerminal) -> Never {
        let hangUp = HangUp(hasTerminal: terminal.exists, isIgnored: isHangUpIgnored)
        var set = signals()
        var repetition = SignalRepetition()
        while true {
            var info = siginfo_t()
            let number = wait(&set, &info)
            guard number > 0 else { continue }
            guard number == SIGHUP else {
                _ = repetition.isEcho(number, from: sender(info), at: now)
                let others = takeEchoes(of: number, &repetition)
                received(number)
                for _ in 0..<others { received(number) }
                continue
            }
            let reload = state.withLock { $0.reload }
            let meaning = hangUp.meaning(
                isFromSystem: info.si_code == siKernel,
                isTerminalGone: terminal.isGone,
                canReload: reload != nil
            )
            switch meaning {
            case .stop: hungUp()
            case .reload: reload?()
            case .nothing: break
            }
        }
    }

    /// Takes the echoes of a signal before it is acted upon, which may take its time.
    ///
    /// - Returns: How many of those that came meanwhile are no echoes.
    private static func takeEchoes(of number: CInt, _ repetition: inout SignalRepetition) -> Int {
        var pause = timespec(tv_sec: 0, tv_nsec: Int(SignalRepetition.window * 0.5e9))
        nanosleep(&pause, nil)
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, number)
        var info = siginfo_t()
        var atOnce = timespec()
        var others = 0
        while sigtimedwait(&set, &info, &atOnce) == number {
            if !repetition.isEcho(number, from: sender(info), at: now) { others += 1 }
        }
        return others
    }

    /// The process that has sent a signal; nil when the kernel has.
    private static func sender(_ info: siginfo_t) -> CInt? {
        info.si_code == siUser ? info._sifields._kill.si_pid : nil
    }

    /// The kernel's number for signals that no process has sent (siginfo.h).
    private static let siKernel: CInt = 0x80

    /// The number for signals that a process has sent by kill (siginfo.h).
    private static let siUser: CInt = 0

    /// Whoever started this program has SIGHUP ignored, which programs inherit.
    private static var isHangUpIgnored: Bool {
        var action = sigaction()
        guard sigaction(SIGHUP, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    /// A terminal that closes may say so more than once, and is no second wish to end at once.
    private static func hungUp() {
        let stop = state.withLock { state -> Stop? in
            let isFirst = !state.isHungUp && state.received == 0
            state.isHungUp = true
            return isFirst ? state.stop : nil
        }
        begin(stop)
    }

    private static func received(_ number: CInt) {
        let (stop, count) = state.withLock { state in
            state.received += 1
            return (state.isHungUp ? nil : state.stop, state.received)
        }
        if count > 1 {
            // At once: no handler may delay it, neither a running script nor a stuck console.
            _exit(128 + number)
        }
        begin(stop)
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
