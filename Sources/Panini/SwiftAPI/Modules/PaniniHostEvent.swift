// Owns: what a host tells of its services while it runs, and those who listen. Any thread; the host's loop tells, whoever
// reads the sequence has a buffer of their own.

import Synchronization

/// Something that happened to a service of a host.
public enum PaniniHostEvent: Sendable {
    /// A service has become ready.
    case started(PaniniServiceReport)
    /// A service runs a new version of its code.
    case reloaded(PaniniReloadReport)
    /// A new version did not take over: the one before serves on.
    case reloadFailed(service: String, PaniniError)
    /// A service could not start, or ended by itself.
    case failed(service: String, PaniniError)
    /// A service has stopped.
    case stopped(service: String)
}

/// Passes events on to every sequence that somebody asked for.
final class HostEvents: Sendable {
    private struct State {
        var next = 0
        var listeners: [Int: AsyncStream<PaniniHostEvent>.Continuation] = [:]
        var isFinished = false
    }

    private let state = Mutex(State())

    /// Who reads slower than this loses the oldest events.
    private static let buffered = 1024

    func stream() -> AsyncStream<PaniniHostEvent> {
        let (stream, continuation) = AsyncStream<PaniniHostEvent>.makeStream(
            bufferingPolicy: .bufferingNewest(Self.buffered)
        )
        let id = state.withLock { state -> Int? in
            guard !state.isFinished else { return nil }
            state.next += 1
            state.listeners[state.next] = continuation
            return state.next
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.listeners.removeValue(forKey: id) }
        }
        return stream
    }

    func tell(_ event: PaniniHostEvent) {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.yield(event) }
    }

    /// The host has ended.
    func finish() {
        let listeners = state.withLock { state in
            state.isFinished = true
            defer { state.listeners = [:] }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }
}
