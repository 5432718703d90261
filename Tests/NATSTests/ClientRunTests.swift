// NATSClient as a service, and its events: rules 25 to 27 of the notes.

import NIOCore
import ServiceLifecycle
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ClientRunTests {
    private func names(_ events: NATSEventStream) async -> [String] {
        var names: [String] = []
        for await event in events { names.append(name(event)) }
        return names
    }

    private func name(_ event: NATSEvent) -> String {
        switch event {
        case .connected: "connected"
        case .disconnected: "disconnected"
        case .reconnected: "reconnected"
        case .closed: "closed"
        case .retryingConnect: "retrying"
        default: "\(event)"
        }
    }

    @Test func rule25_eventsComeOnceAndInOrder() async throws {
        let server = try RealServer()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let first = client.events
        let second = client.events
        let running = Task { try await client.run() }
        try await client.eventLoop.submit {}.get()
        #expect(try await eventually { await client.serverInfo() != nil })
        #expect(try await eventually { (try? await client.flush()) != nil })
        await client.close()
        await client.close()
        try await running.value
        #expect(await names(first) == ["connected", "disconnected", "closed"])
        #expect(await names(second) == ["connected", "disconnected", "closed"])
        // Whoever comes too late does not wait for ever.
        #expect(await names(client.events) == [])
    }

    @Test func aListenerThatDoesNotReadLosesTheOldestEvents() async throws {
        let hub = EventHub()
        let events = NATSEventStream(listener: hub.makeListener())
        let limit = NATSEventStream.bufferLimit
        for index in 0..<(limit + 10) { hub.emit(.serverError("\(index)")) }
        hub.end()
        #expect(events.droppedEvents == 10)
        var received: [NATSEvent] = []
        for await event in events { received.append(event) }
        #expect(received == (10..<(limit + 10)).map { .serverError("\($0)") })
    }

    @Test func aCancelledListenerEnds() async throws {
        let hub = EventHub()
        let events = NATSEventStream(listener: hub.makeListener())
        let reader = Task { await names(events) }
        reader.cancel()
        #expect(await reader.value == [])
    }

    @Test func rule27_whatIsDoneBeforeRunIsKept() async throws {
        let server = try RealServer()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let messages = try await client.subscribe("early")
        try client.publish("1", to: "early")
        try client.publish("2", to: "early")
        let running = Task { try await client.run() }
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "1")
        #expect(try await iterator.next()?.text == "2")
        running.cancel()
        try await running.value
        #expect(try await iterator.next() == nil)
        #expect(throws: NATSError.self) { try client.publish("x", to: "a") }
    }

    @Test func rule27_runRetriesTheFirstConnection() async throws {
        let server = try RealServer()
        server.kill()
        var configuration = TestClient.configuration(server.port)
        configuration.retryOnFailedConnect = true
        let client = NATSClient(configuration: configuration, logger: TestClient.logger)
        let events = client.events
        let messages = try await client.subscribe("early")
        try client.publish("1", to: "early")
        let running = Task { try await client.run() }
        var iterator = events.makeAsyncIterator()
        if case .retryingConnect? = await iterator.next() {
        } else {
            Issue.record("no retry was told")
        }
        try server.start()
        var reader = messages.makeAsyncIterator()
        #expect(try await reader.next()?.text == "1")
        try await client.drain()
        try await running.value
        var last: [String] = []
        while let event = await iterator.next() { last.append(name(event)) }
        #expect(Array(last.drop { $0 == "retrying" }) == ["connected", "disconnected", "closed"])
    }

    @Test("rule 25: run throws what the connection ended with")
    func runThrowsWhatTheConnectionEndedWith() async throws {
        let server = try RealServer(configuration: "authorization { token: \"secret\" }\n")
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let error = await #expect(throws: NATSError.self) { try await client.run() }
        #expect(error?.code == .authorization)
        // Again: the end stays the same.
        let again = await #expect(throws: NATSError.self) { try await client.run() }
        #expect(again?.code == .authorization)
        let nowhere = NATSClient(
            configuration: NATSConnectionConfiguration(servers: [NATSServerAddress]()),
            logger: TestClient.logger
        )
        let invalid = await #expect(throws: NATSError.self) { try await nowhere.run() }
        #expect(invalid?.code == .invalidAddress)
    }

    @Test func aServiceGroupDrainsTheClient() async throws {
        let server = try RealServer()
        let client = NATSClient(configuration: TestClient.configuration(server.port), logger: TestClient.logger)
        let messages = try await client.subscribe("work")
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [.init(service: client)], logger: TestClient.logger)
        )
        let running = Task { try await group.run() }
        for index in 0..<1000 { try client.publish("\(index)", to: "work") }
        #expect(try await eventually { (try? await client.flush()) != nil })
        for index in 1000..<2000 { try client.publish("\(index)", to: "work") }
        await group.triggerGracefulShutdown()
        try await running.value
        let count = try await messages.reduce(0) { count, _ in count + 1 }
        // What was published reached the server; the subscription ends with the drain.
        #expect(count >= 1000)
        #expect(await client.statistics().messagesOut == 2000)
    }

    @Test func rule26_statisticsCountEverything() async throws {
        let server = try RealServer()
        let client = try await TestClient.connect(server)
        let messages = try await client.subscribe("a")
        for _ in 0..<10 { try client.publish("12345", to: "a") }
        try await client.flush()
        let statistics = await client.statistics()
        #expect(statistics.messagesOut == 10 && statistics.messagesIn == 10)
        #expect(statistics.bytesOut > 10 * 12 && statistics.bytesIn > 10 * 12)
        #expect(statistics.droppedMessages == 0 && statistics.slowConsumers == 0)
        await client.close()
        #expect(try await messages.reduce(0) { count, _ in count + 1 } == 10)
    }
}
