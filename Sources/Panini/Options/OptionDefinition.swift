// Owns: what an option of `panini.app{...}` is: name, type, default, bounds, help text, the field that it sets, and what an
// untrusted script may make of it. Pure values; any thread. The rows themselves stand in OptionDefinition+All.swift. One table
// serves the script's own options, the command line's flags, the environment, configuration files, the editor types and the
// documentation, so that a name cannot exist in one and not in the other.

import Bytes
import ScriptRuntime

/// A value of an option, once its type has been checked.
public enum OptionValue: Equatable, Sendable {
    /// A text.
    case string(String)
    /// A whole number.
    case integer(Int64)
    /// A number; durations are seconds.
    case number(Double)
    /// A yes or no.
    case boolean(Bool)
    /// A list of texts.
    case list([String])
    /// Texts by name.
    case map([String: String])
}

/// One option of `panini.app{...}`.
public struct OptionDefinition: Sendable {
    /// The type of an option's value and its bounds.
    public enum Kind: Sendable {
        /// A text.
        case string
        /// The path of a file, relative to where it is written: the script's folder, the configuration file's folder, or
        /// the current directory for the command line and the environment.
        case path
        /// One of a few texts.
        case choice([String])
        /// A whole number within bounds.
        case integer(ClosedRange<Int64>)
        /// A number within bounds; durations are in seconds.
        case number(ClosedRange<Double>)
        /// A yes or no.
        case boolean
        /// A number of bytes, also as a text such as "64MB" (powers of 1024).
        case size(ClosedRange<Int64>)
        /// A list of texts; one text is a list of one.
        case list
        /// Texts by name.
        case map
    }

    /// What a value of the option does.
    enum Effect: Sendable {
        /// It becomes the value of a field of ``AppOptions``.
        case sets(OptionField)
        /// It is kept under its name, for the feature that has brought it.
        case isKept(usual: OptionValue?)
        /// It is read together with others, which have to fit to it: credentials.
        case isReadWithOthers
        /// Nothing: it is accepted for the sake of scripts that come from elsewhere.
        case nothing
    }

    /// What an untrusted script may make of an option with a number.
    enum UntrustedUse: Sendable {
        /// Whatever it likes: it is the script's own matter.
        case own
        /// At most the default: it protects the host.
        case upToDefault
        /// Exactly this default: it holds for all services together, and less would be taken from the others.
        case shared(@Sendable () -> Int)
    }

    /// The option's name; a nested one has a dot, as in `auth.user`.
    public let name: String
    /// Type and bounds.
    public let kind: Kind
    /// True for values that must never be shown.
    public private(set) var isSecret = false
    let effect: Effect
    /// Nil for an option that has no number.
    let untrustedUse: UntrustedUse?
    /// Whether a running service keeps it for as long as it lives: what its connection was made of, and what it is.
    private(set) var isFixed = false
    /// Whether it is the whole program's: no script sets it.
    private(set) var isOfHost = false
    /// The help text; `{default}` stands for the default.
    private let help: String

    init(_ name: String, _ kind: Kind, _ effect: Effect, _ help: String, _ untrustedUse: UntrustedUse? = nil) {
        self.name = name
        self.kind = kind
        self.effect = effect
        self.help = help
        self.untrustedUse = untrustedUse
    }

    /// The same option, kept for as long as a service lives.
    var fixed: OptionDefinition {
        var option = self
        option.isFixed = true
        return option
    }

    /// The same option, for the whole program: a ``HostFeature`` asks for its value, and no script sets it.
    var ofHost: OptionDefinition {
        var option = self
        option.isOfHost = true
        return option
    }

    /// The same option, whose values are never shown.
    var secret: OptionDefinition {
        var option = self
        option.isSecret = true
        return option
    }

    /// One line for help texts.
    public var summary: String {
        let mark = "{default}"
        guard let range = help[...].range(ofText: mark) else { return help }
        return "\(help[..<range.lowerBound])\(defaultText ?? mark)\(help[range.upperBound...])"
    }

    /// The command line's flag: `--web-port`.
    public var flag: String { "--" + name.map { $0 == "_" || $0 == "." ? "-" : String($0) }.joined() }

    /// The environment's variable: `PANINI_WEB_PORT`.
    public var environmentName: String { "PANINI_" + name.map { $0 == "." ? "_" : String($0) }.joined().uppercased() }

    package static let byName: [String: OptionDefinition] = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// The names a script may write at the top of its table: `auth` for all of `auth.*`.
    static let topLevelNames: [String] = {
        var seen: Set<String> = []
        return all.map { String($0.name.prefix(while: { $0 != "." })) }.filter { seen.insert($0).inserted }
    }()

    /// The names inside a nested table, or an empty list when the option is not a nested one.
    static func nestedNames(of group: String) -> [String] {
        all.filter { $0.name.hasPrefix(group + ".") }.map { String($0.name.dropFirst(group.count + 1)) }
    }

    // MARK: - The field

    /// What the option is where nobody has said anything; nil when that is made up later, or nothing.
    var usual: OptionValue? { value(in: AppOptions()) }

    /// What the option is in these.
    func value(in options: AppOptions) -> OptionValue? {
        switch effect {
        case .sets(let field): field.value(in: options)
        case .isKept(let usual): options.kept[name] ?? usual
        case .isReadWithOthers, .nothing: nil
        }
    }

    /// Makes a checked value the field's.
    func apply(_ value: OptionValue, to options: inout AppOptions) {
        switch effect {
        case .sets(let field):
            let isSet = field.set(value, in: &options)
            // A row's kind and its field are made together, below.
            precondition(isSet, "the option \(name) and its field have one type")
        case .isKept: options.keep(value, of: self)
        case .isReadWithOthers, .nothing: break
        }
    }

    /// The default as it is shown.
    var defaultText: String? {
        switch (usual, kind) {
        case (.integer(let bytes)?, .size): bytes > 0 && bytes % (1 << 20) == 0 ? "\(bytes >> 20)MB" : "\(bytes)"
        case (.integer(let number)?, _): "\(number)"
        case (.number(let number)?, _): formatted(number)
        case (.boolean(let flag)?, _): "\(flag)"
        case (.string(let text)?, _): "\"\(text)\""
        case (.list?, _), (.map?, _), (nil, _): nil
        }
    }
}

// MARK: - Rows

extension OptionDefinition {
    static func text(_ name: String, _ field: OptionField.Path<String>, _ help: String) -> OptionDefinition {
        .init(name, .string, .sets(.text(field)), help)
    }

    static func optionalText(_ name: String, _ field: OptionField.Path<String?>, _ help: String) -> OptionDefinition {
        .init(name, .string, .sets(.optionalText(field)), help)
    }

    static func path(_ name: String, _ field: OptionField.Path<String?>, _ help: String) -> OptionDefinition {
        .init(name, .path, .sets(.optionalText(field)), help)
    }

    static func choice(
        _ name: String,
        _ field: OptionField.Path<String>,
        of choices: [String],
        _ help: String
    ) -> OptionDefinition {
        .init(name, .choice(choices), .sets(.text(field)), help)
    }

    static func flag(_ name: String, _ field: OptionField.Path<Bool>, _ help: String) -> OptionDefinition {
        .init(name, .boolean, .sets(.flag(field)), help)
    }

    static func list(_ name: String, _ field: OptionField.Path<[String]>, _ help: String) -> OptionDefinition {
        .init(name, .list, .sets(.list(field)), help)
    }

    static func map(_ name: String, _ field: OptionField.Path<[String: String]>, _ help: String) -> OptionDefinition {
        .init(name, .map, .sets(.map(field)), help)
    }

    static func integer(
        _ name: String,
        _ field: OptionField.Path<Int>,
        in range: ClosedRange<Int64>,
        _ help: String,
        untrusted: UntrustedUse
    ) -> OptionDefinition {
        .init(name, .integer(range), .sets(.integer(field)), help, untrusted)
    }

    static func number(
        _ name: String,
        _ field: OptionField.Path<Double>,
        in range: ClosedRange<Double>,
        _ help: String,
        untrusted: UntrustedUse
    ) -> OptionDefinition {
        .init(name, .number(range), .sets(.number(field)), help, untrusted)
    }

    static func size(
        _ name: String,
        _ field: OptionField.Path<Int>,
        in range: ClosedRange<Int64>,
        _ help: String,
        untrusted: UntrustedUse
    ) -> OptionDefinition {
        .init(name, .size(range), .sets(.integer(field)), help, untrusted)
    }

    static func optionalSize(
        _ name: String,
        _ field: OptionField.Path<Int?>,
        in range: ClosedRange<Int64>,
        _ help: String,
        untrusted: UntrustedUse
    ) -> OptionDefinition {
        .init(name, .size(range), .sets(.optionalInteger(field)), help, untrusted)
    }

    /// An option of a feature: it reads it with ``AppOptions/value(of:)``.
    static func kept(
        _ name: String,
        _ kind: Kind,
        usual: OptionValue?,
        _ help: String,
        untrusted: UntrustedUse? = nil
    ) -> OptionDefinition {
        .init(name, kind, .isKept(usual: usual), help, untrusted)
    }

    static func credential(_ name: String, _ kind: Kind, _ help: String) -> OptionDefinition {
        .init(name, kind, .isReadWithOthers, help).fixed
    }

    static func accepted(_ name: String, _ kind: Kind, _ help: String) -> OptionDefinition {
        .init(name, kind, .nothing, help)
    }
}
