// Owns: the order in which requests are served when many are there at once. Loop-bound.

import LoopTools
import NIOCore

/// Hands requests on in the order of their arrival, some at a time.
///
/// A loop polls for connections that can be read, and serves all of them. The client that gets its response last has not sent
/// its next request when the loop polls again, and is last once more: of 64 busy connections one or two waited twice as long
/// as the others. So after some requests the loop polls for new ones first, and these go to the end of the queue.
final class HTTPRequestScheduler {
    /// Served since the loop last looked.
    @exclusivity(unchecked) private var served = 0
    @exclusivity(unchecked) private var waiting = FIFO<HTTPRequest>()
    /// New requests go to the end of the queue.
    @exclusivity(unchecked) private var isQueueing = false

    /// How many are served before the loop looks for others.
    private static let length = 16
    /// Long enough that the loop, which runs all tasks that are due before it polls, has polled its sockets meanwhile.
    private static let pause = TimeAmount.microseconds(3)

    /// A request is complete.
    func take(_ request: HTTPRequest, of server: HTTPServer) {
        guard !isQueueing, served < Self.length else {
            isQueueing = true
            waiting.append(request)
            return
        }
        if served == 0 {
            // Runs when the loop has gone through all that could be read.
            let box = NIOLoopBound(server, eventLoop: server.eventLoop)
            server.eventLoop.execute { box.value.scheduler.looked(box.value) }
        }
        served += 1
        server.begin(request)
    }

    private func looked(_ server: HTTPServer) {
        served = 0
        if isQueueing { next(server) }
    }

    private func next(_ server: HTTPServer) {
        var left = Self.length
        while left > 0, let request = waiting.popFirst() {
            // Its client may have gone.
            guard request.isOpen else { continue }
            left -= 1
            server.begin(request)
        }
        guard !waiting.isEmpty else {
            isQueueing = false
            return
        }
        let box = NIOLoopBound(server, eventLoop: server.eventLoop)
        server.eventLoop.scheduleTask(in: Self.pause) { box.value.scheduler.next(box.value) }
    }
}

@available(*, unavailable)
extension HTTPRequestScheduler: Sendable {}
