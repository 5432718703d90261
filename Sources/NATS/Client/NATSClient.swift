// Owns: the async face of the client: Sendable, usable from any task. It has one loop-bound connection and hops to its loop;
// publishes are encoded where they are made and cross to the loop in batches, so a publish costs neither a task nor a
// hop of its own.

public import Logging
public import NATSProtocol
import NIOConcurrencyHelpers
public import NIOCore
public import NIOPosix
public import ServiceLifecycle

/// A client of NATS for async code.
///
/// ```swift
/// let client = try await NATSClient.connect(to: "nats://127.0.0.1:4222")
/// let messages = try await client.subscribe("greet.*")
/// try client.publish("hello", to: "greet.joe")
/// for try await message in messages { print(message.subject) }
/// ```
///
/// The connection is made again when it is lost, with all subscriptions; what is published meanwhile is buffered. Call
/// ``close()`` or ``drain(timeout:)`` at the end: a client that is merely dropped closes its connection as well, but
/// without telling anybody.
public final class NATSClient: Service {
    /// How many messages may wait for a slow reader of a subscription unless it says otherwise.
    public static let defaultBufferLimit = 500_000
    /// How many bytes may wait for a slow reader of a subscription unless it says otherwise.
    public static let defaultByteLimit = 64 << 20
    /// How long ``flush(timeout:watching:)`` waits.
    public static let defaultFlushTimeout = TimeAmount.seconds(10)
    /// How long ``drain(timeout:)`` may take.
    public static let defaultDrainTimeout = TimeAmount.seconds(30)

    let eventLoop: any EventLoop
    let bound: NIOLoopBoundBox<NATSClientCore>
    private let outbox: NATSOutbox
    private let hub: EventHub
    private let configuration: NATSConnectionConfiguration
    /// Fetches the outbox; one closure for all hops.
    private let hop: @Sendable () -> Void

    // MARK: Connecting

    /// A client that is not connected yet: ``run()`` connects it. What is published and subscribed before is kept and
    /// sent then, as far as ``NATSConnectionConfiguration/reconnectBufferBytes`` reaches.
    ///
    /// - Parameters:
    ///   - configuration: which servers, and everything else.
    ///   - group: whose loop the connection lives on; the process-wide group when not given.
    ///   - logger: gets connects, losses and retries.
    public init(
        configuration: NATSConnectionConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "nats")
    ) {
        let eventLoop = group.next()
        let outbox = NATSOutbox(room: max(0, configuration.reconnectBufferBytes))
        let hub = EventHub()
        let bound = NIOLoopBoundBox.makeBoxSendingValue(
            NATSClientCore(configuration, eventLoop, logger, outbox, hub),
            eventLoop: eventLoop
        )
        self.eventLoop = eventLoop
        self.outbox = outbox
        self.hub = hub
        self.configuration = configuration
        self.bound = bound
        hop = { bound.value.fetchOutbox(bound) }
    }

    deinit {
        let bound = bound
        eventLoop.execute { bound.value.connection.close() }
    }

    /// Connects to one server.
    ///
    /// - Parameters:
    ///   - address: as `nats://host:port`, `host:port` or `host`.
    ///   - group: whose loop the connection lives on; the process-wide group when not given.
    ///   - logger: gets connects, losses and retries.
    /// - Throws: ``NATSError``: `invalidAddress`, `connectFailed`, `connectTimeout`, `authorization`,
    ///   `invalidCredentials`, `tlsFailed`, `protocolViolation`, `serverError`.
    public static func connect(
        to address: String,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "nats")
    ) async throws(NATSError) -> NATSClient {
        try await connect(NATSConnectionConfiguration(servers: [address]), group: group, logger: logger)
    }

    /// Connects with the given settings. Throws as ``connect(to:group:logger:)``.
    public static func connect(
        _ configuration: NATSConnectionConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "nats")
    ) async throws(NATSError) -> NATSClient {
        let client = NATSClient(configuration: configuration, group: group, logger: logger)
        try await client.onLoop { $0.connection.connect() }
        return client
    }

    /// Connects, if that was not done yet, and runs until the connection is closed for good: the client as a service of
    /// a `ServiceGroup`. A graceful shutdown drains the connection, cancelling the task closes it.
    ///
    /// - Throws: the ``NATSError`` the connection ended with; returns after ``close()`` and after a drain.
    public func run() async throws {
        let eventLoop = eventLoop
        let bound = bound
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await onLoop { $0.run() }
            } onGracefulShutdown: {
                eventLoop.execute {
                    _ = bound.value.drain(timeout: .seconds(30), task: nil, bound)
                }
            }
        } onCancel: {
            eventLoop.execute {
                bound.value.sendOutbox()
                bound.value.connection.close()
            }
        }
    }

    /// What happens to the connection from now on; a sequence of its own for each listener.
    public var events: NATSEventStream { NATSEventStream(listener: hub.makeListener()) }

    // MARK: Publishing

    /// Publishes bytes. Returns when they are buffered; ``flush(timeout:watching:)`` waits until the server has them.
    ///
    /// - Parameters:
    ///   - payload: any bytes, may be empty.
    ///   - subject: without wildcards.
    ///   - reply: where an answer shall go.
    ///   - headers: empty for none.
    /// - Throws: ``NATSError``: `invalidSubject`, `messageTooLarge`, `headersUnsupported`, `bufferExceeded`, `draining`,
    ///   `closed`; nothing is sent then.
    @inlinable
    public func publish(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        reply: String? = nil,
        headers: NATSHeaders = NATSHeaders()
    ) throws(NATSError) {
        // Specialised where it is used: what is generic here costs four times the publish itself.
        let direct: NATSError?? = payload.withContiguousStorageIfAvailable { bytes in
            attemptPublish(UnsafeRawBufferPointer(bytes), subject, reply, headers)
        }
        let refusal: NATSError? =
            if let direct { direct } else {
                Array(payload).withUnsafeBytes { attemptPublish($0, subject, reply, headers) }
            }
        if let refusal { throw refusal }
    }

    /// Publishes bytes, and waits for room when the server takes less than is published, or is not there. Those who wait go on
    /// in the order of their calls.
    ///
    /// - Parameters:
    ///   - payload: any bytes, may be empty.
    ///   - subject: without wildcards.
    ///   - reply: where an answer shall go.
    ///   - headers: empty for none.
    ///   - limit: how long to wait at most.
    /// - Throws: ``NATSError``: what the form that does not wait throws, `bufferExceeded` when there was no room in
    ///   that time; `cancelled` when the task is cancelled. Nothing is sent then.
    public func publish(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        reply: String? = nil,
        headers: NATSHeaders = NATSHeaders(),
        waiting limit: TimeAmount
    ) async throws(NATSError) {
        let bytes = Array(payload)
        let deadline = NIODeadline.now() + limit
        while true {
            let refusal = bytes.withUnsafeBytes { attemptPublish($0, subject, reply, headers) }
            guard let refusal else { return }
            guard refusal.code == .bufferExceeded, NIODeadline.now() < deadline else { throw refusal }
            let size = NATSEncoder.publishOverhead + subject.utf8.count + (reply?.utf8.count ?? 0) + bytes.count
            try await room(for: size + headers.encoded().count, until: deadline)
        }
    }

    /// Publishes text as UTF-8, and waits for room. Works as the form that takes bytes.
    public func publish(
        _ text: String,
        to subject: String,
        reply: String? = nil,
        headers: NATSHeaders = NATSHeaders(),
        waiting limit: TimeAmount
    ) async throws(NATSError) {
        try await publish(text.utf8, to: subject, reply: reply, headers: headers, waiting: limit)
    }

    private func room(for size: Int, until deadline: NIODeadline) async throws(NATSError) {
        let bound = bound
        let waiter = RoomWaiters.Waiter(eventLoop.makePromise(), size: size)
        eventLoop.execute { bound.value.awaitRoom(waiter, until: deadline) }
        do {
            try await withTaskCancellationHandler {
                try await waiter.promise.futureResult.get()
            } onCancel: {
                eventLoop.execute { bound.value.roomWaiters.cancel(waiter) }
            }
        } catch {
            throw NATSError(wrapping: error)
        }
    }

    /// Publishes text as UTF-8. Throws as the form that takes bytes.
    public func publish(
        _ text: String,
        to subject: String,
        reply: String? = nil,
        headers: NATSHeaders = NATSHeaders()
    ) throws(NATSError) {
        var text = text
        let refusal = text.withUTF8 { attemptPublish(UnsafeRawBufferPointer($0), subject, reply, headers) }
        if let refusal { throw refusal }
    }

    /// Publishes bytes; returns why it was refused.
    @usableFromInline
    func attemptPublish(
        _ payload: UnsafeRawBufferPointer,
        _ subject: String,
        _ reply: String?,
        _ headers: NATSHeaders
    ) -> NATSError? {
        guard NATSSubject.isValidForPublish(subject) else {
            return NATSError(.invalidSubject, "cannot publish to \"\(subject)\"")
        }
        if let reply, !NATSSubject.isValidForPublish(reply) {
            return NATSError(.invalidSubject, "cannot be answered at \"\(reply)\"")
        }
        let block = headers.encoded()
        let names = subject.utf8.count + (reply?.utf8.count ?? 0)
        let size = block.count + payload.count
        if let refusal = configuration.refusedLine(
            names: names,
            hasReply: reply != nil,
            headers: block.count,
            size: size
        ) {
            return refusal.error
        }
        do {
            if try outbox.append(subject: subject, reply: reply ?? "", headers: block, payload: payload) {
                eventLoop.execute(hop)
            }
            return nil
        } catch {
            // The outbox may not have heard yet that there is room again.
            if error.code == .bufferExceeded {
                eventLoop.execute { [bound] in bound.value.sendOutbox() }
            }
            return error
        }
    }

    /// Waits until the server has worked on everything published and subscribed so far. What it sent before it said so is
    /// in the buffers of its streams by then.
    ///
    /// Before the first connection it waits for that, too; without a connection that was there it fails at once.
    ///
    /// - Parameters:
    ///   - timeout: how long to wait.
    ///   - subjects: subjects and reply subjects of what was just published: when the server denies one of them, this
    ///     throws `permissionViolation`. What it denies otherwise is told as
    ///     ``NATSEvent/publishViolation(subject:text:)`` alone.
    /// - Throws: ``NATSError``: `timeout`, `disconnected`, `permissionViolation`, `closed`.
    public func flush(
        timeout: TimeAmount = NATSClient.defaultFlushTimeout,
        watching subjects: [String] = []
    ) async throws(NATSError) {
        try await onLoop { core in
            core.flush(deadline: .now() + timeout, watching: subjects)
        }
    }

    // MARK: Subscribing

    /// Subscribes to a subject, which may hold the wildcards `*` (one token) and `>` (the rest).
    ///
    /// - Parameters:
    ///   - subject: what to listen to.
    ///   - queue: a queue group: each message goes to one of the group's members.
    ///   - bufferLimit: how many messages may wait for a slow reader; the newest are dropped beyond that, counted, and
    ///     told once as ``NATSEvent/subscriptionTooSlow(subject:sid:)``.
    ///   - byteLimit: the same in bytes of payloads and headers. Default 64 MiB.
    /// - Returns: the messages.
    /// - Throws: ``NATSError``: `invalidSubject`, `invalidQueue`, `messageTooLarge`, `draining`, `closed`.
    public func subscribe(
        _ subject: String,
        queue: String? = nil,
        bufferLimit: Int = NATSClient.defaultBufferLimit,
        byteLimit: Int = NATSClient.defaultByteLimit
    ) async throws(NATSError) -> NATSMessageStream {
        let messages = MessageQueue(MessageQueue.Limits(messages: bufferLimit, bytes: byteLimit))
        let handle = SubscriptionHandle(client: self)
        try await onLoop { core in
            core.subscribe(subject, queue, messages, handle.subscription)
        }
        return NATSMessageStream(source: NATSMessageSource(queue: messages, handle: handle))
    }

    /// Subscribes with a function instead of a sequence.
    ///
    /// The subscription stays until it is unsubscribed or the client closes; a function that holds the client keeps it
    /// alive that long.
    ///
    /// - Parameters:
    ///   - subject: what to listen to.
    ///   - queue: a queue group: each message goes to one of the group's members.
    ///   - handler: called with each message, in order, on the connection's loop: it must not block. What it publishes
    ///     goes out with one write for all messages of one read.
    /// - Throws: ``NATSError``: `invalidSubject`, `invalidQueue`, `messageTooLarge`, `draining`, `closed`.
    @discardableResult
    public func subscribe(
        _ subject: String,
        queue: String? = nil,
        handler: @escaping @Sendable (NATSMessage) -> Void
    ) async throws(NATSError) -> NATSCallbackSubscription {
        let handle = SubscriptionHandle(client: self)
        try await onLoop { core in
            let caller = MessageCaller(subject: subject, subscription: handle.subscription, handler: handler)
            return core.subscribe(subject, queue, caller, handle.subscription)
        }
        return NATSCallbackSubscription(handle: handle)
    }

    // MARK: Requests

    /// Sends a request and waits for the first reply.
    ///
    /// Before the first connection, right after ``run()`` has begun, the request waits for it, within its time. When a
    /// connection that was there is lost, requests fail at once with `disconnected`, those that wait for their reply and
    /// new ones: unlike Go's client, which keeps a request for the next connection, since whoever serves others should
    /// be able to say so before their time is over.
    ///
    /// - Throws: ``NATSError``: `timeout`, `noResponders`, `disconnected`, `permissionViolation`, `tooManyRequests`,
    ///   `cancelled` when the task is cancelled, and what `publish(_:to:reply:headers:)` throws.
    public func request(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        timeout: TimeAmount = .seconds(10)
    ) async throws(NATSError) -> NATSMessage {
        try await request(ByteBuffer(bytes: payload), to: subject, .publish, headers: headers, timeout: timeout)
    }

    /// Sends a request whose subject was checked by the caller, and may hold wildcards as plain tokens, as some of
    /// JetStream's API do.
    func request(
        unchecked payload: ByteBuffer,
        to subject: String,
        headers: NATSHeaders,
        timeout: TimeAmount
    ) async throws(NATSError) -> NATSMessage {
        try await request(payload, to: subject, .plain, headers: headers, timeout: timeout)
    }

    private func request(
        _ payload: ByteBuffer,
        to subject: String,
        _ rule: NATSConnection.SubjectRule,
        headers: NATSHeaders,
        timeout: TimeAmount
    ) async throws(NATSError) -> NATSMessage {
        let bound = bound
        let promise = eventLoop.makePromise(of: NATSMessage.self)
        let context = outbox.makeRequestContext()
        // Before the cancellation handler is in place, so that a cancellation always finds the request.
        eventLoop.execute {
            bound.value.sendOutbox()
            bound.value.request(payload, subject, rule, headers, .now() + timeout, context, promise)
        }
        do {
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                eventLoop.execute { bound.value.cancelRequest(context) }
            }
        } catch {
            throw NATSError(wrapping: error)
        }
    }

    /// Sends text as UTF-8 and waits for the first reply. Throws as ``request(_:to:headers:timeout:)``.
    public func request(
        _ text: String,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        timeout: TimeAmount = .seconds(10)
    ) async throws(NATSError) -> NATSMessage {
        try await request(text.utf8, to: subject, headers: headers, timeout: timeout)
    }

    /// Sends a request that several may answer (ADR-47).
    ///
    /// The sequence ends with the first of its conditions; throwing it away ends it, too. Before the first connection it
    /// waits for that within `maxWait`.
    ///
    /// - Parameters:
    ///   - payload: the question.
    ///   - subject: where it goes.
    ///   - headers: sent along.
    ///   - maxMessages: how many replies are enough, nil for any number.
    ///   - maxWait: how long to wait in all.
    ///   - stall: how long to wait for another reply after the last one, nil for as long as `maxWait` allows.
    ///   - sentinel: whether an empty reply means that no more come; it is not delivered.
    /// - Returns: the replies. The sequence throws `noResponders` when nobody listens, `disconnected` when the
    ///   connection breaks meanwhile, `permissionViolation` when the server denies the publish.
    /// - Throws: ``NATSError``: `invalidArgument`, `disconnected`, and what `publish(_:to:reply:headers:)` throws.
    public func requestMany(
        _ payload: some Sequence<UInt8>,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        maxMessages: Int? = nil,
        maxWait: TimeAmount = .seconds(10),
        stall: TimeAmount? = nil,
        sentinel: Bool = false
    ) async throws(NATSError) -> NATSMessageStream {
        if let maxMessages {
            try NATSError.checkMaximum(maxMessages)
        }
        let ends = ReplyCollector.Ends(maxMessages: maxMessages, maxWait: maxWait, stall: stall, sentinel: sentinel)
        let messages = MessageQueue(
            MessageQueue.Limits(messages: Self.defaultBufferLimit, bytes: Self.defaultByteLimit)
        )
        let handle = SubscriptionHandle(client: self)
        let bytes = ByteBuffer(bytes: payload)
        try await onLoop { core in
            core.requestMany(bytes, subject, headers, ends, messages, handle.subscription)
        }
        return NATSMessageStream(source: NATSMessageSource(queue: messages, handle: handle))
    }

    /// Sends text as UTF-8 that several may answer. Works as
    /// ``requestMany(_:to:headers:maxMessages:maxWait:stall:sentinel:)``.
    public func requestMany(
        _ text: String,
        to subject: String,
        headers: NATSHeaders = NATSHeaders(),
        maxMessages: Int? = nil,
        maxWait: TimeAmount = .seconds(10),
        stall: TimeAmount? = nil,
        sentinel: Bool = false
    ) async throws(NATSError) -> NATSMessageStream {
        try await requestMany(
            text.utf8,
            to: subject,
            headers: headers,
            maxMessages: maxMessages,
            maxWait: maxWait,
            stall: stall,
            sentinel: sentinel
        )
    }

    // MARK: The end

    /// Ends the connection without loss: subscriptions get what the server had sent, requests their replies, published
    /// messages reach the server; then it closes.
    ///
    /// Whoever reads a sequence has time to work on what is in it, and may publish and request meanwhile: publishing
    /// ends when each reader has come for more after its last message, has left its loop, or was cancelled. Not waited
    /// for are sequences that nobody has begun to read, and readers in the task that calls this, which would wait for
    /// itself. A reader that waits for this call in another task keeps it until `timeout`.
    ///
    /// - Throws: ``NATSError``: `drainTimeout` when it took longer than `timeout`, `disconnected` when there is no
    ///   connection or it breaks. The client is closed in every case.
    public func drain(timeout: TimeAmount = NATSClient.defaultDrainTimeout) async throws(NATSError) {
        let task = MessageReader.currentTask
        try await onLoop { [bound] core in
            core.drain(timeout: timeout, task: task, bound)
        }
    }

    /// Closes the connection. What was published is handed to the socket first; sequences end, waiting calls throw
    /// `closed`. Calling it again does nothing.
    public func close() async {
        let bound = bound
        let done = eventLoop.submit {
            bound.value.sendOutbox()
            bound.value.connection.close()
        }
        // The loop is shut down: the connection is gone as well.
        try? await done.get()
    }

    // MARK: Looking

    /// Gives up the connection that is there and makes a new one at once, for example when credentials have changed;
    /// also ends the wait for the next attempt. Subscriptions are made again, waiting requests fail with `disconnected`.
    public func reconnect() async {
        let bound = bound
        // A loop that is shut down has no connection any more.
        try? await eventLoop.submit { bound.value.connection.reconnect() }.get()
    }

    /// Counters, kept over reconnects.
    public func statistics() async -> NATSStatistics {
        let bound = bound
        return (try? await eventLoop.submit { bound.value.connection.statistics }.get()) ?? NATSStatistics()
    }

    /// What the server said about itself, nil before the first connection.
    public func serverInfo() async -> NATSServerInfo? {
        let bound = bound
        return try? await eventLoop.submit { bound.value.connection.serverInfo }.get()
    }

    // MARK: Helpers

    /// Runs `body` on the loop and waits for its result, with every error as `NATSError`.
    func onLoop(_ body: @escaping @Sendable (NATSClientCore) -> EventLoopFuture<Void>) async throws(NATSError) {
        let bound = bound
        do {
            try await eventLoop.flatSubmit { body(bound.value) }.get()
        } catch {
            throw NATSError(wrapping: error)
        }
    }
}

extension NATSError {
    /// Any error of the loop or a future as a `NATSError`.
    init(wrapping error: any Error) {
        self = error as? NATSError ?? NATSError(.closed, "\(error)")
    }
}
