// Owns: what SIGHUP means: the terminal is gone, or somebody wants the services reloaded. A value, and what it is asked with:
// one descriptor of the controlling terminal, kept open. Main thread.

import Glibc

/// The meaning of SIGHUP for a program, from how it was started.
struct HangUp: Equatable {
    enum Meaning: Equatable {
        case stop, reload, nothing
    }

    /// It was started at a terminal, and is of its session.
    let hasTerminal: Bool
    /// It was started to outlive the terminal: by `nohup`, which has SIGHUP ignored.
    let isIgnored: Bool

    /// - Parameters:
    ///   - isFromSystem: No process has sent it: the terminal was closed, or the session's first process has ended.
    ///   - isTerminalGone: The terminal was closed. Shells hand on to their jobs what they have been told themselves, so that a process
    ///     has sent it.
    ///   - canReload: There is something to reload.
    func meaning(isFromSystem: Bool, isTerminalGone: Bool, canReload: Bool) -> Meaning {
        if hasTerminal, isFromSystem || isTerminalGone { return isIgnored ? .nothing : .stop }
        if canReload { return .reload }
        return isIgnored ? .nothing : .stop
    }
}

/// The terminal of the program's session.
struct ControllingTerminal {
    private let descriptor: CInt

    /// Opens it; to be asked for before anything else is opened or started.
    init() { descriptor = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK) }

    var exists: Bool { descriptor >= 0 }

    /// It has been closed since.
    var isGone: Bool {
        guard exists else { return false }
        var settings = termios()
        return tcgetattr(descriptor, &settings) != 0 && errno == EIO
    }
}
