// Owns: the one error type of the client: a code that can grow without breaking users, and a message for people.

/// Why something with NATS did not work.
///
/// Decide on ``code``; ``message`` is text for people and may change.
public struct NATSError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a failure. More kinds may come; compare with the static members.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Value: String {
            case authorization
            case bufferExceeded
            case cancelled
            case closed
            case connectFailed
            case connectTimeout
            case disconnected
            case drainTimeout
            case draining
            case echoUnsupported
            case headersUnsupported
            case invalidAddress
            case invalidArgument
            case invalidCredentials
            case invalidQueue
            case invalidSubject
            case messageTooLarge
            case noResponders
            case permissionViolation
            case protocolViolation
            case reconnectsExhausted
            case serverError
            case staleConnection
            case timeout
            case tlsFailed
            case tooManyRequests
        }

        private let value: Value

        private init(_ value: Value) {
            self.value = value
        }

        /// The stable name of the code, for logs and metrics.
        public var description: String { value.rawValue }

        /// The server refused the credentials, or asks for some.
        public static let authorization = Code(.authorization)
        /// The outbound or reconnect buffer is full; nothing was sent.
        public static let bufferExceeded = Code(.bufferExceeded)
        /// The task that waited was cancelled.
        public static let cancelled = Code(.cancelled)
        /// The connection is closed for good.
        public static let closed = Code(.closed)
        /// No server could be reached.
        public static let connectFailed = Code(.connectFailed)
        /// The deadline over connecting and the handshake passed.
        public static let connectTimeout = Code(.connectTimeout)
        /// The connection to the server is, or was just, lost.
        public static let disconnected = Code(.disconnected)
        /// Draining did not end within its limit; what was left is lost.
        public static let drainTimeout = Code(.drainTimeout)
        /// The connection is draining and takes no more of this.
        public static let draining = Code(.draining)
        /// The server is too old to leave out a client's own messages (`echo`).
        public static let echoUnsupported = Code(.echoUnsupported)
        /// The server does not know headers.
        public static let headersUnsupported = Code(.headersUnsupported)
        /// A server address could not be understood.
        public static let invalidAddress = Code(.invalidAddress)
        /// Credentials cannot be read or decoded, or their provider failed.
        public static let invalidCredentials = Code(.invalidCredentials)
        /// A number is out of its range.
        public static let invalidArgument = Code(.invalidArgument)
        /// A queue group's name is empty or has white space.
        public static let invalidQueue = Code(.invalidQueue)
        /// A subject is empty, has an empty token, white space, or a wildcard where none may be.
        public static let invalidSubject = Code(.invalidSubject)
        /// Headers and payload together are larger than the server's `max_payload`, or the subjects make a line that is
        /// longer than ``NATSConnectionConfiguration/maxControlLineBytes``.
        public static let messageTooLarge = Code(.messageTooLarge)
        /// Nobody listens on the subject of a request.
        public static let noResponders = Code(.noResponders)
        /// The server denied a publish or a subscription.
        public static let permissionViolation = Code(.permissionViolation)
        /// The server sent something that is not the NATS protocol.
        public static let protocolViolation = Code(.protocolViolation)
        /// The configured number of reconnect attempts is used up.
        public static let reconnectsExhausted = Code(.reconnectsExhausted)
        /// The server reported an error that has no code of its own.
        public static let serverError = Code(.serverError)
        /// The server stopped answering pings.
        public static let staleConnection = Code(.staleConnection)
        /// No answer came before the deadline.
        public static let timeout = Code(.timeout)
        /// TLS could not be set up: a certificate was not accepted, a file cannot be used, or the server speaks no TLS.
        public static let tlsFailed = Code(.tlsFailed)
        /// The configured number of requests is waiting already.
        public static let tooManyRequests = Code(.tooManyRequests)
    }

    /// What kind of failure this is.
    public let code: Code

    /// What happened, in one line for people.
    public let message: String

    /// An error of `code`, explained by `message`.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// Code and message in one line.
    public var description: String { "\(code): \(message)" }
}

extension NATSError {
    static let closed = NATSError(.closed, "the connection is closed")
    static let disconnected = NATSError(.disconnected, "not connected to a server")
    static let draining = NATSError(.draining, "the connection is draining")
}
