// A server under the test's control, over real sockets on a free loopback port: takes connections, hands out what the
// client wrote, writes what the test says, byte for byte.

import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

@testable import NATS

final class MockServer: Sendable {
    static let info =
        "INFO {\"server_id\":\"mock\",\"version\":\"2.15.0\",\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n"
    /// What a client with default settings answers to `info`.
    static let connect =
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"\",\"lang\":\"swift\","
        + "\"version\":\"0.1.0\",\"protocol\":1,\"echo\":true,\"headers\":true,\"no_responders\":true}\r\nPING\r\n"

    private let channel: any Channel
    private let accepted: AsyncStream<MockPeer>
    let port: Int

    var address: NATSServerAddress { NATSServerAddress(host: "127.0.0.1", port: port) }

    /// - Parameter port: 0 for a free one.
    static func start(port: Int = 0) async throws -> MockServer {
        let (stream, continuation) = AsyncStream.makeStream(of: MockPeer.self)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let peer = MockPeer(channel)
                    try channel.pipeline.syncOperations.addHandler(MockPeer.Handler(peer))
                    continuation.yield(peer)
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        return MockServer(channel, stream)
    }

    private init(_ channel: any Channel, _ accepted: AsyncStream<MockPeer>) {
        self.channel = channel
        self.accepted = accepted
        port = channel.localAddress?.port ?? 0
    }

    deinit {
        channel.close(promise: nil)
    }

    /// The next connection, waiting for it.
    func accept(within time: Duration = .seconds(60)) async throws -> MockPeer {
        let accepted = accepted
        return try await withThrowingTaskGroup(of: MockPeer?.self) { group in
            group.addTask {
                var iterator = accepted.makeAsyncIterator()
                return await iterator.next()
            }
            group.addTask {
                try await Task.sleep(for: time)
                throw MockPeer.Timeout(waitedFor: "a connection", received: "")
            }
            defer { group.cancelAll() }
            guard let peer = try await group.next() ?? nil else { throw CancellationError() }
            return peer
        }
    }

    /// The next connection, with its handshake done.
    func acceptHandshake(info: String = MockServer.info) async throws -> MockPeer {
        let peer = try await accept()
        try await peer.send(info)
        _ = try await peer.read(through: "PING\r\n")
        try await peer.send("PONG\r\n")
        return peer
    }

    func stop() async throws {
        try await channel.close().get()
    }
}

/// One connection as the server sees it.
final class MockPeer: Sendable {
    struct Timeout: Error, CustomStringConvertible {
        let waitedFor: String
        let received: String
        var description: String {
            "waited for \(waitedFor.prefix(200).debugDescription), received \(received.suffix(200).debugDescription)"
        }
    }

    private struct State {
        var bytes: [UInt8] = []
        var isClosed = false
    }

    private let channel: any Channel
    private let state = NIOLockedValueBox(State())

    fileprivate init(_ channel: any Channel) {
        self.channel = channel
    }

    func send(_ text: String) async throws {
        try await channel.writeAndFlush(ByteBuffer(string: text)).get()
    }

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    /// Takes everything received up to and including `end`, waiting for it.
    func read(through end: String) async throws -> String {
        let end = Array(end.utf8)
        let deadline = ContinuousClock.now + .seconds(60)
        var searched = 0
        while ContinuousClock.now < deadline {
            let taken = state.withLockedValue { state -> [UInt8]? in
                guard let found = Self.find(end, in: state.bytes, from: searched) else {
                    searched = max(0, state.bytes.count - end.count)
                    return nil
                }
                defer { state.bytes.removeFirst(found + end.count) }
                return Array(state.bytes[..<(found + end.count)])
            }
            if let taken { return String(decoding: taken, as: UTF8.self) }
            try await Task.sleep(for: .milliseconds(1))
        }
        throw Timeout(waitedFor: String(decoding: end, as: UTF8.self), received: received)
    }

    /// Takes the next `count` bytes received, waiting for them.
    func read(count: Int) async throws -> [UInt8] {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            let taken = state.withLockedValue { state -> [UInt8]? in
                guard state.bytes.count >= count else { return nil }
                defer { state.bytes.removeFirst(count) }
                return Array(state.bytes[..<count])
            }
            if let taken { return taken }
            try await Task.sleep(for: .milliseconds(1))
        }
        throw Timeout(waitedFor: "\(count) bytes", received: received)
    }

    /// What was received and not taken yet.
    var received: String { state.withLockedValue { String(decoding: $0.bytes, as: UTF8.self) } }

    /// Waits until the client has closed.
    func closed() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while !state.withLockedValue({ $0.isClosed }) {
            guard ContinuousClock.now < deadline else { throw Timeout(waitedFor: "the end", received: received) }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    func close() async throws {
        try? await channel.close().get()
    }

    /// Ends the server's side in order, without reading what is under way.
    func endOutput() async throws {
        try await channel.close(mode: .output).get()
    }

    /// Stops, or goes on, taking bytes from the socket.
    func setReading(_ isOn: Bool) async throws {
        try await channel.setOption(.autoRead, value: isOn).get()
    }

    /// Where `pattern` begins in `bytes`, looking from `start` on.
    private static func find(_ pattern: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, let first = pattern.first else { return nil }
            var position = start
            while position + pattern.count <= bytes.count {
                let candidates = bytes.count - pattern.count + 1 - position
                guard let found = memchr(base + position, Int32(first), candidates) else { return nil }
                position = UnsafeRawPointer(found) - base
                if memcmp(base + position, pattern, pattern.count) == 0 { return position }
                position += 1
            }
            return nil
        }
    }

    fileprivate final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let peer: MockPeer

        init(_ peer: MockPeer) {
            self.peer = peer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            peer.state.withLockedValue { $0.bytes.append(contentsOf: bytes.readableBytesView) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            peer.state.withLockedValue { $0.isClosed = true }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
