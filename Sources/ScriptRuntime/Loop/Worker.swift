// Owns: one event loop's clock and alarms. Loop-bound; one per event loop thread.

import CLuaVM
package import LoopTools
package import NIOCore

/// An alarm of a worker: who goes on, and with what.
package struct WorkerAlarm {
    fileprivate let owner: any Resumable
    fileprivate let token: UInt64
    /// Set for what goes on in its service's turn only: it lasts until the loop has looked at its sockets.
    fileprivate let turn: ServiceTurn?

    package init(_ owner: any Resumable, _ token: UInt64 = 0, in turn: ServiceTurn? = nil) {
        self.owner = owner
        self.token = token
        self.turn = turn
    }
}

/// One event loop with what runs on it.
public final class Worker {
    package let eventLoop: any EventLoop
    /// Which of the host's workers it is, from 0.
    package let index: Int
    /// Counts up when another one takes its place.
    package let incarnation: Int
    package private(set) var alarms: DeadlineTimer<WorkerAlarm>
    /// Whose turn it is when there is more to do than at once.
    package let turns: WorkerTurns

    package init(eventLoop: any EventLoop, index: Int = 0, incarnation: Int = 0) {
        self.eventLoop = eventLoop
        self.index = index
        self.incarnation = incarnation
        // Lets a crash be heard of when this thread's stack is full.
        panini_crash_prepare_thread()
        self.turns = WorkerTurns(eventLoop: eventLoop)
        self.alarms = DeadlineTimer(eventLoop: eventLoop) { alarm in
            if let turn = alarm.turn {
                turn.later(alarm.owner, alarm.token)
            } else {
                alarm.owner.goOn(alarm.token)
            }
        }
    }

    /// Whether it is the one that runs what runs once per host.
    package var isFirst: Bool { index == 0 }

    /// Nanoseconds of the monotonic clock.
    package var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    package func cancel(_ alarm: DeadlineHandle) { alarms.cancel(alarm) }

    @discardableResult
    package func schedule(_ alarm: WorkerAlarm, at nanoseconds: UInt64) -> DeadlineHandle {
        // NIO's deadlines are Int64 nanoseconds.
        alarms.schedule(alarm, at: .uptimeNanoseconds(min(nanoseconds, UInt64(Int64.max))))
    }
}

@available(*, unavailable)
extension Worker: Sendable {}

/// Seconds as nanoseconds; the callers' checks keep the value far from overflow.
package func nanoseconds(_ seconds: Double) -> Int64 { Int64((seconds * 1e9).rounded()) }
