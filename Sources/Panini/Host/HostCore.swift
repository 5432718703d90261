// Owns: the services of a host: which run, start, reload and stop. Lives on the host's own loop, which runs no script and
// serves no message.

import Bytes
import Logging
import LuaVM
import NATSProtocol
import NIOCore
import PaniniHTTP
import PaniniObservability
import ScriptRuntime

/// The loop-bound inside of a host.
final class HostCore {
    let loop: any EventLoop
    private let configuration: PaniniHostConfiguration
    private let logger: Logger
    private let onReady: (PaniniServiceReport) -> Void
    private let events: HostEvents
    private let mounts: HTTPMounts
    private let keeper: WorkerKeeper
    private(set) var services: [ServiceController] = []
    private var finished: EventLoopPromise<Void>?
    private var isStopping = false
    private var failure: PaniniError?
    /// What is said of a stop whose time was over, when nothing else is.
    private var cutOff: PaniniError?
    private var watcher: FileWatcher?
    /// The backends of whoever runs the host; nil: there are none.
    private(set) var telemetry: HostTelemetry?
    private var features: [HostFeature] = []
    private var control: ControlServer?
    private let stopAllowance: StopAllowance

    init(
        loop: any EventLoop,
        configuration: PaniniHostConfiguration,
        threads: WorkerThreads,
        stopAllowance: StopAllowance,
        logger: Logger,
        events: HostEvents,
        mounts: HTTPMounts,
        onReady: @escaping (PaniniServiceReport) -> Void
    ) {
        self.loop = loop
        self.configuration = configuration
        self.logger = logger
        self.stopAllowance = stopAllowance
        keeper = WorkerKeeper(
            count: max(1, configuration.workers),
            threads: threads,
            loop: loop,
            policy: configuration.stuckWorkers,
            logger: logger
        )
        self.events = events
        self.mounts = mounts
        self.onReady = onReady
    }

    /// The future ends when every service has stopped; it fails with the first error that ended one.
    ///
    /// - Parameter instruments: The backends of whoever runs the host.
    func start(_ instruments: HostTelemetry?) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        finished = promise
        features = configuration.features.compactMap(\.host).map { $0.init(self) }
        telemetry = features.reduce(instruments) { $1.telemetry(over: $0) }
        guard !isStopping else {
            promise.succeed()
            return promise.futureResult
        }
        if let problem = configuration.overrides.permissions.stray(among: configuration.scripts) {
            finished = nil
            promise.fail(PaniniError(code: .invalidOption, message: problem))
            return promise.futureResult
        }
        let settings = LoadSettings(
            overrides: configuration.overrides,
            logs: configuration.logs,
            middlewares: configuration.middlewares,
            modules: configuration.modules,
            texts: configuration.texts,
            registrations: configuration.registrations,
            opensWebPorts: configuration.opensWebPorts,
            webMemory: WebMemory(),
            instruments: telemetry,
            features: configuration.features,
            hostValues: features.compactMap(\.given),
            api: ScriptAPI(configuration.features),
            logger: logger
        )
        services = configuration.scripts.map { path in
            ServiceController(path: path, workers: keeper.workers, loop: loop, settings: settings)
        }
        if !PaniniRuntime.checksTableKeys { logger.warning("\(PaniniRuntime.tableKeysWarning)") }
        keeper.delegate = self
        keeper.start()
        if configuration.watchesFiles { startWatching() }
        if let directory = configuration.controlDirectory { startControl(directory) }
        let starts = features.compactMap { $0.start()?.end(on: loop, for: "panini") }
        if starts.isEmpty {
            startServices()
        } else {
            let box = NIOLoopBound(self, eventLoop: loop)
            EventLoopFuture.andAllSucceed(starts, on: loop).whenComplete { box.value.featuresStarted($0) }
        }
        return promise.futureResult
    }

    private func featuresStarted(_ result: Result<Void, any Error>) {
        guard !isStopping else { return }
        switch result {
        case .success: startServices()
        case .failure(let error):
            failure = failure ?? error as? PaniniError ?? PaniniError(code: .notReady, message: "\(error)")
            services = []
            stop()
        }
    }

    private func startServices() {
        for service in services { start(service) }
        if services.isEmpty { finish() }
    }

    private func start(_ service: ServiceController) {
        for feature in features { feature.starting(service.path) }
        service.callbacks.adopted = { [stopAllowance] options in stopAllowance.note(options.shutdownTimeout) }
        service.callbacks.replaced = { [mounts, unowned self, unowned service] instance in
            mounts.replace(service.name, instance)
            for feature in features { feature.workerReplaced(of: service.name) }
        }
        service.callbacks.failed = { [unowned self] error in
            service.logger.error("\(error.message)")
            failure = failure ?? error
            for feature in features { feature.failed(service.name, error) }
            events.tell(.failed(service: service.name, error))
            stop()
        }
        service.callbacks.reloaded = { [events, unowned self, unowned service] result in
            switch result {
            case .success(let report):
                for feature in features { feature.reloaded(report) }
                events.tell(.reloaded(report))
            case .failure(let error):
                for feature in features { feature.notReloaded(service.name, error) }
                events.tell(.reloadFailed(service: service.name, error))
            }
        }
        let box = NIOLoopBound((self, service), eventLoop: loop)
        service.start().whenComplete { result in
            let (this, service) = box.value
            switch result {
            case .success(let report):
                let place = this.configuration.scripts.firstIndex(of: service.path) ?? this.configuration.scripts.count
                this.mounts.add(service.name, place: place, service.instances)
                this.watcher?.watch(service)
                for feature in this.features { feature.started(report, from: service.path) }
                this.events.tell(.started(report))
                this.onReady(report)
            case .failure(let error): this.notStarted(service, error)
            }
        }
    }

    private func notStarted(_ service: ServiceController, _ error: any Error) {
        // A stop waits for all of them, also for those that were about to start.
        guard !isStopping else { return }
        if service.isInterrupted { return startAnew(service) }
        let isAlone = services.count == 1
        // A file that is no service but a module of one beside it, in a folder that was named as a whole.
        if let error = error as? PaniniError, error.code == .noApp, configuration.optionalScripts.contains(service.path)
        {
            logger.debug("\(service.path) makes no app and is left out")
            for feature in features { feature.leftOut(service.path) }
        } else if let error = error as? PaniniError {
            for feature in features { feature.notStarted(service.name, error, from: service.path) }
            failure = failure ?? error
            events.tell(.failed(service: service.name, error))
            if !isAlone || configuration.scripts.count > 1 { service.logger.error("\(error.message)") }
        }
        services.removeAll { $0 === service }
        if services.isEmpty {
            finish()
        } else if let watcher, !configuration.isStrict, (error as? PaniniError)?.code != .noApp {
            // The others serve; this one gets its chance when somebody mends it.
            service.callbacks.mended = { [unowned self] in
                watcher.forget(service)
                startAnew(service)
            }
            watcher.watch(service)
        } else if configuration.isStrict, failure != nil {
            stop()
        }
    }

    private func startAnew(_ service: ServiceController) {
        let again = ServiceController(
            path: service.path,
            workers: keeper.workers,
            loop: loop,
            settings: service.settings
        )
        services.removeAll { $0 === service }
        services.append(again)
        start(again)
    }

    // MARK: - Reload

    /// Reloads a service by its name or file, or all.
    ///
    /// - Returns: What became of each; empty when there is no such service.
    func reload(_ name: String?) -> EventLoopFuture<[Result<PaniniReloadReport, PaniniError>]> {
        let chosen = services.filter { name == nil || $0.name == name || $0.path == name }
        let reloads = chosen.map { service in
            service.requestReload().map { Result<PaniniReloadReport, PaniniError>.success($0) }
                .recover { error in
                    .failure(error as? PaniniError ?? PaniniError(code: .notRunning, message: "\(error)"))
                }
        }
        return EventLoopFuture.whenAllSucceed(reloads, on: loop)
    }

    // MARK: - Workers that are stuck

    func workerChanged(_ worker: Int, isStuck: Bool) {
        for service in services { service.workerChanged(worker, isStuck: isStuck) }
        for feature in features { feature.workerChanged(worker, isStuck: isStuck) }
        mounts.workerChanged(worker, isStuck: isStuck)
    }

    func workerReplaced(_ worker: Int) { mounts.workerChanged(worker, isStuck: true) }

    func tooManyStuck(_ error: PaniniError) {
        logger.critical("\(error.message)")
        failure = error
        stop()
    }

    private func startWatching() {
        let watcher = FileWatcher(loop: loop, logger: logger)
        self.watcher = watcher
        watcher.start()
    }

    /// The way to a service's script on the first worker; nil when it does not run.
    func completions(of name: String) -> EventLoopFuture<SwiftCompletions?> {
        guard let instance = services.first(where: { $0.name == name && $0.state == .running })?.instances.first else {
            return loop.makeSucceededFuture(nil)
        }
        return instance.run { $0.script.embedding.completions(of: $0.script) }
    }

    // MARK: - Status

    var scriptPaths: [String] { configuration.scripts }

    func value(of option: OptionDefinition) throws(PaniniError) -> OptionValue? {
        try configuration.overrides.value(of: option, among: configuration.features.flatMap(\.options))
    }

    func look(within limit: TimeAmount) -> EventLoopFuture<[(PaniniServiceStatus, WorkerCounters)]> {
        EventLoopFuture.whenAllSucceed(services.map { $0.look(within: limit) }, on: loop)
    }

    /// The answer of a feature to a question of the control socket; nil when none knows the command.
    func answer(_ command: String, _ question: JSONValue) -> EventLoopFuture<JSONText>? {
        for feature in features {
            if let answer = feature.answer(command, question) { return answer }
        }
        return nil
    }

    /// What runs, in the order of the command line.
    func status() -> EventLoopFuture<[PaniniServiceStatus]> {
        let keeper = NIOLoopBound(keeper, eventLoop: loop)
        return EventLoopFuture.whenAllSucceed(services.map { $0.status() }, on: loop).map { all in
            all.map { status in
                var status = status
                status.givenUpThreads = keeper.value.givenUpThreads
                return status
            }
        }
    }

    private func startControl(_ directory: String) {
        let control = ControlServer(directory: directory, loop: loop, host: self)
        do throws(ControlError) {
            try control.start()
            self.control = control
        } catch {
            logger.warning("panini ps and panini reload cannot reach this program: \(error.message)")
        }
    }

    // MARK: - Stop

    func stop() {
        guard !isStopping else { return }
        isStopping = true
        keeper.stop()
        watcher?.stop()
        for feature in features { feature.willStop() }
        guard !services.isEmpty else { return finish() }
        scheduleLastCall()
        let box = NIOLoopBound(self, eventLoop: loop)
        EventLoopFuture.whenAllSucceed(services.map { $0.stop() }, on: loop).whenComplete { result in
            let this = box.value
            if case .success(let failures) = result, let first = failures.compactMap({ $0 }).first {
                this.failure = this.failure ?? first
            }
            for service in this.services { this.events.tell(.stopped(service: service.name)) }
            this.services = []
            this.mounts.removeAll()
            this.finish()
        }
    }

    /// When the time of a stop is over and a script goes on all the same, with a budget that is larger than it, its run is
    /// ended.
    private func scheduleLastCall() {
        let box = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: .nanoseconds(nanoseconds(stopAllowance.shutdownTimeout)) + .seconds(1)) {
            let this = box.value
            guard this.finished != nil else { return }
            this.cutOff = PaniniError(
                code: .shutdownTimeout,
                message: "shutdown_timeout is over, and scripts still ran: they were ended"
            )
            this.keeper.endAllRuns()
        }
    }

    private func finish() {
        guard let promise = finished else { return }
        finished = nil
        watcher?.stop()
        control?.stop()
        events.finish()
        let box = NIOLoopBound(self, eventLoop: loop)
        let stops = features.compactMap { $0.stop()?.value(within: HostFeature.stopLimit, or: ()) }
        EventLoopFuture.andAllComplete(stops, on: loop).flatMap { box.value.keeper.end() }.whenComplete { result in
            let this = box.value
            var failure = this.failure
            if case .success(.some(let held)) = result { failure = failure ?? held }
            if let failure = failure ?? this.cutOff { promise.fail(failure) } else { promise.succeed() }
        }
    }
}

extension HostCore: WorkerKeeperDelegate {}

extension HostCore: FeatureHost {}

@available(*, unavailable)
extension HostCore: Sendable {}
