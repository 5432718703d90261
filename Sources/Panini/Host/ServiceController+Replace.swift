// Owns: what becomes of a service when a script holds one of its workers for good: the loss, and the start of another one in
// its place (docs/security.md). Lives on the host's loop.

import Logging
import NATS
import NIOCore
import PaniniHTTP
import ScriptRuntime

extension ServiceController {
    // MARK: - Workers that keep their places

    /// A worker does not come back from a script, or has come back.
    func workerChanged(_ index: Int, isStuck: Bool) {
        guard isStuck else {
            stuckWorkers.remove(index)
            return
        }
        stuckWorkers.insert(index)
        guard let instance = instances.first(where: { $0.index == index }) else { return }
        // With nobody to take over, the messages wait for it: at the broker, while it bears that.
        guard instances.contains(where: { !stuckWorkers.contains($0.index) }) else { return }
        guard instance.linkCut.cut() else { return }
        logger.warning("the connection of worker-\(index) was ended: the other workers get its messages")
    }

    // MARK: - Workers that are replaced

    /// A worker's place is another thread's. What was on it is given up; ``fillVacancy(_:)`` starts it anew, once what waits
    /// for the lost one has heard of it and the thread is there.
    ///
    /// - Parameter holder: The service whose script holds the thread.
    func lost(_ worker: Worker.Handle, heldBy holder: String) {
        let index = worker.index
        workers[index] = worker
        switch state {
        case .starting:
            // What waits for the worker fails. A start that holds it itself is not tried again.
            isInterrupted = holder != name && holder != path
            for instance in instances where instance.index == index { instance.abandon() }
            instances.removeAll { $0.index == index }
        case .running:
            let position = instances.firstIndex { $0.index == index }
            guard position != nil || replacements.vacant.contains(index) else { return }
            let old = position.map { instances.remove(at: $0) }
            let listening = served.webPort.flatMap { old?.sockets.takePort($0) }
            let unfinished = replacements.lost(index, listening)
            shared.replaced(index, by: worker.incarnation)
            old?.abandon()
            unfinished?.abandon()
            perform(reloads.workerLost())
        case .stopping:
            for instance in instances where instance.index == index { instance.abandon() }
        case .idle, .stopped: break
        }
    }

    /// The thread that has the place is there.
    func threadStarted(_ index: Int) {
        replacements.threadStarted(index)
        fillVacancies()
    }

    /// Starts the version that serves where a worker was lost.
    func fillVacancies() {
        guard state == .running, reloads.isIdle else { return }
        for index in replacements.vacant { fillVacancy(index) }
    }

    private func fillVacancy(_ index: Int) {
        guard let (attempt, listening) = replacements.begin(index) else { return }
        let box = NIOLoopBound(self, eventLoop: loop)
        let begun = NIODeadline.now()
        let worker = workers[index]
        load(for: [index], served.sources, generation: served.generation).flatMap {
            loaded -> EventLoopFuture<WorkerInstance> in
            let this = box.value
            guard this.state == .running, this.replacements.isCurrent(attempt, of: index) else {
                this.close(loaded)
                return this.loop.makeFailedFuture(CancellationError())
            }
            return this.makeInstance(worker, loaded[0], isReplacement: true)
        }.flatMap { instance -> EventLoopFuture<WorkerInstance> in
            let this = box.value
            guard this.state == .running, this.replacements.isCurrent(attempt, of: index) else {
                instance.abandon()
                return this.loop.makeFailedFuture(CancellationError())
            }
            this.replacements.starts(instance)
            return instance.wait { $0.start() }.flatMap {
                let port = box.value.served.webPort
                let inherited = listening?.port == port ? listening : nil
                return instance.wait { $0.activate(webPort: port, inheriting: inherited) }
            }.map { port in
                box.value.served.webPort = port
                return instance
            }
        }.whenComplete { result in
            let this = box.value
            guard this.state == .running, this.replacements.isCurrent(attempt, of: index) else { return }
            switch result {
            case .success(let instance): this.filled(instance, since: begun)
            case .failure(let error): this.notFilled(index, error)
            }
        }
    }

    private func filled(_ instance: WorkerInstance, since begun: NIODeadline) {
        replacements.filled(instance.index)
        instances.append(instance)
        instances.sort { $0.index < $1.index }
        let milliseconds = (NIODeadline.now() - begun).nanoseconds / 1_000_000
        logger.info(
            "\(name) serves on worker-\(instance.index) again: version \(served.generation), after \(milliseconds) ms"
        )
        callbacks.replaced?(instance)
        perform(reloads.proceed(isReplacing: replacements.isUnderWay))
    }

    private func notFilled(_ index: Int, _ error: any Error) {
        let unfinished = replacements.starting.filter { $0.index == index }
        for instance in unfinished { instance.execute { $0.abandon() } }
        let pause = replacements.failed(index)
        let reason = (error as? PaniniError)?.message ?? "\(error)"
        logger.error(
            "\(name) cannot be started on the worker that takes the place of worker-\(index): \(reason); again in \(pause) s"
        )
        let box = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: .seconds(pause)) { box.value.fillVacancies() }
        // A reload may be what mends it.
        perform(reloads.proceed(isReplacing: replacements.isUnderWay))
    }
}
