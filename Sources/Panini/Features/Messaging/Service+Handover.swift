// Owns: which subscriptions the next version of a script takes over from the one that serves, and how: the broker hears nothing
// of those that stay. Loop-bound.

import Bytes
import Logging
import LoopTools
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime

/// What tells one subscription at the broker from another.
struct SubscriptionKey: Hashable {
    let subject: ExactText
    let queue: ExactText?
}

extension SubscriptionKey {
    init(of subject: ListenerSubject) {
        self.init(subject: subject.pattern.key, queue: subject.brokerQueue.map(ExactText.init))
    }
}

/// What the next version will take over.
struct SubscriptionHandover {
    /// Subscriptions of the serving version that nobody has claimed yet.
    var free: [SubscriptionKey: FIFO<ListenerSubject>] = [:]
    /// What is taken over at the switch: from whom, by whom.
    var claims: [(old: ListenerSubject, new: ListenerSubject)] = []
}

extension Service {
    /// Takes a subscription of the serving version for a subject of the next one, if there is one.
    func claim(_ subject: ListenerSubject, of listener: Listener) -> Bool {
        guard staged != nil, listener.script === staged?.script else { return false }
        let key = SubscriptionKey(of: subject)
        guard let old = messaging.handover.free[key]?.popFirst() else {
            staged?.hasSubscribed = true
            return false
        }
        messaging.handover.claims.append((old, subject))
        return true
    }

    func move(_ from: ListenerSubject, _ to: ListenerSubject) {
        // A start task has ended the listener again: the subscription is the old version's, and ends with it.
        guard let listener = to.listener, !listener.isEnded else { return }
        guard let subscription = from.subscription, !subscription.isEnded else {
            // Ended since it was claimed, by the old version itself.
            if let error = subscribe(to, of: listener) {
                logger.error("cannot subscribe to \(to.pattern.subject): \(error.message)")
            }
            return
        }
        to.takeOver(from.endpoint)
        to.subscription = subscription
        subscription.handler = to
        from.subscription = nil
        from.successor = to
    }

    /// Messages that wait for a free place and have not begun run on the new version.
    func moveWaiting(of old: Script) {
        for listener in old.messaging.listeners where !listener.pending.isEmpty {
            var rest = PendingMessages()
            while let message = listener.pending.popFirst() {
                let subject = listener.subjects[message.subjectIndex]
                guard let next = subject.successor, let target = next.listener else {
                    rest.append(message)
                    continue
                }
                target.pending.append(message.moved(to: next.position))
            }
            listener.pending = rest
        }
    }

    func startWaiting(_ listener: Listener) {
        if sync.isOn {
            if !sync.isBusy { deferTurn() }
        } else {
            pump(listener)
        }
    }

    /// What the new version has not taken over ends at the broker; what is under way still comes to the old one.
    func endListening(_ old: Script) {
        for listener in old.messaging.listeners {
            for subject in listener.subjects {
                guard let subscription = subject.subscription else { continue }
                old.lifecycle.subscriptionEnds()
                connection.drain(subscription).assumeIsolated().whenComplete { [self] _ in
                    old.lifecycle.subscriptionEnded()
                    retireIfIdle(old)
                }
            }
        }
    }

    func directoryFollows() {
        if options.services, directory == nil {
            directory = ServicesResponder(service: self)
            directory?.start()
        } else if !options.services, let directory {
            directory.stop()
            self.directory = nil
        }
        directory?.optionsChanged()
        endpointsChanged()
    }
}
