// Owns: one event loop's clock and alarms. Loop-bound; one per event loop thread.

import NATS
import NIOCore

/// An alarm of a worker.
enum WorkerAlarm {
    /// A coroutine's sleep is over.
    case wake(Script, UInt64)
    /// A timer of a service falls due.
    case tick(Service, ServiceTimer, generation: Int)
    /// The first handler of a list may have run out of time.
    case expire(Script, DeadlineList)
    /// A look at the memory of a service that has been busy.
    case housekeeping(Service)
    /// The time a service has for its stop is over.
    case stopDeadline(Service)
}

/// One event loop with what runs on it.
final class Worker {
    let eventLoop: any EventLoop
    private(set) var alarms: DeadlineTimer<WorkerAlarm>

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.alarms = DeadlineTimer(eventLoop: eventLoop) { alarm in
            switch alarm {
            case .wake(let script, let id): script.sleepEnded(id)
            case .tick(let service, let timer, let generation): service.timerDue(timer, generation: generation)
            case .expire(let script, let list): script.service?.expire(list, of: script)
            case .housekeeping(let service): service.keepHouse()
            case .stopDeadline(let service): service.stopDeadlineReached()
            }
        }
    }

    /// Nanoseconds of the monotonic clock.
    var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    @discardableResult
    func schedule(_ alarm: WorkerAlarm, at nanoseconds: UInt64) -> DeadlineHandle {
        // NIO's deadlines are Int64 nanoseconds.
        alarms.schedule(alarm, at: .uptimeNanoseconds(min(nanoseconds, UInt64(Int64.max))))
    }
}

@available(*, unavailable)
extension Worker: Sendable {}
