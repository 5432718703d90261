// Owns: one service over all workers: loading its script for each, start, reload and stop as one (docs/reload.md). Lives on
// the host's loop, which no script ever holds up; services and scripts are on the workers' loops.

import Logging
import NATS
import NIOCore
import PaniniHTTP
import PaniniObservability
import ScriptRuntime

/// What loading takes, the same for every version.
struct LoadSettings: Sendable {
    let overrides: PaniniOverrides
    let logs: PaniniLogs?
    let middlewares: [any PaniniMiddleware]
    let modules: [PaniniModule]
    let texts: [String: String]
    let registrations: [String: PaniniRegistrations]
    let opensWebPorts: Bool
    /// What the web servers of all services share.
    let webMemory: WebMemory
    let instruments: HostTelemetry?
    let features: [Feature]
    /// What host features give to the features of scripts.
    let hostValues: [any Sendable]
    let api: ScriptAPI
    let logger: Logger
}

/// The version of a service that serves.
struct ServedVersion {
    /// 0 before the first one does.
    var generation = 0
    var options: AppOptions?
    var report: PaniniServiceReport?
    var sources = SourceFiles()
    /// Where the web server listens.
    var webPort: Int?
}

/// Those who hear of what a service does.
struct ControllerCallbacks {
    /// Called with the options of each version that is to serve.
    var adopted: ((AppOptions) -> Void)?
    /// Called once when the service ends by itself.
    var failed: ((PaniniError) -> Void)?
    /// Called after each attempt to reload it.
    var reloaded: ((Result<PaniniReloadReport, PaniniError>) -> Void)?
    /// Called with what has taken a lost worker's place.
    var replaced: ((WorkerInstance) -> Void)?
    /// Called when the files have changed of a service that could not be started: it is to be tried again.
    var mended: (() -> Void)?
}

/// One service of a host.
final class ServiceController {
    enum State: Equatable {
        case idle
        case starting
        case running
        case stopping
        case stopped
    }

    let path: String
    let loop: any EventLoop
    let settings: LoadSettings
    var workers: [Worker.Handle]
    var logger: Logger
    var state = State.idle
    var callbacks = ControllerCallbacks()
    var instances: [WorkerInstance] = []
    var shared: SharedServiceState
    /// What was lost with workers, and what takes its place.
    var replacements = Replacements()
    /// What features share over its workers.
    let sharedValues: [any Sendable]
    /// What serves.
    var served = ServedVersion()
    /// When it may be replaced.
    var reloads = ReloadMachine<EventLoopPromise<PaniniReloadReport>, PaniniError>()
    /// What the reload that goes on has in hand.
    var reload: ReloadRun?
    /// How many versions were loaded, whether they served then or not.
    var attempt = 0
    /// The files of the last attempt: what differs from them is new.
    var sources = SourceFiles()
    var clientName: String?
    var startedAt = NIODeadline.now()
    /// Workers that a script holds, and that keep their places.
    var stuckWorkers: Set<Int> = []
    /// What each worker said of itself last.
    var heard: [Int: WorkerStatus] = [:]
    /// What is known of its files.
    var files = WatchedFiles()
    /// The start was broken off by a worker that another service's script holds: it is made anew.
    var isInterrupted = false

    init(path: String, workers: [Worker.Handle], loop: any EventLoop, settings: LoadSettings) {
        self.path = path
        self.workers = workers
        self.loop = loop
        self.settings = settings
        logger = settings.logger
        sharedValues = settings.hostValues + settings.features.flatMap(\.shared).map { $0() }
        shared = SharedServiceState(workers: workers.count, webMemory: settings.webMemory)
    }

    /// The service's name; its file's as long as that is not known.
    var name: String { served.options?.serviceName ?? path }

    // MARK: - Loading

    /// What a script of one worker becomes when it is loaded.
    typealias Loaded = Handover<(script: Script, options: AppOptions)>

    /// Loads what the files hold now, once for each worker, on a thread of its own: a file that computes for long holds up
    /// nobody.
    ///
    /// - Parameter indices: Which workers.
    func load(for indices: [Int]) -> EventLoopFuture<[Loaded]> {
        attempt += 1
        sources = SourceFiles(texts: settings.texts)
        return load(for: indices, sources, generation: served.generation + 1)
    }

    /// Loads one version.
    func load(for indices: [Int], _ sources: SourceFiles, generation: Int) -> EventLoopFuture<[Loaded]> {
        let places = indices.map { index in
            let worker = workers[index]
            return ScriptPlace(
                generation: generation,
                worker: worker.index,
                workers: shared.workers,
                clientName: clientName,
                threadName: worker.threadName,
                shared: sharedValues,
                sources: sources,
                modules: settings.modules,
                registrations: settings.registrations[path] ?? PaniniRegistrations(),
                instruments: settings.instruments,
                features: settings.features,
                api: settings.api
            )
        }
        return Self.load(path, settings, places, loop)
    }

    private static func load(
        _ path: String,
        _ settings: LoadSettings,
        _ places: [ScriptPlace],
        _ loop: any EventLoop
    ) -> EventLoopFuture<[Loaded]> {
        LoaderThread.run(path, on: loop) {
            var loaded: [Loaded] = []
            var places = places
            var index = 0
            do {
                while index < places.count {
                    let result = try load(path, settings, places[index])
                    if result.options.isSync, places.count > 1 {
                        // One at a time is one worker.
                        result.script.close()
                        places = [places[0]]
                        places[0].workers = 1
                        continue
                    }
                    for other in places.indices where places[other].clientName == nil {
                        places[other].clientName = result.script.messaging.clientName
                    }
                    loaded.append(Loaded(value: result))
                    index += 1
                }
            } catch {
                for script in loaded { script.value.script.close() }
                throw error
            }
            return loaded
        } discard: { loaded in
            for script in loaded { script.value.script.close() }
        }
    }

    private static func load(
        _ path: String,
        _ settings: LoadSettings,
        _ place: ScriptPlace
    ) throws(PaniniError) -> (script: Script, options: AppOptions) {
        let result = try ServiceLoader.load(
            path,
            overrides: settings.overrides,
            logger: settings.logger,
            logs: settings.logs,
            middlewares: settings.middlewares,
            place: place
        )
        // Renewed certificates are a new version, too.
        for file in [result.options.webCertificateFile, result.options.webKeyFile] {
            if let file { place.sources.note(file, maximum: 1 << 20) }
        }
        return result
    }

    // MARK: - Start

    /// Loads, connects and starts on all workers. Fails with a ``PaniniError``; nothing of the service is left then.
    func start() -> EventLoopFuture<PaniniServiceReport> {
        state = .starting
        startedAt = .now()
        let box = NIOLoopBound(self, eventLoop: loop)
        return load(for: Array(workers.indices)).flatMap { loaded in
            box.value.start(loaded)
        }.flatMapError { error in
            box.value.startFailed(error)
        }
    }

    private func start(_ loaded: [Loaded]) -> EventLoopFuture<PaniniServiceReport> {
        guard state == .starting else {
            close(loaded)
            return loop.makeFailedFuture(CancellationError())
        }
        let first = loaded[0].value
        adopt(first.options, first.script)
        clientName = first.script.messaging.clientName
        if loaded.count != workers.count {
            shared = SharedServiceState(workers: loaded.count, webMemory: settings.webMemory)
        }
        if !first.options.unusedGroups.isEmpty {
            logger.warning("\(first.options.unusedGroups.joined(separator: " and ")): not used with this broker")
        }
        served.sources = sources
        let box = NIOLoopBound(self, eventLoop: loop)
        return makeInstances(loaded).flatMap { instances in
            let this = box.value
            this.instances = instances
            guard this.state == .starting else { return this.loop.makeFailedFuture(CancellationError()) }
            let starts = instances.map { $0.wait { $0.start() } }
            return EventLoopFuture.andAllSucceed(starts, on: this.loop)
        }.flatMap {
            // The first one takes the port; the others share it.
            let this = box.value
            return this.instances[0].wait { $0.activate() }
        }.flatMap { port in
            let this = box.value
            this.served.webPort = port
            let rest = this.instances.dropFirst().map { $0.wait { $0.activate(webPort: port) } }
            return EventLoopFuture.whenAllSucceed(Array(rest), on: this.loop)
        }.flatMapThrowing { _ in
            let this = box.value
            guard this.state == .starting, let report = this.served.report else {
                throw CancellationError()
            }
            this.state = .running
            this.served.generation = 1
            this.reloads.started()
            return report
        }
    }

    /// Takes over what the options of the first version say.
    func adopt(_ options: AppOptions, _ script: Script) {
        served.options = options
        // The program's own: it reaches the console and the service's files, whatever the service's configuration says.
        logger = settings.logger
        logger[metadataKey: "service"] = .string(options.serviceName)
        served.report = PaniniServiceReport(
            script,
            options: options,
            clientName: clientName ?? script.messaging.clientName
        )
        callbacks.adopted?(options)
    }

    private func makeInstances(_ loaded: [Loaded]) -> EventLoopFuture<[WorkerInstance]> {
        let made = zip(workers, loaded).map { worker, loaded in makeInstance(worker, loaded) }
        return EventLoopFuture.whenAllSucceed(made, on: loop)
    }

    /// Makes the service on one worker.
    ///
    /// - Parameter isReplacement: It takes a lost one's place.
    func makeInstance(
        _ worker: Worker.Handle,
        _ loaded: Loaded,
        isReplacement: Bool = false
    ) -> EventLoopFuture<WorkerInstance> {
        let box = NIOLoopBound(self, eventLoop: loop)
        let host = loop
        return worker.calls.value.track {
            worker.submit { [shared, clientName, calls = worker.calls, settings] worker in
                let (script, options) = loaded.value
                let service = try Service(
                    worker: worker,
                    shared: shared,
                    script: script,
                    options: options,
                    clientName: clientName ?? script.messaging.clientName,
                    opensWebPort: settings.opensWebPorts,
                    isReplacement: isReplacement,
                    features: settings.features.compactMap(\.service),
                    logger: script.logger
                )
                let index = worker.index
                let incarnation = worker.incarnation
                service.callbacks.failed = { error in
                    host.execute { box.value.failed(error, index, incarnation) }
                }
                // A full Lua state does not recover by itself: a new one takes its place, as in a reload.
                service.callbacks.exhausted = { _ in
                    host.execute { box.value.exhausted(index, incarnation) }
                }
                return WorkerInstance(service, calls: calls)
            }
        }
    }

    private func exhausted(_ worker: Int, _ incarnation: Int) {
        if workers[worker].incarnation == incarnation { _ = requestReload(isRescue: true) }
    }

    private func failed(_ error: PaniniError, _ worker: Int, _ incarnation: Int) {
        // What has lost its place has no say.
        guard workers[worker].incarnation == incarnation else { return }
        guard state == .running || state == .starting else { return }
        let report = callbacks.failed
        callbacks.failed = nil
        report?(error)
    }

    /// What a stop may take beyond `shutdown_timeout`, before a worker that has not ended is taken for stuck.
    static let stopMargin = TimeAmount.seconds(6)

    private func startFailed(_ error: any Error) -> EventLoopFuture<PaniniServiceReport> {
        if state == .starting { state = .stopped }
        let promise = loop.makePromise(of: PaniniServiceReport.self)
        stopInstances().whenComplete { _ in promise.fail(error) }
        return promise.futureResult
    }

    private func stopInstances() -> EventLoopFuture<PaniniError?> {
        // Services end their stops by themselves; only a worker that a script holds needs more than that.
        let patience = TimeAmount.nanoseconds(nanoseconds(served.options?.shutdownTimeout ?? 30)) + Self.stopMargin
        let stops = (instances + replacements.starting).map { instance in
            let held = PaniniError(
                code: .workerStuck,
                message: "\(name): a script holds worker-\(instance.index): the stop does not wait for it any longer"
            )
            guard !stuckWorkers.contains(instance.index) else { return loop.makeSucceededFuture(held as PaniniError?) }
            return instance.wait { service in
                service.stop().assumeIsolated().map { service.lifecycle.failure }.nonisolated()
            }.value(within: patience, or: held)
        }
        return EventLoopFuture.whenAllSucceed(stops, on: loop).map { $0.compactMap { $0 }.first }
    }

    /// Closes scripts that nobody took over.
    func close(_ loaded: [Loaded]) {
        for loaded in loaded { loaded.value.script.close() }
    }

    // MARK: - Stop

    /// Stops on all workers. Never fails.
    ///
    /// - Returns: Why the service ended by itself, if it did.
    func stop() -> EventLoopFuture<PaniniError?> {
        guard state == .running || state == .starting else { return loop.makeSucceededFuture(nil) }
        state = .stopping
        perform(reloads.stop())
        let box = NIOLoopBound(self, eventLoop: loop)
        return stopInstances().map { failure in
            box.value.state = .stopped
            box.value.instances = []
            box.value.replacements.end()
            return failure
        }.recover { _ in nil }
    }
}

@available(*, unavailable)
extension ServiceController: Sendable {}
