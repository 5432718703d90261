// Owns: the ways in which a client proves who it is. A value, any thread. Its description never shows a secret.

/// What a client shows a server to be let in.
///
/// Files are read again and providers asked again at every attempt, so that renewed credentials are used by the next
/// reconnect. A user, password or token in a server's address goes before what stands here.
public struct NATSAuthentication: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// What the server asks for, given to a provider.
    public struct Challenge: Sendable {
        /// The server's address as `host:port`.
        public let server: String
    }

    enum Kind: Sendable {
        case none
        case token(String)
        case userPassword(String, String)
        case nkeySeed(String)
        case nkeySeedFile(String)
        case credentials(String)
        case credentialsFile(String)
        case provider(@Sendable (Challenge) async throws -> NATSAuthentication)
    }

    let kind: Kind

    /// No credentials.
    public static let none = NATSAuthentication(kind: .none)

    /// A token.
    public static func token(_ token: String) -> NATSAuthentication { .init(kind: .token(token)) }

    /// A user name and a password.
    public static func user(_ user: String, password: String) -> NATSAuthentication {
        .init(kind: .userPassword(user, password))
    }

    /// An nkey: the text of a user's seed, `SU...`.
    public static func nkey(seed: String) -> NATSAuthentication { .init(kind: .nkeySeed(seed)) }

    /// An nkey: the path of a file that holds a user's seed.
    public static func nkey(seedFile path: String) -> NATSAuthentication { .init(kind: .nkeySeedFile(path)) }

    /// A JWT with its seed: the text of a credentials file.
    public static func credentials(_ text: String) -> NATSAuthentication { .init(kind: .credentials(text)) }

    /// A JWT with its seed: the path of a credentials file.
    public static func credentials(file path: String) -> NATSAuthentication { .init(kind: .credentialsFile(path)) }

    /// Asks `body` before every attempt, in a task of its own; it may not return another provider.
    ///
    /// The attempt's ``NATSConnectionConfiguration/connectTimeout`` counts for `body`, too: after it, its task is
    /// cancelled. When it throws, the attempt fails with ``NATSError/Code/invalidCredentials``; the message tells the
    /// text of a ``NATSError`` and only the type of any other error.
    public static func provider(
        _ body: @escaping @Sendable (Challenge) async throws -> NATSAuthentication
    ) -> NATSAuthentication { .init(kind: .provider(body)) }

    /// Whether there are no credentials.
    package var isNone: Bool {
        if case .none = kind { true } else { false }
    }

    /// The kind of credentials; never the credentials themselves.
    public var description: String {
        switch kind {
        case .none: "none"
        case .token: "token"
        case .userPassword: "user and password"
        case .nkeySeed: "nkey seed"
        case .nkeySeedFile(let path): "nkey seed file \(path)"
        case .credentials: "credentials"
        case .credentialsFile(let path): "credentials file \(path)"
        case .provider: "provider"
        }
    }

    /// The same as ``description``.
    public var debugDescription: String { description }

    /// Nothing: whoever dumps a configuration sees no secret.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
