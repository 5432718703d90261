// Owns: the order in which requests are served when many are there at once. Loop-bound.

import LoopTools
import NIOCore

/// Hands requests on in the order of their arrival, some at a time.
///
/// A loop asks which connections can be read, and serves all of them; a client that has its response last finds the loop asking
/// again before it has sent its next request, and is last once more: of 64 busy connections one or two waited twice as long as the
/// others. So after some requests the loop looks for new ones first, and those that came meanwhile go behind those that wait.
final class HTTPTurns {
    /// Served since the loop last looked.
    @exclusivity(unchecked) private var served = 0
    @exclusivity(unchecked) private var waiting = FIFO<HTTPRequest>()
    /// Whoever comes goes behind those that wait.
    @exclusivity(unchecked) private var isFull = false

    /// How many are served before the loop looks for others.
    private static let length = 16
    /// Later than the loop's look at its tasks, which it goes through before it looks at its sockets.
    private static let pause = TimeAmount.microseconds(3)

    /// A request is complete.
    func take(_ request: HTTPRequest, of server: HTTPServer) {
        guard !isFull, served < Self.length else {
            isFull = true
            waiting.append(request)
            return
        }
        if served == 0 {
            // Runs when the loop has gone through all that could be read.
            let box = NIOLoopBound(server, eventLoop: server.eventLoop)
            server.eventLoop.execute { box.value.turns.looked(box.value) }
        }
        served += 1
        server.begin(request)
    }

    private func looked(_ server: HTTPServer) {
        served = 0
        if isFull { next(server) }
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
            isFull = false
            return
        }
        let box = NIOLoopBound(server, eventLoop: server.eventLoop)
        server.eventLoop.scheduleTask(in: Self.pause) { box.value.turns.next(box.value) }
    }
}

@available(*, unavailable)
extension HTTPTurns: Sendable {}
