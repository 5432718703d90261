// Owns: the listening socket, the set of connections, their clock. Loop-bound: everything of a server lives on one event
// loop. Knows nothing of what answers requests.

import Glibc
package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Why a server cannot start.
package struct HTTPServerProblem: Error {
    /// One sentence for people.
    package let message: String
}

/// One line of an access log.
package struct HTTPAnswerReport {
    package let method: String
    package let path: String
    package let status: Int
    /// Of the body.
    package let bytes: Int
    package let remoteAddress: String
    /// From the head of the request to the end of the answer.
    package let seconds: Double
}

/// What a server asks about each request.
package protocol HTTPServerDelegate: AnyObject {
    /// A request's head has arrived. The delegate sets the route and the largest body.
    ///
    /// - Returns: Nil to go on, or the answer that refuses the request.
    func server(_ server: HTTPServer, admits request: HTTPRequest) -> HTTPAnswer?
    /// A request is complete. It is answered through its connection, now or later.
    func server(_ server: HTTPServer, received request: HTTPRequest)
    /// The connection of a request that waits for its answer is gone.
    func server(_ server: HTTPServer, lost request: HTTPRequest)
    /// An answer is complete; only with ``HTTPServerConfiguration/reportsAnswers``.
    func server(_ server: HTTPServer, answered report: HTTPAnswerReport)
    /// A stream's connection takes bytes again.
    func server(_ server: HTTPServer, canWrite request: HTTPRequest)
    /// A connection was ended for what it held.
    func server(_ server: HTTPServer, shed: HTTPShedding)
    /// Much of what the connections held has gone: a good time to give memory back to the system.
    func serverCalmedDown(_ server: HTTPServer)
}

/// What a server keeps of a connection, whichever version it speaks.
protocol HTTPServerConnection: AnyObject {
    /// Its place in the server's list.
    var index: Int? { get set }
    /// What it makes the server hold.
    var holding: HTTPHolding { get set }
    var remoteAddress: String { get }
    /// Ends it for what it holds: with the answer, where there is a request that is not begun and a client that reads.
    func shed(_ answer: HTTPAnswer)
    /// Called at each tick of the server.
    func checkTime()
    /// The server stops: answers what was asked, and closes.
    func stop()
    func close()
}

/// An HTTP server on one event loop.
package final class HTTPServer {
    @exclusivity(unchecked) package private(set) var configuration: HTTPServerConfiguration
    package let eventLoop: any EventLoop
    @exclusivity(unchecked) package private(set) var counters = HTTPServerCounters()
    /// Set before ``start()``.
    @exclusivity(unchecked) package unowned(unsafe) var delegate: any HTTPServerDelegate
    private var listening: (any Channel)?
    private var connections: [any HTTPServerConnection] = []
    @exclusivity(unchecked) private(set) var isStopping = false
    private var onDrained: (() -> Void)?
    private var ticks: RepeatedTask?
    private var isSheddingDue = false
    /// How often memory is still to be given back: some of it is free a tick later only.
    private var releasesLeft = 0
    private var tls: NIOSSLContext?
    private let sockets: HTTPSockets

    /// Counts up while there are connections; one step is ``tickSeconds``.
    @exclusivity(unchecked) private(set) var tick: UInt64 = 0
    private var times: Times
    var tickSeconds: Double { times.step }
    var headerTicks: UInt64 { times.header }
    var bodyTicks: UInt64 { times.body }
    var idleTicks: UInt64 { times.idle }
    var lingerTicks: UInt64 { times.linger }
    @exclusivity(unchecked) private(set) var compressor: HTTPCompressor?
    let turns = HTTPTurns()
    @exclusivity(unchecked) private var dateSecond = -1
    @exclusivity(unchecked) private var dateLine: [UInt8] = []
    private var dateText = ""
    /// What became of WebSocket connections.
    package internal(set) var webSockets = WebSocketCounters()
    private(set) lazy var flusher = WebSocketFlusher(eventLoop: eventLoop)
    /// What the connections hold.
    @exclusivity(unchecked) let share: WebMemoryShare
    private let place = Place()

    /// - Parameters:
    ///   - sockets: Where other threads find the server's sockets.
    ///   - memory: What this server shares with others.
    package init(
        configuration: HTTPServerConfiguration,
        eventLoop: any EventLoop,
        sockets: HTTPSockets = HTTPSockets(),
        memory: WebMemory = WebMemory(),
        delegate: any HTTPServerDelegate
    ) {
        self.configuration = configuration
        self.sockets = sockets
        self.eventLoop = eventLoop
        self.delegate = delegate
        let place = NIOLoopBound(self.place, eventLoop: eventLoop)
        share = WebMemoryShare(memory, limit: configuration.maximumMemory) {
            eventLoop.execute { place.value.server?.shedWorst() }
        }
        times = Times(configuration)
        defer { self.place.server = self }
        compressor = configuration.compresses ? HTTPCompressor() : nil
    }

    deinit { place.server = nil }

    /// For others that ask this server to let go: they do not keep it. Not weak, as that would make each retain of the server
    /// slower; emptied when the server is closed.
    private final class Place {
        unowned(unsafe) var server: HTTPServer?
    }

    /// The time limits in ticks.
    private struct Times {
        let step: Double
        let header: UInt64
        let body: UInt64
        let idle: UInt64
        /// How long a client may take to close after the last answer.
        let linger: UInt64

        init(_ configuration: HTTPServerConfiguration) {
            let shortest = min(
                configuration.headerTimeout,
                configuration.bodyTimeout,
                configuration.idleTimeout,
                configuration.shortestTime
            )
            step = min(1, max(0.01, shortest / 8))
            header = UInt64((configuration.headerTimeout / step).rounded(.up))
            body = UInt64((configuration.bodyTimeout / step).rounded(.up))
            idle = UInt64((configuration.idleTimeout / step).rounded(.up))
            linger = UInt64((min(configuration.headerTimeout, 2) / step).rounded(.up))
        }
    }

    /// Checks another configuration for the same port; certificates are read now.
    ///
    /// - Returns: Puts it into effect, for new connections and for the limits of all.
    /// - Throws: When the certificates cannot be used.
    package func reconfiguration(_ new: HTTPServerConfiguration) throws(HTTPServerProblem) -> () -> Void {
        let tls = try Self.context(of: new)
        return { [self] in
            configuration = new
            self.tls = tls
            share.memory.changeLimit(of: share.member, to: new.maximumMemory)
            compressor = new.compresses ? compressor ?? HTTPCompressor() : nil
            times = Times(new)
            for case let socket as WebSocketConnection in connections { socket.timesChanged() }
            guard ticks != nil else { return }
            ticks?.cancel()
            startTicks()
        }
    }

    private static func context(of configuration: HTTPServerConfiguration) throws(HTTPServerProblem) -> NIOSSLContext? {
        guard let files = configuration.tls else { return nil }
        return try context(
            certificate: files.certificate,
            key: files.key,
            speaksHTTP2: configuration.speaksHTTP2
        )
    }

    /// Begins to accept connections; those that came since the port was bound are waiting.
    package func accept() {
        guard !isStopping else { return }
        listening?.setOption(.autoRead, value: true).whenFailure { _ in }
    }

    /// Binds the port. Connections are accepted once ``accept()`` is called.
    ///
    /// - Returns: The address that is bound; fails with the system's error.
    package func start() -> EventLoopFuture<SocketAddress> {
        do throws(HTTPServerProblem) {
            tls = try Self.context(of: configuration)
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
        guard configuration.sharesPort, !configuration.joinsPort, configuration.inherited == nil else {
            return listen()
        }
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        return probe().flatMap { box.value.listen() }
    }

    /// Fails when somebody else has the port: a socket that shares it would not notice.
    private func probe() -> EventLoopFuture<Void> {
        ServerBootstrap(group: eventLoop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .bind(host: configuration.host, port: configuration.port)
            .flatMap { $0.close() }
    }

    private func listen() -> EventLoopFuture<SocketAddress> {
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(
                .socketOption(NIOBSDSocket.Option(rawValue: SO_REUSEPORT)),
                value: configuration.sharesPort ? 1 : 0
            )
            .serverChannelOption(.autoRead, value: false)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try box.value.accept(channel) }
            }
        return bind(bootstrap).flatMapThrowing { channel in
            guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
            let server = box.value
            server.listening = channel
            server.sockets.listens(channel, port: address.port ?? server.configuration.port)
            if server.isStopping { channel.close(promise: nil) }
            return address
        }
    }

    private func bind(_ bootstrap: ServerBootstrap) -> EventLoopFuture<any Channel> {
        guard let inherited = configuration.inherited else {
            return bootstrap.bind(host: configuration.host, port: configuration.port)
        }
        configuration.inherited = nil
        guard let descriptor = inherited.copy() else {
            return eventLoop.makeFailedFuture(IOError(errnoCode: EMFILE, reason: "dup"))
        }
        return bootstrap.withBoundSocket(descriptor)
    }

    /// Reads the files; a wrong one is found here, and not at the first connection.
    private static func context(
        certificate: String,
        key: String,
        speaksHTTP2: Bool
    ) throws(HTTPServerProblem) -> NIOSSLContext {
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw HTTPServerProblem(message: "\(certificate) cannot be read as a certificate (PEM)")
        }
        let secret: NIOSSLPrivateKey
        do {
            secret = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw HTTPServerProblem(message: "\(key) cannot be read as a private key (PEM)")
        }
        do {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(secret)
            )
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = speaksHTTP2 ? ["h2", "http/1.1"] : ["http/1.1"]
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw HTTPServerProblem(message: "the certificate \(certificate) and the key \(key) do not belong together")
        }
    }

    private func accept(_ channel: any Channel) throws {
        guard sockets.accepted(channel) else { throw ChannelError.ioOnClosedChannel }
        try serve(channel)
    }

    /// Serves a client over a channel of this server's loop.
    package func serve(_ channel: any Channel) throws {
        if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
        try channel.pipeline.syncOperations.addHandler(HTTPConnection(server: self))
    }

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
        if ticks == nil { startTicks() }
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
            if isStopping || !share.hasCalmedDown && releasesLeft == 0 { endTicks() }
            finishStop()
        }
    }

    /// The turn of a complete request has come.
    @inline(__always)
    func begin(_ request: HTTPRequest) {
        if request.isOfStream, !begins(request) { return }
        delegate.server(self, received: request)
    }

    @inline(never)
    private func begins(_ request: HTTPRequest) -> Bool { (request.connection as? HTTP2Stream)?.begins() == true }

    func countRequest() { counters.requests &+= 1 }
    func countRefusal(_ status: Int) { counters.refusedRequests[status, default: 0] &+= 1 }
    func countIdle() { counters.idleClosed &+= 1 }

    private func startTicks() {
        let step = TimeAmount.nanoseconds(Int64(times.step * 1e9))
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        ticks = eventLoop.scheduleRepeatedTask(initialDelay: step, delay: step) { _ in box.value.advance() }
    }

    private func advance() {
        tick &+= 1
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
            delegate.serverCalmedDown(self)
        }
        if connections.isEmpty, releasesLeft == 0 { endTicks() }
    }

    private func endTicks() {
        ticks?.cancel()
        ticks = nil
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

    /// Ends a connection for what it holds.
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
        }
        delegate.server(self, shed: shedding)
    }

    /// How many connections are open.
    package var connectionCount: Int { connections.count }

    // MARK: - Stop

    /// Accepts no more connections, closes those without a request, and lets the others answer first.
    ///
    /// - Parameter drained: Called once when no connection is left.
    package func stop(drained: @escaping () -> Void) {
        onDrained = drained
        isStopping = true
        listening?.close(promise: nil)
        listening = nil
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
        place.server = nil
        isStopping = true
        listening?.close(promise: nil)
        listening = nil
        for connection in connections { connection.close() }
    }

    // MARK: - Heads

    /// `date: ...` of the second that it is.
    func writeDate(_ writer: inout HTTPHeadWriter) {
        updateDate()
        dateLine.withUnsafeBytes { writer.write($0) }
    }

    /// The same without the name.
    var date: String {
        updateDate()
        return dateText
    }

    private func updateDate() {
        let now = time(nil)
        guard now != dateSecond else { return }
        dateSecond = now
        dateText = HTTPDate.text(now)
        dateLine = Array("date: \(dateText)\r\n".utf8)
    }

    // MARK: - The access log

    /// Tells the delegate of an answer.
    func report(_ request: HTTPRequest?, status: Int, bytes: Int, _ address: String, _ begun: NIODeadline) {
        delegate.server(
            self,
            answered: HTTPAnswerReport(
                method: request?.method ?? "-",
                path: request?.path ?? "-",
                status: status,
                bytes: bytes,
                remoteAddress: address,
                seconds: Double((NIODeadline.now() - begun).nanoseconds) / 1e9
            )
        )
    }
}

@available(*, unavailable)
extension HTTPServer: Sendable {}
