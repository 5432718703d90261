// The small values a connection is made of, without any I/O: subscription table, request tokens, PONG queue, reconnect
// schedule, handshake, addresses.

import NATSProtocol
import NIOCore
import NIOEmbedded
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct SubscriptionTableTests {
    private final class Nobody: NATSSubscriptionHandler {
        func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {}
        func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {}
    }

    /// However many live long while others come and go, and in whichever order they go: a search looks at a few slots.
    @Test(arguments: [true, false]) func staysQuickWithLongLivedEntries(removesOldest: Bool) {
        var table = SubscriptionTable()
        let handler = Nobody()
        func add() -> Int {
            let sid = table.makeSID()
            table.insert(NATSSubscription(sid: sid, subject: "s\(sid)", queue: nil, context: 0, handler: handler))
            return sid
        }
        for _ in 0..<6_000 { _ = add() }
        // Sids that are given out later fall onto the places of those that stay.
        var sids: [Int] = []
        for _ in 0..<60_000 {
            sids.append(add())
            if sids.count > 50 { table.remove(removesOldest ? sids.removeFirst() : sids.removeLast()) }
        }
        #expect(table.longestSearch < 64)
        #expect(table.longestRun < 256)
        for sid in 1...3_000 { table.remove(sid) }
        #expect(table.longestSearch < 64)
        #expect(table.longestRun < 256)
    }

    /// Random comings and goings, with long-lived entries that force collisions, against a dictionary.
    @Test func agreesWithADictionary() {
        var table = SubscriptionTable()
        var model: [Int: NATSSubscription] = [:]
        var sids: [Int] = []
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        let handler = Nobody()
        for step in 0..<20_000 {
            // Grows in the first half, shrinks in the second.
            if random(10) < (step < 10_000 ? 6 : 4) || model.isEmpty {
                let sid = table.makeSID()
                let subscription = NATSSubscription(sid: sid, subject: "s", queue: nil, context: 0, handler: handler)
                table.insert(subscription)
                model[sid] = subscription
                sids.append(sid)
            } else {
                let near = random(2) == 0 ? 0 : max(0, sids.count - 3)
                let sid = sids.remove(at: near + random(min(sids.count - near, 3)))
                #expect(table.remove(sid) === model.removeValue(forKey: sid))
                #expect(table.remove(sid) == nil)
                #expect(table.find(sid) == nil)
            }
            if step % 500 == 0 {
                for (sid, subscription) in model {
                    #expect(table.find(sid) === subscription)
                }
                #expect(table.sorted().map(\.sid) == model.keys.sorted())
            }
            #expect(table.count == model.count)
        }
        #expect(table.find(0) == nil)
        #expect(table.find(.max) == nil)
        for sid in model.keys {
            table.remove(sid)
        }
        #expect(table.count == 0)
        for _ in 0..<20 {
            let subscription = NATSSubscription(
                sid: table.makeSID(),
                subject: "s",
                queue: nil,
                context: 0,
                handler: handler
            )
            table.insert(subscription)
            table.remove(subscription.sid)
        }
        #expect(table.capacity == 16)
    }
}

@Suite(.timeLimit(.minutes(5))) struct RequestTableTests {
    private final class Nobody: NATSRequestSink {
        func requestCompleted(context: UInt64, reply: borrowing NATSInboundMessage) {}
        func requestFailed(context: UInt64, error: NATSRequestError) {}
    }

    private func token(_ id: NATSRequestID) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: RequestTable.tokenLength)
        bytes.withUnsafeMutableBytes { RequestTable.writeToken(id, to: $0.baseAddress!) }
        return bytes
    }

    @Test(
        arguments: [
            (0, 0), (1, 0), (0, 1), (63, 64), (0xFF_FFFF, 0), (0, 0xF_FFFF_FFFF), (0xFF_FFFF, 0xF_FFFF_FFFF),
            (12345, 678),
        ] as [(UInt32, UInt64)]
    )
    func tokensComeBack(_ slot: UInt32, _ generation: UInt64) {
        let id = NATSRequestID(slot: slot, generation: generation)
        let token = token(id)
        #expect(token.withUnsafeBytes { RequestTable.readToken($0) } == id)
        #expect(NATSSubject.isValidForPublish(String(decoding: token, as: UTF8.self)))
    }

    @Test(arguments: ["", "AAAAAAAAA", "AAAAAAAAAAA", "AAAAAAAAA.", "AAAAAAAAA*", "AAAAAAAAA\u{0}"])
    func otherTextIsNoToken(_ text: String) {
        #expect(Array(text.utf8).withUnsafeBytes { RequestTable.readToken($0) } == nil)
    }

    @Test func reusesSlotsWithANewGeneration() {
        var table = RequestTable()
        let sink = Nobody()
        let first = table.insert(context: 1, sink: sink, subjectHash: 5)
        let second = table.insert(context: 2, sink: sink, subjectHash: 6)
        #expect(table.count == 2)
        #expect(table.pending(subjectHash: 6) == [second])
        #expect(table.remove(first)?.context == 1)
        #expect(table.remove(first) == nil)
        let third = table.insert(context: 3, sink: sink, subjectHash: 6)
        #expect(third.slot == first.slot && third != first)
        #expect(table.remove(first) == nil)
        #expect(table.pending() == [third, second])
        #expect(table.remove(NATSRequestID(slot: 1000, generation: 0)) == nil)
        #expect(table.remove(second)?.context == 2)
        #expect(table.remove(third)?.context == 3)
        #expect(table.count == 0)
    }
}

@Suite(.timeLimit(.minutes(5))) struct PongQueueTests {
    /// A drain step stands for "somebody", an empty place for nobody.
    private func isSomebody(_ waiter: PongWaiter?) -> Bool? {
        switch waiter {
        case nil: nil
        case .some(.none): false
        case .flush, .subscriptionDrained, .connectionDrain, .moveSubscribed, .moveUnsubscribed: true
        }
    }

    @Test func keepsOrderOverAbandonedPlaces() {
        var queue = PongQueue()
        #expect(isSomebody(queue.popFirst()) == nil)
        var tickets: [Int] = []
        for round in 0..<500 {
            #expect(queue.nextTicket == round)
            tickets.append(queue.append(.connectionDrain))
            if round % 3 == 0 { #expect(isSomebody(queue.abandon(tickets[round])) == true) }
        }
        #expect(isSomebody(queue.abandon(0)) == false)
        for round in 0..<500 {
            #expect(queue.count == 500 - round)
            #expect(isSomebody(queue.popFirst()) == (round % 3 != 0))
            // Too late to give up.
            #expect(isSomebody(queue.abandon(tickets[round])) == false)
        }
        #expect(isSomebody(queue.popFirst()) == nil)
        #expect(queue.append(.connectionDrain) == 500)
        #expect(queue.removeAll().count == 1)
        #expect(queue.nextTicket == 501)
        #expect(queue.count == 0)
    }
}

@Suite(.timeLimit(.minutes(5))) struct HandshakeMachineTests {
    @Test func goesTheGoodWay() {
        var machine = HandshakeMachine()
        #expect(machine.info(tls: .none) == .sendConnect)
        #expect(machine.ok() == .nothing)
        #expect(machine.ping() == .sendPong)
        #expect(machine.message() == .nothing)
        #expect(machine.info(tls: .none) == .nothing)
        #expect(machine.pong() == .complete)
        #expect(machine.state == .finished)
        #expect(machine.pong() == .nothing)
        #expect(machine.error("late") == .nothing)
    }

    @Test func refusesWhatComesBeforeInfo() {
        let events: [(inout HandshakeMachine) -> HandshakeMachine.Action] = [
            { $0.pong() }, { $0.ping() }, { $0.ok() }, { $0.message() },
        ]
        for event in events {
            var machine = HandshakeMachine()
            guard case .fail(.unexpected) = event(&machine) else {
                Issue.record("accepted")
                continue
            }
            #expect(machine.state == .failed)
            #expect(machine.info(tls: .none) == .nothing)
        }
    }

    @Test func failsOnErrorAndTLS() {
        var first = HandshakeMachine()
        #expect(first.error("x") == .fail(.refused("x")))
        var second = HandshakeMachine()
        #expect(second.info(tls: .unavailable) == .fail(.tlsUnavailable))
        var third = HandshakeMachine()
        _ = third.info(tls: .none)
        #expect(third.error("y") == .fail(.refused("y")))
    }
}

@Suite(.timeLimit(.minutes(5))) struct NATSServerAddressTests {
    @Test(
        arguments: [
            ("nats://127.0.0.1:4333", "127.0.0.1", 4333), ("127.0.0.1:4222", "127.0.0.1", 4222),
            ("localhost", "localhost", 4222),
            ("nats://host", "host", 4222), ("NATS://host:1/", "host", 1), ("[::1]:4223", "::1", 4223),
            ("[::1]", "::1", 4222),
            ("host-1.example.com:65535", "host-1.example.com", 65535),
        ])
    func reads(_ text: String, _ host: String, _ port: Int) throws {
        let address = try NATSServerAddress(parsing: text)
        #expect(address == NATSServerAddress(host: host, port: port))
        #expect(try NATSServerAddress(parsing: address.description) == address)
    }

    @Test(
        arguments: [
            "", "nats://", ":4222", "host:", "host:0", "host:65536", "host:+1", "host:x", "http://host", "tls:///",
            "ws://host:x/p", "ws://host/a b", "::1",
            "[::1", "[::1]x", "a b:1", "host/path:1",
        ])
    func refuses(_ text: String) {
        let error = #expect(throws: NATSError.self) { try NATSServerAddress(parsing: text) }
        #expect(error?.code == .invalidAddress)
        // Credentials must not show up in logs.
        #expect(error?.message.contains("secret") == false)
    }

    @Test("rule 12: an address keeps scheme, path and credentials, and shows no secret")
    func parts() throws {
        let plain = try NATSServerAddress(parsing: "tls://joe:s%40cret@[::1]:1")
        #expect(plain.scheme == .tls && plain.user == "joe" && plain.password == "s@cret" && plain.host == "::1")
        #expect(plain.description == "[::1]:1")
        #expect(!String(reflecting: plain).contains("cret"))
        let web = try NATSServerAddress(parsing: "wss://host/a/b?c")
        #expect(web.scheme == .wss && web.port == 443 && web.path == "/a/b?c" && web.host == "host")
        #expect(try NATSServerAddress(parsing: "ws://host").port == 80)
        let token = try NATSServerAddress(parsing: "token@host")
        #expect(token.user == "token" && token.password == nil)
        let error = #expect(throws: NATSError.self) { try NATSServerAddress(parsing: "x://joe:secret@host") }
        #expect(error?.message.contains("secret") == false)
    }
}
