// Owns: what the runtime needs of whoever runs scripts: a worker, turns on it, and ears for what happens in them. Loop-bound.

/// Runs scripts on a worker.
open class ScriptHost {
    /// Where its scripts run.
    public let worker: Worker
    /// Its part of the worker's time.
    public let turn: ServiceTurn

    /// Whoever runs scripts there.
    public init(worker: Worker, turn: ServiceTurn) {
        self.worker = worker
        self.turn = turn
    }

    /// Whether the end of what runs in a script is waited for.
    open func awaitsEnd(of script: Script) -> Bool { false }

    /// Something has ended in a script whose end is waited for.
    open func endIfIdle(_ script: Script) {}

    /// A script has worked for a reason of its own: a sleep was over.
    open func workWasDone() {}

    /// The Lua state of a script is full and stays so. Called once for each script, in the middle of its work: what is to
    /// be done about it begins in a later turn of the loop.
    open func scriptExhausted(_ script: Script) {}
}

@available(*, unavailable)
extension ScriptHost: Sendable {}
