// Owns: the events of a client for any number of listeners. Each has a bounded buffer of its own: a listener that does not
// read costs the oldest events, which are counted, and nobody else anything. Safe on any thread; may not know the connection.

import NIOConcurrencyHelpers
import NIOCore

/// What happens to a client's connection, in order, each event once; see ``NATSClient/events``.
///
/// It begins with the first event after it was made, and ends after ``NATSEvent/closed(_:)`` or when the reading task is
/// cancelled.
public struct NATSEventStream: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = NATSEvent
    /// A step of the iteration never throws.
    public typealias Failure = Never

    /// How many events wait for a listener at most; beyond that the oldest are dropped.
    public static let bufferLimit = 1024

    let listener: EventListener

    /// How many events were dropped because this listener was too slow.
    public var droppedEvents: Int { listener.dropped }

    /// The events that are there already, without waiting.
    package func takeBuffered() -> [NATSEvent] { listener.takeAll() }

    /// Begins the iteration; each event goes to one iterator, so make a sequence for each listener.
    public func makeAsyncIterator() -> Iterator {
        Iterator(listener: listener)
    }

    /// Takes events one by one.
    public struct Iterator: AsyncIteratorProtocol {
        let listener: EventListener

        /// The next event, nil after the last one or when the task is cancelled.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> NATSEvent? {
            await listener.next(isolation: actor)
        }

        /// The next event, nil after the last one or when the task is cancelled.
        public mutating func next() async -> NATSEvent? {
            await listener.next(isolation: nil)
        }
    }
}

/// Hands events to all listeners.
final class EventHub: Sendable {
    private struct State {
        var listeners: [WeakListener] = []
        var isEnded = false
    }

    private struct WeakListener {
        weak var listener: EventListener?
    }

    private let state = NIOLockedValueBox(State())

    func makeListener() -> EventListener {
        let listener = EventListener()
        let isEnded = state.withLockedValue { state in
            state.listeners.removeAll { $0.listener == nil }
            if !state.isEnded {
                state.listeners.append(WeakListener(listener: listener))
            }
            return state.isEnded
        }
        if isEnded {
            listener.end()
        }
        return listener
    }

    func emit(_ event: NATSEvent) {
        for weak in state.withLockedValue({ $0.listeners }) {
            weak.listener?.append(event)
        }
    }

    func end() {
        let listeners = state.withLockedValue { state in
            state.isEnded = true
            defer { state.listeners = [] }
            return state.listeners
        }
        for weak in listeners {
            weak.listener?.end()
        }
    }
}

/// One listener's buffer.
final class EventListener: Sendable {
    private struct State {
        var events = CircularBuffer<NATSEvent>()
        var dropped = 0
        var isEnded = false
    }

    private let state = WaitableBox(State())

    var dropped: Int { state.withValue { $0.dropped } }

    func append(_ event: NATSEvent) {
        state.withValue { state in
            state.events.append(event)
            if state.events.count > NATSEventStream.bufferLimit {
                state.events.removeFirst()
                state.dropped += 1
            }
        }
        state.wake()
    }

    func takeAll() -> [NATSEvent] {
        state.withValue { state in
            defer { state.events.removeAll() }
            return Array(state.events)
        }
    }

    func end() {
        state.withValue { $0.isEnded = true }
        state.wake()
    }

    func next(isolation actor: isolated (any Actor)?) async -> NATSEvent? {
        while true {
            if Task.isCancelled { return nil }
            let (event, isEnded) = state.withValue { ($0.events.popFirst(), $0.isEnded) }
            if event != nil || isEnded { return event }
            await state.wait(isolation: actor) { !$0.events.isEmpty || $0.isEnded }
        }
    }
}
