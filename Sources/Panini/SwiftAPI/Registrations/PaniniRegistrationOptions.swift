// Owns: the options of what Swift registers: those that scripts have. Plain values; any thread.

/// What a listener in Swift is like.
public struct PaniniListenerOptions: Sendable {
    /// Which queue group a listener is in.
    public enum Queue: Sendable, Equatable, ExpressibleByStringLiteral {
        /// That of the service (`allocation_queue_group`), if it has one.
        case ofTheService
        /// None: every instance of the service gets every message.
        case none
        /// One of its own.
        case named(String)

        /// A queue group of its own.
        public init(stringLiteral value: String) { self = .named(value) }
    }

    /// How a payload becomes the data that a handler takes.
    public enum DataType: Sendable, Equatable {
        /// The payload is JSON.
        case json
        /// The payload is text, UTF-8.
        case string
        /// The payload is any bytes.
        case bytes
    }

    /// The queue group.
    public var queue = Queue.ofTheService
    /// How the payload becomes data.
    public var dataType = DataType.json
    /// How many handlers run at once on a worker, from 1; further messages wait, as many as the service's `pending_limit`.
    public var concurrency = 1024
    /// How long a handler may wait, from a millisecond to a day; nil: the service's `handler_timeout`.
    public var timeout: Duration?
    /// The name in the services protocol: letters, digits, `_` and `-`; nil: made of the subject.
    public var name: String?
    /// What the services protocol tells of it.
    public var metadata: [String: String] = [:]
    /// False for a listener that never answers.
    public var replies = true
    /// Whether every worker gets each message, and not one of them: for state that lives in the worker.
    public var eachWorker = false
    /// Its own middlewares, inside those of the service; the last one is the outermost.
    public var middlewares: [any PaniniMiddleware] = []
    /// Where the task of an async handler begins.
    public var start = PaniniTaskStart.onWorker

    /// The usual options, but for those that are given.
    ///
    /// - Parameters:
    ///   - queue: The queue group.
    ///   - dataType: How the payload becomes data.
    ///   - concurrency: How many handlers run at once on a worker, from 1.
    ///   - timeout: How long a handler may wait; nil: the service's `handler_timeout`.
    ///   - name: The name in the services protocol.
    ///   - metadata: What the services protocol tells of it.
    ///   - replies: False for a listener that never answers.
    ///   - eachWorker: Whether every worker gets each message; not with a queue group.
    ///   - middlewares: Its own middlewares.
    ///   - start: Where the task of an async handler begins.
    public init(
        queue: Queue = .ofTheService,
        dataType: DataType = .json,
        concurrency: Int = 1024,
        timeout: Duration? = nil,
        name: String? = nil,
        metadata: [String: String] = [:],
        replies: Bool = true,
        eachWorker: Bool = false,
        middlewares: [any PaniniMiddleware] = [],
        start: PaniniTaskStart = .onWorker
    ) {
        self.queue = queue
        self.dataType = dataType
        self.concurrency = concurrency
        self.timeout = timeout
        self.name = name
        self.metadata = metadata
        self.replies = replies
        self.eachWorker = eachWorker
        self.middlewares = middlewares
        self.start = start
    }
}

/// What a timer in Swift is like.
public struct PaniniTimerOptions: Sendable {
    /// What the interval is between.
    public enum Mode: Sendable, Equatable {
        /// Between beginnings: a tick that would overlap the one before is left out.
        case rate
        /// From the end of a tick to the beginning of the next one.
        case delay
    }

    /// What log lines call it; a timer of the same name and interval keeps its beat over a reload.
    public var name: String?
    /// Whether the first tick comes at once, and not after an interval.
    public var immediate = true
    /// Each tick is put off by a random time up to this one.
    public var jitter = Duration.zero
    /// What the interval is between.
    public var mode = Mode.rate
    /// Whether it ticks on each worker, and not on the first one only.
    public var eachWorker = false
    /// Where the task of an async tick begins.
    public var start = PaniniTaskStart.onWorker

    /// The usual options, but for those that are given.
    ///
    /// - Parameters:
    ///   - name: What log lines call it.
    ///   - immediate: Whether the first tick comes at once.
    ///   - jitter: Each tick is put off by a random time up to this one.
    ///   - mode: What the interval is between.
    ///   - eachWorker: Whether it ticks on each worker.
    ///   - start: Where the task of an async tick begins.
    public init(
        name: String? = nil,
        immediate: Bool = true,
        jitter: Duration = .zero,
        mode: Mode = .rate,
        eachWorker: Bool = false,
        start: PaniniTaskStart = .onWorker
    ) {
        self.name = name
        self.immediate = immediate
        self.jitter = jitter
        self.mode = mode
        self.eachWorker = eachWorker
        self.start = start
    }
}

/// What a route in Swift is like.
public struct PaniniRouteOptions: Sendable {
    /// The largest body in bytes; nil: the service's `web_max_body`.
    public var maximumBody: Int?
    /// How long a handler may wait, from a millisecond to a day; nil: the service's `handler_timeout`.
    public var timeout: Duration?
    /// Its own middlewares, inside those of the service; the last one is the outermost.
    public var middlewares: [any PaniniMiddleware] = []
    /// Where the task of an async handler begins.
    public var start = PaniniTaskStart.onWorker

    /// The usual options, but for those that are given.
    ///
    /// - Parameters:
    ///   - maximumBody: The largest body in bytes.
    ///   - timeout: How long a handler may wait.
    ///   - middlewares: Its own middlewares.
    ///   - start: Where the task of an async handler begins.
    public init(
        maximumBody: Int? = nil,
        timeout: Duration? = nil,
        middlewares: [any PaniniMiddleware] = [],
        start: PaniniTaskStart = .onWorker
    ) {
        self.maximumBody = maximumBody
        self.timeout = timeout
        self.middlewares = middlewares
        self.start = start
    }
}

/// A method of HTTP.
public struct PaniniHTTPMethod: Sendable, Hashable, ExpressibleByStringLiteral {
    /// As it is sent, in capitals.
    public let name: String

    /// A method by its name.
    ///
    /// - Parameter name: In capitals; `*` stands for all methods.
    public init(_ name: String) { self.name = name }

    /// A method by its name.
    public init(stringLiteral value: String) { name = value }

    /// GET, and HEAD where that has no route of its own.
    public static let get: PaniniHTTPMethod = "GET"
    /// POST.
    public static let post: PaniniHTTPMethod = "POST"
    /// PUT.
    public static let put: PaniniHTTPMethod = "PUT"
    /// PATCH.
    public static let patch: PaniniHTTPMethod = "PATCH"
    /// DELETE.
    public static let delete: PaniniHTTPMethod = "DELETE"
    /// HEAD.
    public static let head: PaniniHTTPMethod = "HEAD"
    /// OPTIONS.
    public static let options: PaniniHTTPMethod = "OPTIONS"
    /// Every method that the path has no other route for.
    public static let any: PaniniHTTPMethod = "*"
}
