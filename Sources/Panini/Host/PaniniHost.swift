// Owns: the life of a host: its event loop, its services, start and stop. The Sendable face; everything behind it lives
// on the loop.

public import Logging
import NATS
import NIOCore
import NIOPosix
public import PaniniObservability
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
    /// Middlewares in Swift for every service. They wrap the scripts' own; the last one is the outermost.
    public var middlewares: [any PaniniMiddleware] = []

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
public final class PaniniHost: Sendable {
    private let configuration: PaniniHostConfiguration
    private let logger: Logger
    private let group: MultiThreadedEventLoopGroup
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<HostCore>
    /// The loop takes no more work once the host has ended; guards `stop()` against coming later.
    private let isFinished = Mutex(false)
    private let onReady: @Sendable (PaniniServiceReport) -> Void

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
        self.configuration = configuration
        self.logger = logger
        self.onReady = onReady
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
        core = NIOLoopBoundBox.makeBoxSendingValue(HostCore(), eventLoop: eventLoop)
    }

    /// Loads, connects and starts every service, and returns after a graceful stop.
    ///
    /// - Throws: ``PaniniError`` when a service cannot load or start, when one ends by an error, or when the stop took
    ///   longer than `shutdown_timeout`.
    public func run() async throws {
        do {
            try await eventLoop.flatSubmit { [self] in
                core.value.start(configuration, worker: Worker(eventLoop: eventLoop), logger: logger, onReady: onReady)
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
        let done = eventLoop.flatSubmit { [self] in
            core.value.start(configuration, worker: Worker(eventLoop: eventLoop), logger: logger, onReady: onReady)
        }
        let result = Result { try done.wait() }
        isFinished.withLock { $0 = true }
        try group.syncShutdownGracefully()
        try result.get()
    }

    private func finish() async throws {
        isFinished.withLock { $0 = true }
        try await group.shutdownGracefully()
    }

    /// Stops gracefully: no more work is taken, running handlers end and answer. ``run()`` then returns.
    ///
    /// May be called from any thread, more than once, before ``run()`` and after it.
    public func stop() {
        isFinished.withLock { isFinished in
            if !isFinished { eventLoop.execute { [core] in core.value.stop() } }
        }
    }
}

/// The loop-bound inside of a host.
private final class HostCore {
    private var services: [Service] = []
    private var finished: EventLoopPromise<Void>?
    private var isStopping = false
    private var failure: PaniniError?

    /// The future ends when every service has stopped; it fails with the first error that ended one.
    func start(
        _ configuration: PaniniHostConfiguration,
        worker: Worker,
        logger: Logger,
        onReady: @escaping (PaniniServiceReport) -> Void
    ) -> EventLoopFuture<Void> {
        let promise = worker.eventLoop.makePromise(of: Void.self)
        finished = promise
        guard !isStopping else {
            promise.succeed()
            return promise.futureResult
        }
        for path in configuration.scripts {
            do throws(PaniniError) {
                services.append(
                    try ServiceLoader.load(
                        path,
                        overrides: configuration.overrides,
                        worker: worker,
                        logger: logger,
                        logs: configuration.logs,
                        middlewares: configuration.middlewares
                    )
                )
            } catch {
                if configuration.isStrict || configuration.scripts.count == 1 {
                    failure = error
                    break
                }
                failure = failure ?? error
                logger.error("\(error.message)")
            }
        }
        if services.isEmpty || (configuration.isStrict && failure != nil) {
            finish()
            return promise.futureResult
        }
        for service in services { start(service, isStrict: configuration.isStrict, onReady: onReady) }
        return promise.futureResult
    }

    private func start(_ service: Service, isStrict: Bool, onReady: @escaping (PaniniServiceReport) -> Void) {
        service.onFailure = { [unowned self] error in
            service.logger.error("\(error.message)")
            failure = failure ?? error
            stop()
        }
        service.start().assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success: onReady(service.report)
            case .failure(let error):
                if let error = error as? PaniniError {
                    failure = failure ?? error
                    if services.count > 1 { service.logger.error("\(error.message)") }
                }
                services.removeAll { $0 === service }
                if services.isEmpty { finish() } else if isStrict { stop() }
            }
        }
    }

    func stop() {
        guard !isStopping else { return }
        isStopping = true
        guard !services.isEmpty else { return finish() }
        for service in services {
            service.stop().assumeIsolated().whenComplete { [self] _ in
                failure = failure ?? service.failure
                services.removeAll { $0 === service }
                if services.isEmpty { finish() }
            }
        }
    }

    private func finish() {
        guard let promise = finished else { return }
        finished = nil
        if let failure { promise.fail(failure) } else { promise.succeed() }
    }
}
