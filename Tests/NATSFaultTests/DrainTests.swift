// Ending while others are at full speed: whatever was accepted is answered, and whatever was not is told so at once.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct DrainTests {
    struct Outcomes {
        var answered = 0
        var refused = 0
        var others: [String] = []
    }

    /// Floods `work` with requests while the responder ends.
    private func flood(_ requester: NATSClient, end: () async throws -> Void) async throws -> Outcomes {
        try await withThrowingTaskGroup(of: Outcomes.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    var outcomes = Outcomes()
                    while outcomes.refused < 3, outcomes.others.isEmpty {
                        do throws(NATSError) {
                            _ = try await requester.request("", to: "work", timeout: .seconds(15))
                            outcomes.answered += 1
                        } catch {
                            if error.code == .noResponders {
                                outcomes.refused += 1
                            } else {
                                outcomes.others.append(error.description)
                            }
                        }
                    }
                    return outcomes
                }
            }
            try await Task.sleep(for: .milliseconds(300))
            try await end()
            return try await group.reduce(into: Outcomes()) { sum, part in
                sum.answered += part.answered
                sum.refused += part.refused
                sum.others += part.others
            }
        }
    }

    private func check(_ outcomes: Outcomes, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(outcomes.answered > 100, sourceLocation: sourceLocation)
        #expect(
            outcomes.others.isEmpty,
            "\(outcomes.others.count) of \(outcomes.answered) were lost: \(Set(outcomes.others))",
            sourceLocation: sourceLocation
        )
    }

    @Test(
        "rule 20: a drain under load with a callback: every accepted request is answered, the others get noResponders"
    )
    func callback() async throws {
        let server = try NATSServerProcess()
        let requester = try await Faults.connect(server.port)
        for _ in 0..<5 {
            let responder = try await Faults.connect(server.port)
            try await responder.subscribe("work", queue: "group") { message in
                if let reply = message.reply { try? responder.publish("done", to: reply) }
            }
            try await responder.flush()
            check(try await flood(requester) { try await responder.drain() })
        }
        await requester.close()
    }

    @Test("rule 20: a stream that is read slowly, drained before its client: what waits in its buffer is answered, too")
    func stream() async throws {
        let server = try NATSServerProcess()
        let requester = try await Faults.connect(server.port)
        let responder = try await Faults.connect(server.port)
        let messages = try await responder.subscribe("work", queue: "group")
        let worker = Task {
            for try await message in messages {
                try await Task.sleep(for: .milliseconds(2))
                if let reply = message.reply { try responder.publish("done", to: reply) }
            }
        }
        try await responder.flush()
        let outcomes = try await flood(requester) {
            try await messages.drain()
            try await worker.value
            try await responder.drain()
        }
        check(outcomes)
        await requester.close()
    }
}
