// Owns: the one error type of JetStream calls: a code that can grow without breaking users, the server's own number,
// and a message for people. Which number of the server means which code stands here alone. A value, any thread.

/// Why something with JetStream did not work.
///
/// Decide on ``code``, or on ``errorCode`` where a server's number has no code of its own; ``message`` is text for
/// people and may change. The server's numbers are those of ADR-7 (`err_code`).
public struct JetStreamError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a failure. More kinds may come; compare with the static members.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Value: String {
            case api
            case apiLevel
            case batch
            case cancelled
            case connection
            case consumerExists
            case consumerNameInUse
            case consumerUpdateRefused
            case corrupt
            case counter
            case disconnected
            case duplicateInFlight
            case exists
            case filters
            case invalidArgument
            case invalidConfiguration
            case invalidName
            case invalidTTL
            case messageTooLarge
            case noConsumer
            case noMessage
            case noStream
            case notEnabled
            case offline
            case permission
            case resources
            case rollupRefused
            case schedule
            case sealed
            case settled
            case streamExists
            case streamFull
            case subjectsOverlap
            case timeout
            case tooManyRequests
            case unavailable
            case unexpectedReply
            case wrongMessageID
            case wrongSequence
            case wrongStream
        }

        private let value: Value

        private init(_ value: Value) { self.value = value }

        /// The stable name of the code, for logs and metrics.
        public var description: String { value.rawValue }

        /// An error of the server that has no code of its own; see ``JetStreamError/errorCode``.
        public static let api = Code(.api)
        /// The server is too old for what was asked (10185, status 412).
        public static let apiLevel = Code(.apiLevel)
        /// An atomic or fast batch was refused (10174 to 10179, 10199 to 10211); nothing of an atomic one is stored.
        public static let batch = Code(.batch)
        /// The task that waited was cancelled.
        public static let cancelled = Code(.cancelled)
        /// The client could not send or receive; see ``JetStreamError/underlying``.
        public static let connection = Code(.connection)
        /// A consumer of this name exists, with another configuration (10148).
        public static let consumerExists = Code(.consumerExists)
        /// Another consumer has the name (10013).
        public static let consumerNameInUse = Code(.consumerNameInUse)
        /// A field of a consumer that cannot be changed differs (10012); the message names it.
        public static let consumerUpdateRefused = Code(.consumerUpdateRefused)
        /// What is stored is not what was put: a part is missing, or the digest differs.
        public static let corrupt = Code(.corrupt)
        /// A counter was refused (10168 to 10172).
        public static let counter = Code(.counter)
        /// The connection was lost while an answer was waited for: whether it was done is unknown.
        public static let disconnected = Code(.disconnected)
        /// A message of the same id is being stored at the moment (10158).
        public static let duplicateInFlight = Code(.duplicateInFlight)
        /// There is one already that was to be created.
        public static let exists = Code(.exists)
        /// The filters of a consumer are refused (10131, 10136 to 10139).
        public static let filters = Code(.filters)
        /// A number or a combination of arguments cannot be.
        public static let invalidArgument = Code(.invalidArgument)
        /// The server refuses a configuration (10052, 10025).
        public static let invalidConfiguration = Code(.invalidConfiguration)
        /// A name, key or subject cannot be one; nothing was sent.
        public static let invalidName = Code(.invalidName)
        /// The stream takes no time to live, or not this one (10165, 10166).
        public static let invalidTTL = Code(.invalidTTL)
        /// Headers and payload are larger than the stream or the server takes (10054).
        public static let messageTooLarge = Code(.messageTooLarge)
        /// There is no such consumer (10014, 10149).
        public static let noConsumer = Code(.noConsumer)
        /// There is no such message, key or object (10037, 10043, status 404).
        public static let noMessage = Code(.noMessage)
        /// There is no such stream, or none that takes the subject (10059).
        public static let noStream = Code(.noStream)
        /// JetStream is not there: not enabled on the server or for the account, or the domain is wrong (10039, 10076).
        public static let notEnabled = Code(.notEnabled)
        /// A stream or consumer is offline, because its server does not support it (10118, 10119, 10194, 10195).
        public static let offline = Code(.offline)
        /// The server denied the publish or the subscription.
        public static let permission = Code(.permission)
        /// Servers, storage or limits of the account do not suffice (10002, 10005, 10023, 10026 to 10028, 10047,
        /// 10074).
        public static let resources = Code(.resources)
        /// The stream takes no rollups (10111).
        public static let rollupRefused = Code(.rollupRefused)
        /// A schedule was refused (10188 to 10192, 10203, 10212, 10223).
        public static let schedule = Code(.schedule)
        /// The stream is sealed (10109).
        public static let sealed = Code(.sealed)
        /// The delivery was acknowledged, refused or given back before.
        public static let settled = Code(.settled)
        /// A stream of this name exists, with another configuration (10058).
        public static let streamExists = Code(.streamExists)
        /// The stream is full and discards new messages (10077).
        public static let streamFull = Code(.streamFull)
        /// Another stream takes one of the subjects (10065).
        public static let subjectsOverlap = Code(.subjectsOverlap)
        /// No answer came in time: whether it was done is unknown.
        public static let timeout = Code(.timeout)
        /// The server has too much to do (10167, status 429).
        public static let tooManyRequests = Code(.tooManyRequests)
        /// Nobody answers at the moment: there is no leader, or nobody listens on the subject (10008, status 503).
        public static let unavailable = Code(.unavailable)
        /// An answer is not what the protocol says.
        public static let unexpectedReply = Code(.unexpectedReply)
        /// The last message id is not the expected one (10070).
        public static let wrongMessageID = Code(.wrongMessageID)
        /// The last sequence, or the revision of a key, is not the expected one (10071, 10164).
        public static let wrongSequence = Code(.wrongSequence)
        /// Another stream than the expected one takes the subject (10060).
        public static let wrongStream = Code(.wrongStream)
    }

    /// What kind of failure this is.
    public let code: Code

    /// What happened, in one line for people.
    public let message: String

    /// The server's number (`err_code`), 0 when the failure is not one of the server's.
    public let errorCode: Int

    /// What the client failed with, nil when the server, or a check before sending, failed.
    public let underlying: NATSError?

    /// An error of `code`, explained by `message`.
    public init(_ code: Code, _ message: String, errorCode: Int = 0, underlying: NATSError? = nil) {
        self.code = code
        self.message = message
        self.errorCode = errorCode
        self.underlying = underlying
    }

    /// Code and message in one line.
    public var description: String {
        errorCode == 0 ? "\(code): \(message)" : "\(code) (\(errorCode)): \(message)"
    }
}

extension JetStreamError {
    /// An error as the server tells it.
    ///
    /// - Parameters:
    ///   - errorCode: `err_code`.
    ///   - status: `code`, which is one of HTTP's.
    init(errorCode: Int, status: Int, description: String) {
        let text = description.isEmpty ? "the server says \(errorCode)" : description
        self.init(Code(errorCode: errorCode, status: status), text, errorCode: errorCode)
    }

    /// What the client failed with.
    init(_ error: NATSError) {
        let code: Code =
            switch error.code {
            case .timeout: .timeout
            case .noResponders: .unavailable
            case .disconnected: .disconnected
            case .permissionViolation: .permission
            case .messageTooLarge: .messageTooLarge
            case .invalidSubject: .invalidName
            case .cancelled: .cancelled
            default: .connection
            }
        self.init(code, error.message, underlying: error)
    }

    static let cancelled = JetStreamError(.cancelled, "the task that waited was cancelled")

    static func unexpected(_ what: String) -> JetStreamError {
        JetStreamError(.unexpectedReply, "\(what) is not what the protocol says")
    }
}

extension JetStreamError.Code {
    /// What a number of the server means (A3 of the notes; `server/errors.json` of nats-server).
    init(errorCode: Int, status: Int) {
        self =
            switch errorCode {
            case 10002, 10005, 10023, 10026, 10027, 10028, 10047, 10074: .resources
            case 10008: .unavailable
            case 10012: .consumerUpdateRefused
            case 10013: .consumerNameInUse
            case 10014, 10149: .noConsumer
            case 10025, 10052: .invalidConfiguration
            case 10037, 10043: .noMessage
            case 10039, 10076: .notEnabled
            case 10054: .messageTooLarge
            case 10058: .streamExists
            case 10059: .noStream
            case 10060: .wrongStream
            case 10065: .subjectsOverlap
            case 10070: .wrongMessageID
            case 10071, 10164: .wrongSequence
            case 10077: .streamFull
            case 10109: .sealed
            case 10111: .rollupRefused
            case 10118, 10119, 10194, 10195: .offline
            case 10131, 10136...10139: .filters
            case 10148: .consumerExists
            case 10158: .duplicateInFlight
            case 10165, 10166: .invalidTTL
            case 10167: .tooManyRequests
            case 10168...10172: .counter
            case 10174...10177, 10179, 10199...10201, 10205...10208, 10210, 10211: .batch
            case 10185: .apiLevel
            case 10188...10192, 10203, 10212, 10223: .schedule
            case 0 where status == 404: .noMessage
            case 0 where status == 412: .apiLevel
            case 0 where status == 429: .tooManyRequests
            case 0 where status == 503: .unavailable
            default: .api
            }
    }
}
