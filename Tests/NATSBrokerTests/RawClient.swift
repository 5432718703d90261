// A TCP client that speaks bytes: what it sends and hears is exactly what is on the wire.

import Glibc
import NATSBroker
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// One raw connection to a broker. Use it from one task.
final class RawClient: Sendable {
    private let channel: any Channel
    private let incoming: Incoming

    /// The INFO line, without its end.
    let info: String

    /// The options of an ordinary client.
    static let connect = #"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"# + "\r\n"

    init(_ broker: EmbeddedBroker, receiveBuffer: Int? = nil) async throws {
        let incoming = Incoming()
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(CollectingHandler(incoming))
                }
            }
        if let receiveBuffer {
            bootstrap =
                bootstrap
                .channelOption(.socketOption(.so_rcvbuf), value: .init(receiveBuffer))
                .channelOption(.autoRead, value: false)
        }
        channel = try await bootstrap.connect(host: broker.address.host, port: broker.address.port).get()
        self.incoming = incoming
        if receiveBuffer != nil {
            channel.read()
        }
        info = await incoming.take(upTo: "\r\n") ?? ""
    }

    func send(_ text: String) {
        channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
    }

    func send(bytes: [UInt8]) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    /// Sends `text` and PING and returns what comes before the PONG; when the broker hangs up first, what came and
    /// `(closed)`.
    func exchange(_ text: String) async -> String {
        send(text + "PING\r\n")
        if let answer = await incoming.take(upTo: "PONG\r\n") { return answer }
        return incoming.rest() + "(closed)"
    }

    /// What comes before `mark`; nil when the broker hangs up first.
    func receive(upTo mark: String) async -> String? {
        await incoming.take(upTo: mark)
    }

    /// Everything until the broker hangs up.
    func receiveToEnd() async -> String {
        while await incoming.wait() {}
        return incoming.rest()
    }

    func close() async {
        try? await channel.close().get()
    }
}

/// What has arrived, and whoever waits for more.
private final class Incoming: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var isEnded = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    // Not Synchronization.Mutex: ThreadSanitizer does not see its locks.
    private let state = NIOLockedValueBox(State())

    func append(_ bytes: [UInt8]) {
        wake { $0.bytes += bytes }
    }

    func end() {
        wake { $0.isEnded = true }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLockedValue { state in
            change(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Waits for more. False when there is nothing more to come.
    func wait(_ known: Int? = nil) async -> Bool {
        let start = known ?? state.withLockedValue { $0.bytes.count }
        await withCheckedContinuation { continuation in
            let isReady = state.withLockedValue { state in
                if state.isEnded || state.bytes.count > start { return true }
                state.waiter = continuation
                return false
            }
            if isReady {
                continuation.resume()
            }
        }
        return state.withLockedValue { !$0.isEnded || $0.bytes.count > start }
    }

    func take(upTo mark: String) async -> String? {
        let mark = Array(mark.utf8)
        var searched = 0
        while true {
            let (found, count) = state.withLockedValue { state -> (String?, Int) in
                guard let index = state.bytes.firstPlace(of: mark, from: max(0, searched - mark.count)) else {
                    return (nil, state.bytes.count)
                }
                let text = String(decoding: state.bytes[..<index], as: UTF8.self)
                state.bytes.removeFirst(index + mark.count)
                return (text, 0)
            }
            if let found { return found }
            searched = count
            if await !wait(count) { return nil }
        }
    }

    func rest() -> String {
        state.withLockedValue { state in
            defer { state.bytes = [] }
            return String(decoding: state.bytes, as: UTF8.self)
        }
    }
}

extension [UInt8] {
    /// Where `mark` begins for the first time. By the C library: under a sanitizer, a loop over a megabyte takes minutes.
    fileprivate func firstPlace(of mark: [UInt8], from start: Int) -> Int? {
        withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, let first = mark.first else { return nil }
            var position = start
            while position + mark.count <= bytes.count {
                let last = bytes.count - mark.count + 1 - position
                guard let found = memchr(base + position, Int32(first), last) else { return nil }
                position = UnsafeRawPointer(found) - base
                if memcmp(base + position, mark, mark.count) == 0 { return position }
                position += 1
            }
            return nil
        }
    }
}

private final class CollectingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let incoming: Incoming

    init(_ incoming: Incoming) {
        self.incoming = incoming
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        incoming.append(Array(unwrapInboundIn(data).readableBytesView))
    }

    func channelInactive(context: ChannelHandlerContext) {
        incoming.end()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
