// Owns: the drain of a connection. Nothing is subscribed any more; the server stops sending, and what it had sent is
// delivered; requests get their replies, and whoever works on messages has its time; then publishing stops, a last barrier
// makes sure that the server has everything, and the connection closes. One limit spans all of it. Loop-bound.

import LoopTools
import NATSProtocol
package import NIOCore

/// A drain that is going on.
struct RunningDrain {
    let promise: EventLoopPromise<Void>
    let timeout: TimeAmount
    /// Whether everybody is done with the messages.
    let isHandled: () -> Bool
    /// What is drained.
    var subscriptions: [NATSSubscription] = []
}

extension NATSConnection {
    /// Ends the connection without loss.
    ///
    /// - Parameters:
    ///   - timeout: the limit over all steps; after it the connection is closed as it is, and the result fails with
    ///     `drainTimeout`.
    ///   - isHandled: whether publishing may end as far as the owner knows; when that becomes true later, the owner says
    ///     so with `advanceDrainIfWaiting`. Asked only when all messages were delivered.
    /// - Returns: succeeds when closed. A second call returns the same result. Without a connection it closes at once
    ///   and fails with `disconnected`.
    package func drain(
        timeout: TimeAmount = .seconds(30),
        isHandled: @escaping () -> Bool = { true }
    ) -> EventLoopFuture<Void> {
        eventLoop.assertInEventLoop()
        if let drain { return drain.promise.futureResult }
        guard state != .closed else { return eventLoop.makeSucceededVoidFuture() }
        let promise = eventLoop.makePromise(of: Void.self)
        drain = RunningDrain(promise: promise, timeout: timeout, isHandled: isHandled)
        carryOut(machine.drain())
        return promise.futureResult
    }

    /// Asks the server to end all subscriptions, and to say when it has.
    func startDrain() {
        guard let timeout = drain?.timeout else { return }
        let active = subscriptions.sorted().filter { $0.phase == .active }
        for subscription in active {
            subscription.phase = .draining
            NATSEncoder.unsubscribe(sid: subscription.sid, into: &outbound)
        }
        drain?.subscriptions = active
        timer.schedule(.drainTimedOut, at: eventLoop.now + timeout)
        sendPing(.connectionDrain)
    }

    func endDrainedSubscriptions() {
        let drained = drain?.subscriptions ?? []
        drain?.subscriptions = []
        for subscription in drained {
            end(subscription, .drained)
        }
        advanceDrainIfWaiting()
    }

    /// Goes on to the last step when no request waits any more and nobody works on messages.
    func advanceDrainIfWaiting() {
        guard drain != nil, machine.isAwaitingWork, requests.count == 0, let isHandled = drain?.isHandled, isHandled()
        else { return }
        carryOut(machine.workEnded())
    }

    /// Refuses publishes, and asks the server to say when it has worked on those before.
    func stopPublishing() {
        publishRefusal = .draining
        if inbox.isOpen {
            NATSEncoder.unsubscribe(sid: inbox.sid, into: &outbound)
        }
        sendPing(.connectionDrain)
    }

    func finishDrain() {
        let promise = drain?.promise
        drain = nil
        close(error: nil)
        promise?.succeed(())
    }

    func drainTimedOut() {
        carryOut(machine.drainTimedOut())
    }
}
