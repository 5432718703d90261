// Owns: one generation of a service on one worker: its Lua state, what it registered, its suspended coroutines.
// Loop-bound. Knows nothing of how a connection works; the service it belongs to carries out sends and waits.

import CLuaShim
import Instrumentation
import Logging
import LuaVM
import NATS
import NATSProtocol
import PaniniHTTP
import PaniniObservability

/// A loaded script.
final class Script {
    /// How far the script has come: what it may call depends on it.
    enum Phase {
        /// The file runs: it registers and computes; there is no connection yet.
        case loading
        /// Loaded; calls that need the broker are allowed.
        case live
        /// Closed: nothing runs any more.
        case closed
    }

    /// Its place in the service.
    enum Standing {
        /// Loaded, and not the one that serves yet.
        case staged
        case serving
        /// Another one has taken over; what had begun goes on to its end.
        case draining
        case retired
    }

    let vm: LuaVM
    /// The path as given, which names the chunk.
    let path: String
    let directory: String
    /// Where it runs, and what it shares with the other workers.
    let place: ScriptPlace
    /// Values from outside the script that win over its own.
    let overrides: PaniniOverrides
    /// What an untrusted script may do; nil for all others.
    let restrictions: ScriptRestrictions?
    var logger: Logger
    /// The program's logs, where the service opens its own; nil when it has none, and for `panini check`.
    let logs: PaniniLogs?
    var serviceLogs: ServiceLogs?
    /// The name of the thread the script runs on, as its records have it.
    let threadName: String
    /// The connection's name at the broker; made up when the options have none.
    var clientName = ""
    var phase = Phase.loading
    @exclusivity(unchecked) var standing = Standing.staged
    /// Counts up with each version of the service's code.
    let generation: Int
    var options: AppOptions?
    /// A wrong option from outside, kept to be reported as such and not as the script's error.
    var outsideFailure: PaniniError?
    @exclusivity(unchecked) var registrations = Registrations()
    /// Everything it listens to, by number.
    var listeners = ListenerTable()
    /// What a stop, and the end of a script that was replaced, wait for: handlers, ticks, spawned functions.
    @exclusivity(unchecked) var activeCount = 0
    /// Which of its start or stop hooks runs.
    var hook = HookProgress()
    var onHookEnd: (() -> Void)?
    /// It was replaced, and its on_stop runs or has run.
    var isRetiring = false
    /// When it is ended if it has not by itself.
    var drainAlarm: DeadlineHandle?
    /// Subscriptions that end at the broker, and may still bring messages that are on their way.
    var endingSubscriptions = 0
    /// Which numbers its plain listeners of a subject have, where several workers share them.
    private var ordinals: [ExactText: LowestNumbers] = [:]
    /// The service this script serves; `nil` for `panini check`.
    unowned(unsafe) var service: Service? {
        didSet { share = service?.turn.share }
    }
    /// That of the service's turns.
    @exclusivity(unchecked) private(set) var share: OpaquePointer?

    /// The identity of the `app` table, to drop it from `app:listen(...)`.
    var appPointer: UnsafeRawPointer?
    var moduleReference: LuaReference?

    // Registry references of metatables.
    private(set) var messageType: CInt = 0
    private(set) var errorType: CInt = 0
    var listenerHandleType: CInt = 0
    var spawnHandleType: CInt = 0
    var validatorType: CInt = 0
    var middlewareHandleType: CInt = 0
    var nativeMiddlewareType: CInt = 0
    @exclusivity(unchecked) var requestType: CInt = 0
    @exclusivity(unchecked) var responseType: CInt = 0
    /// What the C side of messages calls; freed with the script, after the state is closed.
    private let callbacks: UnsafeMutablePointer<panini_message_callbacks>

    /// What the guards of listeners with a validator call; freed with the callbacks.
    let guardHost: UnsafeMutablePointer<panini_guard_host>

    /// What native steps of middleware chains call; freed with the callbacks.
    let middlewareHost: UnsafeMutablePointer<panini_middleware_host>
    @exclusivity(unchecked) var middlewares = Middlewares()
    /// The sending calls behind all middlewares.
    private(set) lazy var directCalls = DirectCalls(vm, context: Unmanaged.passUnretained(self).toOpaque())

    /// What request objects of the web server call; freed with the callbacks.
    let requestHost: UnsafeMutablePointer<panini_request_host>
    /// What `app.http.fetch` calls; freed with the callbacks.
    let fetchHost: UnsafeMutablePointer<panini_fetch_host>
    /// What the guards of routes with a validator call.
    let requestGuardHost: UnsafeMutablePointer<panini_guard_host>
    /// Folders that files are served from; the first one is the script's.
    lazy var folders: [HTTPFolder?] = [HTTPFolder(directory)]
    /// Answers OPTIONS of paths that have no such route, behind the middlewares.
    private(set) lazy var optionsRoute = makeOptionsRoute()
    /// Requests that are looked for by the number in their objects: those with middlewares, and those whose answers are
    /// being written.
    var openRequests: [UInt64: HTTPRequest] = [:]
    var lastOpenRequest: UInt64 = 0
    /// Coroutines that wait until a stream's client reads on.
    var writers = StreamWriters()

    /// What there is of WebSocket; nil without such routes.
    var webSockets: ScriptWebSockets?

    /// Suspended coroutines by their slot.
    var jobs: [Job?] = []
    var suspendedCount = 0
    /// The most that waited at once since the last look at the memory.
    var suspendedPeak = 0
    /// What the host function that is about to suspend waits for.
    var nextWait = Wait.none
    var deadlineLists = DeadlineLists()
    /// Work for the outermost level, so that completions never nest.
    @exclusivity(unchecked) var ready = FIFO<ReadyItem>()
    @exclusivity(unchecked) var depth = 0
    /// What runs now; inherited by what it spawns.
    @exclusivity(unchecked) var current = RunningActivity()
    /// The thread's CPU time at the end of the last stretch that was charged, if nothing else was done since; 0 otherwise.
    @exclusivity(unchecked) var chargedUntil: UInt64 = 0
    /// Keeps alive what ``current`` counts to.
    var runningAccount: RunAccount?
    /// Requests whose handlers have spawned functions, by their numbers.
    var spawnedRequests = SpawnedRequests()
    /// Functions started by app.spawn that still run, by the number of their handle.
    var spawned: [Int64: SpawnRecord] = [:]
    private(set) var nextHandle: Int64 = 0
    /// Globals made after the file had run, which the log knows of.
    var reportedGlobals: Set<String> = []
    /// The log says that the state is full; whoever can replaces it.
    var isExhaustionReported = false
    /// Encoded payloads; reused.
    let writer = ByteWriter()
    /// Whether messages have spans.
    let isTraced: Bool
    /// The spans of what no message began, by the slots of their coroutines.
    var taskSpans: [Int: TaskSpan] = [:]
    /// The headers that replies of Swift handlers will have, encoded, by their messages.
    var replyHeaders: [UnsafeMutablePointer<panini_message>: [UInt8]] = [:]
    /// What is counted of sends; made when the first of a kind is.
    var sendMetrics: [PaniniMiddlewareKind: MessageMetrics] = [:]
    /// What Lua libraries need around them.
    var libraries: ScriptLibraries
    /// What Swift modules need in this state.
    let embedding = ScriptEmbedding()

    init(
        path: String,
        overrides: PaniniOverrides,
        logger: Logger,
        logs: PaniniLogs? = nil,
        middlewares outer: [any PaniniMiddleware] = [],
        place: ScriptPlace = ScriptPlace()
    ) throws(PaniniError) {
        self.path = path
        self.generation = place.generation
        self.place = place
        self.isTraced = place.instruments?.traces != nil
        self.directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        self.overrides = overrides
        let level = overrides.permissions.level(of: path)
        self.restrictions = level == .untrusted ? ScriptRestrictions(overrides.permissions) : nil
        self.libraries = ScriptLibraries(
            modules: ModuleSearch(
                directory: directory,
                sources: place.sources,
                restrictions: restrictions,
                isTrusted: level == .trusted,
                outside: Self.modulePath(in: overrides),
                environment: Self.luaPath()
            )
        )
        self.logger = logger
        self.logs = logs
        self.threadName = place.threadName ?? LogRecord.currentThreadName()
        self.callbacks = .allocate(capacity: 1)
        self.guardHost = .allocate(capacity: 1)
        self.middlewareHost = .allocate(capacity: 1)
        self.requestHost = .allocate(capacity: 1)
        self.requestGuardHost = .allocate(capacity: 1)
        self.fetchHost = .allocate(capacity: 1)
        do throws(LuaError) {
            self.vm = try LuaVM(configuration: Self.limits(of: path, before: overrides))
        } catch {
            callbacks.deallocate()
            guardHost.deallocate()
            middlewareHost.deallocate()
            requestHost.deallocate()
            requestGuardHost.deallocate()
            fetchHost.deallocate()
            throw PaniniError(code: .scriptFailed, message: "\(path): no Lua state: \(error.message)")
        }
        callbacks.initialize(
            to: panini_message_callbacks(
                context: Unmanaged.passUnretained(self).toOpaque(),
                decode: decodeMessage,
                respond: respondToMessage,
                not_text: messageIsNoText
            )
        )
        panini_message_push_metatable(vm.state, callbacks)
        messageType = vm.makeReference(vm.state).index
        panini_error_push_metatable(vm.state)
        errorType = vm.makeReference(vm.state).index
        guardHost.initialize(
            to: panini_guard_host(
                push_value: panini_message_push_data,
                push_context: callbacks,
                failed: messageFailedValidation,
                covered: logCoveredOfMessage,
                context: Unmanaged.passUnretained(self).toOpaque(),
                error_metatable: errorType
            )
        )
        middlewareHost.initialize(
            to: panini_middleware_host(
                context: Unmanaged.passUnretained(self).toOpaque(),
                before: beforeNativeMiddleware,
                after: afterNativeMiddleware,
                covered: logCoveredByInner
            )
        )
        requestHost.initialize(
            to: panini_request_host(
                context: Unmanaged.passUnretained(self).toOpaque(),
                make: makeRequestField,
                call: callRequestFunction
            )
        )
        requestGuardHost.initialize(
            to: panini_guard_host(
                push_value: panini_request_push_json,
                push_context: requestHost,
                failed: requestFailedValidation,
                covered: logCoveredOfRequest,
                context: Unmanaged.passUnretained(self).toOpaque(),
                error_metatable: errorType
            )
        )
        fetchHost.initialize(
            to: panini_fetch_host(
                context: Unmanaged.passUnretained(self).toOpaque(),
                start: startFetch,
                next: nextOfFetch,
                cancel: cancelFetch
            )
        )
        if level == .trusted { warnOfTrust() }
        openLibraries()
        registerModules()
        registerRequests()
        registerMiddlewares(outer: outer)
        try install(place.modules)
    }

    deinit {
        vm.close()
        callbacks.deallocate()
        guardHost.deallocate()
        middlewareHost.deallocate()
        requestHost.deallocate()
        requestGuardHost.deallocate()
        fetchHost.deallocate()
    }

    /// Closes the Lua state. Everything suspended is given up.
    func close() {
        guard phase != .closed else { return }
        flushStreams()
        phase = .closed
        for (slot, job) in jobs.enumerated() {
            guard let job else { continue }
            service?.cancel(job, of: self)
            endObservations(slot: slot, job.activity, .stopping)
            if isTraced { endSpan(slot: slot, job.activity, givenUp: .stopping) }
        }
        // An alarm would keep this alive until its time.
        for alarm in deadlineLists.alarms { service?.worker.cancel(alarm) }
        // Of streams whose function waits for something else.
        service?.fetcher.cancelAll(of: self)
        webSockets?.scriptClosed()
        jobs = []
        openRequests = [:]
        suspendedCount = 0
        spawned = [:]
        deadlineLists = DeadlineLists()
        ready = FIFO<ReadyItem>()
        embedding.close()
        vm.close()
    }

    /// Whether something waits for the end of what it runs.
    var isEnding: Bool { standing == .draining || service?.state == .stopping }

    /// The first free number for a plain listener of a subject.
    func takeOrdinal(of subject: String) -> Int {
        ordinals[ExactText(subject), default: LowestNumbers()].take()
    }

    func giveBack(ordinal: Int, of subject: String) {
        let key = ExactText(subject)
        ordinals[key]?.giveBack(ordinal)
        if ordinals[key]?.isUnused() == true { ordinals[key] = nil }
    }

    /// A number for a handle or a listener; never used twice.
    func makeHandleNumber() -> Int64 {
        nextHandle += 1
        return nextHandle
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> Script {
        Unmanaged<Script>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    }

    /// Pushes the table `{ code =, message = }` that calls return beside `nil`.
    func push(_ error: CallError, onto L: OpaquePointer) {
        var message =
            error.message.utf8.count <= LuaVM.longestErrorText ? error.message : LuaVM.shortened(error.message)
        message.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) { text in
                switch error.code {
                case .number(let number):
                    panini_error_push(L, errorType, nil, 0, number, text.baseAddress ?? emptyText, text.count)
                case .text(var code):
                    code.withUTF8 { code in
                        code.withMemoryRebound(to: CChar.self) { code in
                            panini_error_push(
                                L,
                                errorType,
                                code.baseAddress ?? emptyText,
                                code.count,
                                0,
                                text.baseAddress ?? emptyText,
                                text.count
                            )
                        }
                    }
                }
            }
        }
    }

    /// Where the function at an index was defined: `orders.lua:12`.
    func origin(_ L: OpaquePointer, _ index: CInt) -> String {
        var buffer = [CChar](repeating: 0, count: 512)
        guard panini_function_origin(L, index, &buffer, buffer.count) != 0 else { return path }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

@available(*, unavailable)
extension Script: Sendable {}

nonisolated(unsafe) private let emptyText: UnsafePointer<CChar> = {
    let text = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    text.pointee = 0
    return UnsafePointer(text)
}()
