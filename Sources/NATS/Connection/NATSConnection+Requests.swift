// Owns: requests over one shared inbox. A reply's subject ends with a token that names the waiting request's slot. Loop-bound.

import LoopTools
import NATSProtocol
package import NIOCore

extension NATSConnection {
    /// What became of the call to `request`.
    package enum RequestStart: Equatable {
        case started(NATSRequestID)
        /// Nothing was sent, and the sink is not called.
        case refused(NATSPublishError)
    }

    /// Which subjects a request may have.
    package enum SubjectRule: Sendable {
        /// Those that can be published to.
        case publish
        /// Wildcards are tokens like others. JetStream's API has such subjects, which a server takes as long as it is not
        /// asked to be pedantic.
        case plain
    }

    /// Sends a request; the first reply, or the reason why there is none, goes to `sink`.
    ///
    /// - Parameters:
    ///   - headers: an encoded header block, or empty.
    ///   - context: handed to the sink.
    ///   - room: what happens when the server does not take what was sent before.
    ///   - rule: which subjects it may have.
    package func request(
        subject: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        deadline: NIODeadline,
        context: UInt64,
        sink: any NATSRequestSink,
        room: NATSRoomPolicy = .refuse,
        rule: SubjectRule = .publish
    ) -> RequestStart {
        eventLoop.assertInEventLoop()
        if let publishRefusal { return .refused(publishRefusal) }
        guard link != nil else { return .refused(.disconnected) }
        let isValid =
            switch rule {
            case .publish: NATSSubject.isValidForPublish(subject)
            case .plain: NATSSubject.isValidForSubscribe(subject)
            }
        guard isValid else { return .refused(.invalidSubject) }
        guard requests.count < min(configuration.maxPendingRequests, 1 << Int(RequestTable.slotBits)) else {
            statistics.refusedBufferFull += 1
            return .refused(.tooManyRequests)
        }
        openInbox()
        let id = requests.insert(context: context, sink: sink, subjectHash: RequestTable.hash(subject))
        let length = inbox.prefix.count + RequestTable.tokenLength
        let refusal = withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { reply in
            reply.copyBytes(from: inbox.prefix)
            RequestTable.writeToken(id, to: reply.baseAddress.unsafelyUnwrapped + inbox.prefix.count)
            return append(
                subject: subject,
                reply: UnsafeRawBufferPointer(reply),
                headers: headers,
                payload: payload,
                limit: limit(room)
            )
        }
        if let refusal = settled(refusal, room) {
            _ = requests.remove(id)
            return .refused(refusal)
        }
        requests.setDeadline(timer.schedule(.requestTimedOut(id), at: deadline), of: id)
        return .started(id)
    }

    /// Forgets a request: its sink is not called any more, a late reply is dropped.
    package func cancelRequest(_ id: NATSRequestID) {
        eventLoop.assertInEventLoop()
        if let entry = requests.remove(id) {
            timer.cancel(entry.deadline)
            advanceDrainIfWaiting()
        }
    }

    /// How many requests wait for a reply.
    package var pendingRequests: Int { requests.count }

    func failRequest(_ id: NATSRequestID, _ failure: NATSRequestError) {
        guard let entry = requests.remove(id) else { return }
        timer.cancel(entry.deadline)
        entry.sink?.requestFailed(context: entry.context, error: failure)
        advanceDrainIfWaiting()
    }

    // MARK: - Inbox

    var inboxSubject: String { inbox.pattern }

    private func openInbox() {
        guard !inbox.isOpen else { return }
        if inbox.prefix.isEmpty {
            inbox.prefix = Array("\(configuration.inboxPrefix).\(Self.uniqueName()).".utf8)
        }
        inbox.sid = subscriptions.makeSID()
        NATSEncoder.subscribe(subject: inbox.pattern, queue: nil, sid: inbox.sid, into: &outbound)
    }

    /// 22 random letters and digits: 130 bits.
    static func uniqueName() -> String {
        let characters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        return String((0..<22).map { _ in characters[Int.random(in: 0..<62)] })
    }

    func receiveReply(_ message: borrowing NATSInboundMessage) {
        guard let id = inbox.requestID(ofReply: message.subject), let entry = requests.remove(id) else {
            statistics.unclaimedMessages &+= 1
            return
        }
        timer.cancel(entry.deadline)
        if message.payload.isEmpty, message.hasHeaders, message.status == 503 {
            entry.sink?.requestFailed(context: entry.context, error: .noResponders)
        } else {
            entry.sink?.requestCompleted(context: entry.context, reply: message)
        }
        advanceDrainIfWaiting()
    }
}

/// What the reply subjects of a connection's requests have in common, and the subscription that gets the replies.
struct Inbox {
    /// `<prefix>.<unique>.`; empty before the first request.
    var prefix: [UInt8] = []
    /// The number of the subscription, 0 while there is none.
    var sid = 0

    var isOpen: Bool { sid != 0 }

    /// What is subscribed to.
    var pattern: String { String(decoding: prefix, as: UTF8.self) + "*" }

    /// The request that a reply on `subject` belongs to.
    func requestID(ofReply subject: UnsafeRawBufferPointer) -> NATSRequestID? {
        guard subject.count == prefix.count + RequestTable.tokenLength, !prefix.isEmpty else { return nil }
        return RequestTable.readToken(UnsafeRawBufferPointer(rebasing: subject[prefix.count...]))
    }

    /// Whether `subject` is one of a request's reply.
    func holds(_ subject: UnsafeRawBufferPointer) -> Bool {
        !prefix.isEmpty && subject.count >= prefix.count
            && UnsafeRawBufferPointer(rebasing: subject[0..<prefix.count]).elementsEqual(prefix)
    }
}
