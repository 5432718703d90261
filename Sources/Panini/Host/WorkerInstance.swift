// Owns: the way from the host's loop to one service on one worker. Lives on the host's loop; what it carries over is only
// touched on the worker's.

import NATS
import NIOCore

/// A service on one of the workers, as the host's loop sees it.
struct WorkerInstance: Sendable {
    let index: Int
    /// Ends the worker's connection when its loop does not come back.
    let linkCut: NATSLinkCut
    private let service: NIOLoopBound<Service>
    private let loop: any EventLoop

    /// Called on the worker's loop.
    init(_ service: Service) {
        index = service.worker.index
        linkCut = service.connection.linkCut
        loop = service.worker.eventLoop
        self.service = NIOLoopBound(service, eventLoop: loop)
    }

    /// Runs something on the worker's loop; the result comes back on `host`.
    func run<Result: Sendable>(
        on host: any EventLoop,
        _ body: @escaping @Sendable (Service) throws -> Result
    ) -> EventLoopFuture<Result> {
        loop.submit { [service] in try body(service.value) }.hop(to: host)
    }

    /// Runs something on the worker's loop; nobody waits for it.
    func execute(_ body: @escaping @Sendable (Service) -> Void) {
        loop.execute { [service] in body(service.value) }
    }

    /// The same for what takes its time.
    func wait<Result: Sendable>(
        on host: any EventLoop,
        _ body: @escaping @Sendable (Service) -> EventLoopFuture<Result>
    ) -> EventLoopFuture<Result> {
        loop.flatSubmit { [service] in body(service.value) }.hop(to: host)
    }
}

/// Carries something from the thread that made it to the one that uses it from then on.
///
/// Unchecked: the maker lets go of it when it hands it over, and the hand-over itself goes through the queue of an event
/// loop, which orders what happened before with what happens after.
struct Handover<Value>: @unchecked Sendable {
    let value: Value
}
