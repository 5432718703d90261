// Owns: a value under a lock that tasks can wait for. Whoever changes it wakes them. Any number may wait; a cancelled one
// returns at once. Safe on any thread; nobody's code runs under the lock but the closures given here.

import NIOConcurrencyHelpers

final class WaitableBox<Value: Sendable>: Sendable {
    private struct State {
        var value: Value
        var lastWaiter = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    private let state: NIOLockedValueBox<State>

    init(_ value: Value) {
        state = NIOLockedValueBox(State(value: value))
    }

    func withValue<Result>(_ body: (inout Value) -> Result) -> Result {
        state.withLockedValue { body(&$0.value) }
    }

    /// As `withValue`, and tells `body` whether a task waits, who will see the change when `wake` is called.
    func withValueAndWaiters<Result>(_ body: (inout Value, _ hasWaiters: Bool) -> Result) -> Result {
        state.withLockedValue { body(&$0.value, !$0.waiters.isEmpty) }
    }

    /// Lets everybody who waits look again.
    func wake() {
        let waiters = state.withLockedValue { state in
            defer { state.waiters.removeAll(keepingCapacity: true) }
            return state.waiters
        }
        for waiter in waiters.values {
            waiter.resume()
        }
    }

    /// Returns when the value may be as wanted, or the task is cancelled: look, then wait again.
    ///
    /// - Parameter isReady: whether there is no need to wait; asked once, so that a change since the last look counts.
    func wait(isolation actor: isolated (any Actor)?, unless isReady: (Value) -> Bool) async {
        let id = state.withLockedValue { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: actor) { (continuation: CheckedContinuation<Void, Never>) in
                let mustWait = state.withLockedValue { state in
                    if isReady(state.value) || Task.isCancelled { return false }
                    state.waiters[id] = continuation
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }
}
