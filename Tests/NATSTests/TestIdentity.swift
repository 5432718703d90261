// Key pairs and signed JWTs for tests, so that no outside tool is needed: an operator vouches for an account, the account
// for a user.

import Bytes
import Foundation

@testable import NATS
@testable import NATSProtocol

/// A key pair with the text of its seed.
struct TestIdentity: Sendable {
    let key: NKey
    let seed: String

    init(_ role: NKey.Role) throws {
        let raw = (0..<32).map { _ in UInt8.random(in: 0...255) }
        key = try NKey(role: role, rawSeed: raw[...])
        var bytes = [NKey.seedPrefix | role.rawValue >> 5, role.rawValue << 3] + raw
        let checksum = CRC16.checksum(bytes)
        bytes += [UInt8(truncatingIfNeeded: checksum), UInt8(checksum >> 8)]
        seed = Base32.encode(bytes)
    }

    var publicKey: String { key.publicKey }

    /// A JWT about `subject`, signed by this identity. `claims` are the members of its `nats` part.
    func jwt(about subject: TestIdentity, named name: String, claims: String, expires: Int? = nil) throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        let header = #"{"typ":"JWT","alg":"ed25519-nkey"}"#
        let expiry = expires.map { ",\"exp\":\($0)" } ?? ""
        let body =
            "{\"jti\":\"\(UUID())\",\"iat\":\(now),\"iss\":\"\(publicKey)\",\"name\":\"\(name)\","
            + "\"sub\":\"\(subject.publicKey)\"\(expiry),\"nats\":{\(claims),\"version\":2}}"
        let signed = Base64URL.encode(header.utf8) + "." + Base64URL.encode(body.utf8)
        return signed + "." + Base64URL.encode(try key.sign(signed.utf8))
    }
}

/// One operator with one account, as a server's configuration, and credentials of its users.
struct TestOperator: Sendable {
    let account: TestIdentity
    let configuration: String

    init() throws {
        let head = try TestIdentity(.operator)
        let account = try TestIdentity(.account)
        self.account = account
        let operatorJWT = try head.jwt(about: head, named: "O", claims: #""type":"operator""#)
        // The system's account answers who a client is.
        let system = try TestIdentity(.account)
        let accounts = try [account, system].map { identity in
            let jwt = try head.jwt(
                about: identity,
                named: "A",
                claims: #""limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"#
                    + #""conn":-1,"leaf":-1},"default_permissions":{"pub":{},"sub":{}},"type":"account""#
            )
            return "\(identity.publicKey): \"\(jwt)\""
        }
        configuration = """
            operator: "\(operatorJWT)"
            system_account: \(system.publicKey)
            resolver: MEMORY
            resolver_preload: {
              \(accounts.joined(separator: "\n  "))
            }

            """
    }

    /// The text of a credentials file.
    ///
    /// - Parameter expires: when, in seconds since 1970; nil for never.
    func credentials(of user: TestIdentity, expires: Int? = nil) throws -> String {
        let jwt = try account.jwt(
            about: user,
            named: "U",
            claims: #""pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user""#,
            expires: expires
        )
        return TestOperator.file(jwt, user.seed)
    }

    static func file(_ jwt: String, _ seed: String) -> String {
        """
        -----BEGIN NATS USER JWT-----
        \(jwt)
        ------END NATS USER JWT------

        -----BEGIN USER NKEY SEED-----
        \(seed)
        ------END USER NKEY SEED------

        """
    }
}

/// A file that goes away with its owner.
final class TestFile: Sendable {
    let path: String

    init(_ text: String) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("nats-\(UUID()).txt").path
        try write(text)
    }

    /// Replaces the whole file at once.
    func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }

    deinit {
        remove()
    }
}
