// Owns: what a service has lost with workers that were stuck, and how far what takes their places has come. Lives on the
// host's loop; touches neither threads nor scripts.

import PaniniHTTP

/// The places of a service that nobody has at the moment, and what is left of those before.
struct Replacements {
    private struct Vacancy {
        /// What the lost one's web server listened on.
        var listening: HTTPListeningSocket?
        /// Counts up with every try, and when one is given up.
        var attempt = 0
        var failures = 0
        var isUnderWay = false
        /// There is a thread for it.
        var hasThread = false
        /// What is being started in the place.
        var instance: WorkerInstance?
    }

    private var vacancies: [Int: Vacancy] = [:]
    /// What was counted by each worker when it was last asked.
    private var counted: [Int: WorkerCounters] = [:]
    /// What those that were lost had counted.
    private(set) var left = WorkerCounters()
    /// How many were replaced so far.
    private(set) var count = 0

    /// The workers whose places nobody has, in order.
    var vacant: [Int] { vacancies.keys.sorted() }
    /// Whether a place is being filled, or will be in a moment.
    var isUnderWay: Bool { vacancies.values.contains { $0.isUnderWay || !$0.hasThread } }
    /// What is being started.
    var starting: [WorkerInstance] { vacant.compactMap { vacancies[$0]?.instance } }

    /// What a worker has counted since its start.
    mutating func counted(_ counters: WorkerCounters, by instance: WorkerInstance) {
        // It may have been lost since it was asked.
        if vacancies[instance.index] == nil { counted[instance.index] = counters }
    }

    /// A worker is lost: either the one that served, or the one that was being started in its place.
    ///
    /// - Parameter listening: Nil when it had none of its own.
    /// - Returns: What was being started there.
    mutating func lost(_ worker: Int, _ listening: HTTPListeningSocket?) -> WorkerInstance? {
        var vacancy = vacancies[worker] ?? Vacancy()
        if let counters = counted.removeValue(forKey: worker) { left = left + counters }
        if let listening { vacancy.listening = listening }
        vacancy.attempt += 1
        vacancy.isUnderWay = false
        vacancy.hasThread = false
        let instance = vacancy.instance
        vacancy.instance = nil
        vacancies[worker] = vacancy
        return instance
    }

    /// There is a thread for a place.
    mutating func threadStarted(_ worker: Int) { vacancies[worker]?.hasThread = true }

    /// A place is being filled.
    ///
    /// - Returns: The number of the try, and what to listen on; nil when there is nothing to do.
    mutating func begin(_ worker: Int) -> (attempt: Int, listening: HTTPListeningSocket?)? {
        guard var vacancy = vacancies[worker], vacancy.hasThread, !vacancy.isUnderWay else { return nil }
        vacancy.isUnderWay = true
        vacancy.attempt += 1
        vacancies[worker] = vacancy
        return (vacancy.attempt, vacancy.listening)
    }

    /// Whether a try still counts.
    func isCurrent(_ attempt: Int, of worker: Int) -> Bool { vacancies[worker]?.attempt == attempt }

    /// The try has come so far that there is something to stop.
    mutating func starts(_ instance: WorkerInstance) { vacancies[instance.index]?.instance = instance }

    /// The place is filled.
    mutating func filled(_ worker: Int) {
        vacancies[worker] = nil
        count += 1
    }

    /// The try has failed.
    ///
    /// - Returns: Seconds until the next one.
    mutating func failed(_ worker: Int) -> Int64 {
        guard var vacancy = vacancies[worker] else { return 0 }
        vacancy.isUnderWay = false
        vacancy.instance = nil
        vacancy.failures += 1
        vacancies[worker] = vacancy
        return min(1 << Int64(min(vacancy.failures - 1, 5)), 30)
    }

    /// The service has ended.
    mutating func end() { vacancies = [:] }
}
