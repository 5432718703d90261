// Owns: which worker and which generation a script is for, and what the host gives to its features. A value; made where the
// script is loaded.

/// Where a script runs.
package struct ScriptPlace: Sendable {
    /// Counts up with each version of the service's code.
    package var generation = 1
    /// Which of the workers, from 0.
    package var worker = 0
    package var workers = 1
    /// The name of the worker's thread; nil: the thread that loads it.
    package var threadName: String?
    /// What a script is made of, beside the runtime.
    package var features: [ScriptFeature.Type] = []
    private var hostValues: [ObjectIdentifier: any Sendable] = [:]

    package init() {}

    /// Gives something to features, by the type that it has.
    package mutating func give(_ value: any Sendable) { hostValues[ObjectIdentifier(type(of: value))] = value }

    /// What the host gives to features, by its type: each feature knows its own.
    package subscript<HostValue: Sendable>(_ kind: HostValue.Type) -> HostValue? {
        get { hostValues[ObjectIdentifier(kind)] as? HostValue }
        set { hostValues[ObjectIdentifier(kind)] = newValue }
    }
}
