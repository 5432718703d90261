// What NATSClient.drain waits for when messages are read as sequences: readers that are slow, share a stream, leave it,
// drain themselves, or never come back.

import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ClientDrainTests {
    /// A responder, and a requester who floods it.
    private struct Pair: Sendable {
        static let count = 40

        /// Only held, and asked for its port.
        nonisolated(unsafe) let server: RealServer
        let responder: NATSClient
        let requester: NATSClient
        /// The subjects whose reader has begun.
        private let begun = NIOLockedValueBox<Set<String>>([])

        init() async throws {
            server = try RealServer()
            responder = try await TestClient.connect(server)
            requester = try await TestClient.connect(server)
        }

        /// Sends requests that are all at the responder when it returns; the value is how many got an answer.
        func ask(_ subject: String = "work") async throws -> Task<Int, Never> {
            let before = await responder.statistics().messagesIn
            try await responder.flush()
            let task = Task { [requester] in
                await withTaskGroup(of: Bool.self) { group in
                    for _ in 0..<Self.count {
                        group.addTask { (try? await requester.request("", to: subject, timeout: .seconds(5))) != nil }
                    }
                    return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
            }
            let arrived = try await eventually {
                await responder.statistics().messagesIn >= before + UInt64(Self.count)
            }
            #expect(arrived)
            try await untilBegun(subject)
            return task
        }

        func untilBegun(_ subject: String) async throws {
            #expect(try await eventually { begun.withLockedValue { $0.contains(subject) } })
        }

        /// Answers after a while, as somebody who asks elsewhere would.
        func answer(_ message: NATSMessage) async throws {
            begun.withLockedValue { _ = $0.insert(message.subject) }
            try await Task.sleep(for: .milliseconds(3))
            if let reply = message.reply { try responder.publish("done", to: reply) }
        }

        func answerAll(_ messages: NATSMessageStream) -> Task<Void, any Error> {
            Task { for try await message in messages { try await answer(message) } }
        }
    }

    /// The code `body` fails with; nil when it does not.
    private static func code(_ body: () async throws(NATSError) -> Void) async -> NATSError.Code? {
        do throws(NATSError) {
            try await body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test(arguments: [1, 2])
    func drainWaitsForSlowReaders(_ count: Int) async throws {
        let pair = try await Pair()
        let messages = try await pair.responder.subscribe("work", queue: "group")
        let readers = (0..<count).map { _ in pair.answerAll(messages) }
        let answered = try await pair.ask()
        try await pair.responder.drain()
        #expect(await answered.value == Pair.count)
        for reader in readers { try await reader.value }
        await pair.requester.close()
    }

    @Test func drainWaitsForTheReaderOfAnUnsubscribedStream() async throws {
        let pair = try await Pair()
        let messages = try await pair.responder.subscribe("work")
        let drained = try await pair.responder.subscribe("other")
        let readers = [pair.answerAll(messages), pair.answerAll(drained)]
        let answered = [try await pair.ask(), try await pair.ask("other")]
        messages.unsubscribe()
        try await drained.drain()
        try await pair.responder.drain()
        for task in answered { #expect(await task.value == Pair.count) }
        for reader in readers { try await reader.value }
        await pair.requester.close()
    }

    @Test func requestsOfReadersAreWaitedFor() async throws {
        let pair = try await Pair()
        let helper = try await TestClient.connect(pair.server)
        try await helper.subscribe("help") { message in
            if let reply = message.reply { try? helper.publish("helped", to: reply) }
        }
        try await helper.flush()
        let messages = try await pair.responder.subscribe("work")
        let reader = Task {
            for try await message in messages {
                _ = try await pair.responder.request("", to: "help")
                try await pair.answer(message)
            }
        }
        let answered = try await pair.ask()
        try await pair.responder.drain()
        #expect(await answered.value == Pair.count)
        try await reader.value
        await helper.close()
        await pair.requester.close()
    }

    @Test func aReaderThatLeftIsNotWaitedFor() async throws {
        let pair = try await Pair()
        let left = try await pair.responder.subscribe("left")
        let messages = try await pair.responder.subscribe("work")
        let hasLeft = NIOLockedValueBox(false)
        let stays = NIOLockedValueBox(true)
        // Its task goes on, and keeps the stream.
        let leaver = Task {
            for try await _ in left { break }
            hasLeft.withLockedValue { $0 = true }
            while stays.withLockedValue({ $0 }) { try await Task.sleep(for: .milliseconds(1)) }
            withExtendedLifetime(left) {}
        }
        // Leaves while the drain waits for it.
        let late = try await pair.responder.subscribe("late")
        let lateLeaver = Task {
            for try await message in late {
                try await pair.answer(message)
                try await Task.sleep(for: .milliseconds(300))
                break
            }
        }
        let reader = pair.answerAll(messages)
        try await pair.responder.flush()
        for subject in ["left", "left", "late"] { try pair.requester.publish("", to: subject) }
        let answered = try await pair.ask()
        try await pair.untilBegun("late")
        #expect(try await eventually { hasLeft.withLockedValue { $0 } })
        #expect(
            await Self.code { () throws(NATSError) in try await pair.responder.drain(timeout: .seconds(20)) } == nil
        )
        #expect(await answered.value == Pair.count)
        stays.withLockedValue { $0 = false }
        try await leaver.value
        try await lateLeaver.value
        try await reader.value
        await pair.requester.close()
    }

    @Test func aCancelledReaderIsNotWaitedFor() async throws {
        let pair = try await Pair()
        let messages = try await pair.responder.subscribe("work")
        let isDrained = NIOLockedValueBox(false)
        let reader = Task {
            var iterator = messages.makeAsyncIterator()
            while try await iterator.next() != nil {}
            // Keeps its iterator, as a sequence built on it may. In another task, since this one sleeps no more.
            while !isDrained.withLockedValue({ $0 }) {
                await Task.detached { try? await Task.sleep(for: .milliseconds(1)) }.value
            }
            return try await iterator.next() == nil
        }
        try await pair.responder.flush()
        try pair.requester.publish("", to: "work")
        try await pair.requester.flush()
        reader.cancel()
        #expect(
            await Self.code { () throws(NATSError) in try await pair.responder.drain(timeout: .seconds(20)) } == nil
        )
        isDrained.withLockedValue { $0 = true }
        #expect(try await reader.value)
        await pair.requester.close()
    }

    @Test func readersThatDrainDoNotWaitForThemselves() async throws {
        let pair = try await Pair()
        let messages = try await pair.responder.subscribe("work")
        let reader = pair.answerAll(messages)
        // Two streams whose readers both end the client.
        var enders: [Task<NATSError.Code?, any Error>] = []
        for _ in 0..<2 {
            let ends = try await pair.responder.subscribe("end")
            enders.append(
                Task {
                    for try await _ in ends {
                        return await Self.code { () throws(NATSError) in
                            try await pair.responder.drain(timeout: .seconds(20))
                        }
                    }
                    return .closed
                }
            )
        }
        let answered = try await pair.ask()
        try pair.requester.publish("", to: "end")
        #expect(await answered.value == Pair.count)
        for ender in enders { #expect(try await ender.value == nil) }
        try await reader.value
        await pair.requester.close()
    }

    @Test func whatNobodyReadsIsNotWaitedFor() async throws {
        let pair = try await Pair()
        let messages = try await pair.responder.subscribe("work")
        var iterator = messages.makeAsyncIterator()
        let unread = try await pair.responder.subscribe("work")
        try await pair.responder.flush()
        for _ in 0..<3 { try pair.requester.publish("", to: "work") }
        try await pair.requester.flush()
        _ = try await iterator.next()
        // This task holds an iterator with messages in it.
        #expect(
            await Self.code { () throws(NATSError) in try await pair.responder.drain(timeout: .seconds(20)) } == nil
        )
        #expect(try await unread.reduce(0) { count, _ in count + 1 } == 3)
        await pair.requester.close()
    }

    @Test func aReaderThatNeverComesBackCostsTheLimitOnly() async throws {
        let pair = try await Pair()
        let stuck = try await pair.responder.subscribe("stuck")
        let isStuck = NIOLockedValueBox(false)
        let reader = Task {
            for try await _ in stuck {
                isStuck.withLockedValue { $0 = true }
                while !Task.isCancelled { try? await Task.sleep(for: .seconds(60)) }
            }
        }
        let messages = try await pair.responder.subscribe("work")
        let quick = pair.answerAll(messages)
        try await pair.responder.flush()
        try pair.requester.publish("", to: "stuck")
        // First: a message that is still on its way would count as one of the requests.
        #expect(try await eventually { isStuck.withLockedValue { $0 } })
        let answered = try await pair.ask()
        let events = pair.responder.events
        let began = ContinuousClock.now
        let outcome = await Self.code { () throws(NATSError) in try await pair.responder.drain(timeout: .seconds(2)) }
        let took = ContinuousClock.now - began
        #expect(outcome == .drainTimeout)
        #expect(took >= .milliseconds(1900) && took < .seconds(20))
        #expect(await answered.value == Pair.count)
        var last: NATSEvent?
        for await event in events { last = event }
        guard case .closed(let error) = last else {
            Issue.record("ended with \(String(describing: last))")
            return
        }
        #expect(error?.code == .drainTimeout)
        reader.cancel()
        _ = try? await reader.value
        try await quick.value
        await pair.requester.close()
    }
}
