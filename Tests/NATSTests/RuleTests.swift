// Protocol rules that need a test of their own.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite struct RuleTests {
    @Test("rule 2: no echo is refused by the client when the server is too old for it")
    func noEchoWithAnOldServer() async throws {
        for (level, code) in [("0", NATSError.Code.echoUnsupported), ("1", nil)] {
            let server = try await MockServer.start()
            let harness = try await ConnectionHarness([server.address]) { $0.echo = false }
            let connected = try await harness.start { connection, _ in connection.connect() }
            let peer = try await server.accept()
            try await peer.send("INFO {\"proto\":\(level)}\r\n")
            if code == nil {
                #expect(try await peer.read(through: "PING\r\n").contains("\"echo\":false"))
                try await peer.send("PONG\r\n")
            }
            #expect(await failureCode(of: connected) == code)
        }
    }
}
