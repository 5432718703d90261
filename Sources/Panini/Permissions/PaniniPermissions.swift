// Owns: what people allow scripts from outside: which ones are trusted, which are not, and what those may do all the same.
// Pure values; any thread.

/// Which scripts may do more than others, or less.
///
/// A script is named by its path as it is given to the host, by its file's name, or by that without its ending; `*` is
/// every script. A name says more than `*`.
public struct PaniniPermissions: Sendable, Equatable {
    /// Scripts that get `io`, all of `os` and modules in C: they may do whatever the program's user may.
    public var trusted: [String] = []
    /// Scripts that get no environment, no files, no outgoing connections and no subjects but what is allowed below.
    public var untrusted: [String] = []
    /// Names of the environment that untrusted scripts may read.
    public var environment: [String] = []
    /// Addresses, `host:port` or `host` for all its ports, that untrusted scripts may connect to.
    public var network: [String] = []
    /// Folders that untrusted scripts may have files served from.
    public var folders: [String] = []
    /// Subjects, `orders.*` or `logs.>`, that untrusted scripts may publish and send requests to.
    public var publish: [String] = []
    /// Subjects that untrusted scripts may listen to.
    public var listen: [String] = []

    /// Every script is an ordinary one.
    public init() {}

    /// How far a script is trusted.
    enum Level: Equatable {
        case untrusted
        case ordinary
        case trusted
    }

    /// The level of a script; untrusted when both are said of it.
    func level(of path: String) -> Level {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let stem = name.hasSuffix(".lua") ? String(name.dropLast(4)) : name
        func isNamed(_ list: [String]) -> Bool { list.contains { $0 == path || $0 == name || $0 == stem } }
        if isNamed(untrusted) { return .untrusted }
        if isNamed(trusted) { return .trusted }
        if untrusted.contains("*") { return .untrusted }
        return trusted.contains("*") ? .trusted : .ordinary
    }

    /// Why the lists cannot be what somebody means; nil when they can.
    package var problem: String? {
        if let both = trusted.first(where: { untrusted.contains($0) }) {
            return "\(both == "*" ? "every script" : both) cannot be trusted and untrusted at once"
        }
        for text in publish + listen {
            do throws(SubjectPattern.Invalid) {
                _ = try SubjectPattern(text)
            } catch {
                return error.message
            }
        }
        return nil
    }
}

/// What one untrusted script may do.
struct ScriptRestrictions: Sendable {
    private let environment: Set<String>
    private let network: [(host: String, port: Int?)]
    private let folders: [String]
    private let publish: [[String]]
    private let listen: [[String]]

    init(_ permissions: PaniniPermissions) {
        environment = Set(permissions.environment)
        network = permissions.network.map { text in
            // The colon of a port, and none of those in an IPv6 address.
            guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
                !text[..<colon].contains(":") || text[..<colon].hasSuffix("]")
            else { return (Self.bare(text), nil) }
            return (Self.bare(String(text[..<colon])), port)
        }
        folders = permissions.folders.compactMap(realPath)
        publish = permissions.publish.map(Self.tokens)
        listen = permissions.listen.map(Self.tokens)
    }

    private static func bare(_ host: String) -> String {
        (host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host).lowercased()
    }

    private static func tokens(_ subject: String) -> [String] {
        subject.split(separator: ".", omittingEmptySubsequences: false).map { token in
            token.hasPrefix("{") && token.hasSuffix("}") ? "*" : String(token)
        }
    }

    func mayReadEnvironment(_ name: String) -> Bool { environment.contains(name) }

    func mayConnect(host: String, port: Int) -> Bool {
        let host = Self.bare(host)
        return network.contains { $0.host == host && ($0.port == nil || $0.port == port) }
    }

    /// Links are followed first: one that leads out of a folder leads nowhere.
    func mayRead(_ path: String) -> Bool {
        guard let real = realPath(path) else { return false }
        return folders.contains { real == $0 || real.hasPrefix($0 == "/" ? "/" : $0 + "/") }
    }

    func mayPublish(_ subject: String) -> Bool { publish.contains { Self.covers($0, Self.tokens(subject)) } }

    func mayListen(_ subject: String) -> Bool { listen.contains { Self.covers($0, Self.tokens(subject)) } }

    /// Whether every subject of `asked` is one of `allowed`.
    static func covers(_ allowed: [String], _ asked: [String]) -> Bool {
        for (index, token) in allowed.enumerated() {
            if token == ">" { return index < asked.count }
            guard index < asked.count else { return false }
            if token == "*" ? asked[index] == ">" : asked[index] != token { return false }
        }
        return allowed.count == asked.count
    }
}
