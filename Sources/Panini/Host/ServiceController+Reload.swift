// Owns: reloads of one service: one at a time, all workers or none, the latest content wins (docs/reload.md). Lives on the
// host's loop.

import Logging
import NIOCore

/// A reload that is going on.
struct ReloadRun {
    let promise: EventLoopPromise<PaniniReloadReport>
    let begun: NIODeadline
    /// The version that serves is out of memory: it is replaced whether it hands anything over or not.
    let isRescue: Bool
    /// Its scripts are with the workers, and may be waiting in a start task.
    var isStaged = false
}

extension ServiceController {
    /// Replaces the service's code by what its files hold now.
    ///
    /// - Returns: What changed; fails with a ``PaniniError``, and the version before serves on.
    func requestReload(isRescue: Bool = false) -> EventLoopFuture<PaniniReloadReport> {
        let promise = loop.makePromise(of: PaniniReloadReport.self)
        guard state == .running else {
            promise.fail(PaniniError(code: .notRunning, message: "\(name) is not running"))
            return promise.futureResult
        }
        if let stuck = instances.first(where: { stuckWorkers.contains($0.index) }) {
            promise.fail(
                PaniniError(
                    code: .workerStuck,
                    message:
                        "\(name): a script holds worker-\(stuck.index), which cannot be reloaded; restart the program"
                )
            )
            return promise.futureResult
        }
        guard let running = reload else {
            guard !replacements.isUnderWay else {
                // What takes the lost worker's place is to have the version that serves.
                nextReload.append(promise)
                return promise.futureResult
            }
            begin(promise, isRescue: isRescue)
            return promise.futureResult
        }
        nextReload.append(promise)
        if running.isStaged {
            // Newer content is there: what waits for its start tasks would be replaced at once.
            giveUpStaged()
        }
        return promise.futureResult
    }

    /// Lets the version that is made ready wait for nothing any more.
    func giveUpStaged() {
        for instance in instances { _ = instance.run { $0.unstage(Self.superseded) } }
    }

    static let superseded = PaniniError(code: .superseded, message: "a newer version has taken its place")

    private func begin(_ promise: EventLoopPromise<PaniniReloadReport>, isRescue: Bool = false) {
        reload = ReloadRun(promise: promise, begun: .now(), isRescue: isRescue)
        let box = NIOLoopBound(self, eventLoop: loop)
        // All that serve; without any, what is to serve instead.
        let places = instances.isEmpty ? replacements.vacant : instances.map(\.index)
        load(for: places).flatMap { loaded in
            box.value.stage(loaded, places)
        }.whenComplete { result in
            box.value.ended(result)
        }
    }

    private func stage(_ loaded: [Loaded], _ places: [Int]) -> EventLoopFuture<PaniniReloadReport> {
        let first = loaded[0].value
        if let problem = problem(with: first.options) {
            close(loaded)
            return loop.makeFailedFuture(problem)
        }
        guard state == .running else {
            close(loaded)
            return loop.makeFailedFuture(PaniniError(code: .notRunning, message: "\(name) is stopping"))
        }
        guard instances.isEmpty || instances.map(\.index) == places else {
            close(loaded)
            return loop.makeFailedFuture(Self.superseded)
        }
        let options = first.options
        let isRescue = reload?.isRescue ?? false
        let summary = PaniniServiceReport(
            first.script.registrations,
            options: options,
            clientName: clientName ?? first.script.clientName
        )
        guard !instances.isEmpty else {
            close(loaded)
            // Nothing of the old place is known to be free for another one.
            if let old = self.options, old.webPort != options.webPort || old.webHost != options.webHost {
                webPort = nil
            }
            take(options, summary)
            return loop.makeSucceededFuture(switched([]))
        }
        reload?.isStaged = true
        let box = NIOLoopBound(self, eventLoop: loop)
        // The first one takes the port; the others share it.
        let instances = instances
        return instances[0].wait { $0.stage(loaded[0].value.script, isRescue: isRescue) }.flatMap {
            instances[0].run { $0.stagedPort }
        }.flatMapError { error in
            box.value.close(Array(loaded.dropFirst()))
            return box.eventLoop.makeFailedFuture(error)
        }.flatMap { port in
            let this = box.value
            let rest = zip(instances, loaded).dropFirst().map { instance, loaded in
                instance.wait {
                    $0.stage(loaded.value.script, webPort: port, isRescue: isRescue)
                }
            }
            // All of them, also when one has failed: nothing is half done when it is given up.
            return EventLoopFuture.whenAllComplete(Array(rest), on: this.loop).flatMapThrowing { results in
                for result in results { try result.get() }
            }
        }.flatMap {
            let this = box.value
            // One that is lost in this moment is replaced by one that has the new version.
            let switches = instances.map { $0.run { $0.commit() as SwitchReport? }.recover { _ in nil } }
            return EventLoopFuture.whenAllSucceed(switches, on: this.loop)
        }.map { reports in
            let this = box.value
            this.take(options, summary)
            let reports = reports.compactMap { $0 }
            if let first = reports.first { this.webPort = first.webPort }
            return this.switched(reports)
        }.flatMapErrorThrowing { error in
            for instance in instances { _ = instance.run { $0.unstage(CancellationError()) } }
            throw error
        }
    }

    /// A version serves from now on.
    private func take(_ options: AppOptions, _ report: PaniniServiceReport) {
        self.options = options
        self.report = report
        servedSources = sources
        store.setLimit(options.sharedLimit)
        onAdopted?(options)
    }

    /// What a new version may not change while the service runs.
    private func problem(with new: AppOptions) -> PaniniError? {
        guard let options else { return nil }
        let differing = new.fixedOptions(differingFrom: options)
        guard !differing.isEmpty || (workers.count > 1 && new.isSync != options.isSync) else { return nil }
        let names = differing.isEmpty ? "app_strategy" : differing.joined(separator: ", ")
        return PaniniError(
            code: .needsRestart,
            message: "\(path): \(names) cannot change while the service runs; restart it"
        )
    }

    private func switched(_ reports: [SwitchReport]) -> PaniniReloadReport {
        let before = generation
        generation += 1
        let first = reports.first ?? SwitchReport()
        let taken = NIODeadline.now() - (reload?.begun ?? .now())
        return PaniniReloadReport(
            serviceName: name,
            from: before,
            to: generation,
            milliseconds: Double(taken.nanoseconds) / 1e6,
            added: first.added,
            removed: first.removed,
            changed: first.changed,
            inFlight: reports.reduce(0) { $0 + $1.inFlight }
        )
    }

    private func ended(_ result: Result<PaniniReloadReport, any Error>) {
        guard let run = reload else { return }
        reload = nil
        let outcome = result.mapError { [name] error in
            error as? PaniniError ?? PaniniError(code: .notRunning, message: "\(name): the service stopped meanwhile")
        }
        switch outcome {
        case .success(let report):
            logger.info("\(report.line)")
            onReload?(outcome)
            run.promise.succeed(report)
        case .failure(let error) where error.code == .superseded || (error.code == .workerStuck && state == .running):
            logger.debug("\(name): version \(generation + 1) was given up: \(error.message)")
            // Whoever asked for it is answered by what took its place.
            nextReload.append(run.promise)
        case .failure(let error):
            logger.error(
                "\(name) was not reloaded, version \(generation) serves on: \(error.message)",
                metadata: error.traceback.map { ["lua.traceback": "\($0)"] }
            )
            onReload?(outcome)
            run.promise.fail(error)
        }
        fillVacancies()
        goOnReloading()
    }

    /// Begins the reload that was asked for meanwhile.
    func goOnReloading() {
        guard reload == nil, !replacements.isUnderWay, !nextReload.isEmpty else { return }
        let waiting = nextReload
        nextReload = []
        guard state == .running else {
            for promise in waiting {
                promise.fail(PaniniError(code: .notRunning, message: "\(name) is stopping"))
            }
            return
        }
        // One for all of them: whatever they saw, it is older than what is read now.
        let promise = loop.makePromise(of: PaniniReloadReport.self)
        for other in waiting { promise.futureResult.cascade(to: other) }
        begin(promise)
    }
}
