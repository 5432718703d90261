// Owns: a received message with bytes of its own, for the async face. The loop-bound face never makes one.

public import NATSProtocol
public import NIOCore

/// A message as a value that may be kept and passed around.
public struct NATSMessage: Sendable {
    /// What a service says when it could not do what a request asked (ADR-32).
    public struct ServiceError: Error, Sendable, Equatable, CustomStringConvertible {
        /// The number in `Nats-Service-Error-Code`, 0 when there is none.
        public let code: Int
        /// The text in `Nats-Service-Error`.
        public let text: String

        /// Code and text in one line.
        public var description: String { "\(code): \(text)" }
    }

    /// The subject it was published to.
    public let subject: String
    /// Where an answer goes, nil when the sender wants none.
    public let reply: String?
    /// The headers, empty when there are none. A message from the server itself has a
    /// `status` there.
    public let headers: NATSHeaders
    /// The payload's bytes.
    public internal(set) var payload: ByteBuffer

    /// Copies a message out of the read buffer, but for what the caller has copied already.
    init(copying message: borrowing NATSInboundMessage, subject: String, payload: ByteBuffer) {
        self.subject = subject
        reply = message.reply.isEmpty ? nil : String(decoding: message.reply, as: UTF8.self)
        headers = message.hasHeaders ? message.parsedHeaders : NATSHeaders()
        self.payload = payload
    }

    /// Copies a message out of the read buffer.
    init(copying message: borrowing NATSInboundMessage) {
        self.init(
            copying: message,
            subject: String(decoding: message.subject, as: UTF8.self),
            payload: ByteBuffer(bytes: message.payload)
        )
    }

    /// The payload as text; what is not UTF-8 is replaced by U+FFFD.
    public var text: String { String(decoding: payload.readableBytesView, as: UTF8.self) }

    /// The error a service answered with, nil for an ordinary message.
    public var serviceError: ServiceError? {
        let text = headers["Nats-Service-Error"]
        let code = headers["Nats-Service-Error-Code"]
        guard text != nil || code != nil else { return nil }
        return ServiceError(code: code.flatMap { Int($0) } ?? 0, text: text ?? "")
    }

    /// What it counts for against a subscription's limit in bytes.
    var size: Int {
        headers.fields.reduce(payload.readableBytes) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    }
}
