// Owns: telling HTTP/2 from HTTP/1 by the first bytes of a connection (RFC 9113, section 3.4). Pure; any thread.

import NIOCore

/// What the first bytes of a connection are.
enum HTTP2Preface {
    /// Another protocol.
    case none
    /// They may be the beginning of HTTP/2.
    case part
    case whole

    private static let text = Array("PRI * HTTP/2.0".utf8)

    init(_ bytes: ByteBuffer) {
        let view = bytes.readableBytesView
        if view.first != Self.text[0] {
            self = .none
        } else if view.starts(with: Self.text) {
            self = .whole
        } else {
            self = !view.isEmpty && Self.text.starts(with: view) ? .part : .none
        }
    }
}
