// Owns: a service's slice of its worker's time, and what it has left to do when that is used up. Loop-bound, but for the flag
// that the watchdog sets.

import CLuaShim
import NATS
import NIOCore
import Synchronization

/// What a service goes on with in its next turn, beside messages that were read and what its scripts have ready.
enum TurnWork {
    /// A client of a bridge whose commands wait.
    case bridge(BridgeClient)
    /// Sends that waited for the broker.
    case sends
    /// The collector of a service that has calmed down.
    case collection
    /// A coroutine whose short sleep is over.
    case wake(Script, UInt64)
}

/// A service's turns on its worker.
///
/// As long as a service is within its slice everything it does is done at once. When the slice is used up, whatever it was
/// doing ends with the item that it was at, and all that it has to do from then on waits in the queues that are there anyway: the
/// connection keeps what it has read, and scripts what is ready. After the loop has looked at its sockets it is the turn of
/// whoever has waited the longest, for another slice.
final class ServiceTurn {
    /// What C knows of the service's part of its thread; as long as this is there.
    let share: OpaquePointer
    private unowned(unsafe) let worker: Worker
    /// Set as soon as there is one.
    unowned(unsafe) var service: Service?
    /// Nothing may be begun before the service's next turn.
    @exclusivity(unchecked) private(set) var isWaiting = false
    private var work = FIFO<TurnWork>()
    /// Who goes first in the next turn: what is left of one source must not keep the others waiting for ever.
    private var rotation = 0
    private var isEnded = false

    /// - Parameter slice: Seconds of CPU time.
    init(_ worker: Worker, slice: Double) {
        self.worker = worker
        guard let share = panini_share_make(UInt64(nanoseconds(slice))) else {
            fatalError("no memory, or no free real-time signal, for the watchdog of Lua")
        }
        self.share = share
    }

    deinit { panini_share_free(share) }

    func setSlice(_ seconds: Double) { panini_share_set_slice(share, UInt64(nanoseconds(seconds))) }

    /// The word that says that the slice is used up.
    var flag: UnsafeMutablePointer<Atomic<UInt32>> {
        UnsafeMutableRawPointer(mutating: UnsafeRawPointer(panini_share_words(share))).assumingMemoryBound(
            to: Atomic<UInt32>.self
        )
    }

    /// Whether the slice is used up: a loop over items ends, and leaves the others for later.
    var isOver: Bool {
        @inline(__always) get { panini_share_is_over(share) != 0 }
    }

    /// What is done from here on is this service's; returns what ``leave(_:)`` takes.
    @inline(__always)
    func enter() -> OpaquePointer? { panini_share_enter(share) }

    @inline(__always)
    func leave(_ previous: OpaquePointer?) { _ = panini_share_enter(previous) }

    /// An item has ended: whether others may begin is decided here.
    @inline(__always)
    func itemEnded() {
        if isOver { sliceEnded() }
    }

    /// The slice is used up.
    @inline(never)
    func sliceEnded() {
        guard !isEnded, let service else { return }
        // Again, too: there may be a new connection.
        service.connection.holdForTurn()
        guard !isWaiting else { return }
        isWaiting = true
        service.wasBusy()
        worker.turns.wait(self)
    }

    /// Does something in the next turn.
    func later(_ item: TurnWork) {
        guard !isEnded else { return }
        work.append(item)
        worker.turns.wait(self)
    }

    /// It is the service's turn.
    func go() {
        guard !isEnded, let service else { return }
        isWaiting = false
        panini_share_begin_turn(share)
        let scripts = service.scripts
        let sources = scripts.count + 2
        for offset in 0..<sources where !isWaiting && !isEnded {
            let previous = enter()
            switch (rotation + offset) % sources {
            case 0: service.connection.goOnWithTurn()
            case 1: doWork(service)
            case let index: scripts[index - 2].runReadyIfNeeded()
            }
            itemEnded()
            leave(previous)
        }
        rotation = (rotation + 1) % sources
    }

    /// Delivers all that was read, at the end of the service.
    func takeRest() {
        guard !isEnded, let service else { return }
        panini_share_begin_turn(share)
        service.connection.goOnWithTurn()
    }

    private func doWork(_ service: Service) {
        // What is added meanwhile is for the next turn.
        var left = work.count
        while left > 0, !isWaiting, !isEnded, let item = work.popFirst() {
            left -= 1
            switch item {
            case .bridge(let client): client.goOn()
            case .sends: service.goOn()
            case .collection: service.collect()
            case .wake(let script, let id): script.sleepEnded(id)
            }
            itemEnded()
        }
        if !work.isEmpty { worker.turns.wait(self) }
    }

    /// The service has stopped.
    func end() {
        isEnded = true
        isWaiting = false
        work = FIFO()
        worker.turns.remove(self)
    }

    /// How much of its worker's time it has taken, from 0 to 1, over the last seconds.
    func busy(seconds: Int) -> Double {
        min(1, Double(panini_share_busy(share, UInt32(seconds))) / (Double(seconds) * 1e9))
    }
}

@available(*, unavailable)
extension ServiceTurn: Sendable {}

extension ServiceTurn: Hashable {
    static func == (one: ServiceTurn, other: ServiceTurn) -> Bool { one === other }

    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// The turns of a worker's services.
final class WorkerTurns {
    private var scheduler = TurnScheduler<ServiceTurn>()
    private var look: SocketLook?

    init(eventLoop: any EventLoop) {
        let look = SocketLook(eventLoop: eventLoop) { [unowned self] in looked() }
        self.look = look
        look.open()
    }

    func wait(_ turn: ServiceTurn) {
        if scheduler.wait(turn) { look?.ask() }
    }

    func remove(_ turn: ServiceTurn) { scheduler.remove(turn) }

    private func looked() {
        guard let turn = scheduler.looked() else { return }
        turn.go()
        if scheduler.ended(turn) { look?.ask() }
    }

    /// The worker ends.
    func close() {
        look?.close()
        look = nil
    }

    deinit { look?.close() }
}

@available(*, unavailable)
extension WorkerTurns: Sendable {}
