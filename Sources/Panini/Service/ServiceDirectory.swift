// Owns: a service's place in the NATS services protocol: its identity, the names of its endpoints, and what is counted per
// request. Loop-bound.

import CLuaShim
import Logging
import NATS
import NIOCore

/// Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` for a service.
final class ServiceDirectory: NATSServiceSource {
    private unowned let service: Service
    private let identity: NATSServiceIdentity
    private var responder: NATSServiceResponder?
    private var isDenialLogged = false
    private var isSizeLogged = false
    private var names: Set<String> = []

    init(service: Service) {
        self.service = service
        let options = service.options
        var identity = NATSServiceIdentity(
            name: options.serviceName,
            id: NATSServiceResponder.makeID(),
            version: options.version
        )
        identity.description = options.description ?? ""
        identity.metadata = options.metadata
        self.identity = identity
    }

    func start() {
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

    /// Gives a subject its name, once: the listener's `name`, or one made of the subject; a number tells equal ones apart.
    func name(_ subject: ListenerSubject, of listener: Listener) {
        guard subject.endpoint.name.isEmpty, listener.replies else { return }
        let base = listener.options.name ?? Self.name(of: subject.pattern.subject)
        var name = base
        var number = 2
        while !names.insert(name).inserted {
            name = "\(base)-\(number)"
            number += 1
        }
        subject.endpoint.name = name
    }

    /// A name that a listener's subject had is free again.
    func release(_ subject: ListenerSubject) {
        names.remove(subject.endpoint.name)
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
        service.listeners.values.filter { !$0.isEnded && $0.replies }.sorted { $0.id < $1.id }.flatMap { listener in
            listener.subjects.filter { $0.subscription != nil }.map { subject in
                let counters = subject.endpoint
                var endpoint = NATSServiceEndpoint(name: counters.name, subject: subject.pattern.subject)
                endpoint.queueGroup = listener.queue ?? ""
                endpoint.metadata = listener.options.metadata
                endpoint.requests = counters.requests
                endpoint.errors = counters.errors
                endpoint.lastError = counters.lastError.map { "\($0.code):\($0.message)" } ?? ""
                endpoint.processingTime = counters.processingTime
                return endpoint
            }
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
extension ServiceDirectory: Sendable {}

// MARK: - Counting

extension Service {
    /// Counts a request; returns when it came, 0 when it is none or nobody asks.
    @inline(__always)
    func requestArrived(_ target: ListenerSubject, _ reply: UnsafeRawBufferPointer) -> UInt64 {
        guard !reply.isEmpty, directory != nil else { return 0 }
        target.endpoint.requests &+= 1
        // One look at the clock per read burst: that is when all of its messages arrived.
        if burstTime == 0 { burstTime = worker.now }
        return burstTime
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
        endpoint.processingTime &+= worker.now &- arrived
        if let error {
            endpoint.errors &+= 1
            // The statistics of all endpoints must fit into one message, whatever texts scripts choose.
            endpoint.lastError = ReplyError(error.code, ErrorReply.shortened(error.message))
        }
    }
}
