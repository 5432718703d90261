// Owns: what people allow scripts from outside: which ones are trusted, which are not, and what those may do all the same.
// Pure values; any thread.

import Bytes
import NATSProtocol
import ScriptRuntime

/// Which scripts may do more than others, or less.
///
/// A script is named by its path, by its file's name, or by that without its ending; `*` is every script. A name says more
/// than `*`. A host does not start when an untrusted name is none of its scripts': a slip must not make a script an ordinary one.
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

    /// What untrusted scripts may do with other features, by the names of their permissions (``PermissionDefinition``).
    var ofFeatures: [ExactText: [String]] = [:]

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
        if untrusted.contains(where: { Self.isName($0, of: path) }) { return .untrusted }
        if trusted.contains(where: { Self.isName($0, of: path) }) { return .trusted }
        if untrusted.contains(where: Self.isEvery) { return .untrusted }
        return trusted.contains(where: Self.isEvery) ? .trusted : .ordinary
    }

    private static func isEvery(_ name: String) -> Bool { name.isExactly("*") }

    private static func isName(_ text: String, of path: String) -> Bool {
        let name = path.parts(between: ASCII.slash).last { !$0.isEmpty } ?? path[...]
        let stem = name.ends(with: ".lua") ? Substring(name.utf8.dropLast(4)) : name
        if text.isExactly(path) || text.isExactly(name) || text.isExactly(stem) { return true }
        // Another way to write the path.
        return text.utf8.contains(ASCII.slash) && realPath(text).map { $0 == realPath(path) } == true
    }

    /// Which untrusted script is none of these; nil when there is none such.
    ///
    /// - Parameter paths: All scripts, as they are given to the host.
    package func stray(among paths: [String]) -> String? { Self.stray(untrusted, "--untrusted", paths) }

    /// The same of trusted scripts: that one fails, and says why, where it does what only a trusted one may.
    package func strayTrust(among paths: [String]) -> String? { Self.stray(trusted, "--trust", paths) }

    private static func stray(_ names: [String], _ flag: String, _ paths: [String]) -> String? {
        names.first { name in !isEvery(name) && !paths.contains { isName(name, of: $0) } }.map {
            "\(flag)=\($0): no script is named so; there are \(paths.joined(separator: ", "))"
        }
    }

    /// The same without the names that are none of these scripts'.
    package func naming(only paths: [String]) -> PaniniPermissions {
        var result = self
        func isKept(_ name: String) -> Bool {
            Self.isEvery(name) || paths.contains { Self.isName(name, of: $0) }
        }
        result.trusted = trusted.filter(isKept)
        result.untrusted = untrusted.filter(isKept)
        return result
    }

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
    private let ofFeatures: [ExactText: [String]]

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
        ofFeatures = permissions.ofFeatures
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

    /// What is allowed of a feature's permission; the feature knows what the values mean.
    func values(of permission: PermissionDefinition) -> [String] { ofFeatures[ExactText(permission.name)] ?? [] }
}
