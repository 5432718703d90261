// Lengths of control lines: what is counted is what the encoder writes, for every kind of line.

import NATSProtocol
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct ControlLineTests {
    /// What stands between the blank behind the operation's name and the line end.
    private func arguments(_ buffer: ByteBuffer) -> Int {
        let line = buffer.readableBytesView.prefix { $0 != UInt8(ascii: "\r") }
        return line.count
            - (line.firstIndex(of: UInt8(ascii: " ")).map { line.distance(from: line.startIndex, to: $0) } ?? 0) - 1
    }

    private func bytes(_ count: Int) -> [UInt8] { Array(repeating: UInt8(ascii: "a"), count: count) }

    @Test(arguments: [1, 5, 4090], [0, 1, 700])
    func publishes(_ subject: Int, _ reply: Int) {
        for (headers, payload) in [(0, 0), (0, 9), (0, 10), (0, 100_000), (12, 0), (12, 87), (99, 1), (1000, 12_345)] {
            var buffer = ByteBuffer()
            bytes(subject).withUnsafeBytes { subject in
                bytes(reply).withUnsafeBytes { reply in
                    bytes(headers).withUnsafeBytes { headers in
                        bytes(payload).withUnsafeBytes { payload in
                            NATSEncoder.publish(
                                subject: subject,
                                reply: reply,
                                headers: headers,
                                payload: payload,
                                into: &buffer
                            )
                        }
                    }
                }
            }
            let length = ControlLine.publish(
                names: subject + reply,
                hasReply: reply > 0,
                headers: headers,
                size: headers + payload
            )
            #expect(length == arguments(buffer), "\(subject), \(reply), \(headers), \(payload)")
            #expect(length <= subject + reply + ControlLine.publishOverhead)
        }
    }

    @Test(arguments: [1, 9, 10, 12_345])
    func subscriptions(_ sid: Int) {
        for queue in [nil, "q", String(repeating: "q", count: 300)] {
            var buffer = ByteBuffer()
            NATSEncoder.subscribe(subject: "a.b.>", queue: queue, sid: sid, into: &buffer)
            #expect(ControlLine.subscribe(subject: 5, queue: queue?.utf8.count, sid: sid) == arguments(buffer))
        }
    }
}
