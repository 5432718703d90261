// Owns: one request as it arrived, for as long as somebody looks at it. Loop-bound.

package import NIOCore
package import NIOHTTP1

/// A request. It outlives its connection when a handler keeps it.
///
/// What every request is asked for is kept behind computed properties: other modules would check each access to a stored one,
/// as the attribute that says otherwise is known in this module only.
package final class HTTPRequest {
    @exclusivity(unchecked) private var storedRaw: HTTPHead
    @exclusivity(unchecked) private var decodedHead: HTTPRequestHead?
    @exclusivity(unchecked) private var storedBody: ByteBuffer?
    @exclusivity(unchecked) private var delegateState = DelegateState()
    /// The peer's address, as text.
    package let remoteAddress: String
    /// The upgrade to WebSocket that it asks for, once it was checked.
    @exclusivity(unchecked) package var handshake: WebSocketHandshake?
    /// Whether there is a connection that could become one of WebSocket.
    @exclusivity(unchecked) package internal(set) var canUpgrade = true
    /// Headers that its response gets, whoever gives it.
    @exclusivity(unchecked) package var responseHeaders: HTTPFields = []
    /// Where the response goes; nil when the connection is gone.
    ///
    /// Strong, as weak ones cost each request two objects' worth of counting: a connection lets go of its request when that is
    /// responded to, and says so to the request when it ends before.
    @exclusivity(unchecked) package internal(set) var connection: (any HTTPResponder)?
    /// Which request of its connection it is: a response with an older number comes too late.
    package let number: UInt64

    /// Undoes the body's encoding; nil when it has none.
    @exclusivity(unchecked) var decoder: HTTPInflater?
    /// The server's encoders; nil when it does not compress.
    let compressor: HTTPCompressor?
    /// The encoder of the streamed response.
    @exclusivity(unchecked) var encoder: HTTPDeflater?

    init(
        head: HTTPHead,
        connection: (any HTTPResponder)?,
        number: UInt64,
        remoteAddress: String,
        compressor: HTTPCompressor?
    ) {
        storedRaw = head
        self.connection = connection
        self.compressor = compressor
        self.number = number
        self.remoteAddress = remoteAddress
    }

    /// The same for a head that came as text, which is kept as it is.
    convenience init(
        decoded head: HTTPRequestHead,
        connection: (any HTTPResponder)?,
        number: UInt64,
        remoteAddress: String,
        compressor: HTTPCompressor?
    ) {
        self.init(
            head: HTTPHead(head),
            connection: connection,
            number: number,
            remoteAddress: remoteAddress,
            compressor: compressor
        )
        decodedHead = head
    }

    deinit { closeEncoder() }

    /// What the delegate notes of a request.
    private struct DelegateState {
        var route = -1
        var generation = 0
        var openNumber: UInt64 = 0
        var maximumBody = 1 << 20
    }

    /// The head's bytes, as they go to a script.
    package var raw: HTTPHead { storedRaw }

    /// It is one of many over an HTTP/2 connection.
    @inline(__always)
    var isOfStream: Bool { storedRaw.version.major == 2 }

    /// The body as far as it has arrived; complete when the delegate is given the request.
    package internal(set) var body: ByteBuffer? {
        get { storedBody }
        _modify { yield &storedBody }
    }

    /// The delegate's route.
    package var route: Int {
        get { delegateState.route }
        set { delegateState.route = newValue }
    }

    /// Which of the delegate's versions that route belongs to.
    package var generation: Int {
        get { delegateState.generation }
        set { delegateState.generation = newValue }
    }

    /// The number under which the delegate finds it; 0: none.
    package var openNumber: UInt64 {
        get { delegateState.openNumber }
        set { delegateState.openNumber = newValue }
    }

    /// The largest body the delegate accepts, in bytes.
    package var maximumBody: Int {
        get { delegateState.maximumBody }
        set { delegateState.maximumBody = newValue }
    }

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
            storedRaw = HTTPHead(newValue)
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

    /// True while a response can still be given.
    package var isOpen: Bool { connection?.isWaiting(for: number) == true }
}

@available(*, unavailable)
extension HTTPRequest: Sendable {}
