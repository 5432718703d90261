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
            begin(promise, isRescue: isRescue)
            return promise.futureResult
        }
        nextReload.append(promise)
        if running.isStaged {
            // Newer content is there: what waits for its start tasks would be replaced at once.
            for instance in instances { _ = instance.run(on: loop) { $0.unstage(Self.superseded) } }
        }
        return promise.futureResult
    }

    private static let superseded = PaniniError(code: .superseded, message: "a newer version has taken its place")

    private func begin(_ promise: EventLoopPromise<PaniniReloadReport>, isRescue: Bool = false) {
        reload = ReloadRun(promise: promise, begun: .now(), isRescue: isRescue)
        let box = NIOLoopBound(self, eventLoop: loop)
        load().flatMap { loaded in
            box.value.stage(loaded)
        }.whenComplete { result in
            box.value.ended(result)
        }
    }

    private func stage(_ loaded: [Loaded]) -> EventLoopFuture<PaniniReloadReport> {
        let first = loaded[0].value
        if let problem = problem(with: first.options, loaded.count) {
            close(loaded)
            return loop.makeFailedFuture(problem)
        }
        guard state == .running else {
            close(loaded)
            return loop.makeFailedFuture(PaniniError(code: .notRunning, message: "\(name) is stopping"))
        }
        reload?.isStaged = true
        let box = NIOLoopBound(self, eventLoop: loop)
        let options = first.options
        let isRescue = reload?.isRescue ?? false
        let summary = PaniniServiceReport(
            first.script.registrations,
            options: options,
            clientName: clientName ?? first.script.clientName
        )
        // The first one takes the port; the others share it.
        return instances[0].wait(on: loop) { $0.stage(loaded[0].value.script, isRescue: isRescue) }.flatMap {
            box.value.instances[0].run(on: box.eventLoop) { $0.stagedPort }
        }.flatMapError { error in
            box.value.close(Array(loaded.dropFirst()))
            return box.eventLoop.makeFailedFuture(error)
        }.flatMap { port in
            let this = box.value
            let rest = zip(this.instances, loaded).dropFirst().map { instance, loaded in
                instance.wait(on: this.loop) {
                    $0.stage(loaded.value.script, webPort: port, isRescue: isRescue)
                }
            }
            // All of them, also when one has failed: nothing is half done when it is given up.
            return EventLoopFuture.whenAllComplete(Array(rest), on: this.loop).flatMapThrowing { results in
                for result in results { try result.get() }
            }
        }.flatMap {
            let this = box.value
            let switches = this.instances.map { $0.run(on: this.loop) { $0.commit() } }
            return EventLoopFuture.whenAllSucceed(switches, on: this.loop)
        }.map { reports in
            let this = box.value
            this.options = options
            this.report = summary
            this.store.setLimit(options.sharedLimit)
            return this.switched(reports)
        }.flatMapErrorThrowing { error in
            let this = box.value
            for instance in this.instances { _ = instance.run(on: this.loop) { $0.unstage(CancellationError()) } }
            throw error
        }
    }

    /// What a new version may not change while the service runs.
    private func problem(with new: AppOptions, _ workers: Int) -> PaniniError? {
        guard let options else { return nil }
        let differing = new.fixedOptions(differingFrom: options)
        guard !differing.isEmpty || workers != instances.count else { return nil }
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
        case .failure(let error) where error.code == .superseded:
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
        guard !nextReload.isEmpty else { return }
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
