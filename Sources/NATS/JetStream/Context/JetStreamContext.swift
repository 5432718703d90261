// Owns: the door to JetStream: where its API is, how long calls may take, and how a call is made and made again.
// Sendable, any thread. Knows no stream and no consumer: what there is to do with them stands in the folders above.

import Bytes
import NATSProtocol
public import NIOCore

extension NATSClient {
    /// JetStream as this client reaches it. Asks nothing of the server; ``JetStreamContext/account()`` does.
    ///
    /// - Parameters:
    ///   - domain: the JetStream domain to ask, nil for that of the server this client is connected to.
    ///   - prefix: what the API's subjects begin with where an account imports them under another name; with a domain
    ///     it cannot be given.
    ///   - timeout: how long a call may take in all, with everything that is tried again (J36).
    /// - Throws: ``JetStreamError`` with code `invalidName`.
    public func jetStream(
        domain: String? = nil,
        prefix: String? = nil,
        timeout: TimeAmount = JetStreamContext.defaultTimeout
    ) throws(JetStreamError) -> JetStreamContext {
        try JetStreamContext(client: self, place: JetStreamPlace(domain: domain, prefix: prefix), timeout: timeout)
    }
}

/// JetStream on the servers of a client: streams, consumers, key-value buckets and object stores.
///
/// A value that costs nothing; made by ``NATSClient/jetStream(domain:prefix:timeout:)``.
public struct JetStreamContext: Sendable {
    /// How long a call may take unless the context says otherwise: 5 s.
    public static let defaultTimeout = TimeAmount.seconds(5)

    /// The client that everything goes over.
    public let client: NATSClient
    /// How long a call may take in all.
    public let timeout: TimeAmount
    let place: JetStreamPlace

    init(client: NATSClient, place: JetStreamPlace, timeout: TimeAmount) {
        self.client = client
        self.place = place
        self.timeout = timeout
    }

    /// The domain that was asked for, nil for that of the server.
    public var domain: String? { place.domain }

    /// The same with another limit for calls.
    ///
    /// - Parameter timeout: how long a call may take in all.
    public func with(timeout: TimeAmount) -> JetStreamContext {
        JetStreamContext(client: client, place: place, timeout: timeout)
    }

    // MARK: - Calls

    /// Calls the API, again while time is left and it helps (J36), and gives the reply as JSON.
    ///
    /// - Parameters:
    ///   - subject: behind the prefix; its parts are checked by the caller. May hold wildcards as plain tokens (A1).
    ///   - level: the API level that the request needs; 0 for none.
    ///   - retriesNoResponders: false where nobody listening is an answer.
    ///   - isDone: whether an error means that an earlier attempt, whose answer was lost, has done it.
    func call(
        _ subject: String,
        _ body: JSONText? = nil,
        level: Int = 0,
        retriesNoResponders: Bool = true,
        isDone: (JetStreamError) -> Bool = { _ in false }
    ) async throws(JetStreamError) -> JSONValue {
        let bytes = body?.bytes() ?? []
        var headers = NATSHeaders()
        if level > 0 { headers.add("Nats-Required-Api-Level", "\(level)") }
        var attempts = JetStreamAttempts(deadline: .now() + timeout, isRepeatable: true)
        while true {
            let failure: JetStreamAttempts.Failure
            do throws(NATSError) {
                let now = NIODeadline.now()
                let reply = try await client.request(
                    unchecked: ByteBuffer(bytes: bytes),
                    to: place.apiPrefix + subject,
                    headers: headers,
                    timeout: attempts.attemptDeadline(at: now) - now
                )
                switch Self.read(reply) {
                case .success(let value): return value
                case .failure(let error):
                    if attempts.mayBeDone, isDone(error) { return .null }
                    failure = .refused(error)
                }
            } catch {
                failure = try Self.failure(error, retriesNoResponders: retriesNoResponders)
            }
            try await Self.pause(attempts.failed(failure, at: .now(), jitter: .random(in: 0...1)))
        }
    }

    private static func read(_ reply: NATSMessage) -> Result<JSONValue, JetStreamError> {
        guard let value = JSONValue(reply: reply.payload), case .object = value else {
            return .failure(.unexpected("the reply of the API"))
        }
        if let error = value.apiError { return .failure(error) }
        return .success(value)
    }

    /// What an error of the client means to the attempts; throws what no further attempt can change.
    static func failure(
        _ error: NATSError,
        retriesNoResponders: Bool = true
    ) throws(JetStreamError) -> JetStreamAttempts.Failure {
        switch error.code {
        case .noResponders where retriesNoResponders: return .noResponders
        case .timeout: return .noAnswer
        // The one before anything is sent is the client's own constant.
        case .disconnected: return error == .disconnected ? .notConnected : .connectionLost
        default: throw JetStreamError(error)
        }
    }

    /// Waits as long as the attempts ask for, or throws their error.
    static func pause(_ action: JetStreamAttempts.Action) async throws(JetStreamError) {
        switch action {
        case .fail(let error): throw error
        case .again(let pause):
            do {
                try await Task.sleep(for: .nanoseconds(pause.nanoseconds))
            } catch {
                throw .cancelled
            }
        }
    }

    /// Runs what a context does on the loop with its result.
    func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable (NATSClientCore) -> EventLoopFuture<Value>
    ) async throws(JetStreamError) -> Value {
        let bound = client.bound
        do {
            return try await client.eventLoop.flatSubmit { body(bound.value) }.get()
        } catch {
            throw JetStreamError(wrapping: error)
        }
    }
}

extension JetStreamError {
    /// Any error of the loop or a future as a `JetStreamError`.
    init(wrapping error: any Error) {
        self = error as? JetStreamError ?? JetStreamError(NATSError(wrapping: error))
    }
}

/// Where the API of a JetStream is: what its subjects begin with.
struct JetStreamPlace: Sendable, Hashable {
    let domain: String?
    /// Ends with a dot.
    let apiPrefix: String

    init(domain: String?, prefix: String?) throws(JetStreamError) {
        guard domain == nil || prefix == nil else {
            throw JetStreamError(.invalidName, "a domain and a prefix cannot both be given")
        }
        if let domain {
            try JetStreamNames.check(domain, "domain")
            apiPrefix = "$JS.\(domain).API."
        } else if let prefix {
            let bare = prefix.utf8.last == ASCII.dot ? String(prefix.dropLast()) : prefix
            try JetStreamNames.checkSubject(bare)
            apiPrefix = bare + "."
        } else {
            apiPrefix = "$JS.API."
        }
        self.domain = domain
    }

    /// Whether it is the one of the server itself.
    var isLocal: Bool { apiPrefix == "$JS.API." }
}
