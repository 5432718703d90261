// Owns: the outer life of a connection: attempts over the servers, the connection in use, its loss, the move away from a
// server that shuts down, draining and the end. A value without I/O, clock and randomness of its own: events go in, and a
// NATSConnection carries out the actions that come back. Lives on the connection's loop; may not know sockets, promises,
// subscriptions or the owner. The first words with one server are HandshakeMachine's, the choice of a server ServerPool's.

import NATSProtocol
import NIOCore

/// How far a connection is.
package enum NATSConnectionState: Sendable, Equatable {
    /// `connect` was not called yet.
    case idle
    /// There has not been a connection yet.
    case connecting
    case connected
    case reconnecting
    case draining
    case closed
}

/// What a connection is to do next.
enum ConnectionAction: Equatable {
    // MARK: Attempts

    /// Begin the handshake with a server. ``ConnectionMachine/established(_:at:)`` or
    /// ``ConnectionMachine/attemptFailed(_:at:using:)`` follows.
    case open(NATSServerAddress, epoch: Int)
    /// Close the TCP connection whose handshake is going on.
    case abandonAttempt
    /// Close the TCP connection whose handshake is done: it is of no use.
    case dismissServer
    /// Call ``ConnectionMachine/retryDue(_:)`` after the pause.
    case startRetryTimer(epoch: Int, after: TimeAmount)
    /// Tell the owner that an attempt failed.
    case announceRetry(attempt: Int, error: NATSError, pause: TimeAmount)
    /// A server refused the credentials.
    case countRefusedCredentials

    // MARK: The connection in use

    /// Use the TCP connection whose handshake is done; ``ConnectionMachine/linkAdopted(_:)`` follows.
    case adoptLink(epoch: Int)
    /// Tell the server of the subscriptions, then send what was published meanwhile.
    case restore
    /// Call ``ConnectionMachine/pingDue(_:isExplained:at:)`` after the interval.
    case startPingTimer(epoch: Int)
    /// Send a keep-alive ping.
    case sendPing
    /// Tell the owner that the connection is up, for the first time or again, and complete `connect`.
    case announceConnection(isFirst: Bool)
    /// Look at what the server says of its cluster; ``ConnectionMachine/clusterChanged(_:using:)`` follows.
    case learnCluster
    /// So many servers of the cluster are left out.
    case countIgnoredServers(Int)
    /// Tell the owner of new servers.
    case announceServers([String])
    /// Tell the owner that servers are left out.
    case announceIgnoredServers(count: Int)

    // MARK: Loss

    /// Close the connection in use. What has not left is kept for the next one, or given up.
    case dropLink(NATSError, keepsPublishes: Bool)
    /// Fail whatever waits for the server; ``ConnectionMachine/waitersFailed(at:using:)`` follows.
    case failWaiters(NATSError)
    /// Tell the owner that the connection is lost; ``ConnectionMachine/lossAnnounced(at:using:)`` follows.
    case announceLoss(NATSError?)

    // MARK: Moving to another server

    /// Another server could not be used.
    case noteMoveFailure(NATSError)
    /// Listen to the connection in use beside the one that takes its place.
    case keepOldLink
    /// Ask the new server to confirm the subscriptions; ``ConnectionMachine/moveConfirmed(_:)`` follows.
    case confirmMove(epoch: Int)
    /// Unsubscribe at the old server what would get everything twice.
    case unsubscribePlain
    /// Call ``ConnectionMachine/spreadingEnded(_:)`` when the cluster knows the new place of queue groups and replies.
    case startSpreadTimer(epoch: Int)
    /// Unsubscribe the rest at the old server; ``ConnectionMachine/moveUnsubscribed(_:pendingRequests:)`` follows.
    case unsubscribeRest(epoch: Int)
    /// Drains that waited for the old server, too, go on.
    case releaseBarriers
    /// Call ``ConnectionMachine/lateRepliesEnded(_:)`` when late replies had their time.
    case startLeaveTimer(epoch: Int)
    /// Close the old connection; who still waits for its server fails.
    case closeOldLink
    /// The read in whose middle the old connection ended has no other end.
    case endBurst

    // MARK: The end

    /// Unsubscribe everything and ask the server to confirm it; ``ConnectionMachine/barrierPassed()`` follows, and
    /// ``ConnectionMachine/drainTimedOut()`` when the time for the drain is over.
    case startDrain
    /// The drained subscriptions have got everything. ``ConnectionMachine/workEnded()`` follows when no request waits and
    /// nobody works on messages.
    case endDrainedSubscriptions
    /// Tell the owner that this is its last chance to publish.
    case announcePublishingEnds
    /// Refuse publishes and ask the server to confirm those before; ``ConnectionMachine/barrierPassed()`` follows.
    case stopPublishing
    /// Everything is with the server: close, and complete the drain.
    case finishDrain
    /// Hand over to the socket what waits; then ``ConnectionMachine/close(_:)`` follows.
    case close(NATSError?)
    /// Close everything at once, and fail whoever waits.
    case shutDown(NATSError)
    /// Tell the owner of the end, let go of it, and fail `connect` and `drain`.
    case announceEnd(NATSError?)
}

/// The outer life of a connection.
///
/// Whoever is told something may come back with an event at once. What was to be done before that event is void then, as far
/// as it has not been done: the connection sees that by the ``epoch``, which changes.
struct ConnectionMachine {
    struct Settings: Hashable, Sendable {
        /// Whether a lost connection is made again.
        var reconnects = true
        /// Whether the first connection is tried as persistently as later ones.
        var retriesFirstConnection = false
        /// How often a server may fail before it is dropped; for the text of the error alone.
        var maximumAttempts = -1
        /// For how long a server may refuse the credentials that it took before; nil for ever.
        var refusalTime: TimeAmount? = .minutes(10)
        var maximumPings = 2
        var ignoresDiscoveredServers = false
    }

    /// What the machine wants to know of a server.
    struct Server: Hashable {
        var id = ""
        /// The server asks its clients to leave.
        var isLeaving = false
    }

    /// How far leaving a server has come.
    struct Move: Hashable {
        enum Step: Hashable {
            /// Looking for another server; the old connection is in use.
            case connecting
            /// The new connection is in use; its server has not confirmed the subscriptions yet.
            case subscribing
            /// The cluster gets to know the new place of queue groups and replies.
            case spreading
            /// UNSUBs are sent to the old server, their barrier is under way.
            case unsubscribing
            /// Replies to requests that went over the old connection may still come there.
            case replies
        }

        var step = Step.connecting
        /// Whom to try.
        var candidates: [NATSServerAddress] = []
        /// Whom the handshake is with that is going on.
        var candidate: NATSServerAddress?
    }

    /// How far a drain has come.
    enum DrainStep: Hashable {
        /// UNSUBs are sent, their barrier is under way.
        case subscriptions
        /// Messages are delivered; requests still wait for replies, or somebody works on messages.
        case requests
        /// Publishing has stopped, the last barrier is under way.
        case publishes
    }

    /// The connection in use.
    struct Link: Hashable {
        var epoch: Int
        var server: Server
        var establishedAt: NIODeadline
        /// What was accepted under the terms of another server is looked through; the owner knows nothing yet.
        var isAdopted = false
        var outstandingPings = 0
        var move: Move?
        var drain: DrainStep?
    }

    /// A connection that is lost, until whoever it concerns knows.
    struct Loss: Hashable {
        var error: NATSError
        /// How long the connection was of use, nil when that says nothing of the server: the next attempt then comes at once.
        var lived: TimeAmount?
        var willReconnect: Bool
        var wasDraining: Bool
    }

    enum Stage: Hashable {
        case idle
        /// A handshake is going on.
        case attempting
        /// The next attempt follows after a pause.
        case pausing
        case up(Link)
        case losing(Loss)
        case closed
    }

    private let settings: Settings
    private(set) var stage = Stage.idle
    private(set) var pool: ServerPool
    /// Counts attempts and ends of connections, so that what belongs to an old one is recognised.
    private(set) var epoch = 0
    private(set) var hasBeenConnected = false
    /// The last the owner heard is that the connection is up: it hears of each loss once, whatever comes in its middle.
    private(set) var isAnnounced = false
    /// The last the owner heard of the cluster is that it has servers that are left out.
    private(set) var areServersIgnored = false

    init(_ settings: Settings, _ pool: ServerPool) {
        self.settings = settings
        self.pool = pool
    }

    // MARK: - Looking

    var state: NATSConnectionState {
        switch stage {
        case .idle: .idle
        case .up(let link) where link.isAdopted: link.drain == nil ? .connected : .draining
        case .attempting, .pausing, .up: hasBeenConnected ? .reconnecting : .connecting
        case .losing(let loss): loss.willReconnect ? .reconnecting : loss.wasDraining ? .draining : .connected
        case .closed: .closed
        }
    }

    private var link: Link? {
        if case .up(let link) = stage { link } else { nil }
    }

    var move: Move? { link?.move }

    var outstandingPings: Int { link?.outstandingPings ?? 0 }

    /// The drain goes on as soon as no request waits and nobody works on messages: then ``workEnded()`` follows.
    var isAwaitingWork: Bool { link?.drain == .requests }

    /// Drains must wait for a barrier at the old server, too, which may still have messages for them.
    var hasBarrierAtOldServer: Bool {
        switch move?.step {
        case .subscribing, .spreading, .unsubscribing: true
        case nil, .connecting, .replies: false
        }
    }

    /// Whether the attempt of that epoch is going on.
    func isAttempting(_ epoch: Int) -> Bool {
        epoch == self.epoch && (stage == .attempting || move?.candidate != nil)
    }

    /// Whether the connection in use is that of the epoch.
    func isUsing(_ epoch: Int) -> Bool { link?.epoch == epoch }

    // MARK: - Attempts

    mutating func connect() -> [ConnectionAction] {
        stage == .idle ? attempt() : []
    }

    private mutating func attempt() -> [ConnectionAction] {
        guard let address = pool.current else { return [] }
        epoch += 1
        stage = .attempting
        return [.open(address, epoch: epoch)]
    }

    mutating func retryDue(_ epoch: Int) -> [ConnectionAction] {
        stage == .pausing && epoch == self.epoch ? attempt() : []
    }

    /// The server could not be used.
    mutating func attemptFailed(
        _ error: NATSError,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) -> [ConnectionAction] {
        switch stage {
        case .up(let link):
            guard link.move?.candidate != nil else { return [] }
            epoch += 1
            return [.abandonAttempt, .noteMoveFailure(error)] + tryNextCandidate(link)
        case .attempting:
            epoch += 1
            stage = .pausing
            return [.abandonAttempt] + follow(error, at: now, using: &generator)
        case .idle, .pausing, .losing, .closed: return []
        }
    }

    private mutating func follow(
        _ error: NATSError,
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) -> [ConnectionAction] {
        if error.code == .invalidCredentials || error.code == .tlsFailed, !hasBeenConnected {
            // Later, a file or certificate may be about to be replaced.
            return [.close(error)]
        }
        var actions: [ConnectionAction] = []
        if error.code == .authorization {
            // Wrong credentials do not become right by waiting: at the first connection the caller must know. Later
            // they were right once, and somebody may be about to exchange them, here or at the server.
            actions.append(.countRefusedCredentials)
            if !hasBeenConnected || isRefusedForTooLong(at: now) { return actions + [.close(error)] }
        } else {
            // When it can be reached again, it may have been given other passwords.
            pool.authorizationDidNotFail()
        }
        let decision = pool.failed(using: &generator)
        if !hasBeenConnected, !settings.retriesFirstConnection, pool.laps >= 1 { return actions + [.close(error)] }
        return actions + pause(decision, after: error, at: now)
    }

    private mutating func pause(
        _ decision: ServerPool.Decision,
        after error: NATSError,
        at now: NIODeadline
    ) -> [ConnectionAction] {
        switch decision {
        case .giveUp:
            let text = "gave up after \(settings.maximumAttempts) attempts; last error: \(error.message)"
            return [.close(NATSError(.reconnectsExhausted, text))]
        case .connect(let pause):
            stage = .pausing
            let delay = min(pause, refusalTimeLeft(at: now) ?? pause)
            let retry = ConnectionAction.startRetryTimer(epoch: epoch, after: delay)
            guard pool.failures > 0 else { return [retry] }
            return [.announceRetry(attempt: pool.failures, error: error, pause: delay), retry]
        }
    }

    /// Notes that the current server refused the credentials; whether it has done so for longer than is tolerated.
    private mutating func isRefusedForTooLong(at now: NIODeadline) -> Bool {
        let refusedFor = pool.authorizationFailed(at: now)
        return settings.refusalTime.map { refusedFor >= $0 } ?? false
    }

    /// For how long the server that is next may go on refusing the credentials: the last attempt comes when that is over.
    private func refusalTimeLeft(at now: NIODeadline) -> TimeAmount? {
        settings.refusalTime.flatMap { pool.authorizationTimeLeft(of: $0, at: now) }
    }

    /// The handshake that was going on is done.
    mutating func established(_ server: Server, at now: NIODeadline) -> [ConnectionAction] {
        var next = Link(epoch: epoch, server: server, establishedAt: now)
        switch stage {
        case .attempting:
            pool.succeeded()
            stage = .up(next)
            return [.adoptLink(epoch: epoch)]
        case .up(let link):
            guard let candidate = link.move?.candidate else { return [] }
            guard link.drain == nil, !server.isLeaving, server.id.isEmpty || server.id != link.server.id else {
                return [.dismissServer] + tryNextCandidate(link)
            }
            pool.moved(to: candidate)
            pool.succeeded()
            next.move = Move(step: .subscribing)
            stage = .up(next)
            return [.keepOldLink, .adoptLink(epoch: epoch)]
        case .idle, .pausing, .losing, .closed: return []
        }
    }

    /// The connection in use is ready.
    mutating func linkAdopted(_ epoch: Int) -> [ConnectionAction] {
        guard case .up(var link) = stage, link.epoch == epoch, !link.isAdopted else { return [] }
        let isFirst = !hasBeenConnected
        hasBeenConnected = true
        isAnnounced = true
        link.isAdopted = true
        stage = .up(link)
        return [.restore, .startPingTimer(epoch: epoch), .announceConnection(isFirst: isFirst), .learnCluster]
            + (link.move == nil ? [] : [.confirmMove(epoch: epoch)])
    }

    /// Gives up the TCP connection that is there, or that is being made, and makes a new one at once; also ends the pause
    /// before the next attempt.
    mutating func reconnect() -> [ConnectionAction] {
        switch stage {
        case .up(let link):
            guard link.drain == nil else { return [] }
            return lose(link, NATSError(.disconnected, "a new connection was asked for"), lived: nil)
        case .attempting:
            pool.restart()
            return [.abandonAttempt] + attempt()
        case .pausing:
            pool.restart()
            return attempt()
        case .losing(var loss):
            loss.lived = nil
            stage = .losing(loss)
            return []
        case .idle, .closed: return []
        }
    }

    // MARK: - Loss

    /// The connection in use is of no use any more.
    mutating func linkLost(_ error: NATSError, at now: NIODeadline) -> [ConnectionAction] {
        link.map { lose($0, error, lived: now - $0.establishedAt) } ?? []
    }

    private mutating func lose(_ link: Link, _ error: NATSError, lived: TimeAmount?) -> [ConnectionAction] {
        epoch += 1
        let willReconnect = settings.reconnects && link.drain == nil
        stage = .losing(
            Loss(error: error, lived: lived, willReconnect: willReconnect, wasDraining: link.drain != nil)
        )
        return (link.move?.candidate == nil ? [] : [.abandonAttempt])
            + [.dropLink(error, keepsPublishes: willReconnect), .failWaiters(error)]
    }

    mutating func waitersFailed(
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) -> [ConnectionAction] {
        guard case .losing(let loss) = stage else { return [] }
        guard isAnnounced else { return lossAnnounced(at: now, using: &generator) }
        isAnnounced = false
        return [.announceLoss(loss.error)]
    }

    mutating func lossAnnounced(
        at now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) -> [ConnectionAction] {
        guard case .losing(let loss) = stage else { return [] }
        var actions: [ConnectionAction] = []
        if loss.error.code == .authorization {
            actions.append(.countRefusedCredentials)
            if loss.willReconnect, isRefusedForTooLong(at: now) { return actions + [.close(loss.error)] }
        }
        guard loss.willReconnect else { return actions + [.close(loss.error)] }
        return actions + pause(pool.disconnected(lived: loss.lived, using: &generator), after: loss.error, at: now)
    }

    // MARK: - Keep-alive

    /// - Parameter isExplained: whether the answer to the last ping may lie among what is not read.
    mutating func pingDue(_ epoch: Int, isExplained: Bool, at now: NIODeadline) -> [ConnectionAction] {
        guard case .up(var link) = stage, link.epoch == epoch else { return [] }
        guard !isExplained else { return [.startPingTimer(epoch: epoch)] }
        link.outstandingPings += 1
        guard link.outstandingPings <= settings.maximumPings else {
            let error = NATSError(.staleConnection, "\(settings.maximumPings) pings stayed unanswered")
            return lose(link, error, lived: now - link.establishedAt)
        }
        stage = .up(link)
        return [.sendPing, .startPingTimer(epoch: epoch)]
    }

    mutating func pongReceived() {
        guard case .up(var link) = stage, link.outstandingPings > 0 else { return }
        link.outstandingPings = 0
        stage = .up(link)
    }

    // MARK: - The cluster

    /// The server in use tells of its cluster.
    mutating func clusterChanged(
        _ info: NATSServerInfo,
        using generator: inout some RandomNumberGenerator
    ) -> [ConnectionAction] {
        guard !settings.ignoresDiscoveredServers, let current = pool.current else { return [] }
        let texts = current.scheme.isWebSocket ? info.webSocketConnectURLs : info.connectURLs
        guard !texts.isEmpty else { return [] }
        let discovery = pool.discovered(texts, using: &generator)
        var actions: [ConnectionAction] = []
        if discovery.ignored > 0 { actions.append(.countIgnoredServers(discovery.ignored)) }
        if !discovery.news.isEmpty { actions.append(.announceServers(discovery.news)) }
        if discovery.ignored > 0, !areServersIgnored {
            actions.append(.announceIgnoredServers(count: discovery.ignored))
        }
        areServersIgnored = discovery.ignored > 0
        return actions
    }

    // MARK: - Moving to another server

    /// The server in use asks its clients to leave.
    mutating func serverLeaves() -> [ConnectionAction] {
        guard case .up(var link) = stage, link.isAdopted, link.drain == nil, link.move == nil, settings.reconnects
        else {
            return []
        }
        link.move = Move(candidates: pool.others)
        return tryNextCandidate(link)
    }

    private mutating func tryNextCandidate(_ link: Link) -> [ConnectionAction] {
        var link = link
        link.move?.candidate = nil
        guard link.drain == nil, link.move?.candidates.isEmpty == false,
            let address = link.move?.candidates.removeFirst()
        else {
            // There is nowhere to go: the connection stays as long as there is something to stay with.
            link.move = nil
            stage = .up(link)
            return []
        }
        epoch += 1
        link.move?.candidate = address
        stage = .up(link)
        return [.open(address, epoch: epoch)]
    }

    /// Takes the next step if the move of that epoch has come to `step`.
    private mutating func step(_ epoch: Int, from step: Move.Step, to next: Move.Step?) -> Bool {
        guard case .up(var link) = stage, link.epoch == epoch, link.move?.step == step else { return false }
        if let next {
            link.move?.step = next
        } else {
            link.move = nil
        }
        stage = .up(link)
        return true
    }

    /// The new server has confirmed the subscriptions: the old one may forget those that would get everything twice.
    mutating func moveConfirmed(_ epoch: Int) -> [ConnectionAction] {
        guard step(epoch, from: .subscribing, to: .spreading) else { return [] }
        return [.startSpreadTimer(epoch: epoch), .unsubscribePlain]
    }

    /// The other servers have had their time: the old one may forget the rest.
    mutating func spreadingEnded(_ epoch: Int) -> [ConnectionAction] {
        step(epoch, from: .spreading, to: .unsubscribing) ? [.unsubscribeRest(epoch: epoch)] : []
    }

    /// The old server has sent everything it had for the subscriptions.
    mutating func moveUnsubscribed(_ epoch: Int, pendingRequests: Int) -> [ConnectionAction] {
        guard step(epoch, from: .unsubscribing, to: pendingRequests == 0 ? nil : .replies) else { return [] }
        return pendingRequests == 0
            ? [.closeOldLink, .endBurst] : [.releaseBarriers, .startLeaveTimer(epoch: epoch)]
    }

    mutating func lateRepliesEnded(_ epoch: Int) -> [ConnectionAction] {
        step(epoch, from: .replies, to: nil) ? [.closeOldLink] : []
    }

    /// The connection to the old server is of no use any more.
    mutating func oldLinkLost() -> [ConnectionAction] {
        guard let link, let move = link.move, move.step != .connecting, step(link.epoch, from: move.step, to: nil)
        else {
            return []
        }
        return [.closeOldLink, .endBurst]
    }

    // MARK: - Draining

    mutating func drain() -> [ConnectionAction] {
        switch stage {
        case .up(var link) where link.isAdopted:
            guard link.drain == nil else { return [] }
            link.drain = .subscriptions
            stage = .up(link)
            return [.startDrain]
        case .idle, .attempting, .pausing, .up, .losing: return [.close(.disconnected)]
        case .closed: return []
        }
    }

    private mutating func drain(to step: DrainStep) {
        guard case .up(var link) = stage else { return }
        link.drain = step
        stage = .up(link)
    }

    /// The server has worked on everything before the barrier of the drain.
    mutating func barrierPassed() -> [ConnectionAction] {
        switch link?.drain {
        case .subscriptions:
            drain(to: .requests)
            return [.endDrainedSubscriptions]
        case .publishes: return [.finishDrain]
        case nil, .requests: return []
        }
    }

    /// No request waits, and nobody works on messages.
    mutating func workEnded() -> [ConnectionAction] {
        guard isAwaitingWork else { return [] }
        drain(to: .publishes)
        return [.announcePublishingEnds, .stopPublishing]
    }

    mutating func drainTimedOut() -> [ConnectionAction] {
        guard let step = link?.drain else { return [] }
        drain(to: .publishes)
        let close = ConnectionAction.close(NATSError(.drainTimeout, "draining took longer than its limit"))
        // The owner hands over what it has accepted, so that it goes out or is counted as lost.
        return step == .publishes ? [close] : [.announcePublishingEnds, close]
    }

    // MARK: - The end

    /// Closes for good.
    mutating func close(_ error: NATSError?) -> [ConnectionAction] {
        guard stage != .closed else { return [] }
        epoch += 1
        stage = .closed
        let loss: [ConnectionAction] = isAnnounced ? [.announceLoss(error)] : []
        isAnnounced = false
        return [.shutDown(error ?? .closed)] + loss + [.announceEnd(error)]
    }
}

extension ConnectionMachine: Hashable {}
