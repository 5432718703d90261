// Owns: what people allow scripts from outside: which ones are trusted, which are not, and what those may do all the same.
// Pure values; any thread.

import NATSProtocol

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
        let name = path.parts(between: ASCII.slash).last { !$0.isEmpty } ?? path[...]
        let stem = name.ends(with: ".lua") ? Substring(name.utf8.dropLast(4)) : name
        func isNamed(_ list: [String]) -> Bool {
            list.contains { $0.isExactly(path) || $0.isExactly(name) || $0.isExactly(stem) }
        }
        if isNamed(untrusted) { return .untrusted }
        if isNamed(trusted) { return .trusted }
        if untrusted.contains(where: Self.isEvery) { return .untrusted }
        return trusted.contains(where: Self.isEvery) ? .trusted : .ordinary
    }

    private static func isEvery(_ name: String) -> Bool { name.isExactly("*") }

    /// Why the lists cannot be what somebody means; nil when they can.
    package var problem: String? {
        if let both = trusted.first(where: { name in untrusted.contains { $0.isExactly(name) } }) {
            return "\(Self.isEvery(both) ? "every script" : both) cannot be trusted and untrusted at once"
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
    private let environment: Set<ExactText>
    private let network: [(host: ExactText, port: Int?)]
    /// Real paths, without a slash at the end.
    private let folders: [[UInt8]]
    private let publish: SubjectPermissions
    private let listen: SubjectPermissions

    init(_ permissions: PaniniPermissions) {
        environment = Set(permissions.environment.map(ExactText.init))
        network = permissions.network.map { text in
            // The colon of a port, and none of those in an IPv6 address.
            guard let colon = text.utf8.lastIndex(of: ASCII.colon),
                let port = Int(text[text.utf8.index(after: colon)...]),
                !text[..<colon].utf8.contains(ASCII.colon) || text[..<colon].ends(with: "]")
            else { return (Self.bare(text), nil) }
            return (Self.bare(text[..<colon]), port)
        }
        folders = permissions.folders.compactMap { realPath($0).map { $0.last == ASCII.slash ? $0.dropLast() : $0 } }
        publish = SubjectPermissions(patterns: permissions.publish.map(Self.subject))
        listen = SubjectPermissions(patterns: permissions.listen.map(Self.subject))
    }

    private static func bare(_ host: some StringProtocol) -> ExactText {
        let isBracketed = host.begins(with: "[") && host.ends(with: "]")
        let name = isBracketed ? String(decoding: host.utf8.dropFirst().dropLast(), as: UTF8.self) : String(host)
        return ExactText(name.inLowerASCII)
    }

    /// With named tokens as the wildcards they are.
    private static func subject(_ text: String) -> String { (try? SubjectPattern(text))?.subject ?? text }

    func mayReadEnvironment(_ name: String) -> Bool { environment.contains(ExactText(name)) }

    func mayConnect(host: String, port: Int) -> Bool {
        let host = Self.bare(host)
        return network.contains { $0.host == host && ($0.port == nil || $0.port == port) }
    }

    /// Links are followed first: one that leads out of a folder leads nowhere.
    func mayRead(_ path: String) -> Bool {
        guard let real = realPath(path) else { return false }
        return folders.contains { real.starts(with: $0) && (real.count == $0.count || real[$0.count] == ASCII.slash) }
    }

    func mayPublish(_ subject: UnsafeRawBufferPointer) -> Bool { publish.permits(subject) }

    func mayListen(_ subject: String) -> Bool { listen.permits(subject) }
}
