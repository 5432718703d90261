// A server that says what the test says, byte for byte, also nonsense. A thread accepts and does the handshake; every
// connection then gets the next script. Any thread.

import Foundation
import Glibc
import NIOConcurrencyHelpers

final class ScriptedServer: Sendable {
    /// What happens on one connection.
    struct Script: Sendable {
        /// Instead of a proper INFO.
        var greeting: [UInt8]?
        /// Sent after the handshake; without one when `greeting` is not an INFO.
        var bytes: [UInt8] = []
        /// Whether the server closes then.
        var closes = false

        init(_ bytes: [UInt8], closes: Bool = false) {
            self.bytes = bytes
            self.closes = closes
        }

        init(_ text: String, closes: Bool = false) {
            self.init(Array(text.utf8), closes: closes)
        }

        init(greeting: String, closes: Bool = false) {
            self.greeting = Array(greeting.utf8)
            self.closes = closes
        }
    }

    static let info =
        "INFO {\"server_id\":\"scripted\",\"version\":\"2.15.0\",\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n"

    private struct State {
        var scripts: [Script]
        var open: Set<Int32> = []
        var connections = 0
    }

    private let acceptor: Acceptor
    private let state: NIOLockedValueBox<State>

    var port: Int { acceptor.port }

    /// - Parameter scripts: for one connection after the other; those after the last get a handshake and answers to PING.
    init(_ scripts: [Script]) throws {
        let state = NIOLockedValueBox(State(scripts: scripts))
        self.state = state
        acceptor = try Acceptor { client in
            let script = state.withLockedValue { state -> Script in
                state.connections += 1
                state.open.insert(client)
                return state.scripts.isEmpty ? Script([]) : state.scripts.removeFirst()
            }
            Thread.detachNewThread {
                Self.serve(client, script)
                state.withLockedValue { _ = $0.open.remove(client) }
                close(client)
            }
        }
    }

    /// How many connections came so far.
    var connectionCount: Int { state.withLockedValue { $0.connections } }

    func stop() {
        acceptor.stop()
        // Wakes their threads, which close them.
        state.withLockedValue { state in
            for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    private static func serve(_ client: Int32, _ script: Script) {
        send(client, script.greeting ?? Array(info.utf8))
        if script.greeting?.starts(with: Array("INFO".utf8)) ?? true {
            guard answerPings(client, until: 1) else { return }
            send(client, script.bytes)
        }
        if script.closes { return }
        _ = answerPings(client, until: .max)
    }

    /// Answers so many PINGs; false when the client has gone.
    private static func answerPings(_ client: Int32, until count: Int) -> Bool {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        var answered = 0
        while answered < count {
            guard recv(client, &byte, 1, 0) == 1 else { return false }
            if byte != 10 {
                line.append(byte)
                continue
            }
            if line == Array("PING\r".utf8) {
                answered += 1
                send(client, Array("PONG\r\n".utf8))
            }
            line.removeAll()
        }
        return true
    }

    private static func send(_ client: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
