// What the reply subject of a delivery tells, how it is settled, and which deliveries are still open.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct DeliveryTests {
    @Test("A7: nine tokens, or eleven and more from the front")
    func metadata() throws {
        let nine = try #require(JetStreamMetadata(ackSubject: "$JS.ACK.S.c.2.7.9.1700000000000000001.5"))
        #expect(nine.stream == "S" && nine.consumer == "c" && nine.domain == "" && nine.deliveries == 2)
        #expect(nine.streamSequence == 7 && nine.consumerSequence == 9 && nine.pending == 5 && nine.isRedelivered)
        #expect(nine.time.nanoseconds == 1_700_000_000_000_000_001)
        for subject in [
            "$JS.ACK.hub.HASH.S.c.1.7.9.3.5", "$JS.ACK.hub.HASH.S.c.1.7.9.3.5.more",
            "$JS.ACK.hub.HASH.S.c.1.7.9.3.5.a.b",
        ] {
            let long = try #require(JetStreamMetadata(ackSubject: subject))
            #expect(
                long.stream == "S" && long.consumer == "c" && long.domain == "hub" && long.deliveries == 1
                    && long.pending == 5
            )
        }
        #expect(JetStreamMetadata(ackSubject: "$JS.ACK._.HASH.S.c.1.7.9.3.5")?.domain == "")
        for subject in [
            "", "$JS.ACK.", "_INBOX.x", "$JS.ACK.S.c.1.2.3.4", "$JS.ACK.S.c.1.2.3.4.5.6", "$JS.ACK.S.c.x.2.3.4.5",
            "$JS.ACK.S.c.1.2.3.4.", "$JS.ACK.S.c.1.2.3.4.-5", "$JS.ACK.S.c.99999999999999999999999.2.3.4.5",
            "$JS.NAK.S.c.1.2.3.4.5",
        ] {
            #expect(JetStreamMetadata(ackSubject: subject) == nil, "\(subject)")
        }
    }

    @Test("A7, J24: the bodies that settle, and a delay that the consumer's backoff does not change")
    func bodies() {
        func text(_ settlement: JetStreamSettlement, _ deliveries: Int = 1, _ backoff: [TimeAmount] = []) -> String {
            String(decoding: settlement.body(deliveries: deliveries, backoff: backoff), as: UTF8.self)
        }
        #expect(text(.ack) == "+ACK")
        #expect(text(.nak(delay: nil)) == "-NAK" && text(.nak(delay: .zero), 3, [.seconds(1)]) == "-NAK")
        #expect(text(.nak(delay: .seconds(2))) == "-NAK {\"delay\":2000000000}")
        let backoff = [TimeAmount.seconds(1), .seconds(4)]
        #expect(text(.nak(delay: .seconds(2)), 1, backoff) == "-NAK {\"delay\":2000000000}")
        #expect(text(.nak(delay: .seconds(2)), 2, backoff) == "-NAK {\"delay\":-1000000000}")
        #expect(text(.nak(delay: .seconds(5)), 9, backoff) == "-NAK {\"delay\":2000000000}")
        #expect(text(.term(reason: "")) == "+TERM" && text(.term(reason: "no good")) == "+TERM no good")
    }

    @Test("J21: a delivery is settled once; a later one in its place is another")
    func table() {
        var table = DeliveryTable()
        let now = NIODeadline.uptimeNanoseconds(0)
        let first = table.insert(sequence: 5, reply: "a", at: now, until: now)
        #expect(table.count == 1 && table.firstUnsettled == 5)
        #expect(table.remove(first) == true)
        #expect(table.remove(first) == false)
        let second = table.insert(sequence: 6, reply: "b", at: now, until: now)
        #expect(second.slot == first.slot && table.count == 1)
        #expect(table.remove(first) == false)
        table.removeAll()
        #expect(table.count == 0)
        #expect(table.remove(second) == false)
    }

    @Test("J12: a consumer that is made again begins behind what is settled with all before it")
    func firstUnsettled() {
        var table = DeliveryTable()
        let now = NIODeadline.uptimeNanoseconds(0)
        #expect(table.firstUnsettled == nil)
        let ids = (1...5).map { table.insert(sequence: UInt64($0 * 10), reply: "a", at: now, until: now) }
        #expect(table.firstUnsettled == 10)
        for index in [0, 1, 3] { table.remove(ids[index]) }
        #expect(table.firstUnsettled == 30)
        table.remove(ids[2])
        #expect(table.firstUnsettled == 50)
        table.remove(ids[4])
        #expect(table.firstUnsettled == 51)
    }

    @Test("J23: more time is asked for in time, until the limit, and not for what is settled")
    func extensions() {
        var table = DeliveryTable()
        let start = NIODeadline.uptimeNanoseconds(0)
        let settled = table.insert(sequence: 1, reply: "settled", at: start, until: start + .seconds(60))
        _ = table.insert(sequence: 2, reply: "long", at: start, until: start + .seconds(60))
        _ = table.insert(sequence: 3, reply: "short", at: start, until: start + .seconds(15))
        table.remove(settled)
        var asked: [String: [Int64]] = [:]
        for second in 0..<100 {
            table.extend(at: start + .seconds(Int64(second)), each: .seconds(10)) {
                asked[$0, default: []].append(Int64(second))
            }
        }
        #expect(asked == ["long": [10, 20, 30, 40, 50], "short": [10]])
    }
}
