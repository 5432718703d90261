// Owns: one `app.listen` of a script: its options, its broker subscriptions, what runs and what waits. Loop-bound. Knows
// nothing of Lua beyond the reference of its handler.

import LuaVM

/// How payloads become `msg.data`, and how values become payloads where a type is forced.
enum DataType: UInt8, Sendable {
    case json = 0
    case string = 1
    case bytes = 2

    init?(name: String) {
        switch name {
        case "json": self = .json
        case "string": self = .string
        case "bytes": self = .bytes
        default: return nil
        }
    }

    static let names = ["json", "string", "bytes"]
}

/// What a script asked for with `app.listen`.
struct ListenerOptions {
    /// `nil`: the app's group; `.some(nil)`: none.
    var queue: String??
    var dataType = DataType.json
    var concurrency = 1024
    /// Seconds; `nil`: the app's `handler_timeout`.
    var timeout: Double?
    var name: String?
    var metadata: [String: String] = [:]
    var replies = true
    /// What the broker would not take, to be returned to the script.
    var refusal: CallError?
    /// Every worker gets each message.
    var eachWorker = false

    /// The queue group, where the app has that one.
    func queueGroup(ofApp group: String?) -> String? {
        if eachWorker { return nil }
        if let queue { return queue }
        return group
    }
}

/// One `app.listen`, with one subscription per subject.
///
/// What changes with every message is left out of Swift's checks of exclusive access, here and in `Service`, `Script` and the
/// connection: a dynamic check is seventy instructions, nine of them were a fifth of a one-way message's way, and only the
/// worker's thread comes here. None of these is handed on `inout` to what could come back.
final class Listener {
    /// What a subject takes outside of Lua: the listener, its subscription here and in the connection, texts.
    static let chargePerSubject = 2048

    let id: Int64
    /// The generation it belongs to, which lives longer.
    unowned(unsafe) let script: Script
    let options: ListenerOptions
    let handler: LuaReference
    /// Its own middlewares, inside those of the app.
    let middlewares: [MiddlewareLayer]
    /// What a message without, and with, a reply subject goes to: the handler, or the outermost middleware.
    var publishEntry: LuaReference
    var requestEntry: LuaReference
    /// `orders.lua:12`: where the handler was defined.
    let origin: String
    let dataType: UInt8
    let replies: Bool
    let concurrency: Int
    /// How many handlers may run at once now: none while its script waits for its turn to serve.
    @exclusivity(unchecked) var places: Int
    /// The group it is subscribed under; set when the app's options are known.
    var queue: String?
    var timeoutNanoseconds: Int64 = 0
    let subjects: [ListenerSubject]

    /// Handlers running or suspended.
    @exclusivity(unchecked) var active = 0
    @exclusivity(unchecked) var pending = PendingMessages()
    @exclusivity(unchecked) var isEnded = false
    /// A pump for its waiting messages is in the ready queue, or at work.
    var isPumping = false
    /// True for listeners made after the load: they end when the script that made them is replaced.
    let isDynamic: Bool
    /// Registered by the program around the host: scripts cannot end it.
    let isNative: Bool

    // Counters, for statistics and for one report per episode.
    @exclusivity(unchecked) var received: UInt64 = 0
    var failed: UInt64 = 0
    var refused: UInt64 = 0
    var invalid: UInt64 = 0
    var isOverloaded = false
    // Made when somebody wants them.
    var publishMetrics: MessageMetrics?
    var requestMetrics: MessageMetrics?

    init(
        id: Int64,
        script: Script,
        options: ListenerOptions,
        handler: LuaReference,
        middlewares: [MiddlewareLayer] = [],
        origin: String,
        subjects: [ListenerSubject],
        isDynamic: Bool,
        isNative: Bool = false
    ) {
        self.id = id
        self.script = script
        self.options = options
        self.handler = handler
        self.middlewares = middlewares
        self.publishEntry = handler
        self.requestEntry = handler
        self.origin = origin
        self.dataType = options.dataType.rawValue
        self.replies = options.replies
        self.concurrency = options.concurrency
        self.places = options.concurrency
        self.subjects = subjects
        self.isDynamic = isDynamic
        self.isNative = isNative
        for (position, subject) in subjects.enumerated() {
            subject.listener = self
            subject.position = position
        }
    }

    /// For log lines and listings.
    var subjectList: String { subjects.map(\.pattern.subject).joined(separator: ", ") }
}

@available(*, unavailable)
extension Listener: Sendable {}
