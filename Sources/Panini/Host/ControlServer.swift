// Owns: the socket through which `panini ps` and `panini reload` reach a running program: a file that only its user may
// open. One line of JSON in, one line out (docs/reload.md). Lives on the host's loop.

import Glibc
import NIOCore
import NIOPosix

/// Why there is no control socket.
package struct ControlProblem: Error {
    package let message: String
}

/// Answers questions about the program on a socket.
final class ControlServer {
    private static let maximumLine = 4096

    private let directory: String
    private let loop: any EventLoop
    private unowned let host: HostCore
    private var channel: (any Channel)?
    private var socket = ""

    init(directory: String, loop: any EventLoop, host: HostCore) {
        self.directory = directory
        self.loop = loop
        self.host = host
    }

    func start() throws(ControlProblem) {
        try ControlDirectory.prepare(directory)
        socket = "\(directory)/\(getpid()).sock"
        // Left by a program that had the same number before.
        unlink(socket)
        let box = NIOLoopBound(self, eventLoop: loop)
        ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ControlHandler(server: box.value))
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

    /// The answer to one line.
    func answer(_ line: [UInt8]) -> EventLoopFuture<String> {
        guard let question = try? PlainValue(json: line), case .object(let members) = question else {
            return failure("not a JSON object")
        }
        let values = Dictionary(members, uniquingKeysWith: { first, _ in first })
        guard case .string(let command) = values["command"] else { return failure("no command") }
        switch command {
        case "ps":
            return host.status().map { services in
                ControlText.object([
                    ("success", "true"), ("pid", "\(getpid())"),
                    ("services", "[" + services.map(ControlText.service).joined(separator: ",") + "]"),
                ])
            }
        case "reload":
            var name: String?
            if case .string(let text) = values["service"] { name = text }
            return host.reload(name).map { results in
                ControlText.object([
                    (
                        "success",
                        results.allSatisfy { if case .success = $0 { true } else { false } } ? "true" : "false"
                    ),
                    ("pid", "\(getpid())"),
                    ("results", "[" + results.map(ControlText.reload).joined(separator: ",") + "]"),
                ])
            }
        default: return failure("unknown command \"\(command)\"")
        }
    }

    private func failure(_ text: String) -> EventLoopFuture<String> {
        loop.makeSucceededFuture(ControlText.object([("success", "false"), ("error", ControlText.string(text))]))
    }

    fileprivate static var lineLimit: Int { maximumLine }
}

@available(*, unavailable)
extension ControlServer: Sendable {}

/// One question and its answer.
private final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: ControlServer
    private var line: [UInt8] = []
    private var isAsked = false

    init(server: ControlServer) { self.server = server }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAsked else { return }
        line += unwrapInboundIn(data).readableBytesView
        guard let end = line.firstIndex(of: UInt8(ascii: "\n")) else {
            if line.count > ControlServer.lineLimit { context.close(promise: nil) }
            return
        }
        isAsked = true
        let channel = context.channel
        server.answer(Array(line[..<end])).whenSuccess { text in
            channel.writeAndFlush(ByteBuffer(string: text + "\n")).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension ControlHandler: Sendable {}
