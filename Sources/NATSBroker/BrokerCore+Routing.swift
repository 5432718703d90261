// The way of a message through the broker: whom it matches, one member of each queue group, what the receivers get, and
// the answer when nobody is there. On the broker's event loop; no allocation per message for a subject seen before.

import Bytes
import Logging
import NATSProtocol
import NIOCore

extension BrokerCore {
    func publish(
        _ publication: ClientCommand.Publication,
        bytes: UnsafeRawBufferPointer,
        from client: BrokerClient
    ) -> Bool {
        let message = BrokerMessage(publication, in: bytes)
        if publication.isHeaderPublication, !client.options.headers {
            refuse(
                client,
                ending: "HPUB without headers in CONNECT",
                lastWords: "message headers not supported"
            )
            return false
        }
        statistics.messagesIn += 1
        statistics.bytesIn += message.size
        confirm(client)
        if client.options.pedantic, !NATSSubject.isValidForPublish(message.subject) {
            refuse(client, "Invalid Publish Subject")
        }
        let match = index.match(message.subject)
        receiversLeft &-= match.plain.count &+ match.groups.count
        var receivers = 0
        for slot in match.plain where deliver(message, to: slot, from: client) {
            receivers += 1
        }
        for group in match.groups where deliver(message, toOneOf: group.members, from: client) {
            receivers += 1
        }
        if receivers == 0 {
            statistics.messagesWithoutReceiver += 1
            if client.options.noResponders, !message.reply.isEmpty {
                answerNoResponders(message, client)
            }
        }
        while let subscription = exhausted.popLast() {
            remove(subscription)
        }
        return true
    }

    /// Tries the members of a queue group from a random one on until one takes the message.
    private func deliver(_ message: BrokerMessage, toOneOf members: [Int], from client: BrokerClient) -> Bool {
        // xorshift64*: no system call per message.
        random ^= random >> 12
        random ^= random << 25
        random ^= random >> 27
        let first = Int((random &* 0x2545_F491_4F6C_DD1D) >> 33) % members.count
        for offset in 0..<members.count
        where deliver(message, to: members[(first + offset) % members.count], from: client) {
            return true
        }
        return false
    }

    @inline(__always)
    private func deliver(_ message: BrokerMessage, to slot: Int, from publisher: BrokerClient) -> Bool {
        guard let subscription = subscriptions[slot] else { return false }
        let client = subscription.client
        if client.isEnding || (client === publisher && !client.options.echo) { return false }
        client.appendMessage(
            subject: message.subject,
            sid: subscription.sid,
            reply: message.reply,
            headers: client.options.headers ? message.headers : .none,
            payload: message.payload
        )
        statistics.messagesOut += 1
        statistics.bytesOut += message.size
        queued(client)
        subscription.delivered += 1
        if subscription.delivered == subscription.maximum {
            exhausted.append(subscription)
        }
        if client.outbound.byteCount > configuration.maximumPendingBytesPerClient / 2, publisher !== client {
            // Half full: the sender waits a little, which is often enough for a receiver that is merely slower.
            publisher.shouldPause = true
        }
        return true
    }

    /// Status 503 to the requester's own subscription of the reply subject, so that it need not wait for a timeout.
    private func answerNoResponders(_ message: BrokerMessage, _ client: BrokerClient) {
        let match = index.walk(message.reply)
        let slots = match.plain + match.groups.flatMap(\.members)
        guard
            let subscription = slots.lazy.compactMap({ self.subscriptions[$0] }).first(where: { $0.client === client })
        else { return }
        var headers = ByteBuffer()
        headers.writeStaticString("NATS/1.0 503\r\nNats-Subject: ")
        headers.writeBytes(message.subject)
        headers.writeStaticString("\r\n\r\n")
        headers.withUnsafeReadableBytes { headers in
            client.appendMessage(
                subject: message.reply,
                sid: subscription.sid,
                reply: .none,
                headers: headers,
                payload: .none
            )
        }
        queued(client)
        subscription.delivered += 1
        if subscription.delivered == subscription.maximum {
            exhausted.append(subscription)
        }
    }
}

/// A message on its way: pointers into the publisher's read buffer.
private struct BrokerMessage {
    let subject: UnsafeRawBufferPointer
    let reply: UnsafeRawBufferPointer
    let headers: UnsafeRawBufferPointer
    let payload: UnsafeRawBufferPointer

    init(_ publication: ClientCommand.Publication, in bytes: UnsafeRawBufferPointer) {
        subject = UnsafeRawBufferPointer(rebasing: bytes[publication.subject])
        reply = UnsafeRawBufferPointer(rebasing: bytes[publication.reply])
        headers = UnsafeRawBufferPointer(rebasing: bytes[publication.headers])
        payload = UnsafeRawBufferPointer(rebasing: bytes[publication.payload])
    }

    var size: Int { headers.count + payload.count }
}
