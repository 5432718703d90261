// Owns: when a consumer is pulled and for how much, and what follows from what the server says or does not say (J1 to
// J16). A value without I/O: each event returns what is to be done. What is asked for is kept pull by pull, and the
// tokens of pulls that were given up mean nothing any more.

package import NIOCore

/// The life of a reader that pulls.
package struct PullMachine {
    package struct Settings: Equatable, Sendable {
        /// How many messages may be asked for and wait here, together (J3).
        package var messages = 100
        /// The same in bytes, nil for no limit.
        package var bytes: Int?
        /// How long a pull waits at the server (J4).
        package var expires = TimeAmount.seconds(30)
        /// How often the server says that it is there.
        package var heartbeat = TimeAmount.seconds(5)
        /// What follows when the consumer is gone.
        package var onDeleted = Deleted.stop
        /// The largest message that the server takes, for a limit in bytes that is smaller (J15).
        package var maximumPayload = 1 << 20

        package init() {}
    }

    /// What follows when the consumer is gone (J12).
    package enum Deleted: Equatable, Sendable {
        /// The reader ends.
        case stop
        /// It is looked for again and again.
        case wait
        /// It is created again.
        case recreate
    }

    /// What is to be sent.
    struct Pull: Equatable {
        let token: UInt64
        let messages: Int
        let bytes: Int?
        let expires: TimeAmount
        let heartbeat: TimeAmount
    }

    enum Action: Equatable {
        case none
        /// Send a pull.
        case pull(Pull)
        /// Ask for the consumer's info, and tell ``infoAnswered(_:at:)``.
        case ask
        /// Create the consumer again, and tell ``recreated(_:at:)``.
        case recreate
        /// It is over.
        case end(JetStreamError)
    }

    /// What somebody should hear of, once.
    package enum Warning: Equatable, Sendable {
        /// A message is larger than the limit in bytes, which is raised for it.
        case bytesRaised(to: Int)
        /// The consumer allows less than was to be asked for.
        case clamped
        /// The consumer, or its stream, is gone.
        case gone
        /// Nothing comes, not even heartbeats.
        case silent
        /// A status that is not known, or one that should not come.
        case status(String)
    }

    /// What the consumer's info says.
    enum Info: Equatable {
        case exists
        case gone
        case unavailable
    }

    private enum Phase: Equatable {
        case disconnected
        case active
        /// No pull before this time (J9).
        case resting(NIODeadline)
        case asking
        case recreating
        case stopped
        case ended
    }

    private struct Entry: Equatable {
        let token: UInt64
        var messages: Int
        var bytes: Int?
        let sent: NIODeadline
        let deadline: NIODeadline
    }

    static let firstRest = TimeAmount.milliseconds(100)
    static let longestRest = TimeAmount.seconds(5)
    /// How long a server that goes is left alone, should the connection stay (J14).
    static let shutdownRest = TimeAmount.seconds(2)
    /// What a pull's end may be late (J6).
    static let lateness = TimeAmount.seconds(1)

    private(set) var settings: Settings
    private var phase = Phase.disconnected
    private var isConnected = false
    private var pulls: [Entry] = []
    private var nextToken: UInt64 = 1
    /// Tokens below it were given up.
    private var firstValidToken: UInt64 = 1
    /// How many messages wait here and have not been taken.
    private(set) var held = 0
    private(set) var heldBytes = 0
    private var lastArrival = NIODeadline.uptimeNanoseconds(0)
    private var missedBeats = 0
    private var errors = 0
    private var random: UInt64
    private(set) var warning: Warning?
    private var warned = Warned()
    /// The counters of what should not happen.
    private(set) var faults = Faults()

    private struct Warned: Equatable {
        var isGone = false
        var isSilent = false
        var isClamped = false
        var isRaised = false
    }

    package struct Faults: Equatable, Sendable {
        /// Pulls whose end the server did not tell (J6).
        package var lateEnds = 0
        /// Times that nothing came in twice the time of a heartbeat.
        package var missedBeats = 0
        /// Pulls that were refused or failed.
        package var errors = 0
    }

    /// - Parameter seed: spreads the pauses of many readers.
    init(_ settings: Settings, seed: UInt64) {
        self.settings = settings
        random = seed
    }

    // MARK: - Looking

    /// How many messages the server still owes for what was asked.
    var outstanding: Int { pulls.reduce(0) { $0 + $1.messages } }
    private var outstandingBytes: Int { pulls.reduce(0) { $0 + ($1.bytes ?? 0) } }
    var isEnded: Bool { phase == .ended }

    /// How much is asked for at most at once, for tests of the bound.
    var pullCount: Int { pulls.count }

    /// When ``due(at:)`` is to be called; nil when no time matters.
    var deadline: NIODeadline? {
        switch phase {
        case .resting(let time): return time
        case .active:
            guard let first = pulls.first else { return nil }
            return min(lastArrival + settings.heartbeat * 2, pulls.reduce(first.deadline) { min($0, $1.deadline) })
        case .disconnected, .asking, .recreating, .stopped, .ended: return nil
        }
    }

    /// Takes what somebody should hear of.
    mutating func takeWarning() -> Warning? {
        defer { warning = nil }
        return warning
    }

    // MARK: - Connection

    /// The connection is there, and the subscription is made (J11).
    mutating func connectionUp(at now: NIODeadline) -> Action {
        isConnected = true
        giveUpAll()
        switch phase {
        // A question that is open is answered over the new connection.
        case .asking, .recreating, .stopped, .ended: return .none
        case .disconnected, .active, .resting:
            phase = .active
            missedBeats = 0
            return refill(now)
        }
    }

    mutating func connectionLost() {
        isConnected = false
        giveUpAll()
        switch phase {
        case .asking, .recreating, .stopped, .ended: break
        case .disconnected, .active, .resting: phase = .disconnected
        }
    }

    // MARK: - Messages

    /// A message has come and waits here.
    mutating func received(bytes: Int, at now: NIODeadline) {
        arrived(now)
        errors = 0
        warned.isGone = false
        held += 1
        heldBytes += bytes
        guard !pulls.isEmpty else { return }
        pulls[0].messages -= 1
        if let left = pulls[0].bytes { pulls[0].bytes = left - bytes }
        if pulls[0].messages <= 0 || (pulls[0].bytes ?? 1) <= 0 { pulls.removeFirst() }
    }

    /// Messages that an earlier reader has brought still wait here.
    mutating func inherit(_ count: Int, bytes: Int) {
        held += count
        heldBytes += bytes
    }

    /// Messages that waited here were taken, or given back.
    mutating func taken(_ count: Int, bytes: Int, at now: NIODeadline) -> Action {
        held = max(0, held - count)
        heldBytes = max(0, heldBytes - bytes)
        return refill(now)
    }

    private mutating func arrived(_ now: NIODeadline) {
        lastArrival = now
        missedBeats = 0
        warned.isSilent = false
    }

    // MARK: - Statuses

    /// The server has said something on the reply subject of a pull.
    mutating func received(_ status: PullStatus, token: UInt64, at now: NIODeadline) -> Action {
        arrived(now)
        guard phase != .ended, phase != .stopped else { return .none }
        if case .heartbeat = status.kind { return .none }
        let isValid = token >= firstValidToken && token < nextToken
        // Of a pull that was given up nothing follows (J1).
        guard isValid else { return .none }
        let pull = pulls.first { $0.token == token }
        end(token, status)
        switch status.kind {
        case .heartbeat: return .none
        case .noMessages, .expired, .batchCompleted:
            // A pull that ends at once, again and again, must not make this spin.
            if let pull, now < pull.sent + .seconds(1), now < pull.deadline - Self.lateness { return rest(now) }
            return refill(now)
        case .exceedsBytes:
            raiseBytes(pull)
            return refill(now)
        case .leadershipChange: return rest(now)
        case .serverShutdown:
            giveUpAll()
            phase = .resting(now + Self.shutdownRest)
            return .none
        case .tooManyPulls: return fail("too many pulls wait", now)
        case .beyond(let limit):
            clamp(limit)
            return rest(now)
        case .wrongPin: return rest(now)
        case .deleted: return gone(now)
        case .noResponders: return ask()
        case .refused(let error): return finish(error)
        case .other(let text): return fail(text, now)
        }
    }

    /// The end of a pull, with what the server says was left of it. The server serves pulls in turn, and we charge the
    /// oldest: the others are set right by the difference.
    private mutating func end(_ token: UInt64, _ status: PullStatus) {
        var known = 0
        var knownBytes = 0
        if let index = pulls.firstIndex(where: { $0.token == token }) {
            let entry = pulls.remove(at: index)
            known = entry.messages
            knownBytes = entry.bytes ?? 0
        }
        guard let pending = status.pendingMessages else { return }
        correct(known - pending, bytes: knownBytes - (status.pendingBytes ?? knownBytes))
    }

    private mutating func correct(_ messages: Int, bytes: Int) {
        guard !pulls.isEmpty else { return }
        if messages > 0 { pulls[0].messages += messages }
        if bytes > 0, let left = pulls[0].bytes { pulls[0].bytes = left + bytes }
        var excess = max(0, -messages)
        var excessBytes = max(0, -bytes)
        for index in pulls.indices {
            let less = min(excess, pulls[index].messages)
            pulls[index].messages -= less
            excess -= less
            guard let left = pulls[index].bytes else { continue }
            let lessBytes = min(excessBytes, left)
            pulls[index].bytes = left - lessBytes
            excessBytes -= lessBytes
        }
        pulls.removeAll { $0.messages <= 0 || ($0.bytes ?? 1) <= 0 }
    }

    /// A message that is larger than the limit would be asked for in vain for ever (J15).
    private mutating func raiseBytes(_ pull: Entry?) {
        guard let limit = settings.bytes, let bytes = pull?.bytes, bytes >= limit - heldBytes, held == 0 else { return }
        settings.bytes = max(limit * 2, settings.maximumPayload + 65_536)
        warn(.bytesRaised(to: settings.bytes ?? 0), \.isRaised)
    }

    private mutating func clamp(_ limit: PullStatus.Limit) {
        switch limit {
        case .batch(let most): settings.messages = max(1, min(settings.messages, most))
        case .bytes(let most): settings.bytes = max(1, min(settings.bytes ?? most, most))
        case .expires(let most): settings.expires = min(settings.expires, max(most, .milliseconds(1)))
        }
        warn(.clamped, \.isClamped)
    }

    // MARK: - Time

    /// The ``deadline`` is there.
    mutating func due(at now: NIODeadline) -> Action {
        switch phase {
        case .resting(let time) where time <= now:
            phase = .active
            return refill(now)
        case .active:
            let count = pulls.count
            pulls.removeAll { $0.deadline <= now }
            faults.lateEnds += count - pulls.count
            if !pulls.isEmpty, now >= lastArrival + settings.heartbeat * 2 { return missedBeat(now) }
            return refill(now)
        default: return .none
        }
    }

    /// Nothing has come for two heartbeats (J8).
    private mutating func missedBeat(_ now: NIODeadline) -> Action {
        missedBeats += 1
        faults.missedBeats += 1
        giveUpAll()
        guard missedBeats > 1 else { return refill(now) }
        warn(.silent, \.isSilent)
        return ask()
    }

    // MARK: - Questions

    private mutating func ask() -> Action {
        giveUpAll()
        phase = .asking
        return .ask
    }

    /// What was asked with ``Action/ask`` is answered.
    mutating func infoAnswered(_ info: Info, at now: NIODeadline) -> Action {
        guard phase == .asking else { return .none }
        switch info {
        case .exists, .unavailable: return rest(now)
        case .gone: return gone(now)
        }
    }

    private mutating func gone(_ now: NIODeadline) -> Action {
        giveUpAll()
        warn(.gone, \.isGone)
        switch settings.onDeleted {
        case .stop: return finish(JetStreamError(.noConsumer, "the consumer was deleted"))
        case .wait: return rest(now)
        case .recreate:
            phase = .recreating
            return .recreate
        }
    }

    /// What was asked with ``Action/recreate`` is done, or failed.
    mutating func recreated(_ isDone: Bool, at now: NIODeadline) -> Action {
        guard phase == .recreating else { return .none }
        guard isDone else { return rest(now) }
        warned.isGone = false
        phase = isConnected ? .active : .disconnected
        return refill(now)
    }

    // MARK: - The end

    /// No more pulls; what was asked for may still come.
    mutating func stop() {
        guard phase != .ended else { return }
        phase = .stopped
        giveUpAll()
    }

    mutating func finish(_ error: JetStreamError) -> Action {
        guard phase != .ended else { return .none }
        phase = .ended
        giveUpAll()
        return .end(error)
    }

    // MARK: - Pulling

    /// Asks for what is missing, once half of it is (J2).
    private mutating func refill(_ now: NIODeadline) -> Action {
        guard phase == .active else { return .none }
        let busy = outstanding + held
        let missing = settings.messages - busy
        guard missing > 0 else { return .none }
        var bytes: Int?
        if let limit = settings.bytes {
            let busyBytes = outstandingBytes + heldBytes
            guard busyBytes * 2 <= limit else { return .none }
            bytes = limit - busyBytes
        } else if busy * 2 > settings.messages {
            return .none
        }
        if pulls.isEmpty { lastArrival = now }
        let entry = Entry(
            token: nextToken,
            messages: missing,
            bytes: bytes,
            sent: now,
            deadline: now + settings.expires + Self.lateness
        )
        nextToken += 1
        pulls.append(entry)
        return .pull(
            Pull(
                token: entry.token,
                messages: missing,
                bytes: bytes,
                expires: settings.expires,
                // More than half of the time is refused (A6).
                heartbeat: min(settings.heartbeat, .nanoseconds(settings.expires.nanoseconds / 2))
            )
        )
    }

    /// A pull could not be sent.
    mutating func pullRefused(at now: NIODeadline) -> Action {
        giveUpAll()
        return phase == .active ? rest(now) : .none
    }

    private mutating func giveUpAll() {
        pulls.removeAll(keepingCapacity: true)
        firstValidToken = nextToken
    }

    private mutating func fail(_ text: String, _ now: NIODeadline) -> Action {
        if warning == nil { warning = .status(text) }
        return rest(now)
    }

    /// No pull for a while, the longer the more there was to complain of (J9).
    private mutating func rest(_ now: NIODeadline) -> Action {
        faults.errors += 1
        let exponent = min(errors, 10)
        errors += 1
        let time = min(Self.firstRest.nanoseconds << Int64(exponent), Self.longestRest.nanoseconds)
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        // 90 to 110 of a hundred.
        let spread = 90 + Int64(random >> 33) % 21
        phase = isConnected ? .resting(now + .nanoseconds(time / 100 * spread)) : .disconnected
        return .none
    }

    private mutating func warn(_ warning: Warning, _ flag: WritableKeyPath<Warned, Bool>) {
        guard !warned[keyPath: flag] else { return }
        warned[keyPath: flag] = true
        self.warning = warning
    }
}
