// What a client says about itself in CONNECT, and its bytes. A pure value, any thread. Holds secrets, shows none.

import Bytes

/// What a client says about itself in CONNECT.
package struct NATSConnectOptions: Equatable, CustomStringConvertible, CustomReflectable {
    package var verbose = false
    package var pedantic = false
    /// Whether this client speaks TLS, by its own wish or the server's.
    package var tlsRequired = false
    package var name = ""
    package var version = "0.1.0"
    package var echo = true
    /// Mirrors the server's INFO; `no_responders` follows it, since a server drops a client that asks for no-responders
    /// without headers.
    package var headers = true

    // Credentials: only what is set is sent.
    /// A user's JWT.
    package var jwt: String?
    /// A user's public nkey.
    package var nkey: String?
    /// The signature of the server's nonce, base64url.
    package var sig: String?
    package var user: String?
    package var pass: String?
    package var authToken: String?

    package init() {}

    /// The JSON document, members in a fixed order so that tests can compare bytes.
    package func encoded() -> [UInt8] {
        var members: [(String, JSONText)] = [
            ("verbose", .boolean(verbose)), ("pedantic", .boolean(pedantic)), ("tls_required", .boolean(tlsRequired)),
            ("name", .string(name)), ("lang", .string("swift")), ("version", .string(version)),
            ("protocol", .integer(1)), ("echo", .boolean(echo)), ("headers", .boolean(headers)),
            ("no_responders", .boolean(headers)),
        ]
        let credentials = [
            ("jwt", jwt), ("nkey", nkey), ("sig", sig), ("user", user), ("pass", pass), ("auth_token", authToken),
        ]
        for case (let name, let value?) in credentials { members.append((name, .string(value))) }
        return JSONText.object(members).bytes()
    }

    package var description: String { "CONNECT of \"\(name)\"" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}
