// Three servers of a cluster of which some go away, at once or announced.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct ClusterTests {
    /// The port of the server a client is connected to.
    private func port(_ client: NATSClient) async -> Int {
        await client.serverInfo()?.port ?? 0
    }

    @Test("rule 12: failover: a client that knew one server goes on with those it was told of, one after the other")
    func failover() async throws {
        let cluster = try NATSCluster()
        let first = cluster.servers[0]
        let client = try await Faults.connect(first.port)
        let diary = EventDiary(client)
        let messages = try await client.subscribe("news.*")
        let received = Collected<String>()
        try await client.subscribe("work", queue: "group") { message in
            received.append(message.text)
            if let reply = message.reply { try? client.publish("done", to: reply) }
        }
        try await client.flush()
        var iterator = messages.makeAsyncIterator()
        var used: [Int] = [await port(client)]
        #expect(used == [first.port])
        for round in 1...2 {
            cluster.server(at: used[round - 1])?.kill()
            try await until("reconnect \(round)") { diary.reconnects == round }
            try await Faults.flush(client)
            used.append(await port(client))
            // Somebody else, at the server that is left, reaches the subscriptions.
            guard let other = cluster.servers.last(where: { !used.dropLast().contains($0.port) }) else { return }
            let peer = try await Faults.connect(other.port)
            try await until("the way between the servers") {
                await Faults.code { () throws(NATSError) in
                    _ = try await peer.request("\(round)", to: "work", timeout: .seconds(2))
                } == nil
            }
            try peer.publish("\(round)", to: "news.today")
            #expect(try await iterator.next()?.text == "\(round)")
            await peer.close()
        }
        #expect(Set(used).count == 3)
        #expect(received.all.contains("1") && received.all.contains("2"))
        // Back where it began, when that is the only one.
        try first.start()
        cluster.server(at: used[2])?.kill()
        try await until("reconnect 3") { diary.reconnects == 3 }
        #expect(await port(client) == first.port)
        try client.publish("3", to: "news.today")
        #expect(try await iterator.next()?.text == "3")
        await client.close()
    }

    @Test("rule 19: lame duck: neither the requester's nor the responder's server going away costs a request")
    func lameDuck() async throws {
        let cluster = try NATSCluster()
        let leaving = cluster.servers[0]
        let responder = try await Faults.connect(leaving.port)
        let requester = try await Faults.connect(leaving.port)
        let bystander = try await Faults.connect(cluster.servers[1].port)
        let diaries = [EventDiary(responder), EventDiary(requester)]
        try await responder.subscribe("work", queue: "group") { message in
            if let reply = message.reply { try? responder.publish(message.text, to: reply) }
        }
        try await responder.flush()
        try await until("the way between the servers") {
            await Faults.code { () throws(NATSError) in
                _ = try await bystander.request("", to: "work", timeout: .seconds(2))
            } == nil
        }
        let outcomes = try await withThrowingTaskGroup(of: (answered: Int, failures: [String]).self) { group in
            for client in [requester, requester, bystander, bystander] {
                group.addTask {
                    var answered = 0
                    var failures: [String] = []
                    let began = ContinuousClock.now
                    // Until some time after the move.
                    while ContinuousClock.now - began < .seconds(8) {
                        do throws(NATSError) {
                            let reply = try await client.request("\(answered)", to: "work", timeout: .seconds(20))
                            if reply.text != "\(answered)" { failures.append("wrong reply \(reply.text)") }
                            answered += 1
                        } catch {
                            failures.append(error.description)
                        }
                    }
                    return (answered, failures)
                }
            }
            try await Task.sleep(for: .milliseconds(500))
            try leaving.beLameDuck()
            return try await group.reduce(into: (answered: 0, failures: [String]())) { sum, part in
                sum.answered += part.answered
                sum.failures += part.failures
            }
        }
        #expect(outcomes.failures.isEmpty, "\(outcomes.failures.prefix(5)), \(outcomes.failures.count) in all")
        #expect(outcomes.answered > 1000)
        for diary in diaries {
            #expect(diary.events.contains(.lameDuck))
            #expect(diary.reconnects == 1)
            #expect(diary.losses.isEmpty)
        }
        for client in [responder, requester] {
            #expect(await port(client) != leaving.port)
        }
        await responder.close()
        await requester.close()
        await bystander.close()
    }
}
