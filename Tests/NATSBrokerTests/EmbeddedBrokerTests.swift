// The whole broker over loopback TCP, byte for byte. The expected bytes are what nats-server 2.15 answers, unless a
// test says where the two differ.

import Logging
import NATSBroker
import NIOCore
import NIOPosix
import Testing

@Suite(.timeLimit(.minutes(5))) struct EmbeddedBrokerTests {
    /// The default configuration with a free port, changed.
    static func configured(_ change: (inout EmbeddedBroker.Configuration) -> Void) -> EmbeddedBroker.Configuration {
        var configuration = EmbeddedBroker.Configuration()
        configuration.port = 0
        change(&configuration)
        return configuration
    }

    /// Runs `body` with a broker, on a free port unless `configuration` names one.
    static func withBroker<Result>(
        _ configuration: EmbeddedBroker.Configuration = configured { _ in },
        _ body: (EmbeddedBroker) async throws -> Result
    ) async throws -> Result {
        let broker = try await EmbeddedBroker.start(
            configuration: configuration,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "broker", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        do {
            let result = try await body(broker)
            await broker.stop()
            return result
        } catch {
            await broker.stop()
            throw error
        }
    }

    @Test func greetsWithInfo() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            #expect(client.info.hasPrefix("INFO {"))
            #expect(client.info.contains(#""port":\#(broker.address.port)"#))
            #expect(client.info.contains(#""headers":true"#))
            #expect(client.info.contains(#""max_payload":1048576"#))
            #expect(client.info.contains(#""client_ip":"127.0.0.1""#))
            #expect(broker.url == "nats://127.0.0.1:\(broker.address.port)")
        }
    }

    /// What one client hears after CONNECT.
    static let conversations: [(said: String, heard: String)] = [
        ("", ""),
        ("SUB a 1\r\nPUB a 2\r\nhi\r\n", "MSG a 1 2\r\nhi\r\n"),
        ("SUB a 1\r\nPUB a reply.to 0\r\n\r\n", "MSG a 1 reply.to 0\r\n\r\n"),
        ("sub a abc\npub a 1\r\nx\r\n", "MSG a abc 1\r\nx\r\n"),
        ("SUB foo.*.baz 1\r\nPUB foo.bar.baz 1\r\nx\r\nPUB foo.bar 1\r\nx\r\n", "MSG foo.bar.baz 1 1\r\nx\r\n"),
        ("SUB foo.> 1\r\nPUB foo.* 1\r\nx\r\nPUB foo..b 1\r\nz\r\nPUB foo. 1\r\nz\r\n", "MSG foo.* 1 1\r\nx\r\n"),
        ("SUB foo..bar 1\r\n", "-ERR 'Invalid Subject'\r\n"),
        ("SUB foo.>.bar 1\r\nSUB .a 2\r\nSUB a. 3\r\n", String(repeating: "-ERR 'Invalid Subject'\r\n", count: 3)),
        ("SUB foo* 1\r\nPUB foo* 1\r\nx\r\n", "MSG foo* 1 1\r\nx\r\n"),
        ("SUB foo 1\r\nSUB bar 1\r\nPUB foo 1\r\nx\r\nPUB bar 1\r\ny\r\n", "MSG foo 1 1\r\nx\r\n"),
        ("UNSUB 4\r\n", ""),
        ("SUB a 1\r\nUNSUB 1\r\nPUB a 1\r\nx\r\n", ""),
        (
            "SUB a 1\r\nUNSUB 1 2\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n",
            "MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"
        ),
        (
            "SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nUNSUB 1 1\r\nPUB a 1\r\n3\r\n",
            "MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"
        ),
        ("SUB a 1\r\nUNSUB 1 x\r\nPUB a 1\r\n3\r\n", ""),
        ("SUB a q 1\r\nSUB a q 2\r\nUNSUB 1\r\nPUB a 1\r\nx\r\n", "MSG a 2 1\r\nx\r\n"),
        ("SUB r.* 9\r\nPUB none r.1 1\r\n1\r\n", "HMSG r.1 9 36 36\r\nNATS/1.0 503\r\nNats-Subject: none\r\n\r\n\r\n"),
        ("PUB none r.1 1\r\n1\r\n", ""),
        ("PUB none 1\r\n1\r\n", ""),
        ("SUB a 1\r\nHPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        ("SUB a 1\r\nHPUB a 4 6\r\nJUNKhi\r\n", "HMSG a 1 4 6\r\nJUNKhi\r\n"),
        ("SUB a 1\r\nHPUB a 0 2\r\nhi\r\n", "MSG a 1 2\r\nhi\r\n"),
        ("PONG\r\n+OK\r\nINFO {}\r\n", ""),
        ("CONNECT {\"verbose\":true}\r\nPUB a 0\r\n\r\n", "+OK\r\n+OK\r\n"),
        ("CONNECT {\"echo\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n", ""),
        (
            "CONNECT {\"echo\":false}\r\nSUB r 1\r\nSUB a 2\r\nPUB a r 1\r\nx\r\n",
            "HMSG r 1 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n"
        ),
        (
            "CONNECT {\"pedantic\":true}\r\nSUB foo.> 1\r\nPUB foo.* 1\r\nx\r\nPUB foo..b 1\r\nx\r\n",
            "-ERR 'Invalid Publish Subject'\r\nMSG foo.* 1 1\r\nx\r\n-ERR 'Invalid Publish Subject'\r\n"
        ),
        ("GET / HTTP/1.1\r\n\r\n", "-ERR 'Unknown Protocol Operation'\r\n(closed)"),
        ("\r\n", "-ERR 'Unknown Protocol Operation'\r\n(closed)"),
        ("PUB a 2\r\nhiho\r\n", "-ERR 'Unknown Protocol Operation'\r\n(closed)"),
        ("PUB a 1048577\r\n", "-ERR 'Maximum Payload Violation'\r\n(closed)"),
        ("SUB \(String(repeating: "a", count: 5000)) 1\r\n", "-ERR 'maximum control line exceeded'\r\n(closed)"),
        ("-ERR 'no'\r\n", "(closed)"),
        ("CONNECT {\"headers\":false}\r\n", "-ERR 'no responders requires headers support'\r\n(closed)"),
        // Here nats-server closes without a word.
        (
            "PUB a x\r\n",
            "-ERR 'Parser Error: PUB takes a subject, an optional reply subject and a size in bytes'\r\n(closed)"
        ),
        ("CONNECT {\"verbose\":\r\n", "-ERR 'Parser Error: CONNECT takes a JSON object'\r\n(closed)"),
        ("CONNECT []\r\n", "-ERR 'Parser Error: CONNECT takes a JSON object'\r\n(closed)"),
        ("CONNECT {\"echo\":1}\r\n", "-ERR 'Parser Error: CONNECT has a wrong type in echo'\r\n(closed)"),
        // What was right before the mistake is still carried out.
        ("SUB a 1\r\nPUB a 1\r\nx\r\nFOO\r\n", "MSG a 1 1\r\nx\r\n-ERR 'Unknown Protocol Operation'\r\n(closed)"),
    ]

    @Test(arguments: conversations) func answersAsNatsServerDoes(_ said: String, _ heard: String) async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            #expect(await client.exchange(RawClient.connect + said) == heard)
        }
    }

    @Test func answersTheSameWhenEveryByteComesAlone() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            for byte in (RawClient.connect + "SUB a.* 1\r\nHPUB a.b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n").utf8 {
                client.send(bytes: [byte])
            }
            #expect(await client.exchange("") == "HMSG a.b 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
        }
    }

    @Test func isVerboseAndPedanticWithoutConnect() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            #expect(await client.exchange("SUB a 1\r\nPUB a 2\r\nhi\r\n") == "+OK\r\n+OK\r\nMSG a 1 2\r\nhi\r\n")
        }
    }

    @Test func closesAClientThatSendsHeadersItDidNotAnnounce() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            let answer = await client.exchange("CONNECT {\"verbose\":false}\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n")
            #expect(answer == "-ERR 'message headers not supported'\r\n(closed)")
            #expect(await broker.statistics().protocolErrors == 1)
        }
    }

    @Test func takesHeadersAwayForClientsWithoutThem() async throws {
        try await Self.withBroker { broker in
            let old = try await RawClient(broker)
            _ = await old.exchange("CONNECT {\"verbose\":false}\r\nSUB a 1\r\n")
            let new = try await RawClient(broker)
            _ = await new.exchange(RawClient.connect + "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
            #expect(await old.exchange("") == "MSG a 1 2\r\nhi\r\n")
        }
    }

    @Test func delivers() async throws {
        try await Self.withBroker { broker in
            let receivers = [try await RawClient(broker), try await RawClient(broker), try await RawClient(broker)]
            for (number, receiver) in receivers.enumerated() {
                _ = await receiver.exchange(RawClient.connect + (number == 2 ? "SUB b 1\r\n" : "SUB a 1\r\n"))
            }
            let sender = try await RawClient(broker)
            _ = await sender.exchange(RawClient.connect + "PUB a 1\r\nx\r\n")
            #expect(await receivers[0].exchange("") == "MSG a 1 1\r\nx\r\n")
            #expect(await receivers[1].exchange("") == "MSG a 1 1\r\nx\r\n")
            #expect(await receivers[2].exchange("") == "")
        }
    }

    @Test func givesEachMessageToOneMemberOfAGroup() async throws {
        try await Self.withBroker { broker in
            let members = [try await RawClient(broker), try await RawClient(broker)]
            for member in members {
                _ = await member.exchange(RawClient.connect + "SUB work workers 1\r\n")
            }
            let sender = try await RawClient(broker)
            _ = await sender.exchange(RawClient.connect + String(repeating: "PUB work 1\r\nx\r\n", count: 400))
            let first = await members[0].exchange("").count / "MSG work 1 1\r\nx\r\n".count
            let second = await members[1].exchange("").count / "MSG work 1 1\r\nx\r\n".count
            #expect(first + second == 400)
            // Each expects 200 with a deviation of 10; 100 is beyond all chance.
            #expect(first > 100 && second > 100)
        }
    }

    @Test func answersRequests() async throws {
        try await Self.withBroker { broker in
            let service = try await RawClient(broker)
            _ = await service.exchange(RawClient.connect + "SUB greet 1\r\n")
            let client = try await RawClient(broker)
            client.send(RawClient.connect + "SUB _INBOX.x.* 1\r\nPUB greet _INBOX.x.7 3\r\nAda\r\n")
            #expect(await service.receive(upTo: "Ada\r\n") == "MSG greet 1 _INBOX.x.7 3\r\n")
            service.send("PUB _INBOX.x.7 5\r\nhello\r\n")
            #expect(await client.receive(upTo: "hello\r\n") == "MSG _INBOX.x.7 1 5\r\n")
        }
    }

    @Test func forgetsTheSubscriptionsOfAClientThatLeft() async throws {
        try await Self.withBroker { broker in
            let leaving = try await RawClient(broker)
            _ = await leaving.exchange(RawClient.connect + "SUB a 1\r\nSUB b.* q 2\r\n")
            #expect(await broker.statistics().subscriptions == 2)
            await leaving.close()
            let staying = try await RawClient(broker)
            // The broker may see the end after this connection's start, but before its second ping.
            while await broker.statistics().connections > 1 {
                _ = await staying.exchange("")
            }
            #expect(await broker.statistics().subscriptions == 0)
            #expect(await staying.exchange(RawClient.connect + "SUB r 1\r\nPUB a r 0\r\n\r\n").hasPrefix("HMSG r 1"))
        }
    }

    @Test func carriesLargeMessages() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            let payload = String(repeating: "0123456789abcdef", count: 1 << 16)
            #expect(payload.utf8.count == 1 << 20)
            let heard = await client.exchange(RawClient.connect + "SUB a 1\r\nPUB a 1048576\r\n\(payload)\r\n")
            #expect(heard == "MSG a 1 1048576\r\n\(payload)\r\n")
            // And once only, although the write of so much comes back to the handler when the socket is full.
            #expect(await client.exchange("PUB a 1\r\nx\r\n") == "MSG a 1 1\r\nx\r\n")
        }
    }

    @Test func sendsEveryMessageOnceToAReceiverThatIsBehind() async throws {
        try await Self.withBroker { broker in
            let receiver = try await RawClient(broker)
            _ = await receiver.exchange(RawClient.connect + "SUB a 1\r\n")
            let sender = try await RawClient(broker)
            let text = String(repeating: "x", count: 100_000)
            let all = (0..<100).map { "PUB a \(text.count + 3)\r\n\(text)\(100 + $0)\r\n" }.joined()
            _ = await sender.exchange(RawClient.connect + all)
            for number in 0..<100 {
                #expect(await receiver.receive(upTo: "\r\n") == "MSG a 1 100003")
                #expect(await receiver.receive(upTo: "\r\n")?.suffix(4) == "x\(100 + number)")
            }
            #expect(await receiver.exchange("") == "")
        }
    }

    @Test func refusesOneConnectionTooMany() async throws {
        try await Self.withBroker(Self.configured { $0.maximumConnections = 1 }) { broker in
            let first = try await RawClient(broker)
            let second = try await RawClient(broker)
            #expect(second.info.hasPrefix("INFO {"))
            #expect(await second.receiveToEnd() == "-ERR 'maximum connections exceeded'\r\n")
            #expect(await first.exchange(RawClient.connect) == "")
            let statistics = await broker.statistics()
            #expect(statistics.refusedConnections == 1)
            #expect(statistics.connections == 1)
        }
    }

    @Test func limitsSubscriptionsOfOneClient() async throws {
        try await Self.withBroker(Self.configured { $0.maximumSubscriptionsPerClient = 2 }) { broker in
            let client = try await RawClient(broker)
            let heard = await client.exchange(
                RawClient.connect + "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nUNSUB 1\r\nSUB d 4\r\n"
            )
            #expect(heard == "-ERR 'maximum subscriptions exceeded'\r\n")
        }
    }

    @Test func closesASlowConsumerAndSparesTheOthers() async throws {
        try await Self.withBroker(
            Self.configured {
                $0.maximumPendingBytesPerClient = 1 << 20
                $0.pauseForSlowConsumers = .milliseconds(1)
            }
        ) { broker in
            // It reads no byte beyond the first, so that both sockets' buffers fill and the rest waits in the broker.
            let slow = try await RawClient(broker, receiveBuffer: 4096)
            slow.send(RawClient.connect + "SUB a 1\r\n")
            while await broker.statistics().subscriptions == 0 {
                await Task.yield()
            }
            let sender = try await RawClient(broker)
            _ = await sender.exchange(RawClient.connect)
            let batch = String(repeating: "PUB a 65536\r\n\(String(repeating: "x", count: 65_536))\r\n", count: 16)
            var rounds = 0
            while await broker.statistics().slowConsumers == 0, rounds < 200 {
                #expect(await sender.exchange(batch) == "")
                rounds += 1
            }
            let statistics = await broker.statistics()
            #expect(statistics.slowConsumers == 1)
            #expect(statistics.pauses > 0)
            #expect(statistics.subscriptions == 0)
            #expect(await sender.exchange("SUB b 1\r\nPUB b 1\r\nx\r\n") == "MSG b 1 1\r\nx\r\n")
            await slow.close()
        }
    }

    @Test func closesASilentClient() async throws {
        try await Self.withBroker(Self.configured { $0.pingInterval = .milliseconds(20) }) { broker in
            let silent = try await RawClient(broker)
            #expect(await silent.receiveToEnd() == "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n")
            #expect(await broker.statistics().staleConnections == 1)
        }
    }

    @Test func countsMessages() async throws {
        try await Self.withBroker { broker in
            let client = try await RawClient(broker)
            _ = await client.exchange(RawClient.connect + "SUB a 1\r\nSUB * 2\r\nPUB a 3\r\nabc\r\nPUB a.b 2\r\nxy\r\n")
            let statistics = await broker.statistics()
            #expect(statistics.messagesIn == 2)
            #expect(statistics.bytesIn == 5)
            #expect(statistics.messagesOut == 2)
            #expect(statistics.bytesOut == 6)
            #expect(statistics.messagesWithoutReceiver == 1)
            #expect(statistics.totalConnections == 1)
        }
    }

    @Test func stopsListeningAndClosesClients() async throws {
        let (client, port) = try await Self.withBroker { broker in
            (try await RawClient(broker), broker.address.port)
        }
        #expect(await client.receiveToEnd() == "")
        // The port is free again.
        try await Self.withBroker(Self.configured { $0.port = port }) { broker in
            #expect(broker.address.port == port)
        }
    }

    @Test func saysThatThePortIsTaken() async throws {
        try await Self.withBroker { broker in
            let error = await #expect(throws: EmbeddedBroker.StartError.self) {
                try await Self.withBroker(Self.configured { $0.port = broker.address.port }) { _ in }
            }
            #expect(error?.kind == .addressInUse)
            #expect(
                error?.description == "cannot listen on 127.0.0.1:\(broker.address.port): the address is already in use"
            )
        }
        let error = await #expect(throws: EmbeddedBroker.StartError.self) {
            try await Self.withBroker(Self.configured { $0.port = 70_000 }) { _ in }
        }
        #expect(error?.kind == .other)
    }
}
