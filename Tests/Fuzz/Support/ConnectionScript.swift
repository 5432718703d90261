// Plays a script against the connection machine: the bytes decide what the server says, what the owner asks for, when
// time passes and when the network breaks; after every step the invariants are checked, and after the end nothing may be
// left. One thread, an embedded loop, no real time.

import Logging
import NATS
import NATSProtocol
import NIOCore
import NIOEmbedded

/// Runs scripts against a connection.
package enum ConnectionScript {
    /// The longest script in steps: beyond it, more of the same follows.
    static let maximumSteps = 400

    /// How far scripts come: a test makes sure that they reach what they are for.
    package struct Reach {
        package var connections = 0
        package var reconnects = 0
        package var messages = 0
        package var replies = 0
        package var subscriptionsEnded = 0
        package var drains = 0

        package init() {}
    }

    package static func check(_ bytes: [UInt8]) throws(FuzzFailure) {
        var reach = Reach()
        try check(bytes, &reach)
    }

    /// - Parameter reach: counts on over many scripts.
    package static func check(_ bytes: [UInt8], _ reach: inout Reach) throws(FuzzFailure) {
        weak var left: NATSConnection?
        let loop = EmbeddedEventLoop()
        do {
            let player = ScriptPlayer(bytes, loop: loop)
            left = player.connection
            try player.play()
            reach.add(player.witness.reach)
        }
        // Deadlines that are still armed may not hold anything.
        loop.advanceTime(by: .hours(1))
        try require(left == nil, "the connection is held after its end")
    }
}

extension ConnectionScript.Reach {
    fileprivate mutating func add(_ other: Self) {
        connections += other.connections
        reconnects += other.reconnects
        messages += other.messages
        replies += other.replies
        subscriptionsEnded += other.subscriptionsEnded
        drains += other.drains
    }
}

/// One run of one script.
final class ScriptPlayer {
    let connection: NATSConnection
    let loop: EmbeddedEventLoop
    let witness = ConnectionWitness()
    let fault = WriteFault()
    var script: ScriptReader
    /// The TCP connections so far; the last one is the present one.
    private(set) var servers: [ScriptedServer] = []
    private(set) var held: [NATSSubscription] = []
    var drained: Set<Int> = []
    /// Requests that were started, and the context each was given.
    var ids: [(id: NATSRequestID, context: UInt64)] = []
    private var contexts: UInt64 = 0
    private var publishes = 0
    /// Steps that the next callbacks take, in the middle of whatever goes on.
    var reactions: [Int] = []
    private var depth = 0

    init(_ bytes: [UInt8], loop: EmbeddedEventLoop) {
        self.loop = loop
        script = ScriptReader(bytes)
        let flags = script.byte()
        // One server only: what a script checks holds for one TCP connection at a time, and a client that knows a second
        // server has two of them while it leaves one in lame duck mode.
        var configuration = NATSConnectionConfiguration(servers: [.init(host: "a")])
        configuration.ignoresDiscoveredServers = true
        configuration.reconnectJitter = .zero
        configuration.reconnect = flags & 1 == 0
        configuration.retryOnFailedConnect = flags & 2 != 0
        configuration.verbose = flags & 4 != 0
        configuration.maxReconnectAttempts = flags & 8 != 0 ? 2 : -1
        configuration.reconnectBufferBytes = flags & 16 != 0 ? 200 : 8 << 20
        configuration.maxPendingOutboundBytes = flags & 32 != 0 ? 100_000 : 64 << 20
        configuration.maxPendingRequests = flags & 64 != 0 ? 3 : 1 << 16
        configuration.maxInboundMessageBytes = 4096
        connection = NATSConnection(
            configuration: configuration,
            eventLoop: loop,
            logger: Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() },
            delegate: witness
        )
        connection.useTransportForMeasurement { [unowned self] handler in open(handler) }
        witness.onCallback = { [unowned self] in react() }
    }

    private func open(_ handler: any ChannelHandler) {
        do {
            servers.append(try ScriptedServer(handler, fault: fault, loop: loop))
        } catch {
            witness.wrong("cannot open a channel: \(error)")
        }
    }

    var server: ScriptedServer? { servers.last.flatMap { $0.isOpen ? $0 : nil } }

    func nextContext() -> UInt64 {
        contexts += 1
        return contexts
    }

    func nextPublish() -> Int {
        publishes += 1
        return publishes
    }

    func hold(_ subscription: NATSSubscription) {
        held.append(subscription)
        witness.subscriptions.started.insert(UInt64(subscription.sid))
    }

    /// Counts how `future` ends.
    func follow(_ future: EventLoopFuture<Void>) {
        let context = nextContext()
        witness.futures.started.insert(context)
        future.assumeIsolated().whenComplete { [witness] _ in
            witness.check(witness.futures.end(context), "a future ended twice")
        }
    }

    private func react() {
        guard depth < 3, let code = reactions.popLast() else { return }
        depth += 1
        ask(code)
        depth -= 1
    }

    // MARK: - The run

    func play() throws(FuzzFailure) {
        // A burst of the present read is over before the next step, as on a real loop.
        follow(connection.connect())
        var steps = 0
        while !script.isAtEnd, steps < ConnectionScript.maximumSteps, !witness.isClosed {
            steps += 1
            step(script.byte())
            try verify()
        }
        reactions = []
        connection.close()
        loop.run()
        try verify()
        try verifyEnd()
    }

    private func verify() throws(FuzzFailure) {
        for server in servers.suffix(3) {
            try server.listen()
        }
        if let failure = witness.failure { throw failure }
        let open = servers.filter(\.isOpen).count
        try require(open <= 1, "\(open) TCP connections at once")
        try require(
            connection.pendingRequests == witness.requests.open.count,
            "\(connection.pendingRequests) requests wait, \(witness.requests.open.count) are known"
        )
        try verifySubscriptions()
    }

    /// What the owner holds is what the server knows, once everything written has arrived.
    private func verifySubscriptions() throws(FuzzFailure) {
        guard connection.state == .connected, let server, server.channel.isWritable else { return }
        loop.run()
        try server.listen()
        guard connection.state == .connected, server.isOpen, connection.isConnected else { return }
        for subscription in held where !subscription.isEnded && !drained.contains(subscription.sid) {
            guard let known = server.subscriptions[subscription.sid] else {
                throw FuzzFailure("the server does not know subscription \(subscription.sid)")
            }
            try require(known.subject == subscription.subject, "the server knows another subject")
            try require(known.queue == (subscription.queue ?? ""), "the server knows another queue group")
        }
        held.removeAll { $0.isEnded }
    }

    private func verifyEnd() throws(FuzzFailure) {
        try require(connection.state == .closed && witness.isClosed, "close did not close")
        try require(witness.requests.open.isEmpty, "requests without an end: \(witness.requests.open.sorted())")
        try require(witness.futures.open.isEmpty, "futures without an end: \(witness.futures.open.sorted())")
        try require(
            witness.subscriptions.open.isEmpty,
            "subscriptions without an end: \(witness.subscriptions.open.sorted())"
        )
        try require(!servers.contains { $0.isOpen }, "a TCP connection is left open")
        let numbers = servers.flatMap(\.published)
        try require(
            zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 },
            "published out of order or twice: \(numbers)"
        )
    }
}
