// Owns: a service's slice of its worker's time, and the work that is left when the slice is used up. Loop-bound, except for the
// flag that the watchdog sets.

public import CLuaVM
import LoopTools
package import NIOCore
package import Synchronization

/// What a turn asks of the service whose turn it is.
package protocol TurnDelegate: AnyObject {
    /// How many sources of work it has, beside the work that was left for later; each goes on in each turn.
    var turnSources: Int { get }

    /// A source goes on.
    func goOn(source: Int)

    /// The slice is used up: pause what brings work in. May be called more than once in a turn.
    func pauseUntilTurn()

    /// The turn is over.
    func turnEnded()
}

/// A service's turns on its worker.
///
/// As long as a service is within its slice, everything it does is done at once. When the slice is used up, the current item
/// is finished, and all further work waits in queues that exist anyway: the connection keeps what it has read, and scripts
/// keep what is ready. After the loop has polled its sockets, the service that has waited the longest gets another slice.
public final class ServiceTurn {
    /// The service's CPU share of its thread, as C knows it; freed with this object.
    @usableFromInline package let share: OpaquePointer
    private unowned(unsafe) let worker: Worker
    /// Set as soon as there is one.
    package unowned(unsafe) var delegate: (any TurnDelegate)?
    /// Nothing may be begun before the service's next turn.
    @exclusivity(unchecked) package private(set) var isWaiting = false
    /// What goes on in the next turn, beside messages that were read and what the scripts have ready.
    private var work = FIFO<(owner: any Resumable, token: UInt64)>()
    /// Which source goes first in the next turn: one that always has work must not keep the others waiting for ever.
    private var rotation = 0
    private var isEnded = false

    /// Nil without memory, or without a free real-time signal, for the watchdog of Lua.
    ///
    /// - Parameter slice: Seconds of CPU time.
    package init?(_ worker: Worker, slice: Double) {
        self.worker = worker
        guard let share = panini_share_make(UInt64(nanoseconds(slice))) else { return nil }
        self.share = share
    }

    deinit { panini_share_free(share) }

    package func setSlice(_ seconds: Double) { panini_share_set_slice(share, UInt64(nanoseconds(seconds))) }

    /// The word that says that the slice is used up.
    package var flag: UnsafeMutablePointer<Atomic<UInt32>> {
        UnsafeMutableRawPointer(mutating: UnsafeRawPointer(panini_share_words(share))).assumingMemoryBound(
            to: Atomic<UInt32>.self
        )
    }

    /// Whether the slice is used up: a loop over items ends, and leaves the others for later.
    @inlinable public var isOver: Bool {
        @inline(__always) get { panini_share_is_over(share) != 0 }
    }

    /// What is done from here on is this service's; returns what ``leave(_:)`` takes.
    @inlinable @inline(__always)
    public func enter() -> OpaquePointer? { panini_share_enter(share) }

    /// Whoever worked before goes on.
    @inlinable @inline(__always)
    public func leave(_ previous: OpaquePointer?) { _ = panini_share_enter(previous) }

    /// An item has ended: whether others may begin is decided here.
    @inlinable @inline(__always)
    public func itemEnded() {
        if isOver { sliceEnded() }
    }

    /// The slice is used up.
    @usableFromInline @inline(never)
    package func sliceEnded() {
        guard !isEnded, let delegate else { return }
        // Called again in the same turn: the service may have a new connection, which must be paused as well.
        delegate.pauseUntilTurn()
        guard !isWaiting else { return }
        isWaiting = true
        delegate.turnEnded()
        worker.turns.wait(self)
    }

    /// Does something in the next turn.
    package func later(_ owner: any Resumable, _ token: UInt64) {
        guard !isEnded else { return }
        work.append((owner, token))
        worker.turns.wait(self)
    }

    /// It is the service's turn.
    package func go() {
        guard !isEnded, let delegate else { return }
        isWaiting = false
        panini_share_begin_turn(share)
        let sources = delegate.turnSources + 1
        for offset in 0..<sources where !isWaiting && !isEnded {
            let previous = enter()
            switch (rotation + offset) % sources {
            case 0: delegate.goOn(source: 0)
            case 1: doWork()
            case let index: delegate.goOn(source: index - 1)
            }
            itemEnded()
            leave(previous)
        }
        rotation = (rotation + 1) % sources
    }

    /// Delivers all that was read, at the end of the service.
    package func deliverRemaining() {
        guard !isEnded, let delegate else { return }
        panini_share_begin_turn(share)
        delegate.goOn(source: 0)
    }

    private func doWork() {
        // What is added meanwhile is for the next turn.
        var left = work.count
        while left > 0, !isWaiting, !isEnded, let item = work.popFirst() {
            left -= 1
            item.owner.goOn(item.token)
            itemEnded()
        }
        if !work.isEmpty { worker.turns.wait(self) }
    }

    /// The service has stopped.
    package func end() {
        isEnded = true
        isWaiting = false
        work = FIFO()
        worker.turns.remove(self)
    }

    /// How much of its worker's time it has taken, from 0 to 1, over the last seconds.
    package func busy(seconds: Int) -> Double {
        min(1, Double(panini_share_busy(share, UInt32(seconds))) / (Double(seconds) * 1e9))
    }
}

@available(*, unavailable)
extension ServiceTurn: Sendable {}

extension ServiceTurn: Hashable {
    /// Whether both are the same object.
    public static func == (one: ServiceTurn, other: ServiceTurn) -> Bool { one === other }

    /// By which object it is.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// The turns of a worker's services.
package final class WorkerTurns {
    private var scheduler = TurnScheduler<ServiceTurn>()
    private var look: PollBarrier?

    package init(eventLoop: any EventLoop) {
        let look = PollBarrier(eventLoop: eventLoop) { [unowned self] in looked() }
        self.look = look
        look.open()
    }

    package func wait(_ turn: ServiceTurn) {
        if scheduler.wait(turn) { look?.ask() }
    }

    package func remove(_ turn: ServiceTurn) { scheduler.remove(turn) }

    private func looked() {
        guard let turn = scheduler.looked() else { return }
        turn.go()
        if scheduler.ended(turn) { look?.ask() }
    }

    /// The worker ends.
    package func close() {
        look?.close()
        look = nil
    }

    deinit { look?.close() }
}

@available(*, unavailable)
extension WorkerTurns: Sendable {}
