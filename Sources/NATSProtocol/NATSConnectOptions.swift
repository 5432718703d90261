// What a client says about itself in CONNECT, and its bytes. A pure value, any thread. Holds secrets, shows none.

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
        var bytes: [UInt8] = []
        func member(_ name: StaticString, _ value: Bool) {
            bytes.append(contentsOf: "\"\(name)\":\(value),".utf8)
        }
        func credential(_ name: StaticString, _ value: String?) {
            guard let value else { return }
            bytes.append(contentsOf: ",\"\(name)\":".utf8)
            JSONValue.appendString(value, to: &bytes)
        }
        bytes.append(UInt8(ascii: "{"))
        member("verbose", verbose)
        member("pedantic", pedantic)
        member("tls_required", tlsRequired)
        bytes.append(contentsOf: "\"name\":".utf8)
        JSONValue.appendString(name, to: &bytes)
        bytes.append(contentsOf: ",\"lang\":\"swift\",\"version\":".utf8)
        JSONValue.appendString(version, to: &bytes)
        bytes.append(contentsOf: ",\"protocol\":1,".utf8)
        member("echo", echo)
        member("headers", headers)
        bytes.append(contentsOf: "\"no_responders\":\(headers)".utf8)
        credential("jwt", jwt)
        credential("nkey", nkey)
        credential("sig", sig)
        credential("user", user)
        credential("pass", pass)
        credential("auth_token", authToken)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    package var description: String { "CONNECT of \"\(name)\"" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}
