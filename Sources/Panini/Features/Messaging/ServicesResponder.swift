// Owns: a service's place in the NATS services protocol: its identity, the names of its endpoints, and what is counted per
// request. Loop-bound.

import CScriptObjects
import Logging
import NATS
import NIOCore
import ScriptRuntime
import Synchronization

/// Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` for a service.
final class ServicesResponder: NATSServiceSource {
    private unowned let service: Service
    private var identity: NATSServiceIdentity
    private var responder: NATSServiceResponder?
    private var isDenialLogged = false
    private var isSizeLogged = false
    /// The others are to be told anew what this worker serves.
    fileprivate var isChangePending = false
    /// Of the endpoints of the script that serves.
    var names = EndpointNames()

    init(service: Service) {
        self.service = service
        identity = Self.identity(service.options, id: service.shared.serviceID)
    }

    private static func identity(_ options: AppOptions, id: String) -> NATSServiceIdentity {
        var identity = NATSServiceIdentity(name: options.serviceName, id: id, version: options.version)
        identity.description = options.description ?? ""
        identity.metadata = options.metadata
        return identity
    }

    /// The service's options have changed: what tells of it is the same instance.
    func optionsChanged() {
        identity = Self.identity(service.options, id: identity.id)
        responder?.identity = identity
    }

    /// Answers for all workers; the others only count.
    func start() {
        guard service.worker.isFirst else { return }
        let responder = NATSServiceResponder(identity: identity, connection: service.connection, source: self)
        self.responder = responder
        do throws(NATSError) {
            try responder.start()
        } catch {
            service.logger.warning("the services protocol is not answered: \(error.message)")
        }
    }

    func stop() { responder?.stop() }

    /// The connection is up again: what the broker denied may be allowed now.
    func reconnected() {
        guard let responder, responder.isDenied else { return }
        do throws(NATSError) {
            try responder.retryDenied()
        } catch {
            // The connection is ending.
            return
        }
        let deadline = NIODeadline.now() + .nanoseconds(nanoseconds(service.options.connectTimeout))
        service.connection.flush(deadline: deadline).assumeIsolated().whenSuccess { [self] in
            guard !responder.isDenied, isDenialLogged else { return }
            isDenialLogged = false
            service.logger.info("the service is found by the services protocol again")
        }
    }

    /// Every character a name may not have becomes `_`; wildcards become words.
    static func name(of subject: String) -> String {
        subject.split(separator: ".").map { token in
            switch token {
            case "*": "any"
            case ">": "all"
            default: String(decoding: token.utf8.map { isNameByte($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
            }
        }.joined(separator: "_")
    }

    var serviceEndpoints: [NATSServiceEndpoint] {
        service.tellEndpoints()
        return service.shared.allRows().map { rows in
            var endpoint = NATSServiceEndpoint(name: rows[0].name, subject: rows[0].subject)
            endpoint.queueGroup = rows[0].queue
            endpoint.metadata = rows[0].metadata
            for row in rows {
                let counters = row.endpoint
                endpoint.requests &+= counters.requests.load(ordering: .relaxed)
                endpoint.errors &+= counters.errors.load(ordering: .relaxed)
                endpoint.processingTime &+= counters.processingTime.load(ordering: .relaxed)
                if let error = counters.lastError { endpoint.lastError = "\(error.code):\(error.message)" }
            }
            return endpoint
        }
    }

    func serviceSubjectDenied(_ subject: String, _ text: String) {
        guard !isDenialLogged else { return }
        isDenialLogged = true
        service.logger.warning(
            "the broker denied \(subject): the service is not, or not fully, found by the services protocol: \(text)"
        )
    }

    func serviceAnswerTooLarge(_ verb: NATSServiceVerb, leftOut: Int?, limit: Int) {
        guard !isSizeLogged else { return }
        isSizeLogged = true
        let consequence = leftOut.map { "\($0) endpoints are left out" } ?? "it is an error"
        service.logger.warning(
            "the answer to $SRV.\(verb.token) does not fit into the broker's max_payload of \(limit) bytes: \(consequence)"
        )
    }
}

@available(*, unavailable)
extension ServicesResponder: Sendable {}

// MARK: - What is served

extension Service {
    /// What this worker serves is another script's from here on: told to the others once, after the turn of the loop that is
    /// going on. What comes and goes by itself is told by itself, at the same cost however much else there is.
    func endpointsChanged() {
        guard let directory, !directory.isChangePending else { return }
        directory.isChangePending = true
        worker.eventLoop.assumeIsolated().execute { [self] in tellEndpoints() }
    }

    func tellEndpoints() {
        guard let directory, directory.isChangePending else { return }
        directory.isChangePending = false
        guard !lifecycle.isStopped else { return }
        directory.names = EndpointNames()
        var told: [(ListenerSubject, SharedServiceState.Row)] = []
        for listener in script.messaging.listeners where !listener.isEnded && listener.replies {
            for subject in listener.subjects {
                name(subject, of: listener, directory)
                guard subject.subscription != nil else { continue }
                told.append((subject, row(of: subject, listener)))
            }
        }
        let first = shared.setRows(told.map(\.1), of: worker.index, incarnation: worker.incarnation)
        for (place, (subject, _)) in told.enumerated() { subject.endpointRow = first + UInt64(place) }
    }

    /// The directory, when what a listener does is to be told at once: what is told as a whole soon has it in it.
    private func openDirectory(for listener: Listener) -> ServicesResponder? {
        guard let directory, !directory.isChangePending, listener.replies, listener.script === script else {
            return nil
        }
        return directory
    }

    /// Names a subject, also on the workers that do not serve it: it has the same name on all of them.
    func nameEndpoint(_ subject: ListenerSubject, of listener: Listener) {
        if let directory = openDirectory(for: listener) { name(subject, of: listener, directory) }
    }

    func endpointAdded(_ subject: ListenerSubject, of listener: Listener) {
        guard openDirectory(for: listener) != nil else { return }
        let name = subject.endpointName
        let pattern = subject.pattern.subject
        if isReplacement, let known = shared.endpoint(leftBy: worker.index, name: name, subject: pattern) {
            subject.takeOver(known)
        }
        subject.endpointRow = shared.add(
            row(of: subject, listener),
            of: worker.index,
            incarnation: worker.incarnation
        )
    }

    func endpointEnded(_ subject: ListenerSubject) {
        guard let key = subject.endpointRow else { return }
        subject.endpointRow = nil
        shared.remove(key, of: worker.index)
    }

    func forgetEndpointNames(of listener: Listener) {
        for subject in listener.subjects where !subject.endpointName.isEmpty {
            endpointEnded(subject)
            openDirectory(for: listener)?.names.giveBack(subject.endpointName)
        }
    }

    private func row(of subject: ListenerSubject, _ listener: Listener) -> SharedServiceState.Row {
        SharedServiceState.Row(
            name: subject.endpointName,
            subject: subject.pattern.subject,
            queue: listener.queue ?? "",
            metadata: listener.options.metadata,
            endpoint: subject.endpoint
        )
    }

    /// Gives a subject its name, once: the listener's `name`, or one made of the subject; a number tells equal ones apart.
    private func name(_ subject: ListenerSubject, of listener: Listener, _ directory: ServicesResponder) {
        if !subject.endpointName.isEmpty, directory.names.take(subject.endpointName) { return }
        let base = listener.options.name ?? ServicesResponder.name(of: subject.pattern.subject)
        subject.endpointName = directory.names.make(base)
    }
}

// MARK: - Counting

extension Service {
    /// Counts a request; returns when it came, 0 when it is none or nobody asks.
    @inline(__always)
    func requestArrived(_ target: ListenerSubject, _ reply: UnsafeRawBufferPointer) -> UInt64 {
        guard !reply.isEmpty, let messaging = target.messaging, messaging.directory != nil else { return 0 }
        target.endpoint.requests.add(1)
        // One look at the clock per read burst: that is when all of its messages arrived.
        let events = messaging.events
        if events.burstTime == 0 { events.burstTime = worker.now }
        return events.burstTime
    }

    /// A request's reply is with the connection.
    func requestAnswered(_ message: UnsafeMutablePointer<panini_message>, _ error: ReplyError? = nil) {
        guard let pointer = message.pointee.endpoint else { return }
        let endpoint = Unmanaged<Endpoint>.fromOpaque(pointer).takeUnretainedValue()
        requestAnswered(endpoint, message.pointee.arrived, error)
        // Counted once, whatever else happens to the message.
        message.pointee.arrived = 0
    }

    func requestAnswered(_ endpoint: Endpoint, _ arrived: UInt64, _ error: ReplyError?) {
        endpoint.processingTime.add(worker.now &- arrived)
        if let error {
            endpoint.errors.add(1)
            // The statistics of all endpoints must fit into one message, whatever texts scripts choose.
            endpoint.lastError = ReplyError(error.code, ErrorReply.shortened(error.message))
        }
    }
}
