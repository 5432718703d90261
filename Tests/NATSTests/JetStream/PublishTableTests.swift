// How many publishes may be unacknowledged, and in which order the others follow.

import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct PublishTableTests {
    private final class Sink: JetStreamPublishSink {
        func publishAcknowledged(context: UInt64, ack: JetStreamPublishAck) {}
        func publishFailed(context: UInt64, error: JetStreamError) {}
    }

    private let sink = Sink()

    private func publish(_ number: UInt64, bytes: Int) -> PendingPublish {
        PendingPublish(
            subject: "s",
            headers: [],
            payload: ByteBuffer(repeating: 0, count: bytes - 1),
            completion: .sink(sink, number),
            attempts: JetStreamAttempts(deadline: .distantFuture, isRepeatable: false)
        )
    }

    @Test("J33: so many messages and so many bytes at once, the others in their order")
    func limits() {
        var table = PublishTable(PublishTable.Limits(messages: 3, bytes: 100))
        let ids = (0..<5).map { table.insert(publish($0, bytes: 40)) }
        #expect(table.admit() == ids[0])
        #expect(table.admit() == ids[1])
        #expect(table.admit() == nil)
        #expect(table.admitted == 2 && table.admittedBytes == 80 && table.count == 5)
        #expect(table.remove(ids[0]) != nil)
        #expect(table.remove(ids[0]) == nil)
        // One in line leaves.
        #expect(table.remove(ids[2]) != nil)
        #expect(table.admit() == ids[3])
        #expect(table.admit() == nil)
        for id in [ids[1], ids[3], ids[4]] { #expect(table.remove(id) != nil) }
        #expect(table.count == 0 && table.admitted == 0 && table.admittedBytes == 0)
        // One that is larger than all goes alone.
        let large = table.insert(publish(9, bytes: 500))
        let next = table.insert(publish(10, bytes: 1))
        #expect(table.admit() == large)
        #expect(table.admit() == nil)
        #expect(table.remove(large) != nil)
        #expect(table.admit() == next)
    }

    @Test("J33: whatever comes and goes, the bound holds and nothing is lost", arguments: 0..<20)
    func random(_ seed: UInt64) {
        var generator = WalkGenerator(state: seed)
        var table = PublishTable(PublishTable.Limits(messages: 5, bytes: 300))
        var waiting: [NATSRequestID] = []
        var admitted: [NATSRequestID] = []
        for number in 0..<2000 {
            switch Int.random(in: 0..<3, using: &generator) {
            case 0:
                waiting.append(table.insert(publish(UInt64(number), bytes: Int.random(in: 1...120, using: &generator))))
            case 1:
                if let index = admitted.indices.randomElement(using: &generator) {
                    hold(table.remove(admitted.remove(at: index)) != nil, "lost")
                }
            default:
                if let index = waiting.indices.randomElement(using: &generator) {
                    hold(table.remove(waiting.remove(at: index)) != nil, "lost")
                }
            }
            while let id = table.admit() {
                hold(id == waiting.first, "out of order")
                waiting.removeFirst()
                admitted.append(id)
            }
            hold(table.admitted == admitted.count && table.count == admitted.count + waiting.count, "miscounted")
            hold(table.admitted <= 5 && table.admittedBytes <= 300, "beyond the bound")
            hold(waiting.isEmpty || !admitted.isEmpty, "stuck")
            hold(Set(table.ids(onlyAdmitted: true).map(\.slot)) == Set(admitted.map(\.slot)), "ids")
            hold(Array(table.ids().suffix(waiting.count)) == waiting, "not in the order of their calls")
        }
    }
}
