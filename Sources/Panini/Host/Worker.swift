// Owns: one event loop's clock and alarms. Loop-bound; one per event loop thread.

import NATS
import NIOCore

/// An alarm of a worker.
enum WorkerAlarm {
    /// A coroutine's sleep is over.
    case wake(Script, UInt64)
    /// The same of one so short that it is over before the loop has looked at its sockets: it lasts until then.
    case wakeInTurn(Script, UInt64)
    /// A timer of a service falls due.
    case tick(Service, ServiceTimer)
    /// The first handler of a list may have run out of time.
    case expire(Script, DeadlineList)
    /// A look at the memory of a service that has been busy.
    case housekeeping(Service)
    /// The time a service has for its stop is over.
    case stopDeadline(Service)
    /// The time that a replaced script has for its end is over.
    case drainDeadline(Service, Script)
    /// A request has not even been sent in its time.
    case sendTimedOut(Service, WaitingSend)
    /// A broker that was slow may be so still.
    case brokerStillSlow(Service)
    /// A look at how much of its worker a service takes that has been busy.
    case rest(Service)
}

/// One event loop with what runs on it.
final class Worker {
    let eventLoop: any EventLoop
    /// Which of the host's workers it is, from 0.
    let index: Int
    /// Counts up when another one takes its place.
    let incarnation: Int
    private(set) var alarms: DeadlineTimer<WorkerAlarm>
    /// Whose turn it is when there is more to do than at once.
    let turns: WorkerTurns

    init(eventLoop: any EventLoop, index: Int = 0, incarnation: Int = 0) {
        self.eventLoop = eventLoop
        self.index = index
        self.incarnation = incarnation
        PaniniRuntime.prepareThread()
        self.turns = WorkerTurns(eventLoop: eventLoop)
        self.alarms = DeadlineTimer(eventLoop: eventLoop) { alarm in
            switch alarm {
            case .wake(let script, let id): script.sleepEnded(id)
            case .wakeInTurn(let script, let id): script.service?.turn.later(.wake(script, id))
            case .tick(let service, let timer): service.tick(timer)
            case .expire(let script, let list): script.service?.expire(list, of: script)
            case .housekeeping(let service): service.keepHouse()
            case .stopDeadline(let service): service.stopDeadlineReached()
            case .drainDeadline(let service, let script): service.drainDeadlineReached(script)
            case .sendTimedOut(let service, let send): service.sendTimedOut(send)
            case .brokerStillSlow(let service): service.brokerStillSlow()
            case .rest(let service): service.lookAtRest()
            }
        }
    }

    /// Whether it is the one that runs what runs once per host.
    var isFirst: Bool { index == 0 }

    /// Nanoseconds of the monotonic clock.
    var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    func cancel(_ alarm: DeadlineHandle) { alarms.cancel(alarm) }

    @discardableResult
    func schedule(_ alarm: WorkerAlarm, at nanoseconds: UInt64) -> DeadlineHandle {
        // NIO's deadlines are Int64 nanoseconds.
        alarms.schedule(alarm, at: .uptimeNanoseconds(min(nanoseconds, UInt64(Int64.max))))
    }
}

extension Worker {
    /// A worker as other threads see it.
    struct Handle: Sendable {
        let index: Int
        /// Counts up when another one takes its place.
        let incarnation: Int
        let eventLoop: any EventLoop
        /// What the host's loop waits for.
        let calls: NIOLoopBoundBox<WorkerCalls>
        private let box: NIOLoopBoundBox<Worker?>

        /// - Parameter host: The loop that asks.
        init(eventLoop: any EventLoop, index: Int, incarnation: Int = 0, host: any EventLoop) {
            self.eventLoop = eventLoop
            self.index = index
            self.incarnation = incarnation
            calls = NIOLoopBoundBox.makeBoxSendingValue(WorkerCalls(loop: host), eventLoop: host)
            box = NIOLoopBoundBox.makeEmptyBox(eventLoop: eventLoop)
        }

        /// The thread's name in log records.
        var threadName: String { "worker-\(index)" }

        /// The host has ended: alarms that will not be due hold what they are about, which holds the worker.
        func end() -> EventLoopFuture<Void> {
            eventLoop.submit { [box] in
                box.value?.alarms.cancelAll()
                box.value?.turns.close()
                box.value = nil
            }
        }

        /// Runs something on the worker's loop.
        func submit<Result: Sendable>(
            _ body: @escaping @Sendable (Worker) throws -> Result
        ) -> EventLoopFuture<Result> {
            eventLoop.submit { [box, eventLoop, index, incarnation] in
                let worker = box.value ?? Worker(eventLoop: eventLoop, index: index, incarnation: incarnation)
                box.value = worker
                return try body(worker)
            }
        }
    }
}

@available(*, unavailable)
extension Worker: Sendable {}
