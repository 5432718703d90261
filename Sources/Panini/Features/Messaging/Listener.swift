// Owns: one `app.listen` of a script: its options, its broker subscriptions, what runs and what waits. Loop-bound. Knows
// nothing of Lua beyond the reference of its handler.

import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime

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

/// What a listener counts.
struct ListenerCounters {
    var received: UInt64 = 0
    var failed: UInt64 = 0
    var refused: UInt64 = 0
    var invalid: UInt64 = 0
}

/// Where backends count its messages; made when somebody wants them.
struct ListenerMetrics {
    var publish: MessageMetrics?
    var request: MessageMetrics?
}

/// One `app.listen`, with one subscription per subject.
///
/// What changes with every message is left out of Swift's checks of exclusive access, here and in `Service`, `Script` and the
/// connection: a dynamic check is seventy instructions, nine of them were a fifth of a one-way message's way, and only the
/// worker's thread comes here. None of these is handed on `inout` to what could come back.
final class Listener: ActivityOwner {
    /// What a subject takes outside of Lua: the listener, its subscription here and in the connection, texts.
    static let chargePerSubject = 2048

    let id: Int64
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
    /// That of messages in the script's state.
    let messageType: CInt
    let replies: Bool
    let concurrency: Int
    /// How many handlers may run at once now: none while its script waits for its turn to serve.
    @exclusivity(unchecked) var places: Int
    /// The group it is subscribed under; set when the app's options are known.
    var queue: String?
    var timeoutNanoseconds: Int64 = 0
    let subjects: [ListenerSubject]

    /// Handlers running or suspended.
    @exclusivity(unchecked) private(set) var active = 0
    @exclusivity(unchecked) var pending = PendingMessages()
    @exclusivity(unchecked) var isEnded = false
    /// A pump for its waiting messages is in the ready queue, or at work.
    var isPumping = false
    /// True for listeners made after the load: they end when the script that made them is replaced.
    let isDynamic: Bool
    /// Registered by the program around the host: scripts cannot end it.
    let isSwift: Bool

    // Counters, for statistics and for one report per episode.
    @exclusivity(unchecked) var counters = ListenerCounters()
    var isOverloaded = false
    var metrics = ListenerMetrics()

    init(
        id: Int64,
        script: Script,
        options: ListenerOptions,
        handler: LuaReference,
        middlewares: [MiddlewareLayer] = [],
        origin: String,
        subjects: [ListenerSubject],
        isDynamic: Bool,
        isSwift: Bool = false
    ) {
        self.id = id
        self.options = options
        self.handler = handler
        self.middlewares = middlewares
        self.publishEntry = handler
        self.requestEntry = handler
        self.origin = origin
        self.dataType = options.dataType.rawValue
        self.messageType = script.messaging.messageType
        self.replies = options.replies
        self.concurrency = options.concurrency
        self.places = options.concurrency
        self.subjects = subjects
        self.isDynamic = isDynamic
        self.isSwift = isSwift
        super.init(script: script)
        for (position, subject) in subjects.enumerated() {
            subject.attach(to: self, at: position)
        }
    }

    @inline(__always)
    func beginHandler(in script: Script) {
        active += 1
        script.beginActivity()
    }

    @inline(__always)
    func endHandler(in script: Script) {
        active -= 1
        script.endActivity()
    }

    // MARK: - Its runs: a handler on a message each, whose block lives as long as its coroutine does

    static func message(of activity: Activity) -> UnsafeMutablePointer<panini_message> {
        UnsafeMutablePointer(bitPattern: activity.token).unsafelyUnwrapped
    }

    override func traits(of activity: Activity) -> ActivityTraits { [.holdsStop, .takesTurn] }

    override func timeLimit(of activity: Activity) -> Int64? { timeoutNanoseconds }

    override func describe(_ activity: Activity, in running: inout RunningActivity) {
        running.subject = UnsafeMutableRawPointer(Self.message(of: activity))
    }

    override func beginTurn(_ activity: Activity) -> Bool { startNextWaiting() }

    override func handOver(_ activity: Activity, to next: Script) -> Activity? { pending.isEmpty ? nil : activity }

    override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        let message = Self.message(of: activity)
        withScript { script in
            // Lua counts the message at index 1 among the results.
            if count > 1 {
                script.answer(L, count - 1, self, message)
            } else if message.pointee.flags & UInt8(PANINI_MESSAGE_UNSENT) != 0 {
                // msg.respond failed, and nothing else has answered.
                script.refuse(message, self, .internalError)
            }
            if message.pointee.request != 0 { script.handlerEnded(message.pointee.request) }
        }
    }

    override func keep(_ activity: Activity) -> Activity? {
        let message = Self.message(of: activity)
        _ = script.takeReplyHeaders(message)
        return panini_message_detach(message).map { Activity(self, token: UInt(bitPattern: $0)) }
    }

    override func release(kept activity: Activity) { panini_message_free(Self.message(of: activity)) }

    override func failed(_ activity: Activity, _ error: LuaError) {
        counters.failed &+= 1
        let message = Self.message(of: activity)
        handlerFailed(message, error)
        if message.pointee.request != 0 { script.handlerEnded(message.pointee.request) }
    }

    override func expired(_ activity: Activity, seconds: Double) -> ReplyError {
        counters.failed &+= 1
        let message = Self.message(of: activity)
        script.service?.logger.error(
            """
            handler of \(script.text(script.subjectOf(message))) (\(origin)) took longer than \(formatted(seconds)) s and \
            was ended
            """
        )
        let error = super.expired(activity, seconds: seconds)
        script.refuse(message, self, error)
        if message.pointee.request != 0 { script.handlerEnded(message.pointee.request) }
        return error
    }

    override func givenUp(_ activity: Activity, _ reason: ReplyError) -> Bool {
        script.refuse(Self.message(of: activity), self, reason)
        endHandler(in: script)
        return true
    }

    override func ended(_ activity: Activity) {
        withScript { script in
            endHandler(in: script)
            script.service?.handlerEnded(self, of: script)
        }
    }

    /// For log lines and listings.
    var subjectList: String { subjects.map(\.pattern.subject).joined(separator: ", ") }
}
