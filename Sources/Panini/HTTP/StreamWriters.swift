// Owns: who waits until the clients of streams take more, and how much was written for them meanwhile. A value; loop-bound, as
// its owner is.

import PaniniHTTP

/// The writers of a script's streams.
///
/// Several functions may write to one stream, and where a call cannot be suspended one function writes on without waiting: so
/// what is written behind a client's back is counted.
struct StreamWriters {
    private struct Stream {
        var waiting: [UInt64] = []
        var bytes = 0
    }

    private var streams: [ObjectIdentifier: Stream] = [:]

    /// Whether more may be written: always, unless something waits for the client already.
    func hasRoom(_ request: HTTPRequest, for bytes: Int, limit: Int) -> Bool {
        guard let stream = streams[ObjectIdentifier(request)] else { return true }
        return bytes <= limit - stream.bytes
    }

    /// Something was written that the client has not taken.
    ///
    /// - Parameter id: Who waits for that; nil: nobody.
    mutating func add(_ request: HTTPRequest, bytes: Int, id: UInt64?) {
        var stream = streams.removeValue(forKey: ObjectIdentifier(request)) ?? Stream()
        stream.bytes += bytes
        if let id { stream.waiting.append(id) }
        streams[ObjectIdentifier(request)] = stream
    }

    /// Somebody waits no more.
    mutating func remove(_ request: HTTPRequest, id: UInt64) {
        streams[ObjectIdentifier(request)]?.waiting.removeAll { $0 == id }
    }

    /// The client has taken what was written, or is gone, or the stream has ended.
    ///
    /// - Returns: Who has waited for it.
    mutating func take(_ request: HTTPRequest) -> [UInt64] {
        streams.removeValue(forKey: ObjectIdentifier(request))?.waiting ?? []
    }
}
