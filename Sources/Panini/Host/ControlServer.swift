// Owns: the socket through which `panini ps` and `panini reload` reach a running program: a file that only its user may
// open. One line of JSON in, one line out (docs/reload.md). Lives on the host's loop.

import Bytes
import Glibc
import LoopTools
import NATSProtocol
import NIOCore
import NIOPosix

/// Why there is no control socket.
package struct ControlError: Error {
    package let message: String
}

/// Answers questions about the program on a socket.
final class ControlServer {
    /// The longest question, in bytes.
    static let lineLimit = 4096
    /// How long a question may take to come, and an answer to be read.
    static let patience = TimeAmount.seconds(5)

    private let directory: String
    private let loop: any EventLoop
    private unowned let host: HostCore
    private var channel: (any Channel)?
    private var socket = ""
    private var connections = ControlConnections()
    private var channels: [UInt64: any Channel] = [:]
    private var lastNumber: UInt64 = 0

    init(directory: String, loop: any EventLoop, host: HostCore) {
        self.directory = directory
        self.loop = loop
        self.host = host
    }

    func start() throws(ControlError) {
        try ControlDirectory.prepare(directory)
        socket = "\(directory)/\(getpid()).sock"
        // Left by a program that had the same number before.
        unlink(socket)
        let box = NIOLoopBound(self, eventLoop: loop)
        ServerBootstrap(group: loop)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Whoever asks waits meanwhile; the web server and the broker say why.
                    try channel.pipeline.syncOperations.addHandler(AcceptPause { _ in })
                }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(box.value.makeHandler())
                }
            }
            .bind(unixDomainSocketPath: socket)
            .whenSuccess { channel in
                chmod(box.value.socket, 0o600)
                box.value.channel = channel
            }
    }

    func stop() {
        channel?.close(promise: nil)
        channel = nil
        if !socket.isEmpty { unlink(socket) }
    }

    private func makeHandler() -> ControlHandler {
        lastNumber += 1
        return ControlHandler(server: self, number: lastNumber)
    }

    fileprivate func opened(_ channel: any Channel, _ number: UInt64) {
        switch connections.opened(number) {
        case .admitted: break
        case .instead(let oldest): channels.removeValue(forKey: oldest)?.close(promise: nil)
        case .refused: return channel.close(promise: nil)
        }
        channels[number] = channel
    }

    fileprivate func asked(_ number: UInt64) { connections.asked(number) }

    fileprivate func closed(_ number: UInt64) {
        connections.closed(number)
        channels[number] = nil
    }

    /// The answer to one line.
    func answer(_ line: [UInt8]) -> EventLoopFuture<String> {
        guard let question = try? line.withUnsafeBytes({ try JSONValue(parsing: $0) }), case .object = question else {
            return failure("not a JSON object")
        }
        guard let command = question["command"]?.string else { return failure("no command") }
        switch command {
        case "ps":
            return host.status().map { services in
                JSONText.object([
                    ("success", .boolean(true)), ("pid", .whole(getpid())),
                    ("checks_table_keys", .boolean(PaniniRuntime.checksTableKeys)),
                    ("services", .array(services.map(ControlText.service))),
                ]).written()
            }
        case "reload":
            return host.reload(question["service"]?.string).map { results in
                JSONText.object([
                    ("success", .boolean(results.allSatisfy { if case .success = $0 { true } else { false } })),
                    ("pid", .whole(getpid())), ("results", .array(results.map(ControlText.reload))),
                ]).written()
            }
        default:
            guard let answer = host.answer(command, question) else { return failure("unknown command \"\(command)\"") }
            return answer.map { $0.written() }
        }
    }

    private func failure(_ text: String) -> EventLoopFuture<String> {
        loop.makeSucceededFuture(
            JSONText.object([("success", .boolean(false)), ("error", .string(text))]).written()
        )
    }
}

@available(*, unavailable)
extension ControlServer: Sendable {}

/// One question and its answer.
private final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: ControlServer
    private let number: UInt64
    private var line: [UInt8] = []
    private var isAsked = false
    private var expiry: Scheduled<Void>?

    init(server: ControlServer, number: UInt64) {
        self.server = server
        self.number = number
    }

    func channelActive(context: ChannelHandlerContext) {
        expire(context.channel)
        server.opened(context.channel, number)
    }

    func channelInactive(context: ChannelHandlerContext) {
        expiry?.cancel()
        server.closed(number)
    }

    /// Ends the connection when nothing more comes of it in time.
    private func expire(_ channel: any Channel) {
        expiry?.cancel()
        expiry = channel.eventLoop.scheduleTask(in: ControlServer.patience) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAsked else { return }
        line += unwrapInboundIn(data).readableBytesView
        guard let end = line.firstIndex(of: UInt8(ascii: "\n")) else {
            if line.count > ControlServer.lineLimit { context.close(promise: nil) }
            return
        }
        guard end <= ControlServer.lineLimit else { return context.close(promise: nil) }
        isAsked = true
        // A reload takes what it takes.
        expiry?.cancel()
        server.asked(number)
        let box = NIOLoopBound((self, context.channel), eventLoop: context.eventLoop)
        let question = Array(line[..<end])
        line = []
        server.answer(question).whenSuccess { text in
            let (this, channel) = box.value
            this.expire(channel)
            channel.writeAndFlush(ByteBuffer(string: text + "\n")).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension ControlHandler: Sendable {}

/// Which connections of a control socket are open: a bounded number, of which those that have asked nothing give way.
struct ControlConnections {
    enum Admission: Equatable {
        case admitted
        /// In the place of another one, which is closed.
        case instead(of: UInt64)
        case refused
    }

    /// So many may be open at once.
    static let most = 32

    private var silent: [UInt64] = []
    private var asked: Set<UInt64> = []

    var count: Int { silent.count + asked.count }

    mutating func opened(_ number: UInt64) -> Admission {
        guard count >= Self.most else {
            silent.append(number)
            return .admitted
        }
        guard let oldest = silent.first else { return .refused }
        silent.removeFirst()
        silent.append(number)
        return .instead(of: oldest)
    }

    mutating func asked(_ number: UInt64) {
        guard let place = silent.firstIndex(of: number) else { return }
        silent.remove(at: place)
        asked.insert(number)
    }

    mutating func closed(_ number: UInt64) {
        silent.removeAll { $0 == number }
        asked.remove(number)
    }
}
