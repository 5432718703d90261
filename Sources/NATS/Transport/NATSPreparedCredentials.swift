// Owns: what one attempt to connect proves its identity with: read, asked for and decoded, but not yet signed, since the
// server's challenge comes later. A value, any thread. Its description never shows a secret.

import Bytes
import NATSProtocol

/// The credentials of one attempt.
struct NATSPreparedCredentials: Sendable, CustomStringConvertible, CustomReflectable {
    enum Proof: Sendable {
        case none
        case token(String)
        case userPassword(String, String)
        case nkey(NKey)
        case jwt(String, NKey)
    }

    let proof: Proof
    /// Which credentials these are, for errors.
    let description: String

    var customMirror: Mirror { Mirror(self, children: []) }

    /// What an attempt has before its credentials were fetched.
    static let pending = NATSPreparedCredentials(proof: .none, description: "pending")

    /// Whether they are still being fetched.
    var isPending: Bool { description == Self.pending.description }

    /// The credentials in a server's address; nil when it has none. A lone user is a token.
    static func inAddress(_ address: NATSServerAddress) -> NATSPreparedCredentials? {
        guard let user = address.user else { return nil }
        guard let password = address.password else {
            return NATSPreparedCredentials(proof: .token(user), description: "token in the server's address")
        }
        return NATSPreparedCredentials(
            proof: .userPassword(user, password),
            description: "user and password in the server's address"
        )
    }

    /// Decodes what `authentication` stands for. Reads files: blocks for these kinds.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidCredentials`` for what cannot be read or decoded, and
    ///   for a provider, which nobody can ask here.
    static func read(_ authentication: NATSAuthentication) throws(NATSError) -> NATSPreparedCredentials {
        let proof: Proof
        switch authentication.kind {
        case .none: proof = .none
        case .token(let token): proof = .token(token)
        case .userPassword(let user, let password): proof = .userPassword(user, password)
        case .nkeySeed(var seed):
            proof = try seed.withUTF8 { text in
                Result { () throws(NATSError) in .nkey(try nkey(UnsafeRawBufferPointer(text), "nkey seed")) }
            }.get()
        case .nkeySeedFile(let path):
            proof = .nkey(
                try SecretFile.read(path, "nkey seed file") { text throws(NATSError) in
                    try nkey(text, "nkey seed file \(path)")
                }
            )
        case .credentials(var text):
            proof = try text.withUTF8 { text in
                Result { () throws(NATSError) in try jwt(UnsafeRawBufferPointer(text), "credentials") }
            }.get()
        case .credentialsFile(let path):
            proof = try SecretFile.read(path, "credentials file") { text throws(NATSError) in
                try jwt(text, "credentials file \(path)")
            }
        case .provider:
            throw NATSError(.invalidCredentials, "the provider of credentials gave another provider")
        }
        return NATSPreparedCredentials(proof: proof, description: authentication.description)
    }

    private static func nkey(_ text: UnsafeRawBufferPointer, _ what: String) throws(NATSError) -> NKey {
        do throws(NATSCredentialsFile.Fault) {
            return try NATSCredentialsFile.seed(parsing: text)
        } catch {
            throw NATSError(.invalidCredentials, "cannot use the \(what): \(error)")
        }
    }

    private static func jwt(_ text: UnsafeRawBufferPointer, _ what: String) throws(NATSError) -> Proof {
        do throws(NATSCredentialsFile.Fault) {
            let file = try NATSCredentialsFile(parsing: text)
            return .jwt(file.jwt, file.key)
        } catch {
            throw NATSError(.invalidCredentials, "cannot use the \(what): \(error)")
        }
    }

    /// Adds what CONNECT must say about them, signed for the server that sent `info`.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/authorization`` when the server cannot take them.
    func add(to options: inout NATSConnectOptions, for info: NATSServerInfo) throws(NATSError) {
        switch proof {
        case .none: break
        case .token(let token): options.authToken = token
        case .userPassword(let user, let password):
            options.user = user
            options.pass = password
        case .nkey(let key):
            options.nkey = key.publicKey
            options.sig = try Self.signature(of: info.nonce, by: key)
            guard options.sig != nil || !info.authenticationRequired else {
                throw NATSError(
                    .authorization,
                    "the server asks for credentials, but not for the \(self): it sent nothing to sign"
                )
            }
        case .jwt(let jwt, let key):
            // Without a nonce the server is open, or knows what to do with an unsigned JWT.
            options.jwt = jwt
            options.sig = try Self.signature(of: info.nonce, by: key)
        }
    }

    private static func signature(of nonce: String?, by key: NKey) throws(NATSError) -> String? {
        guard let nonce else { return nil }
        do {
            return Base64URL.encode(try key.sign(nonce.utf8))
        } catch {
            throw NATSError(.invalidCredentials, "cannot sign the server's nonce")
        }
    }

    /// The error for a server that refused these credentials with `text`.
    func refused(_ text: String) -> NATSError {
        switch proof {
        case .none:
            NATSError(.authorization, "the server asks for credentials, none are configured: \(text)")
        case .token, .userPassword, .nkey, .jwt:
            NATSError(.authorization, "the server refused the \(self): \(text)")
        }
    }
}
