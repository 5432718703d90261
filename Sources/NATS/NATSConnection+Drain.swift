// Draining the connection: no new subscriptions; the server stops sending and what it had sent is delivered; requests
// get their replies, and who still works on messages its time; then publishing stops, a last barrier makes sure the server has everything, and the connection
// closes. One limit spans all of it.

import NATSProtocol
package import NIOCore

/// How far a drain has come.
struct DrainProgress {
    enum Step {
        /// UNSUBs are sent, their barrier is under way.
        case subscriptions
        /// Messages are delivered; requests still wait for replies, or somebody works on messages.
        case requests
        /// Publishing has stopped, the last barrier is under way.
        case publishes
    }

    var step = Step.subscriptions
    let promise: EventLoopPromise<Void>
    var subscriptions: [NATSSubscription]
    /// Whether everybody is done with the messages.
    let isHandled: () -> Bool
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
        switch state {
        case .closed: return eventLoop.makeSucceededVoidFuture()
        case .idle, .connecting, .reconnecting:
            close(error: .disconnected)
            return eventLoop.makeFailedFuture(NATSError.disconnected)
        case .connected, .draining: break
        }
        state = .draining
        let promise = eventLoop.makePromise(of: Void.self)
        let active = subscriptions.sorted().filter { $0.phase == .active }
        for subscription in active {
            subscription.phase = .draining
            NATSEncoder.unsubscribe(sid: subscription.sid, into: &outbound)
        }
        drain = DrainProgress(promise: promise, subscriptions: active, isHandled: isHandled)
        timer.schedule(.drainTimedOut, at: eventLoop.now + timeout)
        sendPing(.connectionDrain)
        return promise.futureResult
    }

    /// A barrier of the drain was passed.
    func advanceDrain() {
        guard let drain else { return }
        switch drain.step {
        case .subscriptions:
            self.drain?.step = .requests
            self.drain?.subscriptions = []
            for subscription in drain.subscriptions {
                end(subscription, .drained)
            }
            advanceDrainIfWaiting()
        case .requests:
            break
        case .publishes:
            self.drain = nil
            close(error: nil)
            drain.promise.succeed(())
        }
    }

    /// Goes on to the last step when no request waits any more and nobody works on messages.
    func advanceDrainIfWaiting() {
        guard let drain, case .requests = drain.step, requests.count == 0, link != nil, drain.isHandled()
        else { return }
        self.drain?.step = .publishes
        emit(.publishingEnds)
        // The delegate may have closed.
        guard state != .closed else { return }
        publishRefusal = .draining
        if inboxSID != 0 {
            NATSEncoder.unsubscribe(sid: inboxSID, into: &outbound)
        }
        sendPing(.connectionDrain)
    }

    func drainTimedOut() {
        guard let drain else { return }
        if case .publishes = drain.step {
        } else {
            // The owner hands over what it has accepted, so that it goes out or is counted as lost.
            emit(.publishingEnds)
            guard state != .closed else { return }
        }
        close(error: NATSError(.drainTimeout, "draining took longer than its limit"))
    }
}
