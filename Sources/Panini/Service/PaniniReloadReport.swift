// Owns: what is told of a reload. Pure values; any thread.

/// What a reload of a service has changed.
public struct PaniniReloadReport: Sendable, Equatable {
    /// The service's name.
    public let serviceName: String
    /// The version before; versions count up from 1.
    public let from: Int
    /// The version that serves now.
    public let to: Int
    /// From the decision to reload to the switch on all workers, in milliseconds.
    public let milliseconds: Double
    /// Listeners' subjects, routes and timers that were not there before.
    public let added: [String]
    /// Those that are no longer there.
    public let removed: [String]
    /// Those that stay with other options.
    public let changed: [String]
    /// How many handlers still ran on the version before when it was replaced.
    public let inFlight: Int

    /// One line for people.
    public var line: String {
        var parts = ["\(serviceName) reloaded: version \(from) to \(to) in \(Int(milliseconds.rounded())) ms"]
        for (word, names) in [("added", added), ("removed", removed), ("changed", changed)] where !names.isEmpty {
            let more = names.count > 5 ? " and \(names.count - 5) more" : ""
            parts.append("\(word) \(names.prefix(5).joined(separator: ", "))\(more)")
        }
        if inFlight > 0 { parts.append("\(inFlight) in flight on version \(from)") }
        return parts.joined(separator: "; ")
    }
}
