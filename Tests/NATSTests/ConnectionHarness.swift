// Drives a loop-bound connection from an async test, and writes down everything it says.

import Bytes
import Logging
import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import NATS

/// Loop-bound. What the connection told its owner, in order.
final class Recorder: NATSConnectionDelegate, NATSSubscriptionHandler, NATSRequestSink {
    struct Message: Equatable, Sendable {
        var sid: Int
        var subject: String
        var reply = ""
        var headers = ""
        var payload: String
    }

    struct End: Equatable, Sendable {
        let sid: Int
        let reason: NATSSubscriptionEnd
    }

    struct Outcome: Equatable, Sendable {
        let context: UInt64
        let reply: String?
        let failure: NATSRequestError?
    }

    var events: [NATSEvent] = []
    var messages: [Message] = []
    var ends: [End] = []
    var outcomes: [Outcome] = []
    var bursts = 0
    var congestion: [NATSCongestion] = []
    /// Called after each message was written down.
    var onMessage: ((NATSSubscription) -> Void)?
    var onOutcome: ((UInt64) -> Void)?
    var onEvent: ((NATSEvent) -> Void)?
    /// Whether the end of a turn holds what comes behind it.
    var holdsTurns = false

    func connectionTurnIsOver(_ connection: NATSConnection) {
        if holdsTurns { connection.holdForTurn() }
    }

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        events.append(event)
        onEvent?(event)
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        bursts += 1
    }

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {
        self.congestion.append(congestion)
    }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        messages.append(
            Message(
                sid: message.sid,
                subject: String(decoding: message.subject, as: UTF8.self),
                reply: String(decoding: message.reply, as: UTF8.self),
                headers: String(decoding: message.headers, as: UTF8.self),
                payload: String(decoding: message.payload, as: UTF8.self)
            )
        )
        onMessage?(subscription)
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        ends.append(End(sid: subscription.sid, reason: reason))
    }

    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        outcomes.append(
            Outcome(context: context, reply: String(decoding: reply.payload, as: UTF8.self), failure: nil)
        )
        onOutcome?(context)
    }

    func requestFailed(context: UInt64, error: NATSRequestError) {
        outcomes.append(Outcome(context: context, reply: nil, failure: error))
        onOutcome?(context)
    }
}

final class ConnectionHarness: Sendable {
    struct Timeout: Error, CustomStringConvertible {
        let description: String
    }

    let eventLoop: any EventLoop
    private let bound: NIOLoopBound<(connection: NATSConnection, recorder: Recorder)>

    init(
        _ servers: [NATSServerAddress],
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        _ configure: @escaping @Sendable (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        self.eventLoop = eventLoop
        bound = try await eventLoop.submit {
            var configuration = NATSConnectionConfiguration(servers: servers)
            // Long enough for a machine that is busy with other things; who tests the deadline sets a short one.
            configuration.connectTimeout = .seconds(60)
            configuration.reconnectWait = .milliseconds(10)
            configuration.reconnectWaitMaximum = .milliseconds(20)
            configuration.reconnectJitter = .zero
            configuration.randomizeServers = false
            configure(&configuration)
            let recorder = Recorder()
            let connection = NATSConnection(
                configuration: configuration,
                eventLoop: eventLoop,
                logger: logger,
                delegate: recorder
            )
            return NIOLoopBound((connection, recorder), eventLoop: eventLoop)
        }.get()
    }

    deinit {
        let bound = bound
        eventLoop.execute { bound.value.connection.close() }
    }

    /// Runs `body` on the connection's loop.
    @discardableResult
    func on<Result: Sendable>(
        _ body: @escaping @Sendable (NATSConnection, Recorder) throws -> Result
    ) async throws -> Result {
        let bound = bound
        return try await eventLoop.submit { try body(bound.value.connection, bound.value.recorder) }.get()
    }

    /// Starts something on the loop and returns the future itself, so that the test can go on meanwhile.
    func start(
        _ body: @escaping @Sendable (NATSConnection, Recorder) -> EventLoopFuture<Void>
    ) async throws -> EventLoopFuture<Void> {
        let bound = bound
        return try await eventLoop.submit { body(bound.value.connection, bound.value.recorder) }.get()
    }

    /// Waits until `condition` holds on the loop.
    func eventually(
        _ what: String,
        _ condition: @escaping @Sendable (NATSConnection, Recorder) -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if try await on(condition) { return }
            try await Task.sleep(for: .milliseconds(1))
        }
        let events = try await on { "\($1.events)" }
        throw Timeout(description: "waited for: \(what); events: \(events)")
    }

    func events() async throws -> [NATSEvent] {
        try await on { $1.events }
    }

    /// Connects and does the mock's side of the handshake.
    func connect(to server: MockServer, info: String = MockServer.info) async throws -> MockPeer {
        let connected = try await start { connection, _ in connection.connect() }
        let peer = try await server.acceptHandshake(info: info)
        try await connected.get()
        return peer
    }

    @discardableResult
    func subscribe(_ subject: String, queue: String? = nil) async throws -> Int {
        try await on { connection, recorder in
            try connection.subscribe(subject: subject, queue: queue, handler: recorder).sid
        }
    }

    @discardableResult
    func publish(
        _ payload: String,
        to subject: String,
        headers: NATSHeaders = .init()
    ) async throws
        -> NATSPublishError?
    {
        try await on { connection, _ in connection.publish(payload, to: subject, headers: headers) }
    }

    @discardableResult
    func request(
        _ payload: String,
        to subject: String,
        context: UInt64,
        timeout: TimeAmount = .seconds(60)
    )
        async throws -> NATSConnection.RequestStart
    {
        try await on { connection, recorder in
            connection.request(payload, to: subject, context: context, timeout: timeout, recorder)
        }
    }
}

extension NATSConnection {
    /// Publishes text, for tests.
    @discardableResult
    func publish(
        _ payload: String,
        to subject: String,
        reply: String = "",
        headers: NATSHeaders = .init()
    ) -> NATSPublishError? {
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(reply.utf8).withUnsafeBytes { reply in
                headers.encoded().withUnsafeBytes { headers in
                    Array(payload.utf8).withUnsafeBytes { payload in
                        publish(subject: subject, reply: reply, headers: headers, payload: payload)
                    }
                }
            }
        }
    }

    func request(
        _ payload: String,
        to subject: String,
        context: UInt64,
        timeout: TimeAmount = .seconds(60),
        _ sink: any NATSRequestSink
    ) -> RequestStart {
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(payload.utf8).withUnsafeBytes { payload in
                request(
                    subject: subject,
                    headers: .none,
                    payload: payload,
                    deadline: .now() + timeout,
                    context: context,
                    sink: sink
                )
            }
        }
    }
}

/// The code of the `NATSError` that `future` fails with.
func failureCode(of future: EventLoopFuture<Void>) async -> NATSError.Code? {
    do {
        try await future.get()
        return nil
    } catch {
        return (error as? NATSError)?.code
    }
}
