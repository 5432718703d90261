// Owns: the work that a service continues later: by alarms, in its next turn, or at the outermost level of a script.
// Loop-bound.

import ScriptRuntime

/// The tokens that a service leaves for itself.
enum ServiceWork: UInt64 {
    /// The next start under the "sync" strategy.
    case turn
    /// Sends that waited for the broker.
    case sends
    /// The collector of a service that has calmed down.
    case collection
    /// A look at the memory of a service that has been busy.
    case housekeeping
    /// The time it has for its stop is over.
    case stopDeadline
    /// A broker that was slow may be so still.
    case brokerStillSlow
    /// The check of how much of its worker's time it takes.
    case saturation
    /// The time that a replaced version has for its end is over. The higher bits of the token are the version's generation.
    case drainDeadline

    static func drainDeadline(of generation: Int) -> UInt64 { UInt64(generation) << 8 | drainDeadline.rawValue }
}

extension Service: Resumable {
    func goOn(_ token: UInt64) {
        guard let work = ServiceWork(rawValue: token & 0xFF) else { return }
        switch work {
        case .turn: beginTurns()
        case .sends: sendWaiting()
        case .collection: collect()
        case .housekeeping: performHousekeeping()
        case .stopDeadline: stopDeadlineReached()
        case .brokerStillSlow: brokerStillSlow()
        case .saturation: checkSaturation()
        case .drainDeadline:
            if let old = draining.first(where: { $0.generation == Int(token >> 8) }) { drainDeadlineReached(old) }
        }
    }

    func alarm(_ work: ServiceWork) -> WorkerAlarm { WorkerAlarm(self, work.rawValue) }
}
