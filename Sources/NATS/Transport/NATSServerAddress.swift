// Owns: the place where a server listens, and how people write that down. Pure, any thread.

import Bytes
import NATSProtocol
import NIOCore

/// The host and port of a NATS server.
public struct NATSServerAddress: Sendable, Hashable, CustomStringConvertible {
    /// What is spoken with a server.
    public enum Scheme: String, Sendable, Hashable {
        /// TCP; TLS when the server or the settings ask for it.
        case nats
        /// TCP with TLS.
        case tls
        /// WebSocket.
        case ws
        /// WebSocket over TLS.
        case wss

        /// The port of an address that names none: 4222, 80 for `ws`, 443 for `wss`.
        public var defaultPort: Int {
            switch self {
            case .nats, .tls: NATSServerAddress.defaultPort
            case .ws: 80
            case .wss: 443
            }
        }

        /// Whether NATS goes through WebSocket frames.
        public var isWebSocket: Bool { self == .ws || self == .wss }
    }

    /// The port a NATS server listens on when none is named.
    public static let defaultPort = 4222

    /// What is spoken with the server.
    public var scheme = Scheme.nats

    /// A host name or an IP address, IPv6 without brackets.
    public var host: String
    /// The TCP port.
    public var port: Int
    /// The path of a WebSocket address; `/` when it names none.
    public var path = "/"
    /// The name the server's certificate must carry when it is not ``host``: a discovered server is known by its IP
    /// address, its certificate by the name of the cluster.
    package var tlsName: String?
    /// The user name in the address, or a token when there is no password; nil for none. Never part of ``description``.
    public var user: String?
    /// The password in the address; nil for none. Never part of ``description``.
    public var password: String?

    /// The address of `host` and `port`.
    public init(host: String, port: Int = NATSServerAddress.defaultPort) {
        self.host = host
        self.port = port
    }

    /// Reads `nats://host:port`, `host:port`, `host`, `[::1]:port`, with `user:password@` or `token@` in front of the
    /// host, percent-encoded where needed. Schemes: `nats`, `tls`, `ws`, `wss`; the last two may end with a path. The
    /// port defaults to ``Scheme/defaultPort``.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidAddress`` for anything else.
    public init(parsing text: String) throws(NATSError) {
        var text = text
        // First, so that no error below can show them.
        let userInfo = try Self.takeUserInfo(from: &text)
        var rest = Substring(text)
        var scheme = Scheme.nats
        if let separator = rest.range(ofText: "://") {
            guard let known = Scheme(rawValue: rest[..<separator.lowerBound].inLowerASCII) else {
                throw NATSError(
                    .invalidAddress,
                    "cannot use \"\(text)\": the scheme must be nats://, tls://, ws:// or wss://"
                )
            }
            scheme = known
            rest = rest[separator.upperBound...]
        }
        var path = "/"
        if scheme.isWebSocket, let slash = rest.utf8.firstIndex(of: ASCII.slash) {
            path = String(rest[slash...])
            rest = rest[..<slash]
            guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw NATSError(.invalidAddress, "cannot use \"\(text)\": the path must be percent-encoded")
            }
        }
        while rest.utf8.last == ASCII.slash {
            rest = Substring(rest.utf8.dropLast())
        }
        let hostText: Substring
        var portText: Substring?
        if rest.begins(with: "[") {
            guard let close = rest.utf8.firstIndex(of: UInt8(ascii: "]")) else {
                throw NATSError(.invalidAddress, "cannot use \"\(text)\": the bracket is not closed")
            }
            hostText = rest[rest.utf8.index(after: rest.startIndex)..<close]
            let after = rest[rest.utf8.index(after: close)...]
            if after.begins(with: ":") {
                portText = Substring(after.utf8.dropFirst())
            } else if !after.isEmpty {
                throw NATSError(.invalidAddress, "cannot use \"\(text)\" as host:port")
            }
        } else {
            let parts = rest.parts(between: ASCII.colon)
            guard parts.count <= 2, let first = parts.first else {
                throw NATSError(.invalidAddress, "cannot use \"\(text)\": write an IPv6 address as [address]:port")
            }
            hostText = first
            portText = parts.count == 2 ? parts[1] : nil
        }
        let isPlain = hostText.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "/") && $0 != 0x7F }
        guard !hostText.isEmpty, isPlain else {
            throw NATSError(.invalidAddress, "cannot use \"\(text)\": no host")
        }
        var port = scheme.defaultPort
        if let portText {
            guard let number = Int(portText), (1...65535).contains(number), !portText.begins(with: "+") else {
                throw NATSError(.invalidAddress, "cannot use \"\(text)\": the port must be a number from 1 to 65535")
            }
            port = number
        }
        self.init(host: String(hostText), port: port)
        self.scheme = scheme
        self.path = path
        user = userInfo.user
        password = userInfo.password
    }

    /// `host:port`, with brackets around an IPv6 address.
    public var description: String {
        host.utf8.contains(ASCII.colon) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// Whether `host` is an IP address and needs no resolver.
func isIPAddress(_ host: String) -> Bool {
    (try? SocketAddress(ipAddress: host, port: 0)) != nil
}
