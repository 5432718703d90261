// Owns: the set of connections, their clock, and what they hold together. Loop-bound: everything of a server lives on one event
// loop. Knows nothing of what responds to requests.

package import NIOCore

/// What a server keeps of a connection, whichever version it speaks.
protocol HTTPServerConnection: AnyObject {
    /// Its place in the server's list.
    var index: Int? { get set }
    /// What it makes the server hold.
    var holding: HTTPHolding { get set }
    var remoteAddress: String { get }
    /// Closes it because of the memory that it holds. The response is sent when a request has not begun and the client reads.
    func shed(_ response: HTTPResponse)
    /// Called at each tick of the server.
    func checkTime()
    /// The server's ticks or its time limits have changed.
    func timesChanged()
    /// The server stops: responds to what was asked, and closes.
    func stop()
    func close()
}

extension HTTPServerConnection {
    func timesChanged() {}
}

/// An HTTP server on one event loop.
package final class HTTPServer {
    @exclusivity(unchecked) package private(set) var configuration: HTTPServerConfiguration
    package let eventLoop: any EventLoop
    @exclusivity(unchecked) package private(set) var counters = HTTPServerCounters()
    /// Set before ``start()``.
    @exclusivity(unchecked) package unowned(unsafe) var delegate: any HTTPDelegate
    let listener: HTTPListener
    private var connections: [any HTTPServerConnection] = []
    @exclusivity(unchecked) private(set) var isStopping = false
    private var onDrained: (() -> Void)?
    /// Counts up while there are connections.
    @exclusivity(unchecked) private(set) var clock: HTTPServerClock
    @exclusivity(unchecked) private(set) var compressor: HTTPCompressor?
    let scheduler = HTTPRequestScheduler()
    @exclusivity(unchecked) var date = HTTPDateField()
    /// What became of WebSocket connections.
    package internal(set) var webSockets = WebSocketCounters()
    private(set) lazy var flusher = HTTPFlusher(eventLoop: eventLoop)
    /// What the connections hold.
    @exclusivity(unchecked) let share: WebMemoryShare
    private var isSheddingDue = false
    /// How many times memory is still to be given back: some of it becomes free only a tick later.
    private var releasesLeft = 0
    private let reference = ServerReference()

    /// - Parameters:
    ///   - sockets: Where other threads find the server's sockets.
    ///   - memory: What this server shares with others.
    package init(
        configuration: HTTPServerConfiguration,
        eventLoop: any EventLoop,
        sockets: HTTPSockets = HTTPSockets(),
        memory: WebMemory = WebMemory(),
        delegate: any HTTPDelegate
    ) {
        self.configuration = configuration
        listener = HTTPListener(eventLoop: eventLoop, sockets: sockets)
        self.eventLoop = eventLoop
        self.delegate = delegate
        let reference = NIOLoopBound(self.reference, eventLoop: eventLoop)
        share = WebMemoryShare(memory, limit: configuration.maximumMemory) {
            eventLoop.execute { reference.value.server?.shedWorst() }
        }
        clock = HTTPServerClock(HTTPTimeLimits(configuration))
        defer { self.reference.server = self }
        compressor = configuration.compresses ? HTTPCompressor() : nil
        listener.onShortage = { reference.value.server?.ranShort($0) }
    }

    deinit { reference.server = nil }

    /// A reference for other servers that ask this one to free memory; it does not keep the server alive. It is not `weak`,
    /// because that slows every retain of the server. It is cleared when the server is closed.
    private final class ServerReference {
        unowned(unsafe) var server: HTTPServer?
    }

    /// The tick that it is.
    @inline(__always)
    var tick: UInt64 { clock.now }

    var limits: HTTPTimeLimits { clock.limits }

    /// Checks another configuration for the same port; certificates are read now.
    ///
    /// - Returns: Puts it into effect, for new connections and for the limits of all.
    /// - Throws: When the certificates cannot be used.
    package func reconfiguration(_ new: HTTPServerConfiguration) throws(HTTPServerError) -> () -> Void {
        let tls = try new.makeTLSContext()
        return { [self] in
            configuration = new
            listener.tls = tls
            share.memory.changeLimit(of: share.member, to: new.maximumMemory)
            compressor = new.compresses ? compressor ?? HTTPCompressor() : nil
            let ticked = clock.change(to: HTTPTimeLimits(new))
            for connection in connections { connection.timesChanged() }
            if ticked { startClock() }
        }
    }

    /// Binds the port. Connections are accepted once ``accept()`` is called.
    ///
    /// - Returns: The address that is bound; fails with the system's error.
    package func start() -> EventLoopFuture<SocketAddress> {
        do throws(HTTPServerError) {
            listener.tls = try configuration.makeTLSContext()
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
        let bound = configuration
        // The socket closes when its last owner releases it.
        configuration.inherited = nil
        return listener.bind(bound) { [self] in try serve($0) }
    }

    /// Begins to accept connections; those that came since the port was bound are waiting.
    package func accept() { listener.accept() }

    // MARK: - Connections

    /// Takes a new connection in; false when there are too many.
    func add(_ connection: any HTTPServerConnection) -> Bool {
        counters.connections &+= 1
        guard connections.count < configuration.maximumConnections, !isStopping else {
            counters.refusedConnections &+= 1
            return false
        }
        connection.index = connections.count
        connections.append(connection)
        if !clock.isTicking { startClock() }
        return true
    }

    /// Puts a connection in another's place: the client has chosen another version.
    func replace(_ connection: any HTTPServerConnection, with other: any HTTPServerConnection) {
        guard let index = connection.index else { return }
        connection.index = nil
        connection.holding.set(0, in: share)
        other.index = index
        connections[index] = other
        if isStopping { other.stop() }
    }

    func remove(_ connection: any HTTPServerConnection) {
        guard let index = connection.index else { return }
        connection.index = nil
        connection.holding.set(0, in: share)
        let last = connections.removeLast()
        if last !== connection {
            connections[index] = last
            last.index = index
        }
        if connections.isEmpty {
            share.looked(largest: 0)
            // One more tick where memory is to be given back: it is free only when the channel has gone.
            if isStopping || !share.hasCalmedDown && releasesLeft == 0 { clock.stop() }
            finishStop()
        }
    }

    /// The turn of a complete request has come.
    @inline(__always)
    func begin(_ request: HTTPRequest) {
        if request.isOfStream, !begins(request) { return }
        delegate.received(request)
    }

    @inline(never)
    private func begins(_ request: HTTPRequest) -> Bool { request.connection?.begins() == true }

    private func ranShort(_ shortage: HTTPShortage) {
        switch shortage {
        case .descriptors: counters.surplusConnections &+= 1
        case .accept: counters.failedAccepts &+= 1
        }
        delegate.ranShort(shortage)
    }

    func countRequest() { counters.requests &+= 1 }
    func countRefusal(_ status: Int) { counters.refusedRequests[status, default: 0] &+= 1 }
    func countIdle() { counters.idleClosed &+= 1 }
    func countBrokenStream() { counters.brokenStreams &+= 1 }
    func countBrokenConnection() { counters.brokenConnections &+= 1 }

    private func startClock() {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        clock.start(on: eventLoop) { box.value.advance() }
    }

    private func advance() {
        clock.advance()
        // Backwards: closing one puts the last in its place.
        for index in connections.indices.reversed() where index < connections.count {
            connections[index].checkTime()
        }
        // What is below the step is told now and then, too.
        share.tell()
        if share.isOver { shedWorst() }
        if share.hasCalmedDown {
            share.gaveBack()
            releasesLeft = 2
        }
        if releasesLeft > 0 {
            releasesLeft -= 1
            delegate.webMemoryCalmedDown()
        }
        if connections.isEmpty, releasesLeft == 0 { clock.stop() }
    }

    // MARK: - Memory

    /// Bytes that the connections hold.
    package var heldBytes: Int { share.bytes }

    /// Called by a connection at the end of a read, where others may be ended: too much may be held since then.
    @inline(__always)
    func readEnded() { if share.isOver { shedWorst() } }

    /// The same in the middle of anything else.
    func checkMemory() {
        guard share.isOver, !isSheddingDue else { return }
        isSheddingDue = true
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.execute {
            box.value.isSheddingDue = false
            box.value.shedWorst()
        }
    }

    /// Lets go of what holds most, until it is no more than there may be. Where another server has a larger connection it is
    /// that one's turn.
    func shedWorst() {
        let memory = share.memory
        share.tell()
        let worst = connections.filter { $0.holding.bytes > 0 }.sorted { $0.holding.bytes > $1.holding.bytes }
        share.looked(largest: worst.first?.holding.bytes ?? 0)
        guard memory.isOver else { return }
        let now = NIODeadline.now().uptimeNanoseconds
        for connection in worst {
            let bytes = connection.holding.bytes
            share.looked(largest: bytes)
            guard memory.bytes > memory.target else { return }
            if memory.asksOther(than: share.member, above: bytes, now: now) { return }
            shed(connection, .memory(limit: memory.limit))
        }
        share.looked(largest: 0)
        if memory.isOver { _ = memory.asksOther(than: share.member, above: 0, now: now) }
    }

    /// Ends a connection for what its client costs.
    func shed(_ connection: any HTTPServerConnection, _ reason: HTTPShedding.Reason) {
        guard !connection.holding.isEnded else { return }
        let bytes = connection.holding.bytes
        let shedding = HTTPShedding(reason: reason, bytes: bytes, remoteAddress: connection.remoteAddress)
        // First: what its end sets going is not to be counted once more.
        connection.holding.end(in: share)
        switch reason {
        case .memory(let limit):
            counters.shedConnections &+= 1
            // Nobody could ever send what is larger than all memory.
            let isTooLarge = bytes > limit / 2
            connection.shed(
                isTooLarge
                    ? .failure(413, "the request is larger than the server can hold")
                    : .failure(503, "the server is short of memory", headers: [("retry-after", "1")])
            )
        case .connection:
            counters.overfullConnections &+= 1
            connection.shed(.failure(503, "the connection makes the server hold too much"))
        // It was told by its own means, and ends.
        case .flood: break
        }
        delegate.shed(shedding)
    }

    /// How many connections are open.
    package var connectionCount: Int { connections.count }

    // MARK: - Stop

    /// Accepts no more connections, closes those without a request, and lets the others respond first.
    ///
    /// - Parameter drained: Called once when no connection is left.
    package func stop(drained: @escaping () -> Void) {
        onDrained = drained
        isStopping = true
        listener.close()
        for connection in connections { connection.stop() }
        if connections.isEmpty { finishStop() }
    }

    private func finishStop() {
        guard isStopping, let drained = onDrained else { return }
        onDrained = nil
        drained()
    }

    /// Closes everything that is left.
    package func close() {
        reference.server = nil
        isStopping = true
        listener.close()
        for connection in connections { connection.close() }
    }
}

@available(*, unavailable)
extension HTTPServer: Sendable {}
