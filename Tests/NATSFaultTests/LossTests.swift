// Connections that break in the middle of work: what arrives, in which order, and what is left behind.

import Foundation
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct LossTests {
    @Test("kill -9 during 10 000 publishes: in order, no partial frame, one gap for each kill and reported as a loss")
    func kills() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.stop() }
        let reader = try await Faults.connect(server.port)
        let arrived = Collected<Int>()
        try await reader.subscribe("numbers") { message in
            if let number = Int(message.text) { arrived.append(number) }
        }
        try await reader.flush()
        let publisher = try await Faults.connect(proxy.port)
        let diary = EventDiary(publisher)
        for number in 0..<10_000 {
            try publisher.publish("\(number)", to: "numbers")
            if number % 100 == 0 { try await Task.sleep(for: .milliseconds(1)) }
            if number == 2500 || number == 6000 {
                // Nothing new gets through before the reader is back, so that what is missing is the publisher's loss.
                proxy.refuse(true)
                server.kill()
            }
            if number == 4000 || number == 7500 {
                try server.start()
                try await Faults.flush(reader)
                proxy.refuse(false)
            }
            // Back before the next kill, so that there are as many connections as kills and one.
            if number == 5000 || number == 8500 {
                try await until("the publisher") { diary.reconnects == (number == 5000 ? 1 : 2) }
            }
        }
        try await Faults.flush(publisher)
        try await Faults.flush(reader)
        let connections = wires(proxy.sent)
        let sent = connections.map { $0.numbers(to: "numbers") }
        try #require(connections.count == 3)
        #expect(connections.last?.rest.isEmpty == true)
        // Each connection carries a run without a gap, and the last one ends with the last number.
        for run in sent {
            #expect(zip(run, run.dropFirst()).allSatisfy { $1 == $0 + 1 })
        }
        #expect(sent.last?.last == 9999)
        for (before, after) in zip(sent, sent.dropFirst()) {
            guard let last = before.last, let first = after.first else {
                Issue.record("a connection without a number")
                continue
            }
            // Nothing twice; what is missing was handed to the dead socket, at most what was published until then.
            #expect(first > last)
            #expect(first - last < 600, "\(last) to \(first)")
        }
        // What was taken while there was no connection is all there, and reaches the reader.
        #expect(sent.joined().contains(3500) && sent.joined().contains(7000))
        let received = arrived.all
        #expect(zip(received, received.dropFirst()).allSatisfy { $0 < $1 }, "out of order or twice")
        #expect(received.suffix(sent[2].count) == sent[2][...])
        #expect(await publisher.statistics().messagesOut == 10_000)
        #expect(diary.losses.count == 2 && diary.losses.allSatisfy { $0.code == .disconnected })
        await publisher.close()
        await reader.close()
    }

    @Test(
        "rule 15: a server gone for longer than the buffer lasts: bufferExceeded, and exactly what was accepted arrives"
    )
    func smallBuffer() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.stop() }
        let publisher = try await Faults.connect(proxy.port) { $0.reconnectBufferBytes = 8192 }
        let diary = EventDiary(publisher)
        server.kill()
        try await until("the loss") { diary.losses.count == 1 }
        try await until("the smaller room") {
            await Faults.code { () throws(NATSError) in try await publisher.flush() } == .disconnected
        }
        var accepted: [Int] = []
        var refused = 0
        for number in 0..<10_000 {
            let code = await Faults.code { () throws(NATSError) in try publisher.publish("\(number)", to: "numbers") }
            switch code {
            case nil: accepted.append(number)
            case .bufferExceeded: refused += 1
            case let other: Issue.record("\(String(describing: other))")
            }
        }
        #expect(accepted.count > 50 && accepted.count + refused == 10_000)
        // However fast it was asked, and however often.
        let bytes = accepted.reduce(0) { $0 + "PUB numbers 1\r\n\r\n".utf8.count + "\($1)".utf8.count }
        #expect(bytes <= 8192, "\(accepted.count) messages")
        try server.start()
        try await Faults.flush(publisher)
        #expect(wires(proxy.sent).map { $0.numbers(to: "numbers") } == [[], accepted])
        // The refused ones are nowhere, and there is room again.
        try publisher.publish("-1", to: "numbers")
        try await publisher.flush()
        #expect(wires(proxy.sent)[1].numbers(to: "numbers") == accepted + [-1])
        await publisher.close()
    }

    @Test("rule 15: connections reset at every byte of a frame: the next one begins with whole frames")
    func tornFrames() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.stop() }
        // What the client says before the first publish, so that the cuts fall into frames.
        let probe = try await Faults.connect(proxy.port)
        try await probe.flush()
        let handshake = proxy.sent[0].count - "PING\r\n".utf8.count
        await probe.close()
        let frame = "PUB numbers 5\r\n10000\r\n".utf8.count
        for offset in 0..<(2 * frame) {
            proxy.cutNext(after: handshake + offset + 1)
            let first = proxy.connectionCount
            let client = try await Faults.connect(proxy.port)
            for number in 10_000..<10_020 { try client.publish("\(number)", to: "numbers") }
            try await until("the cut") { proxy.connectionCount == first + 2 }
            for number in 10_020..<10_040 { try client.publish("\(number)", to: "numbers") }
            try await Faults.flush(client)
            let after = wires(Array(proxy.sent[first...]))
            let numbers = after.flatMap { $0.numbers(to: "numbers") }
            #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 }, "cut at \(offset): \(numbers)")
            #expect(numbers.suffix(20) == Array(10_020..<10_040)[...], "cut at \(offset)")
            await client.close()
        }
    }

    @Test(
        "rule 15: a cut while the server reads nothing: what the socket had not taken goes over the next connection, whole"
    )
    func unwrittenFrames() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port, bufferBytes: 65536)
        defer { proxy.stop() }
        let client = try await Faults.connect(proxy.port)
        let diary = EventDiary(client)
        try await client.flush()
        proxy.strike(.stall)
        let filling = String(repeating: "x", count: 1000)
        let total = 12_000
        for number in 0..<total {
            // Numbers alone are what is looked for below, between payloads that fill every buffer on the way.
            try client.publish("\(number)", to: "numbers")
            try client.publish(filling, to: "filling")
            if number % 50 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        // What waits in the client and in its channel, and not in the socket.
        let waiting = try await client.eventLoop.submit {
            let connection = client.bound.value.connection
            return connection.unsentBytes + (connection.link?.bufferedBytes ?? 0)
        }.get()
        #expect(waiting > 1 << 20)
        proxy.cut(.reset)
        try await until("the loss") { diary.losses.count == 1 }
        try await Faults.flush(client)
        let after = try #require(wires(proxy.sent).last)
        #expect(after.rest.isEmpty)
        let numbers = after.numbers(to: "numbers")
        let first = try #require(numbers.first)
        #expect(numbers == Array(first..<total))
        // Every byte of it, one frame after the other: nothing else was lost than what had been handed over.
        let frames = after.count { if case .publish("filling", _, _, _) = $0 { true } else { false } }
        #expect(abs(frames - numbers.count) <= 1)
        #expect(numbers.count >= waiting / (filling.utf8.count + 100))
        await client.close()
    }

    @Test("a hundred cuts: no descriptor, subscription, request or barrier is left behind")
    func hundredCuts() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port, isRecording: false)
        defer { proxy.stop() }
        let client = try await Faults.connect(proxy.port) {
            $0.name = "often-cut"
            $0.reconnectWait = .milliseconds(1)
            $0.reconnectWaitMaximum = .milliseconds(5)
            $0.reconnectJitter = .zero
        }
        let messages = try await client.subscribe("cut.stream")
        try await client.subscribe("cut.callback", queue: "group") { message in
            if let reply = message.reply { try? client.publish(message.text, to: reply) }
        }
        // Before the count: the inbox of requests, and whatever is made once.
        _ = try await client.request("", to: "cut.callback")
        let before = try Faults.descriptors()
        let began = ContinuousClock.now
        var outcomes: [NATSError.Code?] = []
        for round in 0..<100 {
            try await Faults.flush(client)
            let connections = proxy.connectionCount
            async let request = Faults.code { () throws(NATSError) in
                _ = try await client.request("", to: "nobody.answers.here", timeout: .seconds(30))
            }
            async let flush = Faults.code { () throws(NATSError) in try await client.flush(timeout: .seconds(30)) }
            let passing = try await client.subscribe("cut.passing.\(round)")
            // Some cuts come in the middle of the next handshake.
            if round % 3 == 0 { proxy.cutNext(after: 1 + round * 3) }
            proxy.cut(round % 2 == 0 ? .reset : .end)
            outcomes.append(await request)
            outcomes.append(await flush)
            passing.unsubscribe()
            try await until("the next connection") { proxy.connectionCount > connections }
        }
        // The last connection without a cut that waits for it.
        let last = proxy.connectionCount
        proxy.cut()
        try await until("the last connection") { proxy.connectionCount > last }
        try await Faults.flush(client)
        #expect(ContinuousClock.now - began < .seconds(60))
        #expect(await client.statistics().reconnects >= 100)
        // Nothing waits for its deadline: what was under way is told of the loss.
        #expect(Set(outcomes).isSubset(of: [nil, .disconnected, .noResponders]), "\(Set(outcomes))")
        #expect(outcomes.contains(.disconnected))
        // It works.
        try client.publish("once", to: "cut.stream")
        var iterator = messages.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "once")
        #expect(try await client.request("x", to: "cut.callback").text == "x")
        // Stream, callback and inbox; one connection.
        try await until("the server to know of one connection") {
            try server.connections(named: "often-cut").count == 1
        }
        try await until("three subscriptions") { try server.connections(named: "often-cut").first?.subscriptions == 3 }
        #expect(try await Faults.pendingRequests(client) == 0)
        #expect(try await Faults.waitingPongs(client) == 0)
        try await until("the descriptors to be given back") { try Faults.descriptors() <= before }
        await client.close()
    }
}
