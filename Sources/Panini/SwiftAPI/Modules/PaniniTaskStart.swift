// Owns: where the task of an async Swift function begins. A plain value; any thread.

/// Where the task of an async function or handler begins.
public enum PaniniTaskStart: Sendable, Equatable {
    /// On the worker's thread, where it stays until it first waits for something: another actor, a timer, the network. One
    /// that has its answer without waiting costs no change of thread. What it does before that must not block, and holds
    /// up the worker's messages.
    case onWorker
    /// On a thread of Swift's own pool: for what computes for longer than a worker's messages can wait.
    case offWorker
}
