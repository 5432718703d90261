// Owns: the way from the host's loop to one service on one worker. Lives on the host's loop; what it carries over is only
// touched on the worker's.

import CLuaVM
import NATS
import NIOCore
import PaniniHTTP
import ScriptRuntime

/// A service on one of the workers, as the host's loop sees it.
struct WorkerInstance: Sendable {
    let index: Int
    /// Counts up when the worker is replaced.
    let incarnation: Int
    /// Ends the worker's connection when its loop does not come back.
    let linkCut: NATSLinkCut
    /// The sockets of its web server, which whoever takes its place listens on.
    let sockets: HTTPSockets
    /// What ends the connections that its features have.
    private let cuts: [@Sendable () -> Void]
    /// What other threads wait for.
    let openCalls = OpenCalls()
    /// The service's part of the worker's time; any thread may look at it.
    private nonisolated(unsafe) let share: OpaquePointer
    private let calls: NIOLoopBoundBox<WorkerCalls>
    private let service: NIOLoopBound<Service>
    private let loop: any EventLoop

    /// Called on the worker's loop.
    ///
    /// - Parameter calls: Those of the host's loop to this worker.
    init(_ service: Service, calls: NIOLoopBoundBox<WorkerCalls>) {
        index = service.worker.index
        incarnation = service.worker.incarnation
        linkCut = service.connection.linkCut
        share = service.turn.share
        sockets = service.web.sockets
        cuts = service.features.all.compactMap(\.cut)
        loop = service.worker.eventLoop
        self.calls = calls
        self.service = NIOLoopBound(service, eventLoop: loop)
    }

    /// Whether the service has used a part of its worker's time in the last seconds. Any thread.
    var isComputing: Bool { panini_share_busy(share, 2) > 50_000_000 }

    /// Runs something on the worker's loop; the result comes back on the host's, or the error that the worker was lost. On the
    /// host's loop.
    func run<Result: Sendable>(_ body: @escaping @Sendable (Service) throws -> Result) -> EventLoopFuture<Result> {
        calls.value.track { loop.submit { [service] in try body(service.value) } }
    }

    /// The same for what takes its time.
    func wait<Result: Sendable>(
        _ body: @escaping @Sendable (Service) -> EventLoopFuture<Result>
    ) -> EventLoopFuture<Result> {
        calls.value.track { loop.flatSubmit { [service] in body(service.value) } }
    }

    /// Runs something on the worker's loop; nobody waits for it. Any thread.
    func execute(_ body: @escaping @Sendable (Service) -> Void) {
        loop.execute { [service] in body(service.value) }
    }

    /// The worker's place is another's from now on: ends its connections, and sees to it that it ends when its loop comes
    /// back.
    func abandon() {
        linkCut.cut()
        for cut in cuts { cut() }
        openCalls.fail()
        execute { $0.abandon() }
    }
}

/// Carries something from the thread that made it to the one that uses it from then on.
///
/// Unchecked: the maker lets go of it when it hands it over, and the hand-over itself goes through the queue of an event
/// loop, which orders what happened before with what happens after.
struct Handover<Value>: @unchecked Sendable {
    let value: Value
}

extension EventLoopFuture where Value: Sendable {
    /// What comes of it, or `fallback` when it fails or has nothing after a time. For futures of one's own loop.
    func value(within limit: TimeAmount, or fallback: Value) -> EventLoopFuture<Value> {
        let promise = eventLoop.makePromise(of: Value.self)
        let isOpen = NIOLoopBoundBox(true, eventLoop: eventLoop)
        let expiry = eventLoop.scheduleTask(in: limit) {
            guard isOpen.value else { return }
            isOpen.value = false
            promise.succeed(fallback)
        }
        whenComplete { result in
            guard isOpen.value else { return }
            isOpen.value = false
            expiry.cancel()
            if case .success(let value) = result { promise.succeed(value) } else { promise.succeed(fallback) }
        }
        return promise.futureResult
    }
}
