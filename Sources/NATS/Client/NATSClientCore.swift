// Owns: the loop's side of NATSClient: the connection, the handlers of its subscriptions, and the promises of its requests.
// Loop-bound; may not know the tasks that call.

import Logging
import NATSProtocol
import NIOCore

final class NATSClientCore: NATSConnectionDelegate, NATSRequestSink {
    let connection: NATSConnection
    let outbox: NATSOutbox
    private let events: EventHub
    let logger: Logger
    private let proxy: DelegateProxy
    /// What the outbox was told last.
    private var terms: NATSOutbox.Terms?
    private var isRetryScheduled = false
    private var serverErrors = LogEpisode()
    /// Who waits for room.
    var roomWaiters = RoomWaiters()
    /// The one closure of all further fetches; the end breaks the cycle.
    private var fetchTask: (@Sendable () -> Void)?
    private var hasPublishingEnded = false
    /// Those that got messages in this burst.
    private var staged: [MessageFeeder] = []
    /// Who reads the sequences that are there; a drain waits for them.
    private var readers = DrainReaders()
    private var collectors: [ObjectIdentifier: ReplyCollector] = [:]
    private var end: Result<Void, NATSError>?
    private var endPromises: [EventLoopPromise<Void>] = []
    private let firstConnection: FirstConnection
    /// What else lives on the connection, by its type.
    private var attachments: [ObjectIdentifier: any NATSConnectionAttachment] = [:]
    private var waitingRequests: [UInt64: (id: NATSRequestID, promise: EventLoopPromise<NATSMessage>)] = [:]

    init(
        _ configuration: NATSConnectionConfiguration,
        _ eventLoop: any EventLoop,
        _ logger: Logger,
        _ outbox: NATSOutbox,
        _ events: EventHub
    ) {
        self.outbox = outbox
        self.events = events
        self.logger = logger
        firstConnection = FirstConnection(eventLoop)
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

    /// Called for a publisher who asked: sends, and comes again with the loop's next turn until nothing came meanwhile.
    /// That costs a publisher less than waking the loop for each batch.
    func fetchOutbox(_ box: NIOLoopBoundBox<NATSClientCore>) {
        sendOutbox()
        guard !isRetryScheduled, outbox.settle(), end == nil else { return }
        let task = fetchTask ?? { box.value.fetchOutbox(box) }
        fetchTask = task
        connection.eventLoop.execute(task)
    }

    /// Hands what other threads published to the connection. What it has no room for waits in the outbox, which refuses
    /// new publishes meanwhile.
    func sendOutbox() {
        var (frames, count) = outbox.take()
        let hasTaken = count > 0
        if count > 0, let terms, !terms.isCovered(by: connection) {
            // Accepted before the outbox heard of the server in use.
            let (kept, tooLarge, withHeaders) = connection.sendable(frames)
            frames = kept
            count -= tooLarge + withHeaders
            connection.reportUnsendable(tooLarge, withHeaders)
        }
        if count > 0 {
            switch connection.append(frames: &frames, count: count) {
            case nil: outbox.giveBack(&frames)
            case .bufferExceeded:
                outbox.putBack(frames, count)
                retryLater()
            case .some(let refusal):
                // Accepted before the outbox heard of the end.
                connection.giveUp(frames, refusal.error)
            }
        }
        updateOutbox(hasTaken: hasTaken)
    }

    /// The room shrinks when the connection breaks, so that what was accepted before may have to wait.
    private func retryLater() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        connection.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(10)) { [weak self] in
            guard let self else { return }
            self.isRetryScheduled = false
            self.sendOutbox()
            self.wakeRoomWaiters()
            if !self.isRetryScheduled, self.outbox.settle() {
                self.retryLater()
            }
        }
    }

    /// Notes who waits for room; lets it try again at once when what it knew was old, or is final.
    func awaitRoom(_ waiter: RoomWaiters.Waiter, until deadline: NIODeadline) {
        sendOutbox()
        guard connection.publishRefusal == nil, !hasPublishingEnded, end == nil,
            !roomWaiters.isEmpty || outbox.room < waiter.size
        else { return waiter.promise.succeed() }
        let alarm = connection.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            self?.roomWaiters.fail(waiter, NATSPublishError.bufferExceeded.error)
            self?.wakeRoomWaiters()
        }
        roomWaiters.append(waiter, alarm: alarm)
        wakeRoomWaiters()
    }

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {
        if congestion == .room { wakeRoomWaiters() }
    }

    private func wakeRoomWaiters() {
        guard !roomWaiters.isEmpty else { return }
        sendOutbox()
        let room = end == nil && connection.publishRefusal == nil ? outbox.room : .max
        guard let needed = roomWaiters.wake(room: room) else { return }
        // The others follow when there is room again; what the first may leave unused is looked at soon.
        connection.awaitRoom()
        if outbox.room >= needed { retryLater() }
    }

    /// - Parameter hasTaken: whether the outbox waits to hear what became of what was taken.
    private func updateOutbox(hasTaken: Bool = false) {
        let now = NATSOutbox.Terms(
            maximumPayload: connection.maximumPayload,
            headersRefused: connection.headersRefused,
            refusal: connection.publishRefusal ?? (hasPublishingEnded ? .draining : nil),
            room: connection.outboundRoom
        )
        guard hasTaken || now != terms else { return }
        terms = now
        outbox.update(now)
    }

    // MARK: Subscriptions

    func subscribe(
        _ subject: String,
        _ queue: String?,
        _ messages: MessageQueue,
        _ box: NIOLoopBoundBox<NATSSubscription?>
    ) -> EventLoopFuture<Void> {
        let feeder = MessageFeeder(subject: subject, queue: messages, core: self, subscription: box)
        let result = subscribe(subject, queue, feeder, box)
        if box.value != nil { readers.add(messages) }
        return result
    }

    func forget(_ messages: any DrainedQueue) {
        readers.remove(messages)
    }

    /// A drain waits for whoever works on what came out of it.
    func remember(_ messages: any DrainedQueue) {
        readers.add(messages)
    }

    func subscribe(
        _ subject: String,
        _ queue: String?,
        _ handler: any NATSSubscriptionHandler,
        _ box: NIOLoopBoundBox<NATSSubscription?>
    ) -> EventLoopFuture<Void> {
        do throws(NATSError) {
            box.value = try connection.subscribe(subject: subject, queue: queue, handler: handler)
            return connection.eventLoop.makeSucceededVoidFuture()
        } catch {
            return connection.eventLoop.makeFailedFuture(error)
        }
    }

    /// Notes that `feeder` has messages to hand over at the end of the burst.
    func stage(_ feeder: MessageFeeder) {
        staged.append(feeder)
    }

    /// Sends what was published, and waits for the server's confirmation and for the readers' buffers to have what came
    /// before it: whoever waited may look there next, although the read burst is not over.
    func flush(deadline: NIODeadline, watching subjects: [String]) -> EventLoopFuture<Void> {
        afterFirstConnection(deadline) {
            self.sendOutbox()
            return self.connection.flush(deadline: deadline, watching: subjects)
                .assumeIsolated().map { self.commitStaged() }.nonisolated()
        }
    }

    /// Does what needs a connection: at once, or, before there was one, as soon as there is.
    private func afterFirstConnection(
        _ deadline: NIODeadline,
        _ body: @escaping () -> EventLoopFuture<Void>
    ) -> EventLoopFuture<Void> {
        guard !firstConnection.isOver else { return body() }
        return waitForFirstConnection(outbox.makeRequestContext(), deadline).assumeIsolated().flatMap(body)
            .nonisolated()
    }

    private func waitForFirstConnection(_ id: UInt64, _ deadline: NIODeadline) -> EventLoopFuture<Void> {
        guard firstConnection.count < connection.configuration.maxPendingRequests else {
            return connection.eventLoop.makeFailedFuture(NATSPublishError.tooManyRequests.error)
        }
        return firstConnection.wait(id, until: deadline)
    }

    private func commitStaged() {
        guard !staged.isEmpty else { return }
        for feeder in staged {
            feeder.commit()
        }
        staged.removeAll(keepingCapacity: true)
    }

    func dropped(_ count: Int) {
        connection.statistics.droppedMessages += UInt64(count)
    }

    func report(_ event: NATSEvent) {
        if case .subscriptionTooSlow = event {
            connection.statistics.slowConsumers += 1
        }
        log(event)
        events.emit(event)
    }

    // MARK: Requests with many replies

    func requestMany(
        _ payload: ByteBuffer,
        _ subject: String,
        _ headers: NATSHeaders,
        _ ends: ReplyCollector.Ends,
        _ messages: MessageQueue,
        _ box: NIOLoopBoundBox<NATSSubscription?>
    ) -> EventLoopFuture<Void> {
        let deadline = NIODeadline.now() + ends.maxWait
        return afterFirstConnection(deadline) {
            self.sendOutbox()
            var ends = ends
            ends.maxWait = min(ends.maxWait, deadline - .now())
            return self.startRequestMany(payload, subject, headers, ends, messages, box)
        }
    }

    private func startRequestMany(
        _ payload: ByteBuffer,
        _ subject: String,
        _ headers: NATSHeaders,
        _ ends: ReplyCollector.Ends,
        _ messages: MessageQueue,
        _ box: NIOLoopBoundBox<NATSSubscription?>
    ) -> EventLoopFuture<Void> {
        let eventLoop = connection.eventLoop
        if let refusal = connection.publishRefusal { return eventLoop.makeFailedFuture(refusal.error) }
        guard connection.isConnected else { return eventLoop.makeFailedFuture(NATSError.disconnected) }
        let inbox = "\(connection.configuration.inboxPrefix).\(NATSConnection.uniqueName())"
        let feeder = MessageFeeder(subject: inbox, queue: messages, core: self, subscription: box)
        let collector = ReplyCollector(requestSubject: subject, ends: ends, feeder: feeder, core: self)
        let subscription: NATSSubscription
        do throws(NATSError) {
            subscription = try connection.subscribe(subject: inbox, queue: nil, handler: collector)
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
        var subject = subject
        var reply = inbox
        let refusal = subject.withUTF8 { subject in
            reply.withUTF8 { reply in
                headers.encoded().withUnsafeBytes { headers in
                    payload.withUnsafeReadableBytes { payload in
                        connection.publish(
                            subject: UnsafeRawBufferPointer(subject),
                            reply: UnsafeRawBufferPointer(reply),
                            headers: headers,
                            payload: payload
                        )
                    }
                }
            }
        }
        if let refusal {
            connection.unsubscribe(subscription)
            return eventLoop.makeFailedFuture(refusal.error)
        }
        box.value = subscription
        readers.add(messages)
        collectors[ObjectIdentifier(collector)] = collector
        collector.begin(subscription)
        return eventLoop.makeSucceededVoidFuture()
    }

    func forget(_ collector: ReplyCollector) {
        collectors[ObjectIdentifier(collector)] = nil
    }

    private func failCollectors(_ error: NATSError, where matches: (ReplyCollector) -> Bool = { _ in true }) {
        for collector in collectors.values where matches(collector) {
            collector.finish(error)
        }
    }

    // MARK: Requests

    func request(
        _ payload: ByteBuffer,
        _ subject: String,
        _ rule: NATSConnection.SubjectRule,
        _ headers: NATSHeaders,
        _ deadline: NIODeadline,
        _ context: UInt64,
        _ promise: EventLoopPromise<NATSMessage>
    ) {
        guard !firstConnection.isOver else {
            return startRequest(payload, subject, rule, headers, deadline, context, promise)
        }
        waitForFirstConnection(context, deadline).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: startRequest(payload, subject, rule, headers, deadline, context, promise)
            case .failure(let error): promise.fail(error)
            }
        }
    }

    private func startRequest(
        _ payload: ByteBuffer,
        _ subject: String,
        _ rule: NATSConnection.SubjectRule,
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
                        sink: self,
                        rule: rule
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
        let error = NATSError(.cancelled, "the task that waited for the reply was cancelled")
        if firstConnection.fail(context, error) { return }
        guard let waiting = waitingRequests.removeValue(forKey: context) else { return }
        connection.cancelRequest(waiting.id)
        waiting.promise.fail(error)
    }

    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {
        waitingRequests.removeValue(forKey: context)?.promise.succeed(NATSMessage(copying: reply))
    }

    func requestFailed(context: UInt64, error: NATSRequestError) {
        waitingRequests.removeValue(forKey: context)?.promise.fail(error.error)
    }

    // MARK: Attachments

    /// The attachment of a type; made when there is none yet.
    func attachment<Attachment: NATSConnectionAttachment>(_ make: () -> Attachment) -> Attachment {
        let key = ObjectIdentifier(Attachment.self)
        if let attachment = attachments[key] as? Attachment { return attachment }
        let attachment = make()
        attachments[key] = attachment
        return attachment
    }

    // MARK: Draining

    /// - Parameter task: who calls; it is not waited for, should it be reading a sequence itself.
    func drain(timeout: TimeAmount, task: Int?, _ box: NIOLoopBoundBox<NATSClientCore>) -> EventLoopFuture<Void> {
        sendOutbox()
        readers.except(task)
        let eventLoop = connection.eventLoop
        let done = connection.drain(timeout: timeout) { [unowned self] in
            self.readers.areDone { eventLoop.execute { box.value.connection.advanceDrainIfWaiting() } }
        }
        // A second call may be what the first one waits for.
        connection.advanceDrainIfWaiting()
        return done
    }

    // MARK: Connection

    /// Connects if nobody did yet, and waits for the end.
    func run() -> EventLoopFuture<Void> {
        let promise = connection.eventLoop.makePromise(of: Void.self)
        if let end {
            promise.completeWith(end.mapError { $0 })
            return promise.futureResult
        }
        endPromises.append(promise)
        connection.connect().assumeIsolated().whenFailure { error in
            // Usually the event said so already, or, when somebody closes, is about to; a connection without any server
            // never began.
            let error = NATSError(wrapping: error)
            if error.code != .closed { self.finish(error) }
            self.connection.close()
        }
        return promise.futureResult
    }

    private func finish(_ error: NATSError?) {
        guard end == nil else { return }
        let end: Result<Void, NATSError> = error.map { .failure($0) } ?? .success(())
        self.end = end
        fetchTask = nil
        readers.end()
        let promises = endPromises
        endPromises = []
        for promise in promises {
            promise.completeWith(end.mapError { $0 })
        }
    }

    func connection(_ connection: NATSConnection, event: NATSEvent) {
        switch event {
        case .publishingEnds:
            // First no publish is accepted any more, then everything that was accepted is sent.
            hasPublishingEnded = true
            updateOutbox()
        case .disconnected:
            // The burst in whose middle the connection broke has no other end.
            commitStaged()
            failCollectors(NATSError(.disconnected, "the connection was lost while waiting for replies"))
            for attachment in attachments.values { attachment.connectionLost() }
        case .publishViolation(let subject, let text):
            failCollectors(NATSError(.permissionViolation, text)) { $0.requestSubject == subject }
            for attachment in attachments.values { attachment.publishDenied(subject, text) }
        default: break
        }
        sendOutbox()
        log(event)
        switch event {
        case .publishingEnds: break
        case .connected:
            events.emit(event)
            firstConnection.end(.success(()))
            for attachment in attachments.values { attachment.connectionUp() }
            wakeRoomWaiters()
        case .closed(let error):
            firstConnection.end(.failure(error ?? .closed))
            events.emit(event)
            events.end()
            for attachment in attachments.values { attachment.connectionClosed() }
            attachments = [:]
            finish(error)
            wakeRoomWaiters()
        case .reconnected:
            events.emit(event)
            for attachment in attachments.values { attachment.connectionUp() }
            wakeRoomWaiters()
        default: events.emit(event)
        }
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
            logServerError(text)
        case .messageSkipped(let subject, let limit):
            logServerError("a message on \(subject) is larger than \(limit) bytes and was passed over")
        case .subscriptionTooSlow(let subject, let sid):
            logger.warning(
                "a subscription is read too slowly, messages are dropped",
                metadata: ["subject": "\(subject)", "sid": "\(sid)"]
            )
        case .publishesLost(let count, let error):
            logger.warning("publishes are lost", metadata: ["count": "\(count)", "reason": "\(error.message)"])
        case .serversIgnored(let count):
            logger.warning(
                "the cluster tells of more servers than are kept, or of some that are no addresses",
                metadata: ["ignored": "\(count)"]
            )
        case .lameDuck: logger.notice("the NATS server is about to shut down")
        case .disconnected(nil), .closed(nil), .publishingEnds, .discoveredServers: break
        }
    }

    /// The server, or who makes it complain, may have much to say: one line for an episode, and how many there were.
    private func logServerError(_ text: String) {
        settleServerErrors()
        guard serverErrors.note(at: NIODeadline.now().uptimeNanoseconds) else { return }
        logger.warning("the NATS server reported an error", metadata: ["error": "\(text)"])
        watchServerErrors()
    }

    private func settleServerErrors() {
        guard let count = serverErrors.settle(at: NIODeadline.now().uptimeNanoseconds) else { return }
        logger.warning("the NATS server reported more errors", metadata: ["count": "\(count)"])
    }

    /// One timer while an episode goes on.
    private func watchServerErrors() {
        let pause = TimeAmount.nanoseconds(Int64(LogEpisode.quietTime))
        connection.eventLoop.assumeIsolated().scheduleTask(in: pause) { [weak self] in
            guard let self else { return }
            self.settleServerErrors()
            if self.serverErrors.isOpen { self.watchServerErrors() }
        }
    }

    func connectionReadBurstEnded(_ connection: NATSConnection) {
        commitStaged()
        // What callbacks published goes out with this burst.
        sendOutbox()
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

        func connection(_ connection: NATSConnection, congestion: NATSCongestion) {
            target?.connection(connection, congestion: congestion)
        }
    }
}

@available(*, unavailable)
extension NATSClientCore: Sendable {}

extension NATSRequestError {
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
