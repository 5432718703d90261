// The outer life of a connection: attempts, loss, moving, draining and the end in every order of events, and with whatever the
// owner does in the middle of what it is told. Values; no loop, no clock.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

/// A connection with what its driver has been told to do.
private struct ConnectionWorld: Explorable {
    enum Kind: Hashable, CaseIterable {
        case connect, attemptFailed, attemptRefused, attemptUnusable, established, establishedLeaving
        case retryDue, linkLost, linkRefused, oldLinkLost, reconnect, pingDue, pingExplained, pong
        case serverLeaves, confirmed, spread, unsubscribed, unsubscribedIdle, lateRepliesEnded
        case drain, barrier, workEnded, drainTimedOut, timePasses, close
    }

    /// What the owner does when it is told something.
    enum Reaction: Hashable, CaseIterable {
        case close, reconnect, drain
        /// The last request has its reply.
        case endWork
    }

    /// An event, and what the owner does at the n-th call that it gets by it.
    struct Event: Hashable {
        var kind: Kind
        var reaction: Reaction?
        var place = 0
    }

    var machine: ConnectionMachine
    /// Whether time may pass.
    let hasClock: Bool
    var isLate = false

    // The driver's side.
    var attempt: Int?
    var hasLink = false
    var isLinkUsed = false
    var hasOldLink = false
    var retryTimer: Int?
    var pingTimer: Int?
    var spreadTimer: Int?
    var leaveTimer: Int?
    var hasDrainTimer = false
    /// Confirmations that the servers owe.
    var isMoveAsked = false
    var isUnsubscribeAsked = false
    var isDrainAsked = false
    var refusesPublishes = false
    var hadLastChance = false

    // The owner's side.
    var isConnectWanted = false
    var connects = 0
    var isDrainWanted = false
    var drains = 0
    var isUp = false
    var wasUp = false
    var hasEnded = false

    // Within one event.
    private var event = Event(kind: .pong)
    private(set) var calls = 0

    init(_ settings: ConnectionMachine.Settings, servers: Int, attempts: Int = 2, hasClock: Bool = true) {
        self.hasClock = hasClock
        var pool = ServerPool.Settings()
        pool.maximumAttempts = attempts
        var random = FixedRandom()
        let seeds = (0..<servers).map { NATSServerAddress(host: "s\($0)") }
        machine = ConnectionMachine(settings, ServerPool(seeds, pool, using: &random))
    }

    private var now: NIODeadline { .uptimeNanoseconds(isLate ? 3_600_000_000_000 : 0) }

    var events: [Event] {
        var events: [Event] = []
        for kind in Kind.allCases where isPossible(kind) {
            events.append(Event(kind: kind))
            var trial = self
            trial.perform(Event(kind: kind), checks: false)
            for place in 0..<trial.calls {
                for reaction in Reaction.allCases { events.append(Event(kind: kind, reaction: reaction, place: place)) }
            }
        }
        return events
    }

    /// Timers and answers come only when they were asked for; everything else comes when it likes.
    private func isPossible(_ kind: Kind) -> Bool {
        switch kind {
        case .connect: !isConnectWanted
        case .attemptFailed, .attemptRefused, .attemptUnusable, .established, .establishedLeaving: attempt != nil
        case .retryDue: retryTimer != nil
        case .linkLost, .linkRefused, .pong, .serverLeaves: isLinkUsed
        case .pingDue, .pingExplained: pingTimer != nil
        case .oldLinkLost: hasOldLink
        case .confirmed: isMoveAsked
        case .spread: spreadTimer != nil
        case .unsubscribed, .unsubscribedIdle: isUnsubscribeAsked
        case .lateRepliesEnded: leaveTimer != nil
        case .barrier: isDrainAsked
        case .workEnded: machine.isAwaitingWork
        case .drainTimedOut: hasDrainTimer
        case .timePasses: hasClock && !isLate
        case .reconnect, .drain, .close: true
        }
    }

    mutating func send(_ event: Event) { perform(event, checks: true) }

    mutating func send(_ kinds: Kind...) {
        for kind in kinds { send(Event(kind: kind)) }
    }

    private mutating func perform(_ event: Event, checks: Bool) {
        self.event = event
        calls = 0
        happen(event.kind)
        self.event = Event(kind: .pong)
        if checks { check(event) }
    }

    private mutating func happen(_ kind: Kind) {
        var random = FixedRandom()
        let refused = NATSError(.authorization, "refused")
        switch kind {
        case .connect:
            isConnectWanted = true
            carryOut(machine.connect())
            // As the driver answers who asks too late.
            if machine.state == .closed { connects = 1 }
        case .attemptFailed:
            carryOut(machine.attemptFailed(NATSError(.connectFailed, "failed"), at: now, using: &random))
        case .attemptRefused: carryOut(machine.attemptFailed(refused, at: now, using: &random))
        case .attemptUnusable:
            carryOut(machine.attemptFailed(NATSError(.tlsFailed, "no TLS"), at: now, using: &random))
        case .established: establish(ConnectionMachine.Server())
        case .establishedLeaving: establish(ConnectionMachine.Server(id: "other", isLeaving: true))
        case .retryDue:
            guard let epoch = retryTimer else { return }
            retryTimer = nil
            carryOut(machine.retryDue(epoch))
        case .linkLost: carryOut(machine.linkLost(.disconnected, at: now))
        case .linkRefused: carryOut(machine.linkLost(refused, at: now))
        case .oldLinkLost: carryOut(machine.oldLinkLost())
        case .reconnect: carryOut(machine.reconnect())
        case .pingDue, .pingExplained:
            guard let epoch = pingTimer else { return }
            pingTimer = nil
            carryOut(machine.pingDue(epoch, isExplained: kind == .pingExplained, at: now))
        case .pong: machine.pongReceived()
        case .serverLeaves: carryOut(machine.serverLeaves())
        case .confirmed:
            isMoveAsked = false
            carryOut(machine.moveConfirmed(machine.linkEpoch))
        case .spread:
            guard let epoch = spreadTimer else { return }
            spreadTimer = nil
            carryOut(machine.spreadingEnded(epoch))
        case .unsubscribed, .unsubscribedIdle:
            isUnsubscribeAsked = false
            let pending = kind == .unsubscribed ? 1 : 0
            carryOut(machine.moveUnsubscribed(machine.linkEpoch, pendingRequests: pending))
        case .lateRepliesEnded:
            guard let epoch = leaveTimer else { return }
            leaveTimer = nil
            carryOut(machine.lateRepliesEnded(epoch))
        case .drain: drain()
        case .barrier:
            isDrainAsked = false
            carryOut(machine.barrierPassed())
        case .workEnded: carryOut(machine.workEnded())
        case .drainTimedOut:
            hasDrainTimer = false
            carryOut(machine.drainTimedOut())
        case .timePasses: isLate = true
        case .close: carryOut(machine.close(nil))
        }
    }

    private mutating func establish(_ server: ConnectionMachine.Server) {
        carryOut(machine.established(server, at: now))
    }

    private mutating func drain() {
        guard !isDrainWanted else { return }
        isDrainWanted = true
        guard machine.state != .closed else {
            drains += 1
            return
        }
        carryOut(machine.drain())
    }

    /// The owner is called, and may react.
    private mutating func call() {
        defer { calls += 1 }
        guard calls == event.place, let reaction = event.reaction else { return }
        event.reaction = nil
        switch reaction {
        case .close: carryOut(machine.close(nil))
        case .reconnect: carryOut(machine.reconnect())
        case .drain: drain()
        case .endWork: if machine.isAwaitingWork { carryOut(machine.workEnded()) }
        }
    }

    // MARK: - The driver

    private mutating func carryOut(_ actions: [ConnectionAction]) {
        let epoch = machine.epoch
        for action in actions where epoch == machine.epoch { carryOut(action) }
    }

    private mutating func carryOut(_ action: ConnectionAction) {
        var random = FixedRandom()
        hold(!hasEnded, "\(action) behind the end")
        switch action {
        case .open(_, let epoch):
            hold(attempt == nil, "two attempts")
            hold(machine.state != .draining, "an attempt while draining")
            attempt = epoch
        case .abandonAttempt, .dismissServer:
            hold(attempt != nil, "\(action) without an attempt")
            attempt = nil
        case .startRetryTimer(let epoch, _): retryTimer = epoch
        case .announceRetry(let count, _, _):
            hold(count > 0, "an attempt without a number")
            call()
        case .countRefusedCredentials, .restore, .sendPing, .noteMoveFailure, .countIgnoredServers: break

        case .adoptLink(let epoch):
            hold(attempt == epoch, "the link is not the one whose handshake is done")
            hold(!hasLink, "two links")
            attempt = nil
            hasLink = true
            isLinkUsed = false
            call()  // publishesLost
            carryOut(machine.linkAdopted(epoch))
        case .startPingTimer(let epoch): pingTimer = epoch
        case .announceConnection(let isFirst):
            hold(!isUp || hasOldLink, "it is up already")
            hold(isFirst != wasUp, "the first connection comes once")
            isUp = true
            wasUp = true
            isLinkUsed = true
            if isConnectWanted, connects == 0 { connects = 1 }
            call()
        case .learnCluster: call()
        case .announceServers, .announceIgnoredServers: call()

        case .dropLink(_, let keepsPublishes):
            hold(hasLink, "no link to drop")
            hold(keepsPublishes == (machine.state == .reconnecting || machine.state == .connecting), "\(machine.state)")
            dropLink()
            call()  // publishesLost
        case .failWaiters:
            call()
            carryOut(machine.waitersFailed(at: now, using: &random))
        case .announceLoss:
            hold(isUp, "a loss of what was not there")
            isUp = false
            call()
            carryOut(machine.lossAnnounced(at: now, using: &random))

        case .keepOldLink:
            hold(hasLink && !hasOldLink, "nothing to keep")
            hasLink = false
            hasOldLink = true
        case .confirmMove(let epoch):
            hold(hasLink && hasOldLink && machine.isUsing(epoch), "no move to confirm")
            isMoveAsked = true
        case .unsubscribePlain: hold(hasOldLink, "\(action)")
        case .startSpreadTimer(let epoch): spreadTimer = epoch
        case .unsubscribeRest:
            hold(hasOldLink, "\(action)")
            isUnsubscribeAsked = true
        case .releaseBarriers: call()
        case .startLeaveTimer(let epoch): leaveTimer = epoch
        case .closeOldLink:
            hold(hasOldLink, "no old link to close")
            closeOldLink()
            call()
        case .endBurst: break

        case .startDrain:
            hold(hasLink, "\(action)")
            isDrainAsked = true
            hasDrainTimer = true
        case .endDrainedSubscriptions: call()
        case .announcePublishingEnds:
            hold(!refusesPublishes && !hadLastChance, "the last chance comes too late, or twice")
            hadLastChance = true
            call()
        case .stopPublishing:
            refusesPublishes = true
            isDrainAsked = true
        case .finishDrain:
            hold(refusesPublishes && drains == 0, "\(action)")
            drains = 1
            carryOut(machine.close(nil))
        case .close(let error): carryOut(machine.close(error))
        case .shutDown:
            attempt = nil
            dropLink()
            retryTimer = nil
            hasDrainTimer = false
            call()
        case .announceEnd:
            hold(!isUp, "the end before the loss")
            hasEnded = true
            if isConnectWanted, connects == 0 { connects = 1 }
            if isDrainWanted, drains == 0 { drains = 1 }
            call()
        }
    }

    private mutating func dropLink() {
        hasLink = false
        isLinkUsed = false
        isDrainAsked = false
        pingTimer = nil
        closeOldLink()
    }

    private mutating func closeOldLink() {
        hasOldLink = false
        isMoveAsked = false
        isUnsubscribeAsked = false
        spreadTimer = nil
        leaveTimer = nil
    }

    // MARK: - What holds between events

    private func check(_ event: Event) {
        hold(connects <= 1 && drains <= 1, "\(event): somebody is answered twice")
        hold(isUp == machine.isAnnounced && (machine.state == .closed) == hasEnded, "\(event): the owner knows better")
        switch machine.stage {
        case .idle:
            hold(machine.epoch == 0, "\(event) leads back to idle")
        case .attempting:
            hold(attempt == machine.epoch && !hasLink, "\(event): nothing is attempted")
        case .pausing:
            hold(attempt == nil && retryTimer == machine.epoch && !hasLink, "\(event): nothing follows the pause")
        case .up(let link):
            hold(link.isAdopted && hasLink && isLinkUsed && isUp, "\(event): the link is not in use")
            hold(pingTimer == link.epoch, "\(event): nobody asks whether the server is there")
            hold((attempt != nil) == (link.move?.candidate != nil), "\(event): the attempt is not the move's")
            hold(attempt == nil || machine.isAttempting(attempt ?? 0), "\(event): the attempt is an old one")
            check(event, link.move?.step)
            switch link.drain {
            case nil: hold(!isDrainAsked && !hasDrainTimer && machine.state == .connected, "\(event): \(machine.state)")
            case .subscriptions, .publishes: hold(isDrainAsked && hasDrainTimer, "\(event): the drain does not go on")
            case .requests:
                hold(!isDrainAsked && hasDrainTimer && machine.isAwaitingWork, "\(event): work is not awaited")
            }
            hold(
                refusesPublishes == (link.drain == .publishes),
                "\(event): publishes in \(String(describing: link.drain))"
            )
        case .losing: hold(false, "\(event): a loss without an end")
        case .closed:
            hold(attempt == nil && !hasLink && !hasOldLink, "\(event): something is left open")
            hold(connects == (isConnectWanted ? 1 : 0), "\(event): somebody waits for the connection")
            hold(drains == (isDrainWanted ? 1 : 0), "\(event): somebody waits for the drain")
        }
    }

    private func check(_ event: Event, _ move: ConnectionMachine.Move.Step?) {
        switch move {
        case nil: hold(!hasOldLink, "\(event): an old link without a move")
        case .connecting: hold(!hasOldLink && attempt != nil, "\(event): nobody is tried")
        case .subscribing: hold(hasOldLink && isMoveAsked, "\(event): no confirmation comes")
        case .spreading: hold(hasOldLink && spreadTimer == machine.linkEpoch, "\(event): the spreading does not end")
        case .unsubscribing: hold(hasOldLink && isUnsubscribeAsked, "\(event): the old server says nothing")
        case .replies: hold(hasOldLink && leaveTimer == machine.linkEpoch, "\(event): the old link is not closed")
        }
    }

    // MARK: - Equal worlds

    /// Epochs only grow: how far they lie behind is all that counts, and that not far.
    struct Key: Hashable {
        var stage: ConnectionMachine.Stage
        var servers: [ServerPool.Server]
        var counts: Int
        var ages: Int
        var flags: Int
    }

    var key: Key {
        func age(_ epoch: Int?) -> Int { epoch.map { min(machine.epoch - $0, 3) } ?? 7 }
        var stage = machine.stage
        if case .up(var link) = stage {
            link.epoch = age(link.epoch)
            stage = .up(link)
        }
        var servers = machine.pool.servers
        for index in servers.indices { servers[index].attempts = min(servers[index].attempts, 2) }
        var counts = 0
        for count in [
            min(machine.epoch, 1), min(machine.pool.failures, 2), min(machine.pool.laps, 2), connects, drains,
        ] {
            counts = counts << 3 | count
        }
        var ages = 0
        for epoch in [attempt, retryTimer, pingTimer, spreadTimer, leaveTimer] { ages = ages << 3 | age(epoch) }
        var flags = 0
        for flag in [
            isLate, hasLink, isLinkUsed, hasOldLink, hasDrainTimer, isMoveAsked, isUnsubscribeAsked, isDrainAsked,
            refusesPublishes, hadLastChance, isConnectWanted, isDrainWanted, isUp, wasUp, hasEnded,
            machine.hasBeenConnected,
            machine.isAnnounced,
        ] {
            flags = flags << 1 | (flag ? 1 : 0)
        }
        return Key(stage: stage, servers: servers, counts: counts, ages: ages, flags: flags)
    }
}

extension ConnectionMachine {
    fileprivate var linkEpoch: Int {
        if case .up(let link) = stage { link.epoch } else { -1 }
    }
}

@Suite("The outer life of a connection")
struct ConnectionMachineTests {
    private static let failure = NATSError(.connectFailed, "failed")
    private static let refusal = NATSError(.authorization, "refused")
    private static let start = NIODeadline.uptimeNanoseconds(0)

    private var random = FixedRandom()

    private static func machine(
        servers: Int = 1,
        attempts: Int = -1,
        _ change: (inout ConnectionMachine.Settings) -> Void = { _ in }
    ) -> ConnectionMachine {
        var settings = ConnectionMachine.Settings()
        change(&settings)
        var random = FixedRandom()
        var pool = ServerPool.Settings()
        pool.maximumAttempts = attempts
        return ConnectionMachine(settings, ServerPool((0..<servers).map(address), pool, using: &random))
    }

    private static func address(_ number: Int) -> NATSServerAddress { NATSServerAddress(host: "s\(number)") }

    /// A machine whose connection is up.
    private static func connected(
        servers: Int = 1,
        _ change: (inout ConnectionMachine.Settings) -> Void = { _ in }
    ) -> ConnectionMachine {
        var machine = machine(servers: servers, change)
        _ = machine.connect()
        _ = machine.established(ConnectionMachine.Server(id: "a"), at: start)
        _ = machine.linkAdopted(1)
        return machine
    }

    @Test("it tries the first server, uses it, and tells the owner")
    func connect() {
        var machine = Self.machine()
        #expect(machine.state == .idle)
        #expect(machine.connect() == [.open(Self.address(0), epoch: 1)])
        #expect(machine.connect() == [])
        #expect(machine.state == .connecting && machine.isAttempting(1) && !machine.isAttempting(0))
        #expect(machine.established(ConnectionMachine.Server(), at: Self.start) == [.adoptLink(epoch: 1)])
        #expect(machine.state == .connecting)
        #expect(machine.linkAdopted(0) == [])
        #expect(
            machine.linkAdopted(1) == [
                .restore, .startPingTimer(epoch: 1), .announceConnection(isFirst: true), .learnCluster,
            ]
        )
        #expect(machine.state == .connected && machine.isUsing(1))
        #expect(machine.linkAdopted(1) == [])
    }

    @Test("the first connection is tried once at each server, unless it is to be tried on")
    mutating func firstFailure() {
        var machine = Self.machine(servers: 2)
        _ = machine.connect()
        #expect(
            machine.attemptFailed(Self.failure, at: Self.start, using: &random) == [
                .abandonAttempt, .announceRetry(attempt: 1, error: Self.failure, pause: .zero),
                .startRetryTimer(epoch: 2, after: .zero),
            ]
        )
        #expect(machine.retryDue(1) == [])
        #expect(machine.retryDue(2) == [.open(Self.address(1), epoch: 3)])
        #expect(
            machine.attemptFailed(Self.failure, at: Self.start, using: &random) == [
                .abandonAttempt, .close(Self.failure),
            ]
        )
        machine = Self.machine { $0.retriesFirstConnection = true }
        _ = machine.connect()
        #expect(
            machine.attemptFailed(Self.failure, at: Self.start, using: &random) == [
                .abandonAttempt, .announceRetry(attempt: 1, error: Self.failure, pause: .seconds(2)),
                .startRetryTimer(epoch: 2, after: .seconds(2)),
            ]
        )
    }

    @Test(
        "errors that waiting does not mend end the first connection",
        arguments: [
            NATSError.Code.authorization, .invalidCredentials, .tlsFailed,
        ]
    )
    mutating func finalErrors(code: NATSError.Code) {
        var machine = Self.machine(servers: 2) { $0.retriesFirstConnection = true }
        _ = machine.connect()
        let error = NATSError(code, "no")
        let actions = machine.attemptFailed(error, at: Self.start, using: &random)
        #expect(actions.last == .close(error))
        #expect(actions.contains(.countRefusedCredentials) == (code == .authorization))
        #expect(machine.close(error) == [.shutDown(error), .announceEnd(error)])
        // They may be about to be mended once there was a connection.
        var later = Self.connected { $0.retriesFirstConnection = true }
        _ = later.linkLost(.disconnected, at: Self.start)
        _ = later.waitersFailed(at: Self.start, using: &random)
        _ = later.lossAnnounced(at: Self.start, using: &random)
        _ = later.retryDue(2)
        #expect(!later.attemptFailed(error, at: Self.start, using: &random).contains(.close(error)))
    }

    @Test("a loss is told once, after whoever waits has failed, and a new attempt follows")
    mutating func loss() {
        var machine = Self.connected()
        let later = Self.start + .seconds(60)
        #expect(
            machine.linkLost(.disconnected, at: later) == [
                .dropLink(.disconnected, keepsPublishes: true), .failWaiters(.disconnected),
            ]
        )
        #expect(machine.state == .reconnecting)
        #expect(machine.linkLost(.disconnected, at: later) == [])
        #expect(machine.waitersFailed(at: later, using: &random) == [.announceLoss(.disconnected)])
        #expect(machine.lossAnnounced(at: later, using: &random) == [.startRetryTimer(epoch: 2, after: .zero)])
        #expect(machine.lossAnnounced(at: later, using: &random).isEmpty)
        #expect(machine.retryDue(2) == [.open(Self.address(0), epoch: 3)])
        _ = machine.established(ConnectionMachine.Server(), at: later)
        #expect(machine.linkAdopted(3).contains(.announceConnection(isFirst: false)))
    }

    @Test("a connection that hardly lived is not made again at once, unless that was asked for")
    mutating func shortLife() {
        var machine = Self.connected()
        _ = machine.linkLost(.disconnected, at: Self.start)
        _ = machine.waitersFailed(at: Self.start, using: &random)
        #expect(
            machine.lossAnnounced(at: Self.start, using: &random) == [.startRetryTimer(epoch: 2, after: .seconds(2))]
        )
        // The owner asks in the middle of the loss.
        machine = Self.connected()
        _ = machine.linkLost(.disconnected, at: Self.start)
        #expect(machine.reconnect() == [])
        _ = machine.waitersFailed(at: Self.start, using: &random)
        #expect(machine.lossAnnounced(at: Self.start, using: &random) == [.startRetryTimer(epoch: 2, after: .zero)])
        // And while it waits.
        #expect(machine.reconnect() == [.open(Self.address(0), epoch: 3)])
        #expect(machine.reconnect() == [.abandonAttempt, .open(Self.address(0), epoch: 4)])
    }

    @Test("without reconnecting a loss is the end")
    mutating func noReconnect() {
        var machine = Self.connected { $0.reconnects = false }
        #expect(
            machine.linkLost(.disconnected, at: Self.start) == [
                .dropLink(.disconnected, keepsPublishes: false), .failWaiters(.disconnected),
            ]
        )
        #expect(machine.waitersFailed(at: Self.start, using: &random) == [.announceLoss(.disconnected)])
        #expect(machine.lossAnnounced(at: Self.start, using: &random) == [.close(.disconnected)])
        // The loss was told already.
        #expect(machine.close(.disconnected) == [.shutDown(.disconnected), .announceEnd(.disconnected)])
        #expect(machine.close(nil) == [])
    }

    @Test("credentials that were right once may be refused for a time; the last attempt comes when that is over")
    mutating func refusedLater() {
        var machine = Self.connected { $0.refusalTime = .seconds(3) }
        _ = machine.linkLost(.disconnected, at: Self.start + .seconds(60))
        _ = machine.waitersFailed(at: Self.start, using: &random)
        _ = machine.lossAnnounced(at: Self.start, using: &random)
        var epoch = 2
        for (second, pause) in [(0, TimeAmount.seconds(2)), (2, .seconds(1))] {
            _ = machine.retryDue(epoch)
            epoch += 2
            #expect(
                machine.attemptFailed(Self.refusal, at: Self.start + .seconds(Int64(second)), using: &random).last
                    == .startRetryTimer(epoch: epoch, after: pause)
            )
        }
        _ = machine.retryDue(epoch)
        #expect(
            machine.attemptFailed(Self.refusal, at: Self.start + .seconds(3), using: &random)
                == [.abandonAttempt, .countRefusedCredentials, .close(Self.refusal)]
        )
    }

    @Test("when every server was dropped, the connection gives up, and says after how many attempts")
    mutating func givesUp() {
        var machine = Self.machine(attempts: 1) {
            $0.maximumAttempts = 1
            $0.retriesFirstConnection = true
        }
        _ = machine.connect()
        let error = NATSError(.reconnectsExhausted, "gave up after 1 attempts; last error: failed")
        #expect(
            machine.attemptFailed(Self.failure, at: Self.start, using: &random) == [.abandonAttempt, .close(error)]
        )
    }

    @Test("pings that stay unanswered end the connection, unless their silence is explained")
    func pings() {
        var machine = Self.connected { $0.maximumPings = 2 }
        #expect(machine.pingDue(0, isExplained: false, at: Self.start) == [])
        for _ in 0..<2 {
            #expect(machine.pingDue(1, isExplained: false, at: Self.start) == [.sendPing, .startPingTimer(epoch: 1)])
        }
        #expect(machine.outstandingPings == 2)
        #expect(machine.pingDue(1, isExplained: true, at: Self.start) == [.startPingTimer(epoch: 1)])
        machine.pongReceived()
        #expect(machine.outstandingPings == 0)
        for _ in 0..<2 { _ = machine.pingDue(1, isExplained: false, at: Self.start) }
        let error = NATSError(.staleConnection, "2 pings stayed unanswered")
        #expect(
            machine.pingDue(1, isExplained: false, at: Self.start) == [
                .dropLink(error, keepsPublishes: true), .failWaiters(error),
            ]
        )
    }

    @Test("a server that shuts down is left for another one, and listened to until nothing is under way")
    func move() {
        var machine = Self.connected(servers: 3)
        #expect(machine.serverLeaves() == [.open(Self.address(1), epoch: 2)])
        #expect(machine.serverLeaves() == [])
        #expect(machine.state == .connected && machine.isAttempting(2) && machine.isUsing(1))
        // It is about to shut down, too.
        #expect(
            machine.established(ConnectionMachine.Server(id: "b", isLeaving: true), at: Self.start)
                == [.dismissServer, .open(Self.address(2), epoch: 3)]
        )
        #expect(
            machine.established(ConnectionMachine.Server(id: "c"), at: Self.start)
                == [.keepOldLink, .adoptLink(epoch: 3)]
        )
        #expect(machine.linkAdopted(3).suffix(2) == [.learnCluster, .confirmMove(epoch: 3)])
        #expect(machine.hasBarrierAtOldServer)
        #expect(machine.moveConfirmed(2) == [])
        #expect(machine.moveConfirmed(3) == [.startSpreadTimer(epoch: 3), .unsubscribePlain])
        #expect(machine.spreadingEnded(3) == [.unsubscribeRest(epoch: 3)])
        #expect(machine.spreadingEnded(3) == [])
        var idle = machine
        #expect(idle.moveUnsubscribed(3, pendingRequests: 0) == [.closeOldLink, .endBurst])
        #expect(idle.move == nil)
        #expect(machine.moveUnsubscribed(3, pendingRequests: 1) == [.releaseBarriers, .startLeaveTimer(epoch: 3)])
        #expect(!machine.hasBarrierAtOldServer)
        var lost = machine
        #expect(lost.oldLinkLost() == [.closeOldLink, .endBurst])
        #expect(machine.lateRepliesEnded(3) == [.closeOldLink])
        #expect(machine.move == nil && machine.state == .connected)
        #expect(machine.pool.current == Self.address(2))
    }

    @Test("the same server is no other one, and with nowhere to go the connection stays")
    mutating func noMove() {
        var machine = Self.connected(servers: 3)
        _ = machine.serverLeaves()
        #expect(
            machine.established(ConnectionMachine.Server(id: "a"), at: Self.start)
                == [.dismissServer, .open(Self.address(2), epoch: 3)]
        )
        #expect(
            machine.attemptFailed(Self.failure, at: Self.start, using: &random)
                == [.abandonAttempt, .noteMoveFailure(Self.failure)]
        )
        #expect(machine.move == nil && machine.state == .connected && machine.isUsing(1))
        var alone = Self.connected { $0.reconnects = false }
        #expect(alone.serverLeaves() == [])
        // Nobody is tried any more while the connection drains.
        var draining = Self.connected(servers: 3)
        _ = draining.serverLeaves()
        _ = draining.drain()
        var reached = draining
        #expect(reached.established(ConnectionMachine.Server(id: "b"), at: Self.start) == [.dismissServer])
        #expect(
            draining.attemptFailed(Self.failure, at: Self.start, using: &random)
                == [.abandonAttempt, .noteMoveFailure(Self.failure)]
        )
        #expect(draining.move == nil && draining.state == .draining && draining.serverLeaves() == [])
    }

    @Test("draining ends subscriptions, then work, then publishing, then the connection")
    func drain() {
        var machine = Self.connected()
        #expect(machine.drain() == [.startDrain])
        #expect(machine.drain() == [])
        #expect(machine.state == .draining && !machine.isAwaitingWork)
        #expect(machine.workEnded() == [])
        #expect(machine.barrierPassed() == [.endDrainedSubscriptions])
        #expect(machine.barrierPassed() == [])
        #expect(machine.isAwaitingWork)
        #expect(machine.workEnded() == [.announcePublishingEnds, .stopPublishing])
        #expect(machine.barrierPassed() == [.finishDrain])
        #expect(machine.close(nil) == [.shutDown(.closed), .announceLoss(nil), .announceEnd(nil)])
    }

    @Test("a drain that takes too long closes in any step, and tells the owner first that publishing ends")
    func drainTimedOut() {
        let error = NATSError(.drainTimeout, "draining took longer than its limit")
        var machine = Self.connected()
        #expect(machine.drainTimedOut() == [])
        _ = machine.drain()
        #expect(machine.drainTimedOut() == [.announcePublishingEnds, .close(error)])
        machine = Self.connected()
        _ = machine.drain()
        _ = machine.barrierPassed()
        var late = machine
        #expect(late.drainTimedOut() == [.announcePublishingEnds, .close(error)])
        _ = machine.workEnded()
        #expect(machine.drainTimedOut() == [.close(error)])
    }

    @Test("without a connection a drain closes, and a loss in its middle does, too")
    mutating func drainWithoutConnection() {
        var machine = Self.machine()
        var idle = machine
        #expect(idle.drain() == [.close(.disconnected)])
        _ = machine.connect()
        var attempting = machine
        #expect(attempting.drain() == [.close(.disconnected)])
        // There is one, and nobody has heard of it yet.
        _ = machine.established(ConnectionMachine.Server(), at: Self.start)
        #expect(machine.drain() == [.close(.disconnected)])
        machine = Self.connected()
        _ = machine.drain()
        #expect(machine.reconnect() == [])
        _ = machine.linkLost(.disconnected, at: Self.start)
        #expect(machine.state == .draining)
        _ = machine.waitersFailed(at: Self.start, using: &random)
        #expect(machine.lossAnnounced(at: Self.start, using: &random) == [.close(.disconnected)])
        _ = machine.close(nil)
        #expect(machine.drain() == [] && machine.connect() == [] && machine.reconnect() == [])
    }

    @Test("what the cluster tells is told on; what is left out once, until a list is taken in whole")
    mutating func cluster() {
        var settings = ServerPool.Settings()
        settings.maximumDiscovered = 1
        var machine = ConnectionMachine(
            ConnectionMachine.Settings(),
            ServerPool([Self.address(0)], settings, using: &random)
        )
        _ = machine.connect()
        var info = NATSServerInfo()
        #expect(machine.clusterChanged(info, using: &random) == [])
        info.connectURLs = ["a:1", "b:2", "c:3"]
        #expect(
            machine.clusterChanged(info, using: &random)
                == [.countIgnoredServers(2), .announceServers(["a:1"]), .announceIgnoredServers(count: 2)]
        )
        #expect(machine.clusterChanged(info, using: &random) == [.countIgnoredServers(2)])
        info.connectURLs = ["a:1"]
        #expect(machine.clusterChanged(info, using: &random) == [])
        info.connectURLs = ["a:1", "b:2"]
        #expect(
            machine.clusterChanged(info, using: &random) == [
                .countIgnoredServers(1), .announceIgnoredServers(count: 1),
            ]
        )
        var deaf = Self.connected { $0.ignoresDiscoveredServers = true }
        #expect(deaf.clusterChanged(info, using: &random) == [])
    }

    private static let settings: [ConnectionMachine.Settings] = [
        ConnectionMachine.Settings(maximumPings: 1),
        ConnectionMachine.Settings(retriesFirstConnection: true, maximumPings: 1),
        ConnectionMachine.Settings(reconnects: false, maximumPings: 1),
    ]

    @Test("in every order of events the connection goes on or ends, and everybody is answered once", arguments: 0..<3)
    func everyOrder(number: Int) {
        // Time passes in the random orders.
        let states = everyState(from: ConnectionWorld(Self.settings[number], servers: 2, hasClock: false))
        #expect(states.count > 150)
        let kinds = Set(states.map(\.machine.state))
        #expect(kinds.count == (number == 2 ? 5 : 6))
        for state in states {
            // Whatever has happened, the connection can be closed, and a drain ends.
            var closed = state
            closed.send(.close)
            hold(closed.hasEnded, "a close does not end: \(state)")
            var drained = state
            drained.send(.drain)
            if !drained.hasEnded { drained.send(.drainTimedOut) }
            hold(drained.hasEnded, "a drain does not end: \(state)")
        }
    }

    @Test("long random orders of events", arguments: 0..<50)
    func randomOrders(seed: Int) {
        let settings = Self.settings[seed % 2]
        var world = randomWalk(
            from: ConnectionWorld(settings, servers: 3, attempts: -1),
            steps: 400,
            seed: UInt64(seed)
        )
        world.send(.close)
        #expect(world.hasEnded)
    }
}
