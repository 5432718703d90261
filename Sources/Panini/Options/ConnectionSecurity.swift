// Owns: credentials and TLS settings made of the options `auth.*` and `tls.*`, and what contradicts itself in them. Pure;
// any thread. No text here may carry a value of a secret option.

package import NATS

/// What the client commands need of the options: credentials and TLS.
package struct ConnectionSecurity: Sendable {
    /// How the client proves who it is.
    package var authentication = NATSAuthentication.none
    /// How TLS is used.
    package var tls = NATSTLSOptions()

    /// Reads `auth.*` and `tls.*` of values from outside; the first of a name wins.
    ///
    /// - Throws: ``PaniniError`` with `invalidOption`.
    package init(_ overrides: PaniniOverrides) throws(PaniniError) {
        var merged = MergedOptions()
        do throws(AppOptions.Failure) {
            try merged.add(overrides)
            authentication = try merged.authentication()
            tls = try merged.tls()
        } catch {
            switch error {
            case .script(let text), .outside(let text): throw PaniniError(code: .invalidOption, message: text)
            }
        }
    }
}

extension MergedOptions {
    /// The kinds of credentials: the options that belong together, each list in the order of the documentation.
    private static let kinds: [[String]] = [
        ["auth.user", "auth.password"], ["auth.token"], ["auth.nkey_seed"], ["auth.nkey_seed_file"],
        ["auth.credentials_file"], ["auth.credentials"],
    ]

    /// The credentials. The strongest source decides on their kind; what weaker sources say of other kinds is dropped,
    /// what they say of the same kind completes it: a user in the script and its password in the environment.
    mutating func authentication() throws(AppOptions.Failure) -> NATSAuthentication {
        let given = Self.kinds.flatMap { kind in
            kind.compactMap { name in values[name].map { (name: name, given: $0, kind: kind) } }
        }
        guard let strongest = given.min(by: { $0.given.rank < $1.given.rank }) else { return .none }
        for other in given where other.kind != strongest.kind {
            guard other.given.rank > strongest.given.rank else {
                throw contradiction(strongest.name, other.name, "contradict each other: give one kind of credentials")
            }
            remove(other.name)
        }
        func text(_ name: String) throws(AppOptions.Failure) -> String? {
            guard let given = values[name], case .string(let text) = given.value else { return nil }
            guard !text.isEmpty || name == "auth.password" else { throw failure(name, "is empty") }
            return text
        }
        if try text("auth.password") != nil, values["auth.user"] == nil {
            throw failure("auth.password", "needs the option \"auth.user\"")
        }
        if let user = try text("auth.user") { return .user(user, password: try text("auth.password") ?? "") }
        if let token = try text("auth.token") { return .token(token) }
        if let seed = try text("auth.nkey_seed") { return .nkey(seed: seed) }
        if let path = try text("auth.nkey_seed_file") { return .nkey(seedFile: path) }
        if let path = try text("auth.credentials_file") { return .credentials(file: path) }
        if let credentials = try text("auth.credentials") { return .credentials(credentials) }
        return .none
    }

    /// The TLS settings. Whoever sets one wants TLS: a broker without it is refused.
    func tls() throws(AppOptions.Failure) -> NATSTLSOptions {
        let given = values.filter { $0.key.hasPrefix("tls.") }
        var tls = AppOptions(given.mapValues(\.value)).tls
        tls.isRequired = !given.isEmpty
        if tls.certificateFile != nil, tls.keyFile == nil {
            throw failure("tls.cert_file", "needs the option \"tls.key_file\"")
        }
        if tls.keyFile != nil, tls.certificateFile == nil {
            throw failure("tls.key_file", "needs the option \"tls.cert_file\"")
        }
        return tls
    }

    /// A problem of one option, at its origin.
    private func failure(_ name: String, _ text: String) -> AppOptions.Failure {
        switch values[name]?.origin {
        case .outside(_, let origin): .outside("\(origin): option \"\(name)\" \(text)")
        case .script, nil: .script("option \"\(name)\" \(text)")
        }
    }

    /// A problem of two options of one source.
    private func contradiction(_ one: String, _ other: String, _ text: String) -> AppOptions.Failure {
        switch (values[one]?.origin, values[other]?.origin) {
        case (.outside(_, let first), .outside(_, let second)) where first != second:
            .outside("\(first) and \(second) \(text)")
        case (.outside(_, let origin), _): .outside("\(origin): options \"\(one)\" and \"\(other)\" \(text)")
        default: .script("options \"\(one)\" and \"\(other)\" \(text)")
        }
    }
}
