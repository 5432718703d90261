// Links that stay open and are bad: silent, slow, one byte at a time.

import Foundation
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.serialized, .timeLimit(.minutes(10))) struct LinkTests {
    @Test(
        "two black holes in a row: each is noticed as a stale connection, after its own count of pings",
        arguments: [FaultProxy.Mode.blackhole, .stall]
    )
    func blackHoles(_ mode: FaultProxy.Mode) async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.stop() }
        let interval = Duration.milliseconds(200)
        let client = try await Faults.connect(proxy.port) { $0.pingInterval = .milliseconds(200) }
        let diary = EventDiary(client)
        let messages = try await client.subscribe("hole")
        var iterator = messages.makeAsyncIterator()
        for round in 1...2 {
            try await client.flush()
            let struck = ContinuousClock.now
            proxy.strike(mode)
            try await until("loss \(round)") { diary.losses.count == round }
            let took = diary.losses[round - 1].time - struck
            #expect(diary.losses[round - 1].code == .staleConnection)
            // Two pings may stay unanswered.
            #expect(took > interval * 3 / 2, "\(took)")
            #expect(took < .seconds(10), "\(took)")
            try await until("reconnect \(round)") { diary.reconnects == round }
            // No flush before the next ticks: its PONG would hide a count kept from the last connection, which breaks
            // the new one at the first tick.
            try await Task.sleep(for: interval * 4)
            #expect(diary.losses.count == round)
            try client.publish("\(round)", to: "hole")
            #expect(try await iterator.next()?.text == "\(round)")
        }
        #expect(diary.losses.count == 2)
        #expect(await client.statistics().reconnects == 2)
        await client.close()
    }

    @Test("every byte in a packet of its own: headers and large payloads go through, both ways")
    func splitBytes() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.stop() }
        proxy.use(.split)
        let client = try await Faults.connect(proxy.port)
        let messages = try await client.subscribe("split")
        try await client.subscribe("echo") { message in
            if let reply = message.reply {
                try? client.publish(message.payload.readableBytesView, to: reply, headers: message.headers)
            }
        }
        var headers: NATSHeaders = ["Some-Name": "some value"]
        let isAdded = headers.add("Some-Name", "another")
        #expect(isAdded)
        let sizes = [0, 1, 5, 4095, 4096, 4097, 100_000]
        for size in sizes {
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try client.publish(payload, to: "split", reply: "nobody", headers: headers)
            try client.publish(payload, to: "split")
        }
        var iterator = messages.makeAsyncIterator()
        for size in sizes {
            let payload = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let first = try await iterator.next()
            #expect(first?.payload == payload)
            #expect(first?.reply == "nobody")
            #expect(first?.headers.values(of: "Some-Name") == ["some value", "another"])
            let second = try await iterator.next()
            #expect(second?.payload == payload)
            #expect(second?.headers.isEmpty == true)
        }
        let reply = try await client.request([UInt8](repeating: 13, count: 3000), to: "echo", headers: headers)
        #expect(reply.payload == ByteBuffer(repeating: 13, count: 3000))
        #expect(reply.headers.values(of: "Some-Name").count == 2)
        #expect(await client.statistics().reconnects == 0)
        let wire = wires(proxy.sent)[0]
        let published = wire.commands.compactMap { command in
            if case .publish("split", _, _, let payload) = command { payload.count } else { nil }
        }
        #expect(published == sizes.flatMap { [$0, $0] })
        await client.close()
    }

    @Test("rule 9: a slow link with steady publishing: pings are sent in time, nothing is lost, the connection stays")
    func slowLink() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port, bufferBytes: 8192)
        defer { proxy.stop() }
        let client = try await Faults.connect(proxy.port) { $0.pingInterval = .milliseconds(200) }
        let diary = EventDiary(client)
        let reader = try await Faults.connect(server.port)
        let arrived = Collected<Int>()
        try await reader.subscribe("slow.>") { message in
            if let number = Int(message.text.prefix { $0 != " " }) { arrived.append(number) }
        }
        try await reader.flush()
        proxy.use(.throttle(256 << 10))
        // About half of what the link takes, without a pause as long as a ping's interval.
        let filling = String(repeating: "x", count: 1000)
        let began = ContinuousClock.now
        var number = 0
        while ContinuousClock.now - began < .seconds(4) {
            try client.publish("\(number) \(filling)", to: "slow.numbers")
            number += 1
            try await Task.sleep(for: .milliseconds(8))
        }
        let took = ContinuousClock.now - began
        try await client.flush()
        try await until("the last one") { arrived.count == number }
        #expect(arrived.all == Array(0..<number))
        #expect(diary.losses.isEmpty)
        let pings = wires(proxy.sent)[0].count { $0 == .ping }
        #expect(pings >= Int(took / .milliseconds(200)) * 3 / 4, "\(pings) pings in \(took)")
        await client.close()
        await reader.close()
    }

    @Test("a server that stops reading: publishing is refused at the limit, and everything accepted arrives later")
    func stalledServer() async throws {
        let server = try NATSServerProcess()
        let proxy = try FaultProxy(to: server.port, bufferBytes: 65536, isRecording: false)
        defer { proxy.stop() }
        let client = try await Faults.connect(proxy.port) { $0.maxPendingOutboundBytes = 1 << 20 }
        let reader = try await Faults.connect(server.port)
        let arrived = Collected<Int>()
        try await reader.subscribe("stalled") { message in
            if let number = Int(message.text.prefix { $0 != " " }) { arrived.append(number) }
        }
        try await reader.flush()
        proxy.use(.stall)
        let filling = String(repeating: "x", count: 1000)
        var accepted: [Int] = []
        var isRefused = false
        for number in 0..<100_000 where !isRefused {
            let code = await Faults.code { () throws(NATSError) in
                try client.publish("\(number) \(filling)", to: "stalled")
            }
            switch code {
            case nil: accepted.append(number)
            case .bufferExceeded: isRefused = true
            case let other: Issue.record("\(String(describing: other))")
            }
            if number % 50 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        #expect(isRefused)
        proxy.use(.forward)
        try await client.flush()
        try await until("everything accepted") { arrived.count >= accepted.count }
        #expect(arrived.all == accepted)
        #expect(await client.statistics().reconnects == 0)
        await client.close()
        await reader.close()
    }
}
