// Owns: what becomes of a service when a script holds one of its workers for good. Lives on the host's loop.

import Logging
import NATS
import NIOCore

extension ServiceController {
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

    /// What a worker says, or `fallback` when a script holds it.
    ///
    /// - Parameter limit: How long it may take, counted only for workers that are not known to be stuck.
    func answer<Result: Sendable>(
        of instance: WorkerInstance,
        within limit: TimeAmount,
        _ fallback: Result,
        _ ask: (WorkerInstance, any EventLoop) -> EventLoopFuture<Result>
    ) -> EventLoopFuture<Result> {
        guard !stuckWorkers.contains(instance.index) else { return loop.makeSucceededFuture(fallback) }
        let promise = loop.makePromise(of: Result.self)
        let box = NIOLoopBoundBox(true, eventLoop: loop)
        let expiry = loop.scheduleTask(in: limit) {
            guard box.value else { return }
            box.value = false
            promise.succeed(fallback)
        }
        ask(instance, loop).whenComplete { result in
            guard box.value else { return }
            box.value = false
            expiry.cancel()
            promise.completeWith(result)
        }
        return promise.futureResult
    }
}
