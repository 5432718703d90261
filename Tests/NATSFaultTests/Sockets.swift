// Plain sockets on loopback, for the proxy, the scripted server and looking at servers. Any thread; the calls block.

import Foundation
import Glibc
import NIOConcurrencyHelpers

enum Sockets {
    struct Failure: Error, CustomStringConvertible {
        let what: String
        let number: Int32
        var description: String { "\(what): \(String(cString: strerror(number)))" }

        init(_ what: String) {
            self.what = what
            number = errno
        }
    }

    static func make() throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket") }
        return descriptor
    }

    /// Listens on `port`, or on a free one.
    static func listen(port: Int = 0) throws -> (descriptor: Int32, port: Int) {
        let descriptor = try make()
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        let result = withAddress(port) { bind(descriptor, $0, $1) }
        guard result == 0, Glibc.listen(descriptor, 128) == 0 else {
            defer { close(descriptor) }
            throw Failure("listen on \(port)")
        }
        return (descriptor, localPort(descriptor))
    }

    static func connect(port: Int) throws -> Int32 {
        let descriptor = try make()
        guard withAddress(port, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            defer { close(descriptor) }
            throw Failure("connect to \(port)")
        }
        return descriptor
    }

    /// Ports that were free a moment ago, all different.
    static func freePorts(_ count: Int) throws -> [Int] {
        let listeners = try (0..<count).map { _ in try listen() }
        for listener in listeners { close(listener.descriptor) }
        return listeners.map(\.port)
    }

    static func setNonBlocking(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    /// The next connection of `listener`.
    static func accept(_ listener: Int32) -> Int32? {
        let descriptor = Glibc.accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    /// Each write leaves as a packet of its own.
    static func setNoDelay(_ descriptor: Int32) {
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    /// Small enough for a test to fill.
    static func setBuffers(_ descriptor: Int32, bytes: Int32) {
        set(descriptor, SOL_SOCKET, SO_RCVBUF, bytes)
        set(descriptor, SOL_SOCKET, SO_SNDBUF, bytes)
    }

    /// Closing sends a reset and throws away what was not sent.
    static func setReset(_ descriptor: Int32) {
        var value = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    /// What a server's monitoring says, as the bytes of the document.
    static func get(_ path: String, port: Int) throws -> [UInt8] {
        let descriptor = try connect(port: port)
        defer { close(descriptor) }
        let request = Array("GET \(path) HTTP/1.0\r\n\r\n".utf8)
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            throw Failure("GET \(path)")
        }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count >= 0 else { throw Failure("GET \(path)") }
            if count == 0 { break }
            answer += chunk[..<count]
        }
        let end = Array("\r\n\r\n".utf8)
        guard let index = answer.indices.first(where: { answer[$0...].starts(with: end) }) else {
            errno = EPROTO
            throw Failure("GET \(path)")
        }
        return Array(answer[(index + 4)...])
    }

    /// The first line a NATS server says on a new connection; nil when there is no server.
    static func greeting(port: Int) -> String? {
        guard let descriptor = try? connect(port: port) else { return nil }
        defer { close(descriptor) }
        var wait = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while line.last != 10 {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            line += chunk[..<count]
        }
        return String(decoding: line, as: UTF8.self)
    }

    private static func localPort(_ descriptor: Int32) -> Int {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func withAddress<Result>(
        _ port: Int,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// Wakes a thread that waits in `poll`.
struct Waker: Sendable {
    /// What the thread watches for input.
    let watched: Int32
    private let writer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "no descriptors are left")
        (watched, writer) = (ends[0], ends[1])
        for end in ends {
            Sockets.setNonBlocking(end)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
    }

    /// From any thread, not after `close`.
    func wake() {
        var byte: UInt8 = 1
        _ = write(writer, &byte, 1)
    }

    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(watched, &bytes, bytes.count) > 0 {}
    }

    func close() {
        Glibc.close(watched)
        Glibc.close(writer)
    }
}

/// Accepts connections on a thread of its own until it is stopped.
final class Acceptor: Sendable {
    let port: Int
    private let waker = Waker()
    private let isStopped = NIOLockedValueBox(false)

    init(_ body: @escaping @Sendable (Int32) -> Void) throws {
        let listener: Int32
        (listener, port) = try Sockets.listen()
        Thread.detachNewThread { [waker] in
            while true {
                var watched = [
                    pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: waker.watched, events: Int16(POLLIN), revents: 0),
                ]
                poll(&watched, 2, -1)
                if watched[1].revents != 0 { break }
                if let client = Sockets.accept(listener) { body(client) }
            }
            close(listener)
            waker.close()
        }
    }

    func stop() {
        isStopped.withLockedValue { isStopped in
            if !isStopped { waker.wake() }
            isStopped = true
        }
    }
}
