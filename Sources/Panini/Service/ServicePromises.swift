// Owns: what somebody outside of a service waits for, and whom it calls. Values of a Service; loop-bound. The
// ServiceMachine says when; each promise is completed once.

import NIOCore
import ScriptRuntime

/// Those who wait for a service on one worker.
struct ServicePromises {
    /// For its start.
    var start: EventLoopPromise<Void>?
    /// From its start until it serves.
    var activation: EventLoopPromise<Void>?
    var stop: EventLoopPromise<Void>?
}

/// Those who hear of what a service on one worker does by itself.
struct ServiceCallbacks {
    /// Called once, when it cannot go on.
    var failed: ((PaniniError) -> Void)?
    /// Called once for each script whose Lua state is full even after a collection: where it is replaced, as in a reload.
    var exhausted: ((Script) -> Void)?
}

extension EventLoopPromise where Value == Void {
    func complete(_ outcome: LifecycleOutcome<PaniniError>) {
        switch outcome {
        case .succeeded: succeed()
        case .failed(let error): fail(error)
        case .cancelled: fail(CancellationError())
        }
    }
}
