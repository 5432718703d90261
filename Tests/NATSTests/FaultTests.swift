// What networks and servers do to a client that runs for months: against a real nats-server, partly through a proxy.

import Foundation
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(5))) struct FaultTests {
    private func connect(
        _ port: Int,
        _ change: (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> NATSClient {
        var configuration = TestClient.configuration(port)
        change(&configuration)
        return try await NATSClient.connect(configuration, logger: TestClient.logger)
    }

    /// The numbers published on one connection; fails when anything but whole commands was sent, the last one excepted
    /// when the connection was cut in the middle of it.
    private func numbers(_ bytes: [UInt8]) -> [Int] {
        var numbers: [Int] = []
        var rest = bytes[...]
        while let end = rest.firstIndex(of: 10) {
            let line = String(decoding: rest[..<end].dropLast(), as: UTF8.self)
            let words = line.split(separator: " ")
            rest = rest[(end + 1)...]
            switch words.first {
            case "PUB":
                guard let size = words.last.flatMap({ Int($0) }) else {
                    Issue.record("no size: \(line)")
                    return numbers
                }
                guard rest.count >= size + 2 else { return numbers }
                let payload = rest.prefix(size)
                #expect(rest.dropFirst(size).prefix(2).elementsEqual([13, 10]), "a torn frame behind \(line)")
                rest = rest.dropFirst(size + 2)
                if let number = Int(String(decoding: payload, as: UTF8.self)) { numbers.append(number) }
            case "CONNECT", "PING", "PONG", "SUB", "UNSUB": break
            default:
                Issue.record("not a whole command: \(line.prefix(80))")
                return numbers
            }
        }
        return numbers
    }

    @Test("a server killed in the middle of 10 000 publishes: order kept, no partial frame, one gap at most")
    func killDuringPublishes() async throws {
        let server = try RealServer()
        let proxy = try await FaultProxy(to: server.port)
        let client = try await connect(proxy.port)
        for number in 0..<10_000 {
            try client.publish("\(number)", to: "numbers")
            if number == 3000 {
                server.kill()
                try server.start()
            }
            if number % 500 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        #expect(try await eventually { (try? await client.flush(timeout: .seconds(5))) != nil })
        let connections = proxy.sent.map(numbers)
        let all = connections.flatMap { $0 }
        #expect(zip(all, all.dropFirst()).allSatisfy { $0 < $1 }, "out of order or twice")
        #expect(all.last == 9999)
        let gaps = zip(all, all.dropFirst()).filter { $1 != $0 + 1 }
        #expect(gaps.count <= 1, "\(gaps)")
        #expect(await client.statistics().messagesOut == 10_000)
        await client.close()
        try await proxy.stop()
    }

    @Test("rule 15: beyond the reconnect buffer publishing throws, and what was taken arrives")
    func bufferIsTheLimit() async throws {
        let server = try RealServer()
        let proxy = try await FaultProxy(to: server.port)
        let client = try await connect(proxy.port) { $0.reconnectBufferBytes = 4096 }
        // What is published before the client has heard of the loss counts against the larger limit of a connection.
        let events = client.events
        server.kill()
        for await event in events {
            if case .disconnected = event { break }
        }
        var taken: [Int] = []
        var refusals: Set<NATSError.Code> = []
        for number in 0..<1000 {
            do throws(NATSError) {
                try client.publish("\(number)", to: "numbers")
                taken.append(number)
            } catch {
                refusals.insert(error.code)
            }
        }
        #expect(refusals == [.bufferExceeded])
        try server.start()
        #expect(try await eventually { (try? await client.flush(timeout: .seconds(5))) != nil })
        #expect(proxy.sent.flatMap(numbers) == taken)
        await client.close()
        try await proxy.stop()
    }

    @Test("rule 9: two black holes one after the other are noticed and left, each by itself")
    func blackholes() async throws {
        let server = try RealServer()
        let proxy = try await FaultProxy(to: server.port)
        let client = try await connect(proxy.port) { $0.pingInterval = .milliseconds(100) }
        let events = client.events
        for round in 1...2 {
            proxy.blackhole()
            #expect(try await eventually { await client.statistics().reconnects == UInt64(round) })
            // Nothing is left over that would break the connection again: several pings go by first, since the PONG of a
            // flush would forgive what was left.
            try await Task.sleep(for: .milliseconds(500))
            #expect(await client.statistics().reconnects == UInt64(round))
            try await client.flush()
        }
        #expect(await client.statistics().reconnects == 2)
        await client.close()
        var losses: [NATSError.Code] = []
        for await event in events {
            if case .disconnected(let error?) = event { losses.append(error.code) }
        }
        #expect(losses == [.staleConnection, .staleConnection])
        try await proxy.stop()
    }

    @Test("a hundred cuts leave no descriptor, subscription or request behind")
    func hundredCuts() async throws {
        let server = try RealServer()
        let proxy = try await FaultProxy(to: server.port)
        let client = try await connect(proxy.port) {
            $0.reconnectWait = .milliseconds(1)
            $0.reconnectWaitMaximum = .milliseconds(5)
            $0.reconnectJitter = .zero
        }
        let messages = try await client.subscribe("cut.>")
        let echo = try await client.subscribe("echo") { message in
            if let reply = message.reply { try? client.publish("", to: reply) }
        }
        try await client.flush()
        func descriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
        let before = try descriptors()
        for _ in 0..<100 {
            let reconnects = await client.statistics().reconnects
            async let lost = client.request("", to: "nobody.listens.here", timeout: .seconds(30))
            proxy.cut()
            _ = try? await lost
            #expect(try await eventually { await client.statistics().reconnects > reconnects })
        }
        try await client.flush()
        try client.publish("once", to: "cut.once")
        try await client.flush()
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.payload == ByteBuffer(string: "once"))
        _ = try await client.request("", to: "echo")
        #expect(try await TestClient.subscriptions(client) == 2)
        #expect(try await client.eventLoop.submit { client.bound.value.connection.pendingRequests }.get() == 0)
        #expect(try await eventually { try descriptors() <= before + 2 })
        echo.unsubscribe()
        await client.close()
        try await proxy.stop()
    }

    @Test("every byte in a packet of its own, in both directions")
    func splitBytes() async throws {
        let server = try RealServer()
        let proxy = try await FaultProxy(to: server.port)
        proxy.use(.split)
        let client = try await connect(proxy.port)
        let messages = try await client.subscribe("split")
        let payload = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
        for _ in 0..<3 { try client.publish(payload, to: "split", headers: ["Some-Name": "some value"]) }
        var iterator = messages.makeAsyncIterator()
        for _ in 0..<3 {
            let message = try await iterator.next()
            #expect(message?.payload == ByteBuffer(bytes: payload))
            #expect(message?.headers["Some-Name"] == "some value")
        }
        await client.close()
        try await proxy.stop()
    }

    @Test("rule 3: a max_payload made smaller by a reload is known after the connection it costs")
    func smallerMaxPayload() async throws {
        let server = try RealServer(configuration: "max_payload: 100000")
        let client = try await connect(server.port)
        let large = [UInt8](repeating: 1, count: 5000)
        try client.publish(large, to: "large")
        try await client.flush()
        try server.reload("max_payload: 1000")
        // nats-server 2.15 does not announce it: it drops whoever sends too much, and says so in its next INFO.
        #expect(
            try await eventually {
                do throws(NATSError) {
                    try client.publish(large, to: "large")
                    return false
                } catch {
                    return error.code == .messageTooLarge
                }
            }
        )
        // What was taken while there was no connection may cost another one.
        #expect(try await eventually { (try? await client.flush(timeout: .seconds(5))) != nil })
        let messages = try await client.subscribe("small")
        try client.publish([UInt8](repeating: 1, count: 900), to: "small")
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.payload.readableBytes == 900)
        #expect(await client.serverInfo()?.maxPayload == 1000)
        await client.close()
    }

    @Test("rule 17: denied publishes and subscriptions are told to whom they concern")
    func permissions() async throws {
        let server = try RealServer(
            configuration: """
                authorization { users: [ { user: a, password: b, permissions: {
                  publish: { deny: "secret.>" }, subscribe: { deny: "secret.>" } } } ] }
                """
        )
        let client = try await connect(server.port) { $0.authentication = .user("a", password: "b") }
        let request = await #expect(throws: NATSError.self) { try await client.request("", to: "secret.x") }
        #expect(request?.code == .permissionViolation)
        let messages = try await client.subscribe("secret.y")
        var iterator = messages.makeAsyncIterator()
        var denial: NATSError?
        do throws(NATSError) {
            _ = try await iterator.next()
        } catch {
            denial = error
        }
        #expect(denial?.code == .permissionViolation)
        try await client.flush()
        #expect(await client.statistics().reconnects == 0)
        await client.close()
    }

    @Test("rule 21: a stalled reader under 200 000 messages holds its limit, and nobody else waits for it")
    func stalledReader() async throws {
        let server = try RealServer()
        let client = try await connect(server.port)
        let publisher = try await connect(server.port)
        let stalled = try await client.subscribe("flood", bufferLimit: 1000)
        try await client.flush()
        let payload = [UInt8](repeating: 7, count: 16)
        for number in 0..<200_000 {
            try publisher.publish(payload, to: "flood")
            if number % 20_000 == 0 { try await publisher.flush() }
        }
        try await publisher.flush()
        try await client.flush()
        #expect(try await eventually { stalled.droppedMessages == 199_000 })
        #expect(await client.statistics().slowConsumers == 1)
        #expect(try await eventually { await client.statistics().messagesIn >= 200_000 })
        await publisher.close()
        await client.close()
    }

    @Test("rule 20: a drain under load answers every request it has taken")
    func drainUnderLoad() async throws {
        let server = try RealServer()
        let responder = try await connect(server.port)
        let requester = try await connect(server.port)
        _ = try await responder.subscribe("work") { message in
            if let reply = message.reply { try? responder.publish("done", to: reply) }
        }
        try await responder.flush()
        let outcomes = try await withThrowingTaskGroup(of: [NATSError.Code?].self) { group in
            for _ in 0..<20 {
                group.addTask {
                    var outcomes: [NATSError.Code?] = []
                    while outcomes.count < 2000 {
                        do throws(NATSError) {
                            _ = try await requester.request("", to: "work", timeout: .seconds(20))
                            outcomes.append(nil)
                        } catch {
                            outcomes.append(error.code)
                            return outcomes
                        }
                    }
                    return outcomes
                }
            }
            try await Task.sleep(for: .milliseconds(50))
            try await responder.drain()
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(outcomes.contains(nil))
        #expect(
            outcomes.allSatisfy { $0 == nil || $0 == .noResponders },
            "\(Set(outcomes.map { "\(String(describing: $0))" }))"
        )
        await requester.close()
    }
}
