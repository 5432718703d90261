// Owns: the head of a request as it is kept: the bytes that a script is given, and nothing made of them before somebody asks.
// Pure; any thread.

package import NIOHTTP1

/// A request's method, target and header fields.
package struct HTTPHead: Sendable {
    package let method: HTTPMethod
    package let version: HTTPVersion
    /// The target, then each field as `name:value` and a line feed: a value has none of its own.
    package let bytes: [UInt8]
    /// How many of the bytes are the target.
    package let targetLength: Int
    /// How many of the target's bytes are the path; the question mark follows, if anything does.
    package let pathLength: Int

    init(method: HTTPMethod, version: HTTPVersion, bytes: [UInt8], targetLength: Int) {
        self.method = method
        self.version = version
        self.bytes = bytes
        self.targetLength = targetLength
        pathLength = bytes.withUnsafeBufferPointer { bytes in
            bytes[..<targetLength].firstIndex(of: UInt8(ascii: "?")) ?? targetLength
        }
    }

    /// The same of a head that came as text.
    init(_ head: HTTPRequestHead) {
        var bytes = Array(head.uri.utf8)
        let targetLength = bytes.count
        for (name, value) in head.headers {
            bytes += name.utf8
            bytes.append(UInt8(ascii: ":"))
            bytes += value.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
        self.init(method: head.method, version: head.version, bytes: bytes, targetLength: targetLength)
    }

    /// The head as NIO's types have it. What is no UTF-8 is repaired in it.
    var decoded: HTTPRequestHead {
        var fields: [(String, String)] = []
        for line in bytes[targetLength...].split(separator: UInt8(ascii: "\n")) {
            let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
            fields.append(
                (
                    String(decoding: line[..<colon], as: UTF8.self),
                    String(decoding: line[colon...].dropFirst(), as: UTF8.self)
                )
            )
        }
        return HTTPRequestHead(
            version: version,
            method: method,
            uri: String(decoding: bytes[..<targetLength], as: UTF8.self),
            headers: HTTPHeaders(fields)
        )
    }
}
