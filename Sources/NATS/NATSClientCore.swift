// The loop's side of NATSClient: connection, the handlers of its subscriptions, and the promises of its requests.
// Loop-bound.

import Logging
import NATSProtocol
import NIOCore

final class NATSClientCore: NATSConnectionDelegate, NATSSubscriptionHandler, NATSRequestSink {
    let connection: NATSConnection
    private let outbox: NATSOutbox
    private let logger: Logger
    private let proxy: DelegateProxy
    /// What the outbox was told last.
    private var terms: NATSOutbox.Terms?
    private var isRetryScheduled = false
    private var hasPublishingEnded = false
    /// By sid; an entry holds its source weakly, so that a stream nobody holds any more unsubscribes itself.
    private var sources: [Int: WeakSource] = [:]
    /// Readers to wake at the end of the burst.
    private var waiting: [NATSMessageSource] = []
    private var waitingRequests: [UInt64: (id: NATSRequestID, promise: EventLoopPromise<NATSMessage>)] = [:]

    init(
        _ configuration: NATSConnectionConfiguration,
        _ eventLoop: any EventLoop,
        _ logger: Logger,
        _ outbox: NATSOutbox
    ) {
        self.outbox = outbox
        self.logger = logger
        proxy = DelegateProxy()
        connection = NATSConnection(
            configuration: configuration,
            eventLoop: eventLoop,
            logger: logger,
            delegate: proxy
        )
        proxy.target = self
    }

    // MARK: Publishing

    /// Hands what other threads published to the connection. What it has no room for waits in the outbox, which refuses
    /// new publishes meanwhile.
    func sendOutbox() {
        var (frames, count) = outbox.take()
        if count > 0, connection.append(frames: &frames, count: count) == .bufferExceeded {
            outbox.putBack(frames, count)
            retryLater()
        }
        updateOutbox()
    }

    /// The room shrinks when the connection breaks, so that what was accepted before may have to wait.
    private func retryLater() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        connection.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(10)) { [weak self] in
            self?.isRetryScheduled = false
            self?.sendOutbox()
        }
    }

    private func updateOutbox() {
        let now = NATSOutbox.Terms(
            maximumPayload: connection.maximumPayload,
            headersRefused: connection.headersRefused,
            refusal: connection.publishRefusal ?? (hasPublishingEnded ? .draining : nil),
            room: connection.outboundRoom
        )
        guard now != terms else { return }
        terms = now
        outbox.update(now)
    }

    // MARK: Subscriptions

    func subscribe(_ subject: String, _ queue: String?, _ source: NATSMessageSource) -> EventLoopFuture<Void> {
        do throws(NATSError) {
            let subscription = try connection.subscribe(subject: subject, queue: queue, handler: self)
            sources[subscription.sid] = WeakSource(source)
            source.attach(subscription)
            return connection.eventLoop.makeSucceededVoidFuture()
        } catch {
            return connection.eventLoop.makeFailedFuture(error)
        }
    }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        guard let source = sources[subscription.sid]?.source else { return }
        if source.append(NATSMessage(copying: message)), waiting.last !== source {
            waiting.append(source)
        }
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        guard let source = sources.removeValue(forKey: subscription.sid)?.source else { return }
        switch reason {
        case .unsubscribed, .maximumReached, .drained, .closed: source.end(nil)
        case .disconnected: source.end(.disconnected)
        case .permissionViolation(let text): source.end(NATSError(.permissionViolation, text))
        }
    }

    // MARK: Requests

    func request(
        _ payload: ByteBuffer,
        _ subject: String,
        _ headers: NATSHeaders,
        _ deadline: NIODeadline,
        _ context: UInt64,
        _ promise: EventLoopPromise<NATSMessage>
    ) {
        var subject = subject
        let start = subject.withUTF8 { subject in
            headers.encoded().withUnsafeBytes { headers in
                payload.withUnsafeReadableBytes { payload in
                    connection.request(
                        subject: UnsafeRawBufferPointer(subject),
                        headers: headers,
                        payload: payload,
                        deadline: deadline,
                        context: context,
                        sink: self
                    )
                }
            }
        }
        switch start {
        case .started(let id): waitingRequests[context] = (id, promise)
        case .refused(let refusal): promise.fail(refusal.error)
        }
    }

    func cancelRequest(_ context: UInt64) {
        guard let waiting = waitingRequests.removeValue(forKey: context) else { return }
        connection.cancelRequest(waiting.id)
        waiting.promise.fail(NATSError(.cancelled, "the task that waited for the reply was cancelled"))
    }

    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        waitingRequests.removeValue(forKey: context)?.promise.succeed(NATSMessage(copying: reply))
    }

    func requestFailed(context: UInt64, error: NATSRequestFailure) {
        waitingRequests.removeValue(forKey: context)?.promise.fail(error.error)
    }

    // MARK: Connection

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        if event == .publishingEnds {
            // First no publish is accepted any more, then everything that was accepted is sent.
            hasPublishingEnded = true
            updateOutbox()
        }
        sendOutbox()
        log(event)
    }

    private func log(_ event: NATSEvent) {
        switch event {
        case .connected(let info): logger.info("connected to NATS", metadata: ["version": "\(info.version)"])
        case .reconnected(let info): logger.info("connected to NATS again", metadata: ["version": "\(info.version)"])
        case .disconnected(let error?):
            logger.warning("lost the connection to NATS", metadata: ["error": "\(error.message)"])
        case .retryingConnect(let attempt, let error):
            logger.warning(
                "cannot connect to NATS, trying again",
                metadata: ["attempt": "\(attempt)", "error": "\(error.message)"]
            )
        case .closed(let error?): logger.error("closed the connection to NATS", metadata: ["error": "\(error.message)"])
        case .publishViolation(_, let text), .subscriptionViolation(_, _, let text), .serverError(let text),
            .slowConsumer(let text):
            logger.warning("the NATS server reported an error", metadata: ["error": "\(text)"])
        case .lameDuck: logger.notice("the NATS server is about to shut down")
        case .disconnected(nil), .closed(nil), .publishingEnds, .discoveredServers: break
        }
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        updateOutbox()
        guard !waiting.isEmpty else { return }
        for source in waiting {
            source.wake()
        }
        waiting.removeAll(keepingCapacity: true)
    }

    private struct WeakSource {
        weak var source: NATSMessageSource?

        init(_ source: NATSMessageSource) {
            self.source = source
        }
    }

    /// Stands in while the connection is made, since it needs its delegate before the core is whole.
    private final class DelegateProxy: NATSConnectionDelegate {
        weak var target: NATSClientCore?

        func connection(_ connection: NATSConnection, event: NATSEvent) {
            target?.connection(connection, event: event)
        }

        func connectionReadBurstEnded(_ connection: NATSConnection) {
            target?.connectionReadBurstEnded(connection)
        }
    }
}

@available(*, unavailable)
extension NATSClientCore: Sendable {}

extension NATSRequestFailure {
    /// The failure as an error for people.
    package var error: NATSError {
        switch self {
        case .timeout: NATSError(.timeout, "no reply came in time")
        case .noResponders: NATSError(.noResponders, "nobody listens on the subject")
        case .disconnected: NATSError(.disconnected, "the connection was lost while waiting for the reply")
        case .closed: .closed
        case .permissionViolation(let text): NATSError(.permissionViolation, text)
        }
    }
}
