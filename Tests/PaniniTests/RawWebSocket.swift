// Owns: the little of a WebSocket client that a test needs, on blocking sockets (RFC 6455).

import Glibc

enum FreePort {
    struct NoPort: Error {}

    /// A port that nobody has at the moment.
    static func find() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { _ = close(descriptor) }
        var address = LoopbackAddress.make(port: 0)
        guard LoopbackAddress.with(&address, { bind(descriptor, $0, $1) }) == 0 else { throw NoPort() }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard named == 0 else { throw NoPort() }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

private enum LoopbackAddress {
    static func make(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    static func with(
        _ address: inout sockaddr_in,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

enum RawWebSocket {
    struct Failure: Error {
        let what: String
    }

    /// Opens a connection, sends a short text, and returns the text that comes back.
    static func echo(_ text: String, path: String, port: Int) throws -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { _ = close(descriptor) }
        var patience = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = LoopbackAddress.make(port: port)
        guard LoopbackAddress.with(&address, { connect(descriptor, $0, $1) }) == 0 else {
            throw Failure(what: "connect")
        }
        try send(
            Array(
                """
                GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n
                """.utf8
            ),
            descriptor
        )
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual([13, 10, 13, 10]) { head += try receive(1, descriptor) }
        guard String(decoding: head, as: UTF8.self).hasPrefix("HTTP/1.1 101 ") else {
            throw Failure(what: String(decoding: head, as: UTF8.self))
        }
        // A masked text frame; the mask of zeros leaves the bytes as they are.
        try send([0x81, 0x80 | UInt8(text.utf8.count), 0, 0, 0, 0] + Array(text.utf8), descriptor)
        let start = try receive(2, descriptor)
        guard start[0] == 0x81, start[1] < 126 else { throw Failure(what: "frame \(start)") }
        return String(decoding: try receive(Int(start[1]), descriptor), as: UTF8.self)
    }

    private static func send(_ bytes: [UInt8], _ descriptor: Int32) throws {
        guard write(descriptor, bytes, bytes.count) == bytes.count else { throw Failure(what: "write") }
    }

    private static func receive(_ count: Int, _ descriptor: Int32) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var piece = [UInt8](repeating: 0, count: count - bytes.count)
            let got = read(descriptor, &piece, piece.count)
            guard got > 0 else { throw Failure(what: "read") }
            bytes += piece[..<got]
        }
        return bytes
    }
}
