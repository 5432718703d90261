// Owns: one request as it arrived, for as long as somebody looks at it. Loop-bound.

package import NIOCore
package import NIOHTTP1

/// A request. It outlives its connection when a handler keeps it.
package final class HTTPRequest {
    /// The head's bytes, as they go to a script.
    @exclusivity(unchecked) package private(set) var raw: HTTPHead
    @exclusivity(unchecked) private var decodedHead: HTTPRequestHead?
    /// The body as far as it has arrived; complete when the delegate is given the request.
    @exclusivity(unchecked) package internal(set) var body: ByteBuffer?
    /// The peer's address, as text.
    package let remoteAddress: String
    /// The delegate's route.
    @exclusivity(unchecked) package var route = -1
    /// Which of the delegate's versions that route belongs to.
    @exclusivity(unchecked) package var generation = 0
    /// The upgrade to WebSocket that it asks for, once it was checked.
    @exclusivity(unchecked) package var handshake: WebSocketHandshake?
    /// Whether there is a connection that could become one of WebSocket.
    @exclusivity(unchecked) package internal(set) var canUpgrade = true
    /// Headers that its answer gets, whoever gives it.
    @exclusivity(unchecked) package var answerHeaders: [(name: String, value: String)] = []
    /// The number under which the delegate finds it; 0: none.
    @exclusivity(unchecked) package var openNumber: UInt64 = 0
    /// The largest body the delegate accepts, in bytes.
    @exclusivity(unchecked) package var maximumBody = 1 << 20
    /// Where the answer goes; nil when the connection is gone.
    @exclusivity(unchecked) package internal(set) weak var connection: (any HTTPResponder)?
    /// Which request of its connection it is: an answer with an older number comes too late.
    package let number: UInt64

    /// Undoes the body's encoding; nil when it has none.
    @exclusivity(unchecked) var decoder: HTTPInflater?
    /// The server's encoders; nil when it does not compress.
    let compressor: HTTPCompressor?
    /// The encoder of the streamed answer.
    @exclusivity(unchecked) var encoder: HTTPDeflater?

    init(
        head: HTTPHead,
        connection: any HTTPResponder,
        number: UInt64,
        remoteAddress: String,
        compressor: HTTPCompressor?
    ) {
        raw = head
        self.connection = connection
        self.compressor = compressor
        self.number = number
        self.remoteAddress = remoteAddress
    }

    deinit { closeEncoder() }

    /// The head as NIO's types have it: made when it is first asked for.
    package internal(set) var head: HTTPRequestHead {
        get {
            if let decodedHead { return decodedHead }
            let head = raw.decoded
            decodedHead = head
            return head
        }
        set {
            decodedHead = newValue
            raw = HTTPHead(newValue)
        }
    }

    /// The method as it was sent.
    package var method: String { raw.method.rawValue }

    /// The path without the query, as it was sent.
    package var path: String { String(decoding: raw.bytes[..<raw.pathLength], as: UTF8.self) }

    /// What follows the question mark, as it was sent; empty without one.
    package var query: String {
        String(decoding: raw.bytes[..<raw.targetLength].dropFirst(raw.pathLength + 1), as: UTF8.self)
    }

    /// True while an answer can still be given.
    package var isOpen: Bool { connection?.isWaiting(for: number) == true }
}

@available(*, unavailable)
extension HTTPRequest: Sendable {}
