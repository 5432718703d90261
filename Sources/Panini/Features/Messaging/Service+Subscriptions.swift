// Owns: subscribing listeners, barriers with the broker, and the end of listeners. Loop-bound.

import Bytes
import Logging
import LuaVM
import NATS
import NIOCore
import ScriptRuntime

extension Service {
    /// Subscribes what a script listens to since it was loaded.
    func subscribeListeners(of script: Script) -> PaniniError? {
        for listener in script.messaging.loadTimeListeners {
            for subject in listener.subjects {
                guard script.messaging.filters.admits(subject.pattern.subject) else {
                    logger.debug("listener \(subject.pattern.subject) is left out by the filters")
                    continue
                }
                if let error = subscribe(subject, of: listener) {
                    return PaniniError(
                        code: .subscribeDenied,
                        message:
                            "\(options.serviceName): cannot subscribe to \(subject.pattern.subject): \(error.message)"
                    )
                }
            }
        }
        return nil
    }

    func warnOfDoubledSubjects(of script: Script) {
        var seen: [ExactText: Listener] = [:]
        for listener in script.messaging.loadTimeListeners {
            for subject in listener.subjects {
                let key = ExactText("\(subject.pattern.subject) \(listener.queue ?? "")")
                if let other = seen[key], listener.queue == nil {
                    logger.warning(
                        """
                        two listeners on \(subject.pattern.subject) (\(other.origin), \(listener.origin)): both run, and a \
                        requester takes the first reply
                        """
                    )
                }
                seen[key] = listener
            }
        }
    }

    func subscriptionDenied(_ subject: ListenerSubject, _ text: String) {
        let error = PaniniError(
            code: .subscribeDenied,
            message: "\(options.serviceName): the broker denied the subscription to \(subject.pattern.subject): \(text)"
        )
        if lifecycle.isStarting || subject.listener?.isDynamic == false,
            subscriptionDenied(error, of: subject.listener?.script)
        {
            return
        }
        logger.error("the broker denied the subscription to \(subject.pattern.subject): \(text)")
    }

    /// Makes a listener of a script one of the service's.
    func adopt(_ listener: Listener, _ options: AppOptions) {
        listener.queue = listener.options.queueGroup(ofApp: options.queueGroup)
        listener.timeoutNanoseconds = nanoseconds(listener.options.timeout ?? options.handlerTimeout)
        listener.script.messaging.listeners.insert(listener)
    }

    /// Subscribes one subject of a listener, or takes over the subscription that the version before has for it.
    func subscribe(_ subject: ListenerSubject, of listener: Listener) -> CallError? {
        subject.service = self
        subject.messaging = messaging
        settleQueue(of: subject, listener)
        nameEndpoint(subject, of: listener)
        guard serves(listener) else { return nil }
        if claim(subject, of: listener) { return nil }
        do throws(NATSError) {
            subject.subscription = try connection.subscribe(
                subject: subject.pattern.subject,
                queue: subject.brokerQueue,
                context: 0,
                handler: subject
            )
            endpointAdded(subject, of: listener)
            return nil
        } catch {
            switch error.code {
            case .closed: return CallError("closed", error.message)
            case .messageTooLarge: return CallError("too_large", error.message)
            default: return CallError("subscribe", error.message)
            }
        }
    }

    /// Whether this worker serves a listener: one that allows one handler at a time is served by one worker only.
    private func serves(_ listener: Listener) -> Bool {
        guard shared.workers > 1, listener.concurrency == 1, !listener.options.eachWorker else { return true }
        return shared.home(of: listener.subjectList) == worker.index
    }

    /// The group a subject is subscribed under. Several workers share what a plain listener gets.
    private func settleQueue(of subject: ListenerSubject, _ listener: Listener) {
        subject.brokerQueue = listener.queue
        guard shared.workers > 1, listener.queue == nil, !listener.options.eachWorker else { return }
        let ordinal = listener.script.messaging.takeOrdinal(of: subject.pattern.subject)
        subject.ordinal = ordinal
        subject.brokerQueue = shared.ownGroup(subject: subject.pattern.subject, ordinal: ordinal)
    }

    /// Calls `completion` when the broker has taken everything sent so far; with an error when it refused a publish to
    /// one of `subjects`, or did not answer in time.
    func barrier(seconds: Double, publishing subjects: [String], completion: @escaping (CallError?) -> Void) {
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(seconds))
        connection.flush(deadline: deadline, watching: subjects).assumeIsolated().whenComplete { result in
            switch result {
            case .success: completion(nil)
            case .failure(let error): completion(Self.callError(error))
            }
        }
    }

    private static func callError(_ error: any Error) -> CallError {
        guard let error = error as? NATSError else { return CallError("disconnected", "\(error)") }
        switch error.code {
        case .timeout: return CallError("timeout", error.message)
        case .closed, .draining: return CallError("closed", error.message)
        case .permissionViolation: return CallError("permission", error.message)
        default: return CallError("disconnected", error.message)
        }
    }

    /// Ends every listener of a subject that the script has made; returns how many there were.
    func endListeners(of subject: String, in script: Script) -> Int {
        let found = script.messaging.listeners.listeners(to: subject).filter { !$0.isEnded && !$0.isSwift }
        for listener in found { end(listener) }
        return found.count
    }

    /// Ends a listener: its subscriptions now, its running and waiting messages as they are done.
    func end(_ listener: Listener) {
        guard !listener.isEnded else { return }
        listener.isEnded = true
        for subject in listener.subjects {
            if let subscription = subject.subscription { connection.unsubscribe(subscription) }
            subject.subscription = nil
            if let ordinal = subject.ordinal {
                listener.script.messaging.giveBack(ordinal: ordinal, of: subject.pattern.subject)
            }
        }
        forgetEndpointNames(of: listener)
        releaseIfDone(listener)
    }

    /// Gives back what an ended listener holds in the Lua state, once nothing of it runs or waits.
    func releaseIfDone(_ listener: Listener) {
        guard listener.isEnded, listener.active == 0, listener.pending.isEmpty, !listener.isPumping else { return }
        let script = listener.script
        guard script.messaging.listeners.remove(listener.id) != nil else { return }
        for subject in listener.subjects { subject.detach() }
        guard script.phase != .closed else { return }
        for entry in [listener.publishEntry, listener.requestEntry] where entry.index != listener.handler.index {
            script.vm.release(entry)
        }
        script.vm.release(listener.handler)
        script.vm.discharge(256 + listener.subjects.count * Listener.chargePerSubject)
        for layer in listener.middlewares { script.release(layer) }
        for subject in listener.subjects {
            if let parameters = subject.parameters { script.vm.release(parameters) }
        }
    }
}
