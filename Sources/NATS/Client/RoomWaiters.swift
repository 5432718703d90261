// Owns: the callers that wait until the connection takes more publishes, in the order of their calls. Loop-bound, but for the
// making of a waiter; may not know the connection.

import NIOCore

struct RoomWaiters {
    final class Waiter: Sendable {
        let promise: EventLoopPromise<Void>
        /// How many bytes it needs.
        let size: Int

        init(_ promise: EventLoopPromise<Void>, size: Int) {
            self.promise = promise
            self.size = size
        }
    }

    /// With the alarm that ends the wait.
    private var alarms: [ObjectIdentifier: Scheduled<Void>] = [:]
    /// Those that have left are still in it, until half of it is such.
    private var order = CircularBuffer<Waiter>(initialCapacity: 1)

    var isEmpty: Bool { alarms.isEmpty }
    var count: Int { alarms.count }

    mutating func append(_ waiter: Waiter, alarm: Scheduled<Void>) {
        alarms[ObjectIdentifier(waiter)] = alarm
        order.append(waiter)
    }

    /// Lets the first of those who wait try anew, as far as `room` bytes last.
    ///
    /// - Returns: how many bytes the next one needs; nil when nobody waits any more.
    mutating func wake(room: Int) -> Int? {
        var room = room
        while let waiter = order.first {
            if alarms[ObjectIdentifier(waiter)] != nil {
                guard waiter.size <= room else { return waiter.size }
                room -= waiter.size
                leave(waiter)
                waiter.promise.succeed()
            }
            order.removeFirst()
        }
        // What many had waited in is given back.
        order.removeAll()
        return nil
    }

    /// Its task was cancelled; does nothing for one that has gone on.
    mutating func cancel(_ waiter: Waiter) {
        fail(waiter, NATSError(.cancelled, "the task that waited for room was cancelled"))
    }

    mutating func fail(_ waiter: Waiter, _ error: NATSError) {
        guard leave(waiter) else { return }
        waiter.promise.fail(error)
        guard order.count > 64, order.count > 2 * alarms.count else { return }
        order.removeAll { alarms[ObjectIdentifier($0)] == nil }
    }

    @discardableResult
    private mutating func leave(_ waiter: Waiter) -> Bool {
        guard let alarm = alarms.removeValue(forKey: ObjectIdentifier(waiter)) else { return false }
        alarm.cancel()
        return true
    }
}
