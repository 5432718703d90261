// Rules 12, 13, 16, 18 and 19: which servers are used, and how a connection comes back or moves.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

/// A sequence of numbers that is the same in every run.
struct FixedRandom: RandomNumberGenerator {
    var state: UInt64 = 1

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}

/// A pool with its numbers, so that a test's lines stay short.
private final class Walk {
    private var pool: ServerPool
    private var random = FixedRandom()

    init(_ pool: ServerPool) {
        self.pool = pool
    }

    var current: NATSServerAddress? { pool.current }
    var others: [NATSServerAddress] { pool.others }
    var servers: [ServerPool.Server] { pool.servers }
    var hosts: [String] { pool.servers.map(\.address.host) }
    var failures: Int { pool.failures }
    var laps: Int { pool.laps }

    func failed() -> ServerPool.Decision { pool.failed(using: &random) }
    func disconnected(lived: TimeAmount?) -> ServerPool.Decision { pool.disconnected(lived: lived, using: &random) }
    var announcedCount: Int { pool.announcedCount }
    func discovered(_ texts: [String]) -> [String] { discovery(texts).news }
    func discovery(_ texts: [String]) -> ServerPool.Discovery { pool.discovered(texts, using: &random) }
    func authorizationFailed(at seconds: Int64) -> TimeAmount {
        pool.authorizationFailed(at: .uptimeNanoseconds(UInt64(seconds) * 1_000_000_000))
    }
    func authorizationDidNotFail() { pool.authorizationDidNotFail() }
    func restart() { pool.restart() }
    func succeeded() { pool.succeeded() }
    func moved(to text: String) throws { pool.moved(to: try NATSServerAddress(parsing: text)) }
}

@Suite(.timeLimit(.minutes(5))) struct ServerPoolTests {
    private func pool(
        _ names: [String],
        _ configure: (inout ServerPool.Settings) -> Void = { _ in }
    ) throws -> Walk {
        var settings = ServerPool.Settings()
        configure(&settings)
        var random = FixedRandom()
        return Walk(ServerPool(try names.map { try NATSServerAddress(parsing: $0) }, settings, using: &random))
    }

    @Test("rule 13: waits only after a lap, and ever longer up to the maximum")
    func waitsAfterALap() throws {
        let pool = try pool(["a", "b"])
        #expect(pool.current?.host == "a")
        #expect(pool.disconnected(lived: .seconds(60)) == .connect(after: .zero))
        #expect(pool.current?.host == "b")
        #expect(pool.failed() == .connect(after: .zero))
        #expect(pool.current?.host == "a")
        for wait in [2, 4, 8, 8] as [Int64] {
            #expect(pool.failed() == .connect(after: .seconds(wait)))
            #expect(pool.failed() == .connect(after: .zero))
        }
        pool.succeeded()
        #expect(pool.failures == 0 && pool.laps == 0)
    }

    @Test("rule 13: the wait has jitter, or is the caller's")
    func jitterAndDelay() throws {
        let jittered = try pool(["a"]) { $0.jitter = .milliseconds(100) }
        guard case .connect(let wait) = jittered.failed() else {
            Issue.record("gave up")
            return
        }
        #expect(wait >= .seconds(2) && wait < .milliseconds(2100))
        let own = try pool(["a"]) { $0.delay = { .milliseconds(Int64($0)) } }
        #expect(own.failed() == .connect(after: .milliseconds(1)))
        #expect(own.failed() == .connect(after: .milliseconds(2)))
        let bounded = try pool(["a"]) {
            $0.wait = .nanoseconds(.max / 2)
            $0.maximumWait = .hours(1)
        }
        for _ in 0..<100 {
            #expect(bounded.failed() == .connect(after: .nanoseconds(.max / 2)))
        }
    }

    @Test("rule 13: a server that drops clients at once is not hammered")
    func shortLives() throws {
        let pool = try pool(["a"])
        #expect(pool.disconnected(lived: .milliseconds(5)) == .connect(after: .seconds(2)))
    }

    @Test(
        "rule 13: without a wait, too, a server that drops clients at once is not hammered, and one that refuses them"
    )
    func leastPauses() throws {
        let pool = try pool(["a"]) { $0.wait = .zero }
        for pause in [0, 50, 100, 200, 400, 800, 800] as [Int64] {
            #expect(pool.disconnected(lived: .milliseconds(249)) == .connect(after: .milliseconds(pause)))
            pool.succeeded()
        }
        // One that lived, and what somebody asks for, begin anew.
        #expect(pool.disconnected(lived: .milliseconds(250)) == .connect(after: .zero))
        #expect(pool.disconnected(lived: .zero) == .connect(after: .zero))
        #expect(pool.disconnected(lived: .zero) == .connect(after: .milliseconds(50)))
        #expect(pool.disconnected(lived: nil) == .connect(after: .zero))
        #expect(pool.disconnected(lived: .zero) == .connect(after: .zero))
        for pause in [0, 50, 100, 200, 400, 800, 800] as [Int64] {
            #expect(pool.failed() == .connect(after: .milliseconds(pause)))
        }
        // The longest wait holds for these as well.
        let quick = try self.pool(["a"]) {
            $0.wait = .milliseconds(1)
            $0.maximumWait = .milliseconds(5)
        }
        for pause in [1, 5, 5] as [Int64] {
            #expect(quick.disconnected(lived: .zero) == .connect(after: .milliseconds(pause)))
        }
    }

    @Test("rule 18: attempts are counted per server, and without a server it is over")
    func dropsServers() throws {
        let pool = try pool(["a", "b"]) { $0.maximumAttempts = 2 }
        #expect(pool.failed() == .connect(after: .zero))
        #expect(pool.failed() == .connect(after: .seconds(2)))
        #expect(pool.failed() == .connect(after: .zero))
        #expect(pool.hosts == ["b"])
        #expect(pool.failed() == .giveUp)
        #expect(pool.current == nil)
        let none = try self.pool(["a"]) { $0.maximumAttempts = 0 }
        #expect(none.disconnected(lived: .seconds(60)) == .giveUp)
    }

    @Test("rule 12: discovered servers join the pool with scheme, credentials and TLS name")
    func discovers() throws {
        let pool = try pool(["tls://me:secret@seed.example:4222"])
        let news = pool.discovered(["10.0.0.1:4222", "[::1]:4223", "seed.example:4222", "b.example:1"])
        #expect(news == ["10.0.0.1:4222", "[::1]:4223", "b.example:1"])
        #expect(pool.servers.count == 4)
        let first = pool.servers[1].address
        #expect(first.scheme == .tls && first.user == "me" && first.password == "secret")
        #expect(first.tlsName == "seed.example")
        #expect(pool.servers[3].address.tlsName == nil)
    }

    @Test("rule 12: discovered servers leave when they are not listed any more, the current one and seeds never")
    func forgets() throws {
        let pool = try pool(["a:1", "s:1"])
        _ = pool.discovered(["b:1", "c:1"])
        try pool.moved(to: "b:1")
        #expect(pool.hosts == ["b", "s", "c", "a"])
        #expect(pool.discovered(["d:1", "d:1", "not an address"]) == ["d:1"])
        #expect(pool.hosts == ["b", "s", "a", "d"])
        #expect(pool.discovered([]) == [])
        #expect(pool.servers.count == 4)
        // Known from before: it joins again, but is no news.
        #expect(pool.discovered(["c:1"]) == [])
        #expect(pool.hosts == ["b", "s", "a", "c"])
    }

    @Test("rule 12: however many servers are told of, as many are kept as the limit says, and none has an endless name")
    func limitsDiscovered() throws {
        let pool = try pool(["a:1", "b:1"]) { $0.maximumDiscovered = 3 }
        #expect(pool.discovery(["c:1", "a:1", "c:1", "d:1"]) == .init(news: ["c:1", "d:1"]))
        #expect(pool.discovery(["d:1", "e:1", "f:1", "g:1", "h:1"]) == .init(news: ["e:1", "f:1"], ignored: 2))
        #expect(pool.hosts == ["a", "b", "d", "e", "f"])
        let long = String(repeating: "x", count: 253)
        #expect(pool.discovery(["\(long):1", "\(long)x:1", "no address"]) == .init(news: ["\(long):1"], ignored: 2))
        #expect(pool.hosts == ["a", "b", long])
        // What was told of once is remembered, but not for ever.
        for round in 0..<1000 {
            _ = pool.discovered((0..<5).map { "h\(round)-\($0):1" })
            #expect(pool.servers.count <= 5)
            #expect(pool.announcedCount <= 5 + 8 * 3)
        }
        let none = try self.pool(["a:1"]) { $0.maximumDiscovered = 0 }
        #expect(none.discovery(["b:1", "c:1"]) == .init(ignored: 2))
        #expect(none.hosts == ["a"])
    }

    @Test("rule 12: news of a server shows neither credentials nor anything else but where it is")
    func newsAreAddresses() throws {
        let pool = try pool(["ws://a:1"])
        #expect(pool.discovered(["ws://me:secret@b:1/path", "C:1"]) == ["b:1", "C:1"])
        #expect(pool.servers[1].address.user == nil && pool.servers[1].address.path == "/")
    }

    @Test("rule 12: servers are shuffled, the current one keeps its place")
    func shuffles() throws {
        let names = (0..<50).map { "h\($0)" }
        let pool = try pool(names) { $0.isRandomized = true }
        #expect(pool.hosts != names)
        #expect(Set(pool.hosts) == Set(names))
        let current = pool.current
        _ = pool.discovered((0..<50).map { "d\($0)" })
        #expect(pool.current == current)
        let before = pool.others
        _ = pool.disconnected(lived: .seconds(60))
        #expect(pool.servers.last?.address == current)
        #expect(pool.servers.dropLast().map(\.address) != before)
    }

    @Test(
        "rule 16: for how long a server has refused the credentials is known for each, from the first refusal in a row"
    )
    func refusals() throws {
        let pool = try pool(["a", "b"])
        #expect(pool.authorizationFailed(at: 100) == .zero)
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 130) == .zero)
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 150) == .seconds(50))
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 151) == .seconds(21))
        // It could not be reached: when it is back it may know others.
        pool.authorizationDidNotFail()
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 700) == .seconds(600))
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 701) == .zero)
        pool.succeeded()
        #expect(pool.authorizationFailed(at: 800) == .zero)
        _ = pool.failed()
        #expect(pool.authorizationFailed(at: 801) == .zero)
    }

    @Test(
        "rule 13: a connection that the client gives up says nothing of its server, and what failed before is forgotten"
    )
    func restarts() throws {
        let pool = try pool(["a"])
        _ = pool.failed()
        #expect(pool.failed() == .connect(after: .seconds(4)))
        pool.restart()
        #expect(pool.failures == 0 && pool.laps == 0)
        #expect(pool.failed() == .connect(after: .seconds(2)))
        #expect(pool.disconnected(lived: nil) == .connect(after: .zero))
        #expect(pool.failed() == .connect(after: .seconds(2)))
    }
}

@Suite(.timeLimit(.minutes(5))) struct RuleServerTests {
    private func info(_ members: String) -> String {
        "INFO {\"headers\":true,\"max_payload\":1048576,\"proto\":1,\(members)}\r\n"
    }

    @Test("rule 12: a client that lost its only seed goes on with a discovered server")
    func usesDiscoveredServers() async throws {
        let seed = try await MockServer.start()
        let other = try await MockServer.start()
        let harness = try await ConnectionHarness([seed.address])
        let first = try await harness.connect(to: seed, info: info("\"connect_urls\":[\"127.0.0.1:\(other.port)\"]"))
        try await harness.eventually("the news") { $1.events.count == 2 }
        #expect(try await harness.events().last == .discoveredServers(["127.0.0.1:\(other.port)"]))
        try await first.send(info("\"connect_urls\":[\"127.0.0.1:\(other.port)\"]"))
        try await seed.stop()
        try await first.close()
        _ = try await other.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
        let news = try await harness.events().filter { if case .discoveredServers = $0 { true } else { false } }
        #expect(news.count == 1)
    }

    @Test("rule 12: servers beyond maxDiscoveredServers are counted and told of, once until a list is taken in whole")
    func hostileCluster() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) { $0.maxDiscoveredServers = 2 }
        func info(_ count: Int) -> String {
            let list = (0..<count).map { "\"h\($0):1\"" }.joined(separator: ",")
            return MockServer.info.replacing("\"proto\"", with: "\"connect_urls\":[\(list)],\"proto\"")
        }
        let peer = try await harness.connect(to: server, info: info(5000))
        for count in [4, 2, 3] { try await peer.send(info(count)) }
        try await harness.eventually("all lists") { connection, _ in connection.statistics.ignoredServers == 5001 }
        let told = try await harness.events().dropFirst()
        #expect(
            Array(told) == [
                .discoveredServers(["h0:1", "h1:1"]), .serversIgnored(count: 4998), .serversIgnored(count: 1),
            ]
        )
        #expect(try await harness.on { connection, _ in connection.pool.servers.count } == 3)
    }

    @Test("rule 13: a forced reconnect ends the wait, and makes a new connection while one is there")
    func reconnects() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.reconnectWait = .hours(1)
            $0.reconnectWaitMaximum = .hours(1)
        }
        let first = try await harness.connect(to: server)
        try await harness.request("x", to: "s", context: 1)
        try await harness.on { connection, _ in connection.reconnect() }
        #expect(try await harness.on { $1.outcomes.map(\.failure) } == [.disconnected])
        let second = try await server.acceptHandshake()
        try await first.closed()
        try await harness.eventually("the reconnect") { connection, _ in connection.isConnected }
        // It has hardly lived, so the client waits.
        try await second.close()
        try await harness.eventually("the loss") { connection, _ in connection.state == .reconnecting }
        try await harness.on { connection, _ in connection.reconnect() }
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 2 }
    }

    /// The wait was once counted from the start of the machine: in its first hour it was taken for a connection that had
    /// hardly lived.
    @Test("rule 13: a forced reconnect waits for nothing, however short the machine and the connection have lived")
    func reconnectsAtOnce() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.reconnectWait = .hours(24 * 365)
            $0.reconnectWaitMaximum = .hours(24 * 365)
        }
        _ = try await harness.connect(to: server)
        for round in 1...3 {
            try await harness.on { connection, _ in connection.reconnect() }
            _ = try await server.acceptHandshake()
            try await harness.eventually("the reconnect") { connection, _ in
                connection.isConnected && connection.statistics.reconnects == round
            }
        }
    }

    @Test("rule 13: a forced reconnect takes the place of an attempt that hangs, and of a first one that waits")
    func reconnectsInTheMiddle() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.connectTimeout = .hours(1)
            $0.reconnectWait = .hours(1)
            $0.reconnectWaitMaximum = .hours(1)
            $0.retryOnFailedConnect = true
        }
        // An attempt whose server says nothing.
        let connected = try await harness.start { connection, _ in connection.connect() }
        let silent = try await server.accept()
        try await harness.on { connection, _ in connection.reconnect() }
        try await silent.closed()
        // One that fails: the next would come in an hour.
        try await server.accept().close()
        try await harness.eventually("the event") { _, recorder in
            recorder.events.contains { if case .retryingConnect(1, _) = $0 { true } else { false } }
        }
        try await harness.on { connection, _ in connection.reconnect() }
        _ = try await server.acceptHandshake()
        try await connected.get()
        // And in the handshake after a loss.
        try await harness.on { connection, _ in connection.reconnect() }
        let half = try await server.accept()
        try await half.send(MockServer.info)
        _ = try await half.read(through: "PING\r\n")
        try await harness.on { connection, _ in connection.reconnect() }
        try await half.closed()
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.isConnected }
    }

    @Test("rule 13: when the attempt of a forced reconnect fails, that is told, and the waits begin anew")
    func forcedReconnectFails() async throws {
        let server = try await MockServer.start()
        let waits = NIOLockedValueBox<[Int]>([])
        let harness = try await ConnectionHarness([server.address]) {
            $0.reconnectDelay = { lap in
                waits.withLockedValue { $0.append(lap) }
                return lap < 3 ? .milliseconds(1) : .hours(1)
            }
        }
        let first = try await harness.connect(to: server)
        try await first.close()
        for _ in 0..<3 { try await server.accept().close() }
        try await harness.eventually("the long wait") { _, _ in waits.withLockedValue { $0.last == 3 } }
        let before = try await harness.events().count
        try await harness.on { connection, _ in connection.reconnect() }
        try await server.accept().close()
        try await harness.eventually("the event") { _, recorder in
            recorder.events.dropFirst(before).contains { if case .retryingConnect(1, _) = $0 { true } else { false } }
        }
        // The first wait, not the fourth, so that the next attempt comes by itself.
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.isConnected }
        #expect(waits.withLockedValue { $0.suffix(2) } == [3, 1])
    }

    @Test("rule 16: with ignoresAuthenticationErrors a refused client keeps trying")
    func keepsTrying() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address]) {
            $0.ignoresAuthenticationErrors = true
            $0.authenticationRetryTime = .zero
        }
        try await harness.connect(to: server).close()
        for _ in 0..<3 {
            try await server.accept().send("INFO {}\r\n-ERR 'Authorization Violation'\r\n")
        }
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
    }

    @Test("rule 19: told of a shutdown once, the client moves to another server without losing anything")
    func moves() async throws {
        let old = try await MockServer.start()
        let new = try await MockServer.start()
        let harness = try await ConnectionHarness([old.address, new.address])
        let first = try await harness.connect(to: old, info: info("\"server_id\":\"old\""))
        try await harness.subscribe("a")
        try await harness.request("?", to: "s", context: 1)
        _ = try await first.read(through: "?\r\n")
        let inbox = try await harness.on { connection, _ in connection.inboxSubject }
        let flush = try await harness.start { connection, _ in connection.flush(deadline: .now() + .seconds(60)) }
        _ = try await first.read(through: "PING\r\n")
        try await first.send(info("\"server_id\":\"old\",\"ldm\":true"))
        try await first.send(info("\"server_id\":\"old\",\"ldm\":true"))
        let second = try await new.acceptHandshake(info: info("\"server_id\":\"new\""))
        #expect(try await second.read(through: "PING\r\n") == "SUB a 1\r\nSUB \(inbox) 2\r\nPING\r\n")
        // Until the new server confirms, the old one delivers, and keeps its subscriptions.
        #expect(first.received.isEmpty)
        try await first.send("MSG a 1 1\r\n1\r\nPONG\r\n")
        try await flush.get()
        try await harness.publish("news", to: "b")
        _ = try await second.read(through: "news\r\n")
        try await second.send("PONG\r\n")
        #expect(try await first.read(through: "PING\r\n") == "UNSUB 1\r\nPING\r\n")
        try await first.send("PING\r\n")
        _ = try await first.read(through: "PONG\r\n")
        try await first.send("MSG a 1 1\r\n2\r\nPONG\r\n")
        try await second.send("MSG a 1 1\r\n3\r\n")
        try await harness.eventually("three messages") { $1.messages.count == 3 }
        #expect(try await harness.on { Set($1.messages.map(\.payload)) } == ["1", "2", "3"])
        // The request is still waiting; nothing was lost, and nobody was told of a loss.
        #expect(try await harness.on { connection, _ in connection.pendingRequests } == 1)
        try await first.closed()
        #expect(try await harness.on { $1.outcomes }.isEmpty)
        let events = try await harness.events()
        guard events.count == 3, case .connected = events[0], events[1] == .lameDuck, case .reconnected = events[2]
        else {
            Issue.record("unexpected \(events)")
            return
        }
    }

    /// Two servers and a client that is on its way from one to the other: the new one has confirmed the subscriptions.
    private func moving() async throws -> (
        harness: ConnectionHarness, first: MockPeer, second: MockPeer, servers: (MockServer, MockServer)
    ) {
        let old = try await MockServer.start()
        let new = try await MockServer.start()
        let harness = try await ConnectionHarness([old.address, new.address])
        let first = try await harness.connect(to: old, info: info("\"server_id\":\"old\""))
        try await harness.subscribe("work", queue: "workers")
        _ = try await first.read(through: "SUB work workers 1\r\n")
        try await first.send(info("\"server_id\":\"old\",\"ldm\":true"))
        let second = try await new.acceptHandshake(info: info("\"server_id\":\"new\""))
        _ = try await second.read(through: "PING\r\n")
        try await second.send("PONG\r\n")
        try await harness.eventually("the confirmation") { connection, _ in connection.move?.step == .spreading }
        return (harness, first, second, (old, new))
    }

    @Test("rule 19: a drain in the middle of a move waits for what the server that is left still has")
    func drainsWhileItMoves() async throws {
        let (harness, first, second, servers) = try await moving()
        let drained = try await harness.start { connection, _ in connection.drain(timeout: .seconds(60)) }
        #expect(try await second.read(through: "PING\r\n") == "UNSUB 1\r\nPING\r\n")
        try await second.send("PONG\r\n")
        try await first.send("MSG work 1 1\r\n1\r\n")
        #expect(try await first.read(through: "PING\r\n") == "UNSUB 1\r\nPING\r\n")
        #expect(try await harness.on { $1.ends }.isEmpty)
        try await first.send("MSG work 1 1\r\n2\r\nPONG\r\n")
        #expect(try await second.read(through: "PING\r\n").hasSuffix("PING\r\n"))
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["1", "2"])
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .drained)])
        try await second.send("PONG\r\n")
        try await drained.get()
        try await first.closed()
        try await second.closed()
        withExtendedLifetime(servers) {}
    }

    @Test("rule 19: a subscription that drains in the middle of a move gets what the server that is left still has")
    func aSubscriptionDrainsWhileItMoves() async throws {
        let (harness, first, second, servers) = try await moving()
        let drained = try await harness.start { connection, _ in
            connection.drain(connection.subscriptions.sorted()[0])
        }
        _ = try await second.read(through: "UNSUB 1\r\nPING\r\n")
        try await second.send("PONG\r\n")
        _ = try await first.read(through: "UNSUB 1\r\nPING\r\n")
        try await first.send("MSG work 1 4\r\nlate\r\nPONG\r\n")
        try await drained.get()
        #expect(try await harness.on { $1.messages.map(\.payload) } == ["late"])
        withExtendedLifetime(servers) {}
    }

    @Test("rule 19: the server that is left goes first: a drain goes on, and nothing else is lost")
    func theOldServerEndsInTheMiddle() async throws {
        let (harness, first, second, servers) = try await moving()
        let drained = try await harness.start { connection, _ in
            connection.drain(connection.subscriptions.sorted()[0])
        }
        _ = try await second.read(through: "UNSUB 1\r\nPING\r\n")
        try await second.send("PONG\r\n")
        try await first.close()
        try await drained.get()
        #expect(try await harness.on { connection, _ in connection.isConnected && connection.move == nil })
        #expect(try await harness.on { connection, _ in connection.statistics.reconnects } == 1)
        withExtendedLifetime(servers) {}
    }

    @Test("rule 19: the new server goes in the middle of a move: an ordinary loss, and whoever drains is told")
    func theNewServerEndsInTheMiddle() async throws {
        let (harness, first, second, servers) = try await moving()
        try await harness.subscribe("other")
        let drained = try await harness.start { connection, _ in
            connection.drain(connection.subscriptions.sorted()[0])
        }
        _ = try await second.read(through: "PING\r\n")
        try await second.send("PONG\r\n")
        try await harness.eventually("the barrier") { connection, _ in connection.move?.drains.count == 1 }
        try await second.close()
        #expect(await failureCode(of: drained) == .disconnected)
        try await first.closed()
        try await harness.eventually("the end") { $1.ends.contains(.init(sid: 1, reason: .disconnected)) }
        // The old one was the next on the list.
        let third = try await servers.0.acceptHandshake(info: info("\"server_id\":\"old\""))
        #expect(try await third.read(through: "SUB other 2\r\n") == "SUB other 2\r\n")
        withExtendedLifetime(servers) {}
    }

    @Test("rule 19: closing in the middle of a move closes both connections")
    func closesWhileItMoves() async throws {
        let (harness, first, second, servers) = try await moving()
        try await harness.on { connection, _ in connection.close() }
        try await first.closed()
        try await second.closed()
        #expect(try await harness.on { $1.ends } == [.init(sid: 1, reason: .closed)])
        withExtendedLifetime(servers) {}
    }

    @Test("rule 19: without another server the client stays until the server closes")
    func stays() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let first = try await harness.connect(to: server)
        try await first.send(info("\"ldm\":true"))
        try await harness.eventually("the event") { $1.events.last == .lameDuck }
        try await harness.publish("x", to: "a")
        _ = try await first.read(through: "x\r\n")
        try await first.close()
        _ = try await server.acceptHandshake()
        try await harness.eventually("the reconnect") { connection, _ in connection.statistics.reconnects == 1 }
    }

    @Test("rule 19: another server that cannot be used changes nothing")
    func staysWhenTheOtherServerIsGone() async throws {
        let server = try await MockServer.start()
        let gone = try await MockServer.start()
        try await gone.stop()
        let harness = try await ConnectionHarness([server.address, gone.address])
        let first = try await harness.connect(to: server)
        try await first.send(info("\"ldm\":true"))
        try await harness.eventually("the failed move") { connection, recorder in
            recorder.events.last == .lameDuck && connection.move == nil
        }
        try await harness.publish("x", to: "a")
        _ = try await first.read(through: "x\r\n")
        #expect(try await harness.on { connection, _ in connection.isConnected })
    }
}
