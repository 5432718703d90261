// Requests with many replies (ADR-47), and errors of services in a reply (ADR-32).

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ClientRequestManyTests {
    /// A client, and a responder that sends `replies` to each request on "many".
    private func connect(_ server: RealServer, _ replies: [String]) async throws -> NATSClient {
        let client = try await TestClient.connect(server)
        try await client.subscribe("many") { [weak client] message in
            for reply in replies { try? client?.publish(reply, to: message.reply ?? "") }
        }
        return client
    }

    private func texts(_ replies: NATSMessageStream) async throws -> [String] {
        try await replies.reduce(into: []) { $0.append($1.text) }
    }

    @Test func adr47_endsOnTheNumberOfReplies() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1", "2", "3", "4"])
        #expect(try await texts(client.requestMany("", to: "many", maxMessages: 3)) == ["1", "2", "3"])
        #expect(try await eventually { try await TestClient.subscriptions(client) == 1 })
        let error = await #expect(throws: NATSError.self) {
            try await client.requestMany("", to: "many", maxMessages: 0)
        }
        #expect(error?.code == .invalidArgument)
        await client.close()
    }

    @Test func adr47_endsOnTheTotalWait() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1", "2"])
        #expect(try await texts(client.requestMany("", to: "many", maxWait: .milliseconds(200))) == ["1", "2"])
        #expect(try await TestClient.subscriptions(client) == 1)
        await client.close()
    }

    @Test func adr47_endsOnAStall() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1", "2"])
        let start = ContinuousClock.now
        let replies = try await client.requestMany("", to: "many", maxWait: .seconds(300), stall: .milliseconds(100))
        #expect(try await texts(replies) == ["1", "2"])
        #expect(ContinuousClock.now - start < .seconds(200))
        await client.close()
    }

    @Test func adr47_endsOnAnEmptyReply() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1", "2", "", "3"])
        let replies = try await client.requestMany("", to: "many", maxWait: .seconds(300), sentinel: true)
        #expect(try await texts(replies) == ["1", "2"])
        #expect(try await texts(client.requestMany("", to: "many", maxMessages: 4)) == ["1", "2", "", "3"])
        await client.close()
    }

    @Test func adr47_nobodyListens() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let replies = try await client.requestMany("", to: "nobody", maxWait: .seconds(300))
        let error = await #expect(throws: NATSError.self) { try await texts(replies) }
        #expect(error?.code == .noResponders)
        #expect(try await texts(replies) == [])
        await client.close()
    }

    @Test func adr47_cancellingCleansUp() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1"])
        let task = Task { try await texts(client.requestMany("", to: "many", maxWait: .seconds(300))) }
        #expect(try await eventually { try await TestClient.subscriptions(client) == 2 })
        task.cancel()
        _ = await task.result
        #expect(try await eventually { try await TestClient.subscriptions(client) == 1 })
        await client.close()
    }

    @Test func adr47_theLossOfTheConnectionEndsItAtOnce() async throws {
        let server = try RealServer()
        let client = try await connect(server, ["1"])
        let replies = try await client.requestMany("", to: "many", maxWait: .seconds(300))
        var iterator = replies.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "1")
        server.kill()
        let error = await #expect(throws: NATSError.self) { try await iterator.next() }
        #expect(error?.code == .disconnected)
        await client.close()
    }

    @Test func adr32_serviceErrorsAreSeen() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        try await client.subscribe("failing") { [weak client] message in
            let headers: NATSHeaders = ["Nats-Service-Error": "no such user", "Nats-Service-Error-Code": "404"]
            try? client?.publish("", to: message.reply ?? "", headers: headers)
        }
        let reply = try await client.request("", to: "failing")
        #expect(reply.serviceError == NATSMessage.ServiceError(code: 404, text: "no such user"))
        try await client.subscribe("fine") { [weak client] message in try? client?.publish("", to: message.reply ?? "")
        }
        #expect(try await client.request("", to: "fine").serviceError == nil)
        await client.close()
    }
}
