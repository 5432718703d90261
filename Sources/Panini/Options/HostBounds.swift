// Owns: what an untrusted script may set the options to that protect the host. Pure values; any thread. Which those are is said in
// the options' rows.

import ScriptRuntime

/// Bounds that an untrusted script cannot raise by itself: the defaults. Values from outside the script are not its own, and
/// may be anything.
///
/// What counts are memory outside of the Lua state, threads' time, descriptors, and the time for which a stop or an old version
/// waits. How long a script lets its own handlers wait, how it treats its own connection to the broker, what it listens to and
/// how often it asks are its own matter: they cost no more than the bounds here allow.
struct HostBounds: Sendable {
    /// An option that the script has asked more of.
    struct Lowered: Equatable, Sendable {
        let name: String
        let asked: OptionValue
        let bound: OptionValue
    }

    /// The largest value of each option.
    let largest: [String: OptionValue]

    /// Those of untrusted scripts.
    static let untrusted: HostBounds = {
        var largest: [String: OptionValue] = [:]
        for option in OptionDefinition.all {
            switch option.untrustedUse {
            case .upToDefault: largest[option.name] = option.usual
            case .shared(let usual): largest[option.name] = .integer(Int64(usual()))
            case .own, nil: break
            }
        }
        return HostBounds(largest: largest)
    }()

    /// Whether an option's smallest value holds for all services together: less would be taken from the others.
    static func isShared(_ name: String) -> Bool {
        if case .shared = OptionDefinition.byName[name]?.untrustedUse { true } else { false }
    }

    /// The bound of an option, when the value is beyond it.
    func bound(of name: String, _ value: OptionValue) -> OptionValue? {
        switch (value, largest[name]) {
        case (.integer(let asked), .integer(let most)?)
        where asked > most || asked < most && Self.isShared(name):
            .integer(most)
        case (.number(let asked), .number(let most)?) where asked > most: .number(most)
        default: nil
        }
    }
}

extension HostBounds.Lowered {
    /// What the log says.
    var text: String {
        """
        option "\(name)" is \(Self.text(bound)), not \(Self.text(asked)): an untrusted script does not \
        \(HostBounds.isShared(name) ? "choose what others share" : "raise its own bounds") \
        (\(OptionDefinition.byName[name]?.flag ?? name) does)
        """
    }

    private static func text(_ value: OptionValue) -> String {
        switch value {
        case .integer(let number): "\(number)"
        case .number(let number): formatted(number)
        default: "?"
        }
    }
}
