// Owns: the coroutines that wait until the clients of streams take more, and how much was written for them meanwhile.
// Loop-bound; knows no Lua.

import PaniniHTTP
import ScriptRuntime

/// The coroutines that write to a script's streams.
///
/// Several functions may write to one stream, and a function whose call cannot be suspended writes on without waiting. So the
/// bytes that the client has not taken yet are counted.
final class StreamWriters {
    private struct Stream {
        /// Kept alive, because its identity is the key of this entry.
        let request: HTTPRequest
        var waiting: [UInt64] = []
        var bytes = 0
    }

    private var streams: [UInt64: Stream] = [:]

    /// Whether more may be written: always, unless something waits for the client already.
    func hasRoom(_ request: HTTPRequest, for bytes: Int, limit: Int) -> Bool {
        guard let stream = streams[Self.token(of: request)] else { return true }
        return bytes <= limit - stream.bytes
    }

    /// Something was written that the client has not taken.
    ///
    /// - Parameter id: Who waits for that; nil: nobody.
    func add(_ request: HTTPRequest, bytes: Int, id: UInt64?) {
        var stream = streams.removeValue(forKey: Self.token(of: request)) ?? Stream(request: request)
        stream.bytes += bytes
        if let id { stream.waiting.append(id) }
        streams[Self.token(of: request)] = stream
    }

    /// The client has taken what was written, or is gone, or the stream has ended.
    ///
    /// - Returns: Who has waited for it.
    func take(_ request: HTTPRequest) -> [UInt64] {
        streams.removeValue(forKey: Self.token(of: request))?.waiting ?? []
    }
}

extension StreamWriters: WaitOwner {
    /// Identifies the waits for one request's client.
    static func token(of request: HTTPRequest) -> UInt64 { UInt64(UInt(bitPattern: ObjectIdentifier(request))) }

    func cancel(_ wait: Wait, of coroutine: UInt64) {
        streams[wait.token]?.waiting.removeAll { $0 == coroutine }
    }
}

@available(*, unavailable)
extension StreamWriters: Sendable {}
