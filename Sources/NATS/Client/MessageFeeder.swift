// Owns: the loop's side of subscriptions: it turns messages in the read buffer into values. For a stream, the messages of one
// read burst are collected and handed over together: their small payloads share one block of memory, and the queue's
// lock is taken once. For a callback, each is handed over at once. Loop-bound; may not know the tasks that read.

import NATSProtocol
import NIOCore

/// Makes message values for one subscription.
struct MessageCopier {
    /// A payload above this gets memory of its own, so that keeping it does not keep a whole burst's.
    static let sharedPayloadBytes = 4096

    /// The subject the subscription asked for, which most messages have.
    private var subject: String

    init(subject: String) {
        self.subject = subject
    }

    /// Everything of a message but its payload.
    mutating func copy(_ message: borrowing NATSInboundMessage, payload: ByteBuffer) -> NATSMessage {
        let bytes = message.subject
        let isSame = subject.withUTF8 { UnsafeRawBufferPointer($0).elementsEqual(bytes) }
        if !isSame {
            subject = String(decoding: bytes, as: UTF8.self)
        }
        return NATSMessage(copying: message, subject: subject, payload: payload)
    }
}

/// Feeds the queue of a stream.
final class MessageFeeder: NATSSubscriptionHandler {
    let queue: MessageQueue
    private unowned let core: NATSClientCore
    private let subscription: NIOLoopBoundBox<NATSSubscription?>
    private let subject: String
    private var copier: MessageCopier
    /// The messages of this burst; a payload is filled in when all are there.
    private var staged: [NATSMessage] = []
    /// Where the payloads stand in `arena`; a negative start for those that have memory of their own.
    private var places: [(start: Int, count: Int)] = []
    private var arena = ByteBuffer()
    /// How large the last burst's payloads were together.
    private var arenaHint = 0

    init(
        subject: String,
        queue: MessageQueue,
        core: NATSClientCore,
        subscription: NIOLoopBoundBox<NATSSubscription?>
    ) {
        self.subject = subject
        self.queue = queue
        self.core = core
        self.subscription = subscription
        copier = MessageCopier(subject: subject)
    }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        if staged.isEmpty {
            core.stage(self)
        }
        let payload = message.payload
        if payload.count > MessageCopier.sharedPayloadBytes {
            staged.append(copier.copy(message, payload: ByteBuffer(bytes: payload)))
            places.append((-1, 0))
            return
        }
        if arena.capacity == 0 {
            arena = ByteBufferAllocator().buffer(capacity: max(arenaHint, payload.count))
        }
        places.append((arena.writerIndex, payload.count))
        arena.writeBytes(payload)
        staged.append(copier.copy(message, payload: ByteBuffer()))
    }

    /// Hands over what this burst brought.
    func commit() {
        guard !staged.isEmpty else { return }
        arenaHint = arena.writerIndex
        for index in staged.indices where places[index].start >= 0 && places[index].count > 0 {
            let place = places[index]
            if let payload = arena.getSlice(at: place.start, length: place.count) {
                staged[index].payload = payload
            }
        }
        places.removeAll(keepingCapacity: true)
        // The messages own it now.
        arena = ByteBuffer()
        let outcome = queue.append(&staged)
        if outcome.dropped > 0 {
            core.dropped(outcome.dropped)
        }
        if outcome.mustWake {
            queue.wake()
        }
        if outcome.becameSlow, let sid = subscription.value?.sid {
            core.report(.subscriptionTooSlow(subject: subject, sid: sid))
        }
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        commit()
        self.subscription.value = nil
        queue.end(reason.error)
    }
}

@available(*, unavailable)
extension MessageFeeder: Sendable {}

/// Hands messages to a function, on the loop.
final class MessageCaller: NATSSubscriptionHandler {
    private let handler: @Sendable (NATSMessage) -> Void
    private let subscription: NIOLoopBoundBox<NATSSubscription?>
    private var copier: MessageCopier

    init(
        subject: String,
        subscription: NIOLoopBoundBox<NATSSubscription?>,
        handler: @escaping @Sendable (NATSMessage) -> Void
    ) {
        self.subscription = subscription
        self.handler = handler
        copier = MessageCopier(subject: subject)
    }

    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        handler(copier.copy(message, payload: ByteBuffer(bytes: message.payload)))
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        self.subscription.value = nil
    }
}

@available(*, unavailable)
extension MessageCaller: Sendable {}

extension NATSSubscriptionEnd {
    /// What a reader is told; nil for the ends somebody asked for.
    var error: NATSError? {
        switch self {
        case .unsubscribed, .maximumReached, .drained, .closed: nil
        case .disconnected: .disconnected
        case .permissionViolation(let text): NATSError(.permissionViolation, text)
        }
    }
}
