// A received message with bytes of its own, for the async face. The loop-bound face never makes one.

public import NATSProtocol
public import NIOCore

/// A message as a value that may be kept and passed around.
public struct NATSMessage: Sendable {
    /// The subject it was published to.
    public let subject: String
    /// Where an answer goes, nil when the sender wants none.
    public let reply: String?
    /// The headers, empty when there are none.
    public let headers: NATSHeaders
    /// The payload's bytes.
    public let payload: ByteBuffer

    /// Copies a message out of the read buffer.
    init(copying message: borrowing NATSInboundMessage) {
        subject = String(decoding: message.subject, as: UTF8.self)
        reply = message.reply.isEmpty ? nil : String(decoding: message.reply, as: UTF8.self)
        headers = message.hasHeaders ? message.parsedHeaders : NATSHeaders()
        payload = ByteBuffer(bytes: message.payload)
    }
}
