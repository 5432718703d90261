// The client against a real nats-server.

import NIOCore
import Testing

@testable import NATS

@Suite struct RealServerTests {
    @Test func publishesAndReceives() async throws {
        let server = try RealServer()
        let client = try await NATSClient.connect(to: server.url)
        let messages = try await client.subscribe("greet.*")
        try client.publish("hello", to: "greet.joe", reply: "answers.1")
        var iterator = messages.makeAsyncIterator()
        let message = try #require(try await iterator.next())
        #expect(message.subject == "greet.joe")
        #expect(message.reply == "answers.1")
        #expect(String(buffer: message.payload) == "hello")
        await client.close()
        #expect(try await iterator.next() == nil)
        withExtendedLifetime(server) {}
    }

    @Test func requestsAndLearnsOfNoResponders() async throws {
        let server = try RealServer()
        let client = try await NATSClient.connect(to: server.url)
        let messages = try await client.subscribe("double")
        let responder = Task {
            for try await message in messages {
                try client.publish(
                    String(buffer: message.payload) + String(buffer: message.payload),
                    to: message.reply ?? ""
                )
            }
        }
        let reply = try await client.request("ab", to: "double")
        #expect(String(buffer: reply.payload) == "abab")
        await #expect(throws: NATSError(.noResponders, "nobody listens on the subject")) {
            try await client.request("x", to: "nobody.there")
        }
        try await client.drain()
        try await responder.value
        withExtendedLifetime(server) {}
    }
}
