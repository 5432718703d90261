// Owns: carrying out the reloads of one service: loading the next version, making it ready on the workers, the switch, and
// what is told of it (docs/reload.md). What comes when, the ReloadMachine says. Lives on the host's loop.

import Logging
import NIOCore

/// What a reload that goes on has in hand.
struct ReloadRun {
    let begun: NIODeadline
    /// The workers that the version is for.
    let places: [Int]
    /// What was loaded and no worker has yet, in the order of the places.
    var loaded: [ServiceController.Loaded] = []
    /// Where the version is made ready.
    var instances: [WorkerInstance] = []
    var options: AppOptions?
    var report: PaniniServiceReport?
    /// The port that the first worker has bound.
    var webPort: Int?
    /// What the switch has changed, by worker.
    var switches: [SwitchReport] = []
}

typealias ReloadPromise = EventLoopPromise<PaniniReloadReport>

extension ServiceController {
    /// Replaces the service's code by what its files hold now.
    ///
    /// - Returns: What changed; fails with a ``PaniniError``, and the version before serves on.
    func requestReload(isRescue: Bool = false) -> EventLoopFuture<PaniniReloadReport> {
        let promise = loop.makePromise(of: PaniniReloadReport.self)
        perform(
            reloads.request(
                by: promise,
                isRescue: isRescue,
                heldWorker: instances.first(where: { stuckWorkers.contains($0.index) })?.index,
                isReplacing: replacements.isUnderWay
            )
        )
        return promise.futureResult
    }

    /// Carries out what the course of a reload asks for.
    func perform(_ actions: [ReloadAction<ReloadPromise, PaniniError>]) {
        for action in actions { perform(action) }
    }

    private func perform(_ action: ReloadAction<ReloadPromise, PaniniError>) {
        switch action {
        case .load: loadNext()
        case .discardLoaded:
            close(reload?.loaded ?? [])
            reload?.loaded = []
        case .adopt:
            // Nothing of the old place is known to be free for another one.
            if let old = served.options, let new = reload?.options,
                old.webPort != new.webPort || old.webHost != new.webHost
            {
                served.webPort = nil
            }
            take()
            perform(reloads.committed())
        case .stageFirst: stageFirst()
        case .stageOthers: stageOthers()
        case .supersedeStaged:
            for instance in instances { _ = instance.run { $0.unstage(.failed(Self.superseded)) } }
        case .withdrawStaged:
            for instance in reload?.instances ?? [] { _ = instance.run { $0.unstage(.cancelled) } }
        case .commit: commit()
        case .succeed(let promises): succeeded(promises)
        case .fail(let promises, let problem): failed(promises, error(for: problem))
        case .reportGivenUp(let problem):
            logger.debug("\(name): version \(served.generation + 1) was given up: \(error(for: problem).message)")
        case .refuse(let promises, let problem):
            let error = self.error(for: problem)
            for promise in promises { promise.fail(error) }
        case .fillVacancies:
            reload = nil
            fillVacancies()
            perform(reloads.proceed(isReplacing: replacements.isUnderWay))
        }
    }

    // MARK: - Problems

    private static let superseded = PaniniError(code: .superseded, message: "a newer version has taken its place")

    private func error(for problem: ReloadProblem<PaniniError>) -> PaniniError {
        switch problem {
        case .notRunning: PaniniError(code: .notRunning, message: "\(name) is not running")
        case .workerHeld(let worker):
            PaniniError(
                code: .workerStuck,
                message: "\(name): a script holds worker-\(worker), which cannot be reloaded; restart the program"
            )
        case .stopping: PaniniError(code: .notRunning, message: "\(name) is stopping")
        case .stopped: PaniniError(code: .notRunning, message: "\(name): the service stopped meanwhile")
        case .superseded: Self.superseded
        case .workerLost(let error), .failed(let error): error
        }
    }

    private static func problem(_ error: any Error) -> ReloadProblem<PaniniError> {
        guard let error = error as? PaniniError else { return .stopped }
        return switch error.code {
        case .superseded: .superseded
        case .workerStuck: .workerLost(error)
        default: .failed(error)
        }
    }

    /// What a new version may not change while the service runs.
    private func problem(with new: AppOptions) -> PaniniError? {
        guard let options = served.options else { return nil }
        let differing = new.fixedOptions(differingFrom: options)
        guard !differing.isEmpty || (workers.count > 1 && new.isSync != options.isSync) else { return nil }
        let names = differing.isEmpty ? "app_strategy" : differing.joined(separator: ", ")
        return PaniniError(
            code: .needsRestart,
            message: "\(path): \(names) cannot change while the service runs; restart it"
        )
    }

    // MARK: - Loading

    private func loadNext() {
        // All that serve; without any, what is to serve instead.
        let places = instances.isEmpty ? replacements.vacant : instances.map(\.index)
        reload = ReloadRun(begun: .now(), places: places)
        let box = NIOLoopBound(self, eventLoop: loop)
        let loading = reloads.isRescue ? loadServed(for: places) : load(for: places)
        loading.whenComplete { result in
            let this = box.value
            switch result {
            case .success(let loaded): this.loaded(loaded)
            case .failure(let error): this.perform(this.reloads.loadFailed(Self.problem(error)))
            }
        }
    }

    /// Loads the version that serves once more, whatever its files hold by now: nobody has asked for what they hold.
    private func loadServed(for places: [Int]) -> EventLoopFuture<[Loaded]> {
        attempt += 1
        sources = served.sources
        return load(for: places, sources, generation: served.generation + 1)
    }

    private func loaded(_ loaded: [Loaded]) {
        let first = loaded[0].value
        reload?.loaded = loaded
        if let problem = problem(with: first.options) { return perform(reloads.loadFailed(.failed(problem))) }
        reload?.options = first.options
        reload?.report = PaniniServiceReport(
            first.script,
            options: first.options,
            clientName: clientName ?? first.script.messaging.clientName
        )
        if instances.isEmpty {
            perform(reloads.loaded(workers: .none))
        } else {
            perform(reloads.loaded(workers: instances.map(\.index) == reload?.places ? .same : .changed))
        }
    }

    // MARK: - Staging

    /// The first one takes the port; the others share it.
    private func stageFirst() {
        reload?.instances = instances
        guard let first = instances.first, let loaded = reload?.loaded.first else { return }
        reload?.loaded.removeFirst()
        let box = NIOLoopBound(self, eventLoop: loop)
        let isRescue = reloads.isRescue
        first.wait { $0.stage(loaded.value.script, isRescue: isRescue) }.flatMap {
            first.run { $0.stagedPort }
        }.whenComplete { result in
            let this = box.value
            switch result {
            case .success(let port):
                this.reload?.webPort = port
                this.perform(this.reloads.firstStaged())
            case .failure(let error): this.perform(this.reloads.stagingFailed(Self.problem(error)))
            }
        }
    }

    private func stageOthers() {
        guard let run = reload else { return }
        reload?.loaded = []
        let box = NIOLoopBound(self, eventLoop: loop)
        let isRescue = reloads.isRescue
        let port = run.webPort
        let stagings = zip(run.instances.dropFirst(), run.loaded).map { instance, loaded in
            instance.wait { $0.stage(loaded.value.script, webPort: port, isRescue: isRescue) }
        }
        // All of them, also when one has failed: nothing is half done when it is given up.
        EventLoopFuture.whenAllComplete(stagings, on: loop).flatMapThrowing { results in
            for result in results { try result.get() }
        }.whenComplete { result in
            let this = box.value
            switch result {
            case .success: this.perform(this.reloads.allStaged())
            case .failure(let error): this.perform(this.reloads.stagingFailed(Self.problem(error)))
            }
        }
    }

    // MARK: - The switch

    private func commit() {
        let box = NIOLoopBound(self, eventLoop: loop)
        // One that is lost in this moment is replaced by one that has the new version.
        let switches = (reload?.instances ?? []).map { $0.run { $0.commit() }.recover { _ in nil } }
        EventLoopFuture.whenAllSucceed(switches, on: loop).whenSuccess { switches in
            let this = box.value
            this.take()
            let switches = switches.compactMap { $0 }
            this.reload?.switches = switches
            if let first = switches.first { this.served.webPort = first.webPort }
            this.perform(this.reloads.committed())
        }
    }

    /// The version serves from now on.
    private func take() {
        guard let options = reload?.options else { return }
        served.options = options
        served.report = reload?.report
        served.sources = sources
        served.generation += 1
        callbacks.adopted?(options)
    }

    // MARK: - What is told

    private func succeeded(_ promises: [ReloadPromise]) {
        guard let run = reload else { return }
        let first = run.switches.first ?? SwitchReport()
        let report = PaniniReloadReport(
            serviceName: name,
            from: served.generation - 1,
            to: served.generation,
            milliseconds: Double((NIODeadline.now() - run.begun).nanoseconds) / 1e6,
            added: first.added,
            removed: first.removed,
            changed: first.changed,
            inFlight: run.switches.reduce(0) { $0 + $1.inFlight }
        )
        logger.info("\(report.line)")
        callbacks.reloaded?(.success(report))
        for promise in promises { promise.succeed(report) }
    }

    private func failed(_ promises: [ReloadPromise], _ error: PaniniError) {
        logger.error(
            "\(name) was not reloaded, version \(served.generation) serves on: \(error.message)",
            metadata: error.traceback.map { ["lua.traceback": "\($0)"] }
        )
        callbacks.reloaded?(.failure(error))
        for promise in promises { promise.fail(error) }
    }
}
