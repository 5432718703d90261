// Runs that wait for a connection, in their order; one can leave from anywhere, as its time may be over. A value;
// loop-bound.

struct HTTPWaitingRuns {
    /// What has left is a gap, until half of all are gaps.
    private var runs: [HTTPFetchRun?] = []
    private var places: [ObjectIdentifier: Int] = [:]
    private var head = 0

    var count: Int { places.count }
    var isEmpty: Bool { places.isEmpty }

    func contains(_ run: HTTPFetchRun) -> Bool { places[ObjectIdentifier(run)] != nil }

    mutating func append(_ run: HTTPFetchRun) {
        places[ObjectIdentifier(run)] = runs.count
        runs.append(run)
    }

    mutating func remove(_ run: HTTPFetchRun) {
        guard let place = places.removeValue(forKey: ObjectIdentifier(run)) else { return }
        runs[place] = nil
        if runs.count > 32, runs.count > 2 * places.count { closeGaps() }
    }

    mutating func popFirst() -> HTTPFetchRun? {
        while head < runs.count {
            let run = runs[head]
            head += 1
            guard let run else { continue }
            remove(run)
            return run
        }
        return nil
    }

    private mutating func closeGaps() {
        runs = runs.filter { $0 != nil }
        head = 0
        for (place, run) in runs.enumerated() {
            if let run { places[ObjectIdentifier(run)] = place }
        }
    }
}
