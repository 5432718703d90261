// Owns: how ArgumentParser sees the options of the app and the flags of trust. For a command line it sees one hidden option, which
// AppOptionFlags rewrites them to; for a completion script it sees each as an option of the command. ArgumentParser asks a group
// for its options by reflection and decodes them by their names, so that a group may have them from a table.

import ArgumentParser
import Panini
import Synchronization

/// What the groups below show.
enum OptionShape {
    /// True while a completion script is made: then every option is shown by its own name.
    static let isForCompletion = Atomic(false)
}

/// Which options of the app a command takes.
protocol AppOptionSelection {
    static var definitions: [OptionDefinition] { get }
}

/// All of them, for commands that load scripts.
enum ServiceOptions: AppOptionSelection {
    static let definitions = OptionDefinition.all
}

/// Those for credentials and TLS, for client commands.
enum SecurityOptions: AppOptionSelection {
    static let definitions = AppOptionFlags.security
}

/// The options of the app that a command takes.
struct AppOptionArguments<Selection: AppOptionSelection>: ParsableArguments, CustomReflectable {
    /// As ``AppOptionFlags`` has rewritten them.
    let rewritten: [String]

    init() { rewritten = [] }

    init(from decoder: any Decoder) throws {
        rewritten = try decoder.texts(of: AppOptionFlags.hiddenName)
    }

    var customMirror: Mirror {
        guard OptionShape.isForCompletion.load(ordering: .relaxed) else {
            return Mirror(self, children: [hidden(AppOptionFlags.hiddenName)])
        }
        return Mirror(self, children: Selection.definitions.map(\.argument))
    }
}

/// `--trust` or `--untrusted`: alone or with a value, as often as one likes.
struct TrustArguments<Flag: TrustFlag>: ParsableArguments, CustomReflectable {
    /// Names of scripts; `*` for all.
    let names: [String]

    init() { names = [] }

    init(from decoder: any Decoder) throws {
        names = try decoder.texts(of: Flag.hiddenName)
    }

    var customMirror: Mirror {
        guard OptionShape.isForCompletion.load(ordering: .relaxed) else {
            return Mirror(self, children: [hidden(Flag.hiddenName)])
        }
        let flag = ArgumentParser.Flag<Bool>(
            wrappedValue: false,
            name: .customLong(Flag.name),
            help: ArgumentHelp(Flag.help)
        )
        return Mirror(self, children: [(label: "_" + Flag.name, value: flag)])
    }
}

/// Which permissions a command takes.
protocol PermissionSelection {
    static var definitions: [PermissionDefinition] { get }
}

/// All of them.
enum AllPermissions: PermissionSelection {
    static let definitions = PermissionDefinition.all
}

/// `--allow-...`, one option for each permission, as often as one likes.
struct AllowArguments<Selection: PermissionSelection>: ParsableArguments, CustomReflectable {
    /// By the names of the permissions.
    let values: [String: [String]]

    init() { values = [:] }

    init(from decoder: any Decoder) throws {
        var values: [String: [String]] = [:]
        for permission in Selection.definitions {
            values[permission.name] = try decoder.texts(of: "allow-\(permission.name)")
        }
        self.values = values
    }

    var customMirror: Mirror {
        let options = Selection.definitions.map { permission -> (label: String?, value: Any) in
            let name = "allow-\(permission.name)"
            let help = ArgumentHelp("\(permission.summary)", valueName: permission.valueName)
            return (label: "_" + name, value: Option<[String]>(wrappedValue: [], name: .customLong(name), help: help))
        }
        return Mirror(self, children: options)
    }
}

/// Which of the two flags of trust.
protocol TrustFlag {
    static var name: String { get }
    static var help: String { get }
}

extension TrustFlag {
    /// What AppOptionFlags rewrites it to: ArgumentParser knows no flag that may have a value.
    static var hiddenName: String { name + "-script" }
}

enum Trusted: TrustFlag {
    static let name = "trust"
    static let help = "Open files, programs and modules in C to all scripts; --trust=NAME to one."
}

enum Untrusted: TrustFlag {
    static let name = "untrusted"
    static let help = "Allow scripts nothing but what --allow-... names; --untrusted=NAME for one."
}

/// An option that no help shows and that may be repeated.
private func hidden(_ name: String) -> (label: String?, value: Any) {
    let option = Option<[String]>(wrappedValue: [], name: .customLong(name), parsing: .singleValue, help: .hidden)
    return (label: "_" + name, value: option)
}

private struct OptionKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }

    init?(intValue: Int) { nil }
}

extension Decoder {
    /// The values of a hidden option.
    fileprivate func texts(of name: String) throws -> [String] {
        let values = try container(keyedBy: OptionKey.self)
        return try values.decode(Option<[String]>.self, forKey: OptionKey(stringValue: name)).wrappedValue
    }
}

extension OptionDefinition {
    /// The option as a command of ArgumentParser has it.
    fileprivate var argument: (label: String?, value: Any) {
        let name = String(flag.dropFirst(2))
        let help = ArgumentHelp(summary)
        let value: Any =
            switch kind {
            case .boolean: Flag<Bool?>(name: .customLong(name), inversion: .prefixedNo, help: help)
            case .path: Option<String?>(name: .customLong(name), help: help, completion: .file())
            case .choice(let texts): Option<String?>(name: .customLong(name), help: help, completion: .list(texts))
            default: Option<String?>(name: .customLong(name), help: help)
            }
        return (label: "_" + name, value: value)
    }
}
