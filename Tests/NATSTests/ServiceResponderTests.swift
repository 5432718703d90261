// ADR-32 over a connection: what the responder says to a server with little room, and after a denial.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

/// A service with some endpoints. Loop-bound.
private final class Source: NATSServiceSource {
    var serviceEndpoints = (0..<20).map { NATSServiceEndpoint(name: "e\($0)", subject: "e.\($0)") }
    var denied: [String] = []
    var oversized: [Int?] = []
    var responder: NATSServiceResponder?

    func serviceSubjectDenied(_ subject: String, _ text: String) { denied.append(subject) }

    func serviceAnswerTooLarge(_ verb: NATSServiceVerb, leftOut: Int?, limit: Int) { oversized.append(leftOut) }
}

@Suite(.timeLimit(.minutes(5))) struct ServiceResponderTests {
    /// A started responder, loop-bound with its source.
    private func start(
        _ harness: ConnectionHarness,
        description: String = ""
    ) async throws -> NIOLoopBound<Source> {
        try await harness.on { connection, _ in
            let source = Source()
            var identity = NATSServiceIdentity(name: "orders", id: "ID", version: "1.0.0")
            identity.description = description
            let responder = NATSServiceResponder(identity: identity, connection: connection, source: source)
            source.responder = responder
            try responder.start()
            return NIOLoopBound(source, eventLoop: connection.eventLoop)
        }
    }

    @Test("ADR-32: answers keep to the max_payload that the server names last, and are counted when they must be cut")
    func smallServer() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let peer = try await harness.connect(to: server)
        let source = try await start(harness, description: String(repeating: "x", count: 400))
        _ = try await peer.read(through: "SUB $SRV.STATS.orders.ID 9\r\n")
        try await peer.send("MSG $SRV.INFO 4 whole 0\r\n\r\n")
        let whole = try await peer.read(through: "}]}\r\n")
        #expect(whole.hasPrefix("PUB whole ") && whole.contains("\"e19\"") && !whole.contains("left_out"))
        try await peer.send(MockServer.info.replacing("1048576", with: "1000") + "MSG $SRV.INFO 4 part 0\r\n\r\n")
        let part = try await peer.read(through: "}]}\r\n")
        #expect(part.hasPrefix("PUB part ") && part.contains("panini.endpoints_left_out") && !part.contains("\"e19\""))
        try await peer.send(MockServer.info.replacing("1048576", with: "200") + "MSG $SRV.INFO 4 none 0\r\n\r\n")
        let none = try await peer.read(through: "\r\n\r\n\r\n")
        #expect(none.hasPrefix("HPUB none ") && none.contains("Nats-Service-Error-Code: 500\r\n"))
        let oversized = try await harness.on { _, _ in source.value.oversized }
        #expect(oversized.count == 2 && (oversized[0] ?? 0) > 0 && oversized[1] == nil)
        #expect(try await harness.on { _, _ in source.value.responder?.oversizedAnswers } == 2)
    }

    @Test("ADR-32: only denied subjects are asked for again, and none after the stop")
    func denial() async throws {
        let server = try await MockServer.start()
        let harness = try await ConnectionHarness([server.address])
        let peer = try await harness.connect(to: server)
        let source = try await start(harness)
        _ = try await peer.read(through: "SUB $SRV.STATS.orders.ID 9\r\n")
        try await peer.send("-ERR 'Permissions Violation for Subscription to \"$SRV.INFO\" (sid \"4\")'\r\n")
        try await harness.eventually("the denial") { _, _ in source.value.denied == ["$SRV.INFO"] }
        try await harness.on { _, _ in try source.value.responder?.retryDenied() }
        #expect(try await peer.read(through: "\r\n") == "SUB $SRV.INFO 10\r\n")
        try await harness.on { _, _ in
            #expect(source.value.responder?.isDenied == false)
            try source.value.responder?.retryDenied()
            source.value.responder?.stop()
        }
        #expect(try await peer.read(through: "\r\n") == "UNSUB 1\r\n")
        try await peer.send("-ERR 'Permissions Violation for Subscription to \"$SRV.INFO\" (sid \"10\")'\r\n")
        try await harness.eventually("the end") { connection, _ in connection.statistics.serverErrors == 2 }
        try await harness.on { _, _ in
            #expect(source.value.denied == ["$SRV.INFO"])
            #expect(source.value.responder?.isDenied == false)
        }
    }
}

@available(*, unavailable)
extension Source: Sendable {}
