// Measures what one message costs the client without a network: nanoseconds of CPU per inbound MSG (parse and dispatch to
// a handler that does nothing), per publish, per request with its reply. Built only when PANINI_MEASURE is set.

import Glibc
import Logging
import NATS
import NATSProtocol
import NIOCore
import NIOEmbedded

final class Owner: NATSConnectionDelegate, NATSSubscriptionHandler, NATSRequestSink {
    var received = 0
    var echo = false
    unowned var connection: NATSConnection!

    func connection(_ connection: NATSConnection, event: NATSEvent) {}
    func connectionReadBurstEnded(_ connection: NATSConnection) {}

    func connection(_ connection: NATSConnection, congestion: NATSCongestion) {}
    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        received += message.payload.count
        if echo {
            _ = connection.publish(
                subject: message.reply,
                reply: .none,
                headers: .none,
                payload: message.payload
            )
        }
    }
    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {}
    func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) { received += 1 }
    func requestFailed(context: UInt64, error: NATSRequestFailure) { fatalError("\(error)") }
}

@main
struct Measure {
    static func cpu() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }

    static func report(_ name: String, count: Int, _ body: () -> Void) {
        if CommandLine.arguments.count > 1, !name.hasPrefix(CommandLine.arguments[1]) { return }
        body()
        var best = Double.infinity
        for _ in 0..<7 {
            let start = cpu()
            body()
            best = min(best, (cpu() - start) / Double(count))
        }
        print("\(name): \(Int(best * 10) / 10) ns".padded, "best of 7")
    }

    static func main() throws {
        let owner = Owner()
        let loop = EmbeddedEventLoop()
        var handler: (any ChannelHandler)?
        let connection = NATSConnection(
            configuration: NATSConnectionConfiguration(),
            eventLoop: loop,
            logger: Logger(label: "measure") { _ in SwiftLogNoOpLogHandler() },
            delegate: owner
        )
        owner.connection = connection
        let channel = EmbeddedChannel(loop: loop)
        connection.useTransportForMeasurement { handler = $0 }
        _ = connection.connect()
        try channel.pipeline.syncOperations.addHandler(handler!)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/measure")).wait()
        try channel.writeInbound(ByteBuffer(string: "INFO {\"headers\":true,\"max_payload\":1048576}\r\n"))
        try channel.writeInbound(ByteBuffer(string: "PONG\r\n"))
        precondition(connection.isConnected)
        drainOutbound(channel)
        let subscription = try connection.subscribe(subject: "bench.subject", queue: nil, handler: owner)
        loop.run()
        drainOutbound(channel)

        // One read of 64 KiB full of messages.
        let message = "MSG bench.subject \(subscription.sid) 16\r\n0123456789abcdef\r\n"
        let withReply =
            "MSG bench.subject \(subscription.sid) _INBOX.abcdefghijklmnopqrstuv.0123456789 16\r\n0123456789abcdef\r\n"
        let perRead = 65536 / message.utf8.count
        let read = ByteBuffer(string: String(repeating: message, count: perRead))
        let rounds = 200
        report("inbound MSG 16 B", count: perRead * rounds) {
            for _ in 0..<rounds {
                channel.pipeline.fireChannelRead(read)
            }
            channel.pipeline.fireChannelReadComplete()
        }
        let raw = read
        report("parser alone", count: perRead * rounds) {
            var parser = NATSOperationParser()
            var messages = 0
            for _ in 0..<rounds {
                raw.withUnsafeReadableBytes { bytes in
                    var position = 0
                    while position < bytes.count {
                        let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
                        guard parser.next(rest.baseAddress!, count: rest.count) == .message else { return }
                        messages += parser.message.sid
                        position += parser.consumed
                    }
                }
            }
            precondition(messages > 0)
        }
        let perEcho = 65536 / withReply.utf8.count
        let echoRead = ByteBuffer(string: String(repeating: withReply, count: perEcho))
        owner.echo = true
        report("inbound MSG with reply subject, answered", count: perEcho * rounds) {
            for _ in 0..<rounds {
                channel.pipeline.fireChannelRead(echoRead)
                channel.pipeline.fireChannelReadComplete()
                drainOutbound(channel)
            }
        }
        owner.echo = false
        let subject = Array("bench.subject".utf8)
        let payload = Array("0123456789abcdef".utf8)
        report("publish 16 B", count: 1000 * rounds) {
            for _ in 0..<rounds {
                subject.withUnsafeBytes { subject in
                    payload.withUnsafeBytes { payload in
                        for _ in 0..<1000 {
                            let refusal = connection.publish(
                                subject: subject,
                                reply: .none,
                                headers: .none,
                                payload: payload
                            )
                            precondition(refusal == nil)
                        }
                    }
                }
                loop.run()
                drainOutbound(channel)
            }
        }
        report("request and reply", count: 100 * rounds) {
            for _ in 0..<rounds {
                subject.withUnsafeBytes { subject in
                    payload.withUnsafeBytes { payload in
                        for index in 0..<100 {
                            _ = connection.request(
                                subject: subject,
                                headers: .none,
                                payload: payload,
                                deadline: .now() + .seconds(10),
                                context: UInt64(index),
                                sink: owner
                            )
                        }
                    }
                }
                loop.run()
                channel.pipeline.fireChannelRead(replies(channel))
                channel.pipeline.fireChannelReadComplete()
            }
        }
        precondition(connection.pendingRequests == 0)
        connection.close()
    }

    static func drainOutbound(_ channel: EmbeddedChannel) {
        while (try? channel.readOutbound(as: ByteBuffer.self)) ?? nil != nil {}
    }

    /// Turns the requests that were written into replies. All frames are equally long, so this costs next to nothing
    /// beside what is measured.
    static func replies(_ channel: EmbeddedChannel) -> ByteBuffer {
        var answer = ByteBuffer()
        while let written = (try? channel.readOutbound(as: ByteBuffer.self)) ?? nil {
            written.withUnsafeReadableBytes { bytes in
                // The first write begins with the SUB of the inbox.
                var position = bytes.starts(with: "SUB".utf8) ? bytes.firstIndex(of: UInt8(ascii: "\n"))! + 1 : 0
                while position < bytes.count {
                    answer.writeStaticString("MSG ")
                    answer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[(position + 18)..<(position + 58)]))
                    answer.writeStaticString(" 2 2\r\nok\r\n")
                    position += 18 + 40 + 5 + 18
                }
            }
        }
        return answer
    }
}

extension String {
    var padded: String { self + String(repeating: " ", count: max(0, 60 - count)) }
}
