// Owns: what services count, by the names that metrics backends know. Values; any thread.

/// A counter of services. The service, and each feature, has rows of its own.
struct WorkerCounter: Hashable, Sendable {
    /// The name that metrics backends know: `panini_fetches`.
    let label: String

    init(_ label: String) { self.label = label }
}

/// What a service has counted since its start.
struct WorkerCounters: Sendable {
    private(set) var values: [WorkerCounter: UInt64] = [:]

    /// Zero for what was not counted.
    subscript(counter: WorkerCounter) -> UInt64 {
        get { values[counter] ?? 0 }
        set { values[counter] = newValue }
    }

    static func + (one: WorkerCounters, other: WorkerCounters) -> WorkerCounters {
        var sum = one
        for (counter, value) in other.values { sum[counter] &+= value }
        return sum
    }
}

/// A number that a feature shows of a service: in the status, in `panini ps --json`, and as a gauge of metrics backends.
struct WorkerFigure: Equatable, Sendable {
    /// What the figures of several workers make together.
    enum Merging: Sendable {
        case sum
        case largest
    }

    var value: Int
    var merging = Merging.sum

    init(_ value: Int, _ merging: Merging = .sum) {
        self.value = value
        self.merging = merging
    }

    /// Both together.
    func merged(with other: WorkerFigure) -> WorkerFigure {
        switch merging {
        case .sum: WorkerFigure(value + other.value, merging)
        case .largest: WorkerFigure(max(value, other.value), merging)
        }
    }
}
