// Owns: reading a stream in order without acknowledgements (J17 to J20; ADR-17): which consumer is made when, what is
// passed over, when something is missing, and whether it is still the same stream. A value without I/O. It never ends
// by itself.

package import NIOCore

package struct OrderedMachine {
    package enum Action: Equatable {
        case none
        /// Ask for the stream's info, and tell ``streamAnswered(_:at:)``.
        case look
        /// Create a consumer that begins there, and tell ``created(at:)`` or ``failed(at:)``.
        case create(JetStreamConsumer.DeliverPolicy, attempt: Int)
        /// Throw the consumer away that is read, and wait for the ``deadline``.
        case discard
    }

    /// What becomes of a message.
    package enum Verdict: Equatable {
        case deliver
        /// It was delivered before, or comes from a consumer that is not read any more.
        case skip
        /// One before it is missing.
        case gap
    }

    /// What the stream's info says.
    package enum Stream: Equatable {
        case exists(created: NATSTimestamp?, lastSequence: UInt64)
        case gone
        case unavailable
    }

    private enum Phase: Equatable {
        case idle
        case looking
        case creating
        case reading
        case resting(NIODeadline)
        case ended
    }

    package static let firstRest = TimeAmount.seconds(1)
    package static let longestRest = TimeAmount.seconds(10)

    private let start: JetStreamConsumer.DeliverPolicy
    private var phase = Phase.idle
    /// The last sequence that was delivered, 0 for none.
    package private(set) var lastSequence: UInt64 = 0
    /// Where what is new begins, once that is known.
    private var firstNew: UInt64?
    private var created: NATSTimestamp?
    private var nextDelivery: UInt64 = 1
    private var attempt = 0
    private var errors = 0
    private var random: UInt64
    /// What the last consumer has brought and nobody has taken, while there is none to count it.
    private var left: (count: Int, bytes: Int) = (0, 0)
    /// How often the stream was another one.
    package private(set) var streamChanges = 0
    /// How often something was missing.
    package private(set) var gaps = 0
    /// Whether the last answer was that there is no such stream.
    package private(set) var isStreamGone = false

    /// - Parameters:
    ///   - start: where it begins.
    ///   - seed: spreads the pauses of many readers.
    package init(_ start: JetStreamConsumer.DeliverPolicy, seed: UInt64) {
        self.start = start
        random = seed
    }

    /// When ``due(at:)`` is to be called; nil when no time matters.
    package var deadline: NIODeadline? {
        if case .resting(let time) = phase { time } else { nil }
    }

    package mutating func begin() -> Action {
        guard phase == .idle else { return .none }
        phase = .looking
        return .look
    }

    package mutating func end() { phase = .ended }

    /// The stream's info is there.
    package mutating func streamAnswered(_ stream: Stream, at now: NIODeadline) -> Action {
        guard phase == .looking else { return .none }
        guard case .exists(let created, let last) = stream else {
            isStreamGone = stream == .gone
            return rest(now)
        }
        isStreamGone = false
        // Another stream of the name has other messages under the same numbers (J19).
        if let known = self.created, known != created {
            streamChanges += 1
            lastSequence = 0
            firstNew = 1
        }
        self.created = created
        if firstNew == nil { firstNew = last + 1 }
        phase = .creating
        attempt += 1
        nextDelivery = 1
        return .create(policy, attempt: attempt)
    }

    private var policy: JetStreamConsumer.DeliverPolicy {
        if lastSequence > 0 { return .fromSequence(lastSequence + 1) }
        // With a number, so that what comes while there is no consumer is not passed over.
        if start == .new { return .fromSequence(firstNew ?? 1) }
        // What was chosen of another stream means nothing in this one.
        if streamChanges > 0, case .fromSequence = start { return .all }
        return start
    }

    /// The consumer is there.
    package mutating func created(at now: NIODeadline) {
        guard phase == .creating else { return }
        phase = .reading
    }

    /// The consumer could not be created, or has ended.
    package mutating func failed(at now: NIODeadline) -> Action {
        switch phase {
        case .creating, .reading: return rest(now)
        case .idle, .looking, .resting, .ended: return .none
        }
    }

    /// A message has come.
    package mutating func received(delivery: UInt64, sequence: UInt64) -> Verdict {
        guard phase == .reading else { return .skip }
        guard delivery == nextDelivery else {
            gaps += 1
            return .gap
        }
        nextDelivery += 1
        errors = 0
        guard sequence > lastSequence else { return .skip }
        lastSequence = sequence
        return .deliver
    }

    /// The server tells the last delivery; true when that did not come. Without acknowledgements nothing else would
    /// tell that the last messages were lost with a connection.
    package mutating func isMissing(upTo delivery: UInt64) -> Bool {
        guard phase == .reading, delivery >= nextDelivery else { return false }
        gaps += 1
        return true
    }

    /// Something is missing: another consumer, at once the first time.
    package mutating func restart(at now: NIODeadline) -> Action {
        guard phase == .reading else { return .none }
        guard errors > 0 else {
            errors = 1
            phase = .looking
            return .look
        }
        return rest(now)
    }

    /// The consumer is not read any more, and so much of what it has brought waits to be taken.
    package mutating func leave(_ waiting: (count: Int, bytes: Int)) { left = waiting }

    /// Messages were taken while no consumer is read: the next one must not count them, or it would never have room for
    /// them again.
    package mutating func taken(_ count: Int, bytes: Int) {
        left = (max(0, left.count - count), max(0, left.bytes - bytes))
    }

    /// What waits to be taken, for the next consumer, which counts it from now on.
    package mutating func handOver() -> (count: Int, bytes: Int) {
        defer { left = (0, 0) }
        return left
    }

    /// The ``deadline`` is there.
    package mutating func due(at now: NIODeadline) -> Action {
        guard case .resting(let time) = phase, time <= now else { return .none }
        phase = .looking
        return .look
    }

    private mutating func rest(_ now: NIODeadline) -> Action {
        let exponent = min(errors, 10)
        errors += 1
        let time = min(Self.firstRest.nanoseconds << Int64(exponent), Self.longestRest.nanoseconds)
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let spread = 80 + Int64(random >> 33) % 41
        phase = .resting(now + .nanoseconds(time / 100 * spread))
        return .discard
    }
}
