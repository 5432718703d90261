// Owns: the one scheduled callback that drives a DeadlineQueue on one event loop, however many entries wait. The
// callback holds the timer weakly: dropping the timer is enough to end it. Loop-bound; every entry asserts the loop.

public import NIOCore

/// How many entries fire at once, and how long the others wait for the loop to look at its sockets in between: it goes through
/// everything that is due before it does.
private let mostAtOnce = 512
private let pauseBetween = TimeAmount.microseconds(100)

/// A clock alarm for many entries: calls `fire` with the payload of each entry whose deadline has passed.
public final class DeadlineTimer<Payload>: DeadlineTimerTarget {
    /// The loop that it belongs to.
    public let eventLoop: any EventLoop
    @usableFromInline var queue = DeadlineQueue<Payload>()
    /// When the scheduled callback will come, nil when none is scheduled.
    @usableFromInline var armed: NIODeadline?
    private let fire: (Payload) -> Void
    private var callback: NIOScheduledCallback?
    private let trigger = DeadlineTimerTrigger()

    /// A timer without entries.
    ///
    /// - Parameter fire: called on the loop. It may schedule and cancel entries; one it schedules for a time that has
    ///   already passed is not called in the same round.
    public init(eventLoop: any EventLoop, fire: @escaping (Payload) -> Void) {
        self.eventLoop = eventLoop
        self.fire = fire
        trigger.target = self
    }

    deinit {
        callback?.cancel()
    }

    /// How many entries wait.
    public var count: Int { queue.count }

    /// Adds an entry; returns what cancels it.
    @inlinable
    @discardableResult
    public func schedule(_ payload: Payload, at deadline: NIODeadline) -> DeadlineHandle {
        eventLoop.assertInEventLoop()
        let handle = queue.insert(payload, at: deadline)
        if let armed, armed <= deadline { return handle }
        arm(deadline)
        return handle
    }

    /// Removes an entry; returns its payload, nil when it fired or was cancelled before.
    @inlinable
    @discardableResult
    public func cancel(_ handle: DeadlineHandle) -> Payload? {
        eventLoop.assertInEventLoop()
        return queue.cancel(handle)
    }

    /// Removes all entries without calling `fire`.
    public func cancelAll() {
        eventLoop.assertInEventLoop()
        queue.removeAll()
        callback?.cancel()
        callback = nil
        armed = nil
    }

    @usableFromInline
    func arm(_ deadline: NIODeadline) {
        callback?.cancel()
        armed = deadline
        do {
            callback = try eventLoop.assumeIsolated().scheduleCallback(at: deadline, handler: trigger)
        } catch {
            // The loop is shutting down: nothing will fire any more, as after cancelAll.
            callback = nil
        }
    }

    func deadlineReached() {
        armed = nil
        callback = nil
        let now = eventLoop.now
        let end = queue.nextSequence
        var left = mostAtOnce
        while left > 0, let payload = queue.popDue(now: now, before: end) {
            left -= 1
            fire(payload)
        }
        guard var next = queue.nextDeadline() else { return }
        // `fire` may have armed already.
        if left == 0 {
            next = max(next, eventLoop.now + pauseBetween)
            arm(next)
        } else if armed.map({ next < $0 }) ?? true {
            arm(next)
        }
    }
}

@available(*, unavailable)
extension DeadlineTimer: Sendable {}

protocol DeadlineTimerTarget: AnyObject {
    func deadlineReached()
}

/// What the event loop holds instead of the timer itself.
private final class DeadlineTimerTrigger: NIOScheduledCallbackHandler {
    weak var target: (any DeadlineTimerTarget)?

    func handleScheduledCallback(eventLoop: some EventLoop) {
        target?.deadlineReached()
    }
}
