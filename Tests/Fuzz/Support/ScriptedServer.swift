// The server's end of one fuzzed TCP connection: takes what the client writes, checks that it is whole commands in an
// order a server accepts, and remembers what an honest server would know. Loop-bound.

import Bytes
import NATSProtocol
import NIOCore
import NIOEmbedded

/// One embedded channel between the connection and a server that is played by the script.
final class ScriptedServer {
    let channel: EmbeddedChannel
    private(set) var hasConnect = false
    /// PINGs not answered yet.
    private(set) var pings = 0
    private var hasSaidInfo = false
    /// What the client subscribed on this connection, by sid, without what it ended at once.
    private(set) var subscriptions: [Int: (subject: String, queue: String)] = [:]
    /// Where requests and publishes want their answers.
    private(set) var replies: [String] = []
    /// Publishes in the order they came: the numbers they carry.
    private(set) var published: [Int] = []
    /// Whether what was said to the client may have made it talk something else than NATS.
    private var isOpaque = false

    static let honestInfo = #"INFO {"server_id":"S","version":"2.15.0","proto":1,"headers":true,"max_payload":100000}"#

    init(_ handler: any ChannelHandler, fault: WriteFault, loop: EmbeddedEventLoop) throws {
        channel = EmbeddedChannel(loop: loop)
        try channel.pipeline.syncOperations.addHandlers([fault, handler])
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/fuzz"), promise: nil)
    }

    var isOpen: Bool { channel.isActive }

    /// What the server says next when it behaves; nil when it has nothing to say.
    func honestWord() -> String? {
        if !hasSaidInfo {
            hasSaidInfo = true
            return Self.honestInfo + "\r\n"
        }
        guard pings > 0 else { return nil }
        pings -= 1
        return "PONG\r\n"
    }

    /// Gives the client one read of `pieces`.
    func say(_ pieces: [[UInt8]]) {
        for piece in pieces where isOpen && !piece.isEmpty {
            isOpaque = isOpaque || piece.contains(UInt8(ascii: "{")) && Self.speaksOfTLS(piece)
            channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(bytes: piece)))
        }
        if isOpen { channel.pipeline.syncOperations.fireChannelReadComplete() }
    }

    private static func speaksOfTLS(_ bytes: [UInt8]) -> Bool {
        let word = Array("tls".utf8)
        return bytes.indices.contains { bytes[$0...].starts(with: word) }
    }

    /// Reads what the client wrote since the last call.
    func listen() throws(FuzzFailure) {
        while let written = (try? channel.readOutbound(as: ByteBuffer.self)) ?? nil {
            guard !isOpaque else { continue }
            let bytes = Array(written.readableBytesView)
            let stream = ClientStream.read(bytes)
            try require(stream.isWhole, "a write that is not whole commands: \(literal(bytes))")
            for command in stream.commands {
                try take(command)
            }
        }
    }

    private func take(_ command: ClientStream.Command) throws(FuzzFailure) {
        if case .connect(let json) = command {
            try require(!hasConnect, "CONNECT twice")
            hasConnect = true
            let options = json.withUnsafeBytes { try? JSONValue(parsing: $0) }
            try require(options?["protocol"] != nil, "CONNECT with \(literal(json))")
            return
        }
        try require(hasConnect, "\(command) before CONNECT")
        switch command {
        case .ping: pings += 1
        case .subscribe(let subject, let queue, let sid):
            let sid = try number(sid)
            try require(subscriptions[sid] == nil, "sid \(sid) is used twice")
            subscriptions[sid] = (String(decoding: subject, as: UTF8.self), String(decoding: queue, as: UTF8.self))
        case .unsubscribe(let sid, nil): subscriptions[try number(sid)] = nil
        case .unsubscribe(_, let maximum?): try require(maximum > 0, "UNSUB with a maximum of \(maximum)")
        case .publish(let subject, let reply, _, let payload):
            let isValid = subject.withUnsafeBytes { NATSSubject.isValidForPublish($0) }
            try require(isValid, "a publish to \(literal(subject))")
            if !reply.isEmpty { replies.append(String(decoding: reply, as: UTF8.self)) }
            if let number = Int(String(decoding: payload.prefix { $0 != ASCII.space }, as: UTF8.self)) {
                published.append(number)
            }
        case .pong, .connect: break
        case .ignored: throw FuzzFailure("the client said what only servers say")
        }
    }

    private func number(_ sid: [UInt8]) throws(FuzzFailure) -> Int {
        guard let number = Int(String(decoding: sid, as: UTF8.self)), number > 0 else {
            throw FuzzFailure("a sid of \(literal(sid))")
        }
        return number
    }
}

/// Breaks the connection in the middle of a write, as a socket does that was reset.
final class WriteFault: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// After how many more writes the connection breaks; nil for never.
    var countdown: Int?

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard let left = countdown else { return context.write(data, promise: promise) }
        if left == 0 {
            countdown = nil
            promise?.fail(ChannelError.ioOnClosedChannel)
            context.close(promise: nil)
        } else {
            countdown = left - 1
            context.write(data, promise: promise)
        }
    }
}
