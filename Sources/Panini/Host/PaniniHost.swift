// Owns: the life of a host: its event loop, its services, start and stop. The Sendable face; everything behind it lives
// on the loop.

public import Logging
import NATS
import NIOCore
import NIOPosix
public import PaniniObservability
public import ServiceLifecycle
import Synchronization

/// What a host runs, and with which options.
public struct PaniniHostConfiguration: Sendable {
    /// Paths of the service scripts, one service each.
    public var scripts: [String]
    /// Options from the command line, the environment and files; they win over the scripts' own.
    public var overrides: PaniniOverrides
    /// True to stop at the first service that fails to load or start; false to go on with the others.
    public var isStrict = false
    /// The program's logs, where services open their log files; nil: no files, and everything goes to the host's logger.
    public var logs: PaniniLogs?
    /// How many threads run scripts, each with a Lua state of every service; at least 1.
    public var workers = 1
    /// What is done about a worker that a script holds although its run was to end.
    public var stuckWorkers = PaniniStuckWorkerPolicy.replace
    /// Whether services with `web_server = true` open their ports; false when all requests come by
    /// ``PaniniHost/handle(_:by:)``.
    public var opensWebPorts = true
    /// Whether a service is reloaded when one of its files has changed.
    public var watchesFiles = false
    /// A folder for the socket through which `panini ps` and `panini reload` find the program; nil: there is none. It is
    /// made for the program's user alone when it is not there.
    public var controlDirectory: String?
    /// Those of ``scripts`` that may turn out to be no service, such as the modules in a folder of services.
    public var optionalScripts: Set<String> = []
    /// Middlewares in Swift for every service. They wrap the scripts' own; the last one is the outermost.
    public var middlewares: [any PaniniMiddleware] = []
    /// Swift functions for every service, by the module that scripts `require`.
    public var modules: [PaniniModule] = []
    /// What Swift registers beside the scripts, by the scripts' paths: see ``service(_:_:)``.
    public var registrations: [String: PaniniRegistrations] = [:]
    /// Scripts and modules of theirs that are no files: their texts by the paths under which `scripts` and `require` find
    /// them. A text wins over a file of the same path.
    public var texts: [String: String] = [:]
    /// Backends in place of those that the process has; for tests.
    var instruments: HostTelemetry?
    /// What the host is made of, beside the runtime.
    var features: [Feature] = FeatureList.all

    /// A configuration with the default settings.
    ///
    /// - Parameters:
    ///   - scripts: Paths of the service scripts.
    ///   - overrides: Options from outside.
    public init(scripts: [String], overrides: PaniniOverrides = PaniniOverrides()) {
        self.scripts = scripts
        self.overrides = overrides
    }
}

/// Runs service scripts over NATS.
///
/// ```swift
/// let host = PaniniHost(configuration: .init(scripts: ["orders.lua"]), logger: logger)
/// try await host.run()
/// ```
///
/// A host is a `Service`: in a `ServiceGroup` it stops in order with the others.
public final class PaniniHost: ServiceLifecycle.Service {
    private let group: MultiThreadedEventLoopGroup
    private let threads = WorkerThreads()
    private let stopAllowance = StopAllowance()
    /// The host's own loop: no script runs on it.
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<HostCore>
    /// The loop takes no more work once the host has ended; guards `stop()` against coming later.
    private let isFinished = Mutex(false)
    private let hostEvents = HostEvents()
    private let mounts = HTTPMounts()
    private let instruments: HostTelemetry?

    /// Prepares a host; nothing runs before ``run()``.
    ///
    /// - Parameters:
    ///   - configuration: What to run.
    ///   - logger: Where the host and its services log.
    ///   - onReady: Called on the worker's thread for each service that has become ready.
    public init(
        configuration: PaniniHostConfiguration,
        logger: Logger,
        onReady: @escaping @Sendable (PaniniServiceReport) -> Void = { _ in }
    ) {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
        instruments = configuration.instruments
        core = NIOLoopBoundBox.makeBoxSendingValue(
            HostCore(
                loop: eventLoop,
                configuration: configuration,
                threads: threads,
                stopAllowance: stopAllowance,
                logger: logger,
                events: hostEvents,
                mounts: mounts,
                onReady: onReady
            ),
            eventLoop: eventLoop
        )
    }

    /// Loads, connects and starts every service, and returns after a graceful stop: by ``stop()``, by the graceful shutdown
    /// of a `ServiceGroup`, or when the task is cancelled.
    ///
    /// - Throws: ``PaniniError`` when a service cannot load or start, when one ends by an error, or when the stop took
    ///   longer than `shutdown_timeout`.
    public func run() async throws {
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await serve()
        } onCancelOrGracefulShutdown: {
            self.stop()
        }
    }

    private func serve() async throws {
        let instruments = instruments ?? HostTelemetry.current
        do {
            try await eventLoop.flatSubmit { [self] in
                core.value.start(instruments)
            }.get()
        } catch {
            try? await finish()
            throw error
        }
        try await finish()
    }

    /// What ``run()`` does, for a program that has no use for Swift's concurrency: blocks the calling thread, which must
    /// not be an event loop's.
    ///
    /// Swift's global executor keeps a thread that wakes up once a second; a host that only waits does without it.
    ///
    /// - Throws: What ``run()`` throws.
    public func runBlocking() throws {
        let instruments = instruments ?? HostTelemetry.current
        let done = eventLoop.flatSubmit { [self] in
            core.value.start(instruments)
        }
        let result = Result { try done.wait() }
        isFinished.withLock { $0 = true }
        try threads.shutdownBlocking()
        if !leaveThreads() { try group.syncShutdownGracefully() }
        try result.get()
    }

    /// A thread that a script holds cannot be waited for: it stays as it is until the process ends, and with it the loop that
    /// it would tell of its return.
    private func leaveThreads() -> Bool {
        guard threads.hasLeft else { return false }
        _ = Unmanaged.passRetained(self)
        return true
    }

    private func finish() async throws {
        isFinished.withLock { $0 = true }
        try await threads.shutdown()
        if !leaveThreads() { try await group.shutdownGracefully() }
    }

    /// How many seconds a stop may take as its services say, before what still runs is cut off; known once they are loaded.
    package var shutdownTimeout: Double { stopAllowance.shutdownTimeout }

    /// Stops gracefully: no more work is taken, running handlers end and answer. ``run()`` then returns.
    ///
    /// May be called from any thread, more than once, before ``run()`` and after it.
    public func stop() {
        isFinished.withLock { isFinished in
            if !isFinished { eventLoop.execute { [core] in core.value.stop() } }
        }
    }
}

extension PaniniHost {
    /// What happens to the services from now on: started, reloaded, failed, stopped. Each use of it is a sequence of its own,
    /// which ends when the host has; a reader that is slower than 1024 events loses the oldest.
    public var events: AsyncStream<PaniniHostEvent> { hostEvents.stream() }

    /// The services that are there, by their places; nothing once the host has ended.
    func mounted(_ service: String?) -> [HTTPMount] {
        isFinished.withLock { $0 ? [] : mounts.all(named: service) }
    }

    /// Does something with the workers' loops, unless these are gone.
    func whileLoopsRun(_ body: () -> Void) -> Bool {
        isFinished.withLock { isFinished in
            if !isFinished { body() }
            return !isFinished
        }
    }

    func completions(of service: String) async throws -> SwiftCompletions? {
        guard !isFinished.withLock({ $0 }) else { return nil }
        return try await eventLoop.flatSubmit { [core] in core.value.completions(of: service) }.get()
    }

    /// Replaces the code of services by what their files hold now, without losing a request.
    ///
    /// - Parameter service: A service's name, or its script's path; nil: all of them.
    /// - Returns: What became of each: the report, or why the version before serves on. Empty when there is none of that
    ///   name.
    public func reload(_ service: String? = nil) async throws -> [Result<PaniniReloadReport, PaniniError>] {
        guard !isFinished.withLock({ $0 }) else { return [] }
        return try await eventLoop.flatSubmit { [core] in core.value.reload(service) }.get()
    }

    /// The same, for those who do not wait for the outcome: it is logged.
    public func requestReload() {
        isFinished.withLock { isFinished in
            if !isFinished { eventLoop.execute { [core] in _ = core.value.reload(nil) } }
        }
    }

    /// What runs, in the order of the configuration.
    public func status() async throws -> [PaniniServiceStatus] {
        guard !isFinished.withLock({ $0 }) else { return [] }
        return try await eventLoop.flatSubmit { [core] in core.value.status() }.get()
    }
}
