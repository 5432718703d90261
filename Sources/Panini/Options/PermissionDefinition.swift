// Owns: what an untrusted script can be allowed, one row each: its name, what its values are, the list that keeps them. Pure
// values; any thread. Flags, configuration keys and completions are made from the rows.

import Bytes

/// Something that an untrusted script may do only where it is allowed: `--allow-net HOST`.
public struct PermissionDefinition: Sendable {
    /// Where the values are kept.
    private enum Place: Sendable {
        case list(any Sendable & WritableKeyPath<PaniniPermissions, [String]>)
        /// Under the name, for the feature that has brought it.
        case feature
    }

    /// The name behind `allow`: `net`.
    public let name: String
    /// What one of its values is: `host[:port]`.
    public let valueName: String
    /// One line for help texts.
    public let summary: String
    private let place: Place

    /// A permission of a feature, which asks ``ScriptRestrictions/values(of:)``.
    ///
    /// - Parameters:
    ///   - name: The name behind `allow`.
    ///   - valueName: What one of its values is.
    ///   - summary: One line for help texts.
    init(_ name: String, of valueName: String, _ summary: String) {
        self.init(name, valueName, summary, .feature)
    }

    private init(_ name: String, _ valueName: String, _ summary: String, _ place: Place) {
        self.name = name
        self.valueName = valueName
        self.summary = summary
        self.place = place
    }

    /// The command line's flag: `--allow-net`.
    public var flag: String { "--allow-\(name)" }

    /// The key in configuration: `allow_net`.
    public var key: String { "allow_\(name)" }

    /// Those of what every script can do.
    static let builtIn: [PermissionDefinition] =
        [
            PermissionDefinition(
                "env",
                "name",
                "A variable of the environment that untrusted scripts may read.",
                .list(\.environment)
            ),
            PermissionDefinition(
                "net",
                "host[:port]",
                "An address that untrusted scripts may connect to.",
                .list(\.network)
            ),
            PermissionDefinition(
                "read",
                "folder",
                "A folder that untrusted scripts may have files served from.",
                .list(\.folders)
            ),
            PermissionDefinition(
                "publish",
                "subject",
                "Subjects that untrusted scripts may publish and send requests to.",
                .list(\.publish)
            ),
            PermissionDefinition(
                "listen",
                "subject",
                "Subjects that untrusted scripts may listen to.",
                .list(\.listen)
            ),
        ]

    /// What is allowed.
    public func values(in permissions: PaniniPermissions) -> [String] {
        switch place {
        case .list(let path): permissions[keyPath: path]
        case .feature: permissions.ofFeatures[ExactText(name)] ?? []
        }
    }

    /// Allows this, and nothing else.
    public func set(_ values: [String], in permissions: inout PaniniPermissions) {
        switch place {
        case .list(let path): permissions[keyPath: path] = values
        case .feature: permissions.ofFeatures[ExactText(name)] = values
        }
    }
}
