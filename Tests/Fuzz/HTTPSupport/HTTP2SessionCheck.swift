// What must hold for any bytes that a client sends over HTTP/2: nothing crashes, what is held stays within its bounds, every
// request is answered or lost once, and nothing is left when the client has gone. One thread, an embedded loop, no real time.

package import NATSFuzzSupport
import NIOCore
import NIOEmbedded
import PaniniHTTP

/// Runs a server's pipeline on bytes.
package enum HTTP2SessionCheck {
    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]

    /// - Parameter input: The first byte says in which form what follows is: bytes as they are, or what frames are made of.
    package static func check(_ input: [UInt8]) throws(FuzzFailure) {
        var reach = Reach()
        try check(input, &reach)
    }

    /// How far inputs come: a test makes sure that they reach what they are for.
    package struct Reach {
        package var requests = 0
        package var answered = 0
        package var lost = 0
        package var shed = 0

        package init() {}
    }

    package static func check(_ input: [UInt8], _ reach: inout Reach) throws(FuzzFailure) {
        let mode = input.first ?? 0
        let rest = input.dropFirst()
        let bytes = preface + (mode & 1 == 0 ? frames(rest) : Array(rest))
        let longest = mode & 2 == 0 ? 40 : 4096
        try Session(isSlow: mode & 4 != 0).play(bytes, longest: longest, seed: input.seed, &reach)
    }

    /// Frames with right lengths: of each, a byte for its type and the stream, one for its flags, one for its length, and its
    /// payload.
    private static func frames(_ input: ArraySlice<UInt8>) -> [UInt8] {
        var rest = input
        var bytes: [UInt8] = []
        while let kind = rest.popFirst() {
            let flags = rest.popFirst() ?? 0
            let count = Int(rest.popFirst() ?? 0)
            let payload = Array(rest.prefix(count))
            rest = rest.dropFirst(count)
            let type = kind & 15 > 9 ? 0 : kind & 15
            let isOfConnection = [4, 6, 7].contains(type)
            bytes += [0, 0, UInt8(payload.count), type, flags, 0, 0, 0, isOfConnection ? 0 : kind >> 4 | 1]
            bytes += payload
        }
        return bytes
    }
}

/// One connection, and who answers its requests.
private final class Session: HTTPDelegate {
    private let loop = EmbeddedEventLoop()
    /// Answers come later, and the client's window may be closed.
    private let isSlow: Bool
    private var open: [HTTPRequest] = []
    private var reach = HTTP2SessionCheck.Reach()
    private var wrong: String?
    private var server: HTTPServer?

    private static let maximumBody = 2000
    private static let maximumMemory = 256 << 10

    init(isSlow: Bool) { self.isSlow = isSlow }

    func play(
        _ bytes: [UInt8],
        longest: Int,
        seed: UInt64,
        _ reach: inout HTTP2SessionCheck.Reach
    ) throws(FuzzFailure) {
        var configuration = HTTPServerConfiguration()
        configuration.maximumStreams = 8
        configuration.maximumMemory = Self.maximumMemory
        configuration.maximumConnectionMemory = 64 << 10
        let server = HTTPServer(configuration: configuration, eventLoop: loop, delegate: self)
        self.server = server
        let channel = EmbeddedChannel(loop: loop)
        do {
            try server.serve(channel)
            channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
            var at = 0
            for end in Cuts.make(bytes.count, longest: longest, seed: seed) where channel.isActive {
                channel.pipeline.fireChannelRead(ByteBuffer(bytes: bytes[at..<end]))
                channel.pipeline.fireChannelReadComplete()
                at = end
                if isSlow, let request = open.popLast() { answer(request) }
                loop.run()
                while try channel.readOutbound(as: IOData.self) != nil {}
                if server.heldBytes > Self.maximumMemory { wrong = wrong ?? "\(server.heldBytes) bytes are held" }
            }
            loop.advanceTime(by: .seconds(300))
            channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            loop.run()
            _ = try? channel.finish(acceptAlreadyClosed: true)
        } catch {
            // Errors that the channel was told of; the connection ends for them.
            _ = try? channel.finish(acceptAlreadyClosed: true)
        }
        loop.run()
        loop.advanceTime(by: .seconds(5))
        if let wrong { throw FuzzFailure(wrong) }
        try require(server.connectionCount == 0, "the connection is left")
        try require(server.heldBytes == 0, "\(server.heldBytes) bytes are left")
        try require(open.allSatisfy { !$0.isOpen }, "a request is open without a connection")
        reach.requests += self.reach.requests
        reach.answered += self.reach.answered
        reach.lost += self.reach.lost
        reach.shed += self.reach.shed
        self.server = nil
    }

    private func answer(_ request: HTTPRequest) {
        guard request.isOpen else { return }
        reach.answered += 1
        switch request.path.utf8.count % 4 {
        case 0: request.respond(HTTPResponse(status: 204))
        case 1:
            request.beginStream(status: 200, headers: [])
            _ = [UInt8](repeating: 120, count: 3000).withUnsafeBytes { request.write($0) }
            request.endStream(isComplete: request.query.isEmpty)
        case 2: request.respond(HTTPResponse(status: 200, body: [UInt8](repeating: 120, count: 30000)))
        default: request.respond(HTTPResponse(status: 200, body: Array("short".utf8)))
        }
    }

    func admits(_ request: HTTPRequest) -> HTTPResponse? {
        request.maximumBody = Self.maximumBody
        return nil
    }

    func received(_ request: HTTPRequest) {
        reach.requests += 1
        if let body = request.body, body.readableBytes > Self.maximumBody {
            wrong = wrong ?? "a body of \(body.readableBytes) bytes"
        }
        if isSlow { open.append(request) } else { answer(request) }
    }

    func lost(_ request: HTTPRequest) { reach.lost += 1 }
    func responded(_ report: HTTPAccessReport) {}
    func canWrite(_ request: HTTPRequest) {}
    func shed(_ shedding: HTTPShedding) { reach.shed += 1 }
    func webMemoryCalmedDown() {}
}
