// A WebSocket server's side over a scripted connection, frame by frame as RFC 6455 lays them out, without a library: what
// the client's library takes and sends is what is tested.

import Crypto
import Foundation

@testable import NATS

struct MockWebSocket {
    struct Frame: Equatable {
        var opcode: UInt8
        var isFinal = true
        var mask: [UInt8]?
        var payload: [UInt8]

        var text: String { String(decoding: payload, as: UTF8.self) }
    }

    enum Opcode {
        static let continuation: UInt8 = 0
        static let text: UInt8 = 1
        static let binary: UInt8 = 2
        static let close: UInt8 = 8
        static let ping: UInt8 = 9
        static let pong: UInt8 = 10
    }

    let peer: MockPeer
    /// What the client asked for, without the blank line.
    let request: [String]

    /// Takes the next connection of `server` and upgrades it.
    static func accept(_ server: MockServer) async throws -> MockWebSocket {
        let peer = try await server.accept()
        let request = try await peer.read(through: "\r\n\r\n").split(separator: "\r\n").map(String.init)
        let prefix = "sec-websocket-key: "
        let key = request.first { $0.lowercased().hasPrefix(prefix) }?.dropFirst(prefix.count) ?? ""
        try await peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: \(acceptance(of: String(key)))\r\n\r\n"
        )
        return MockWebSocket(peer: peer, request: request)
    }

    /// The next connection, with its handshake done, too.
    static func acceptHandshake(_ server: MockServer) async throws -> MockWebSocket {
        let socket = try await accept(server)
        try await socket.send(MockServer.info)
        _ = try await socket.read()
        try await socket.send("PONG\r\n")
        return socket
    }

    /// RFC 6455, 4.2.2.
    static func acceptance(of key: String) -> String {
        let digest = Insecure.SHA1.hash(data: Data((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8))
        return Data(digest).base64EncodedString()
    }

    func send(_ text: String, _ opcode: UInt8 = Opcode.binary, isFinal: Bool = true) async throws {
        try await send(Array(text.utf8), opcode, isFinal: isFinal)
    }

    func send(_ payload: [UInt8], _ opcode: UInt8, isFinal: Bool = true) async throws {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
        switch payload.count {
        case 0..<126: bytes.append(UInt8(payload.count))
        case 126..<65536: bytes += [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: bytes += [127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        try await peer.send(bytes + payload)
    }

    /// The next frame from the client, unmasked.
    func read() async throws -> Frame {
        let head = try await peer.read(count: 2)
        var count = Int(head[1] & 0x7F)
        if count >= 126 {
            count = try await peer.read(count: count == 126 ? 2 : 8).reduce(0) { $0 << 8 | Int($1) }
        }
        let mask = head[1] & 0x80 != 0 ? try await peer.read(count: 4) : nil
        var payload = try await peer.read(count: count)
        if let mask {
            for index in payload.indices { payload[index] ^= mask[index % 4] }
        }
        return Frame(opcode: head[0] & 0x0F, isFinal: head[0] & 0x80 != 0, mask: mask, payload: payload)
    }
}
