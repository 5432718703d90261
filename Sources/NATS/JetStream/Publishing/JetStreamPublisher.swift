// Owns: publishing with acknowledgement on a connection's loop: one inbox for all acknowledgements, a token for each,
// attempts that are made again (J30, J31), and a bound on what is unacknowledged (J33). Loop-bound; no task and no
// closure per message.

import Bytes
import LoopTools
import NATSProtocol
import NIOCore

package final class JetStreamPublisher: NATSSubscriptionHandler, NATSConnectionAttachment {
    private enum Alarm {
        /// The attempt that is on its way has had its time.
        case attempt(NATSRequestID)
        /// The pause before the next attempt is over, or the call's time is.
        case again(NATSRequestID)
    }

    private unowned let connection: NATSConnection
    private var table: PublishTable
    private var subscription: NATSSubscription?
    /// What reply subjects begin with, a dot at its end.
    private let prefix: [UInt8]
    private var timerStorage: DeadlineTimer<Alarm>?
    private var isEnded = false
    private var isAdmitting = false
    /// Replies of others that listen on the subjects (J32).
    package private(set) var foreignReplies: UInt64 = 0

    init(connection: NATSConnection, limits: PublishTable.Limits = PublishTable.Limits()) {
        self.connection = connection
        table = PublishTable(limits)
        prefix = Array("\(connection.configuration.inboxPrefix).\(NATSConnection.uniqueName()).".utf8)
    }

    private var timer: DeadlineTimer<Alarm> {
        if let timerStorage { return timerStorage }
        let timer = DeadlineTimer<Alarm>(eventLoop: connection.eventLoop) { [unowned self] alarm in self.fired(alarm) }
        timerStorage = timer
        return timer
    }

    /// How many publishes are not acknowledged yet.
    package var pendingCount: Int { table.count }

    // MARK: - Publishing

    /// Publishes a message whose subject is valid; the completion hears what became of it, maybe at once.
    @discardableResult
    func publish(_ publish: PendingPublish) -> NATSRequestID? {
        connection.eventLoop.assertInEventLoop()
        guard !isEnded else {
            complete(publish, .failure(JetStreamError(.closed)))
            return nil
        }
        if let refusal = refusal(of: publish) {
            complete(publish, .failure(JetStreamError(refusal)))
            return nil
        }
        let id = table.insert(publish)
        let alarm = timer.schedule(.again(id), at: publish.attempts.deadline)
        table[id]?.alarm = alarm
        admit()
        return id
    }

    /// What no attempt can change (J35).
    private func refusal(of publish: PendingPublish) -> NATSError? {
        let size = publish.headers.count + publish.payload.readableBytes
        if size > connection.maximumPayload { return NATSPublishError.tooLarge(limit: connection.maximumPayload).error }
        return connection.publishRefusal?.error
    }

    /// Forgets a publish; its acknowledgement is not waited for any more.
    func cancel(_ id: NATSRequestID) {
        finish(id, .failure(.cancelled))
    }

    /// Sends those whose turn has come.
    private func admit() {
        // Whoever is told of an end may publish.
        guard !isAdmitting else { return }
        isAdmitting = true
        while let id = table.admit() {
            table[id]?.room?.succeed()
            table[id]?.room = nil
            send(id)
        }
        isAdmitting = false
    }

    private func send(_ id: NATSRequestID) {
        guard var publish = table[id] else { return }
        guard connection.isConnected else {
            // It goes with the others, in the order of their calls, when there is a connection.
            timer.cancel(publish.alarm)
            publish.alarm = timer.schedule(.again(id), at: publish.attempts.deadline)
            table[id] = publish
            return
        }
        do throws(NATSError) {
            if subscription == nil {
                subscription = try connection.subscribe(
                    subject: String(decoding: prefix, as: UTF8.self) + "*",
                    queue: nil,
                    handler: self
                )
            }
        } catch {
            return finish(id, .failure(JetStreamError(error)))
        }
        switch attempt(id, publish) {
        case nil:
            publish.isSent = true
            timer.cancel(publish.alarm)
            publish.alarm = timer.schedule(.attempt(id), at: publish.attempts.attemptDeadline(at: .now()))
            table[id] = publish
        case .bufferExceeded?:
            // The server takes less than is sent: nothing of it is out.
            let error = JetStreamError(
                .unavailable,
                "too many bytes wait for the server",
                underlying: NATSPublishError.bufferExceeded.error
            )
            follow(id, publish.attempts.failed(.refused(error), at: .now(), jitter: jitter), &publish)
        case .some(let refusal): finish(id, .failure(JetStreamError(refusal.error)))
        }
    }

    private func attempt(_ id: NATSRequestID, _ publish: PendingPublish) -> NATSPublishError? {
        var subject = publish.subject
        let length = prefix.count + RequestTable.tokenLength
        return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { reply in
            reply.copyBytes(from: prefix)
            RequestTable.writeToken(id, to: reply.baseAddress.unsafelyUnwrapped + prefix.count)
            return subject.withUTF8 { subject in
                publish.headers.withUnsafeBytes { headers in
                    publish.payload.withUnsafeReadableBytes { payload in
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
    }

    private var jitter: Double { .random(in: 0...1) }

    private func follow(_ id: NATSRequestID, _ action: JetStreamAttempts.Action, _ publish: inout PendingPublish) {
        switch action {
        case .fail(let error): finish(id, .failure(error))
        case .again(let pause):
            publish.isSent = false
            timer.cancel(publish.alarm)
            publish.alarm = timer.schedule(.again(id), at: .now() + pause)
            table[id] = publish
        }
    }

    private func failed(_ id: NATSRequestID, _ failure: JetStreamAttempts.Failure) {
        guard var publish = table[id] else { return }
        follow(id, publish.attempts.failed(failure, at: .now(), jitter: jitter), &publish)
    }

    private func fired(_ alarm: Alarm) {
        switch alarm {
        case .attempt(let id): failed(id, .noAnswer)
        case .again(let id):
            guard let publish = table[id] else { return }
            if publish.attempts.deadline <= .now() {
                return finish(id, .failure(late(publish)))
            }
            send(id)
        }
    }

    /// What is said of a publish whose time is over before it could be sent again.
    private func late(_ publish: PendingPublish) -> JetStreamError {
        let once = publish.attempts.mayBeDone ? "; whether an earlier attempt was stored is unknown" : ""
        guard connection.isConnected else { return JetStreamError(.disconnected, "there is no connection\(once)") }
        return JetStreamError(.timeout, "there was no room to send it in time\(once)")
    }

    private func finish(_ id: NATSRequestID, _ result: Result<JetStreamPublishAck, JetStreamError>) {
        guard let publish = table.remove(id) else { return }
        timer.cancel(publish.alarm)
        complete(publish, result)
        admit()
    }

    private func complete(_ publish: PendingPublish, _ result: Result<JetStreamPublishAck, JetStreamError>) {
        publish.room?.succeed()
        switch (publish.completion, result) {
        case (.promise(let promise), .success(let ack)): promise.succeed(ack)
        case (.promise(let promise), .failure(let error)): promise.fail(error)
        case (.sink(let sink, let context), .success(let ack)): sink.publishAcknowledged(context: context, ack: ack)
        case (.sink(let sink, let context), .failure(let error)): sink.publishFailed(context: context, error: error)
        }
    }

    // MARK: - Replies

    package func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        let subject = message.subject
        guard subject.count == prefix.count + RequestTable.tokenLength,
            let id = RequestTable.readToken(UnsafeRawBufferPointer(rebasing: subject[prefix.count...])),
            table[id] != nil
        else { return }
        if message.payload.isEmpty, message.hasHeaders, message.status == 503 {
            return failed(id, .noResponders)
        }
        switch JetStreamPublishAck.read(message.payload) {
        case nil: foreignReplies += 1
        case .success(let ack)?: finish(id, .success(ack))
        case .failure(let error)?: failed(id, .refused(error))
        }
    }

    package func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        self.subscription = nil
        let error: JetStreamError =
            switch reason {
            case .permissionViolation(let text): JetStreamError(NATSError(.permissionViolation, text))
            default: JetStreamError(reason.error ?? .closed)
            }
        for id in table.ids() { finish(id, .failure(error)) }
    }

    // MARK: - Connection

    package func connectionUp() {
        for id in table.ids(onlyAdmitted: true) where table[id]?.isSent == false {
            send(id)
        }
    }

    package func connectionLost() {
        // Those with an id go again, the outcome of the others is unknown (J33).
        for id in table.ids(onlyAdmitted: true) where table[id]?.isSent == true {
            failed(id, .connectionLost)
        }
    }

    package func publishDenied(_ subject: String, _ text: String) {
        for id in table.ids(onlyAdmitted: true) where table[id]?.subject.isExactly(subject) == true {
            finish(id, .failure(JetStreamError(NATSError(.permissionViolation, text))))
        }
    }

    package func connectionClosed() {
        isEnded = true
        for id in table.ids() { finish(id, .failure(JetStreamError(NATSError.closed))) }
        timerStorage?.cancelAll()
    }
}

@available(*, unavailable)
extension JetStreamPublisher: Sendable {}

extension NATSClientCore {
    /// The publisher of the client's connection.
    var publisher: JetStreamPublisher { attachment { JetStreamPublisher(connection: connection) } }
}
