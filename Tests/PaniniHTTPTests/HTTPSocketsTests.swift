// Ending a server's connections and taking its port over from a thread that is not its own, while its loop is held.

import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import PaniniHTTP

private final class Silent: HTTPDelegate, Sendable {
    func admits(_ request: HTTPRequest) -> HTTPResponse? { .failure(404, "nothing is here") }
    func received(_ request: HTTPRequest) {}
    func lost(_ request: HTTPRequest) {}
    func responded(_ report: HTTPAccessReport) {}
    func canWrite(_ request: HTTPRequest) {}
    func shed(_ shedding: HTTPShedding) {}
    func webMemoryCalmedDown() {}
}

@Suite("Sockets of a server whose loop is held")
struct HTTPSocketsTests {
    private static let delegate = Silent()

    private static func start(
        _ loop: any EventLoop,
        _ sockets: HTTPSockets,
        port: Int = 0,
        inherited: HTTPListeningSocket? = nil
    ) throws -> (server: NIOLoopBound<HTTPServer>, port: Int) {
        try loop.flatSubmit {
            var configuration = HTTPServerConfiguration()
            configuration.port = port
            configuration.inherited = inherited
            let server = HTTPServer(
                configuration: configuration,
                eventLoop: loop,
                sockets: sockets,
                delegate: Self.delegate
            )
            let box = NIOLoopBound(server, eventLoop: loop)
            return server.start().map { address in
                box.value.accept()
                return (box, address.port ?? 0)
            }
        }.wait()
    }

    private static func connect(_ port: Int) throws -> CInt {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var time = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
        return descriptor
    }

    private static func ask(_ descriptor: CInt) -> String {
        let request = Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
        _ = send(descriptor, request, request.count, CInt(MSG_NOSIGNAL))
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
    }

    @Test("what the system has queued is served by who takes the port over, and what was open is closed")
    func takenOver() throws {
        let first = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let second = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let old = HTTPSockets()
        let (server, port) = try Self.start(first.next(), old)
        let open = try Self.connect(port)
        #expect(Self.ask(open).contains("404"))
        #expect(old.connectionCount == 1)
        // The loop is held.
        let hold = ThreadHold()
        first.next().execute { hold.wait() }
        hold.arrived()
        let queued = try (0..<10).map { _ in try Self.connect(port) }
        #expect(old.takePort(port + 1) == nil)
        let listening = try #require(old.takePort(port))
        #expect(old.takePort(port) == nil)
        old.cut()
        #expect(Self.ask(open).isEmpty)
        let new = HTTPSockets()
        let (next, samePort) = try Self.start(second.next(), new, port: port, inherited: listening)
        #expect(samePort == port)
        for descriptor in queued {
            #expect(Self.ask(descriptor).contains("404"))
            close(descriptor)
        }
        hold.open()
        // The old one closes its own descriptor; the port is the new one's.
        try first.next().submit { server.value.close() }.wait()
        for _ in 0..<10 {
            let descriptor = try Self.connect(port)
            #expect(Self.ask(descriptor).contains("404"))
            close(descriptor)
        }
        close(open)
        try second.next().submit { next.value.close() }.wait()
        try first.syncShutdownGracefully()
        try second.syncShutdownGracefully()
    }

    @Test("what is accepted after the cut is closed, and the port is free")
    func cut() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let sockets = HTTPSockets()
        let (server, port) = try Self.start(group.next(), sockets)
        sockets.cut()
        #expect(sockets.connectionCount == 0)
        let (next, samePort) = try Self.start(group.next(), HTTPSockets(), port: port)
        #expect(samePort == port)
        try group.next().submit {
            server.value.close()
            next.value.close()
        }.wait()
        try group.syncShutdownGracefully()
    }
}

/// Holds a thread.
private final class ThreadHold: Sendable {
    private let pipes: (read: CInt, write: CInt, told: CInt, tell: CInt)

    init() {
        var hold: [CInt] = [0, 0]
        var told: [CInt] = [0, 0]
        pipe(&hold)
        pipe(&told)
        pipes = (hold[0], hold[1], told[0], told[1])
    }

    deinit { for descriptor in [pipes.read, pipes.write, pipes.told, pipes.tell] { close(descriptor) } }

    func wait() {
        var byte: UInt8 = 0
        _ = write(pipes.tell, &byte, 1)
        _ = read(pipes.read, &byte, 1)
    }

    /// Returns when the thread is held.
    func arrived() {
        var byte: UInt8 = 0
        _ = read(pipes.told, &byte, 1)
    }

    func open() {
        var byte: UInt8 = 0
        _ = write(pipes.write, &byte, 1)
    }
}
