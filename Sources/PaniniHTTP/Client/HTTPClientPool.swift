// Owns: the connections to one server, and who waits for one. Loop-bound.

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Connections to one scheme, host and port, with one answer to whom to trust.
final class HTTPClientPool {
    private let url: HTTPURL
    private let tls: HTTPFetchTLS
    /// Not looked at once the pool is closed: connections may end after the client has gone.
    private unowned let fetcher: HTTPFetcher
    private let eventLoop: any EventLoop
    /// The one used last is used next: the others grow old and go.
    private var idle: [HTTPClientConnection] = []
    private var waiting = HTTPWaitingRuns()
    private var connecting = 0
    /// All of them: connecting, busy and idle.
    private var total = 0
    private var isClosed = false

    private static let idleTime = TimeAmount.seconds(30)
    private static let connectTime = TimeAmount.seconds(30)

    init(_ url: HTTPURL, _ tls: HTTPFetchTLS, _ fetcher: HTTPFetcher) {
        self.url = url
        self.tls = tls
        self.fetcher = fetcher
        self.eventLoop = fetcher.eventLoop
    }

    /// Whether all connections there may be are busy.
    var isFull: Bool { connecting == 0 && total >= fetcher.maximumConnections }
    var isUnused: Bool { total == 0 && waiting.isEmpty }

    // MARK: - Who wants a connection

    /// Puts a run in line; it is given a connection, or hears why there is none, now or later.
    func enter(_ run: HTTPFetchRun) {
        waiting.append(run)
        serve()
        if waiting.contains(run), isFull { fetcher.counters.queued &+= 1 }
    }

    func leave(_ run: HTTPFetchRun) {
        waiting.remove(run)
        fetcher.dropIfUnused(self, url, tls)
    }

    private func serve() {
        while !waiting.isEmpty, let connection = idle.popLast() {
            guard connection.isOpen else { continue }
            connection.idleTimer?.cancel()
            waiting.popFirst()?.start(on: connection)
        }
        while connecting < waiting.count, total < fetcher.maximumConnections { connect() }
    }

    // MARK: - Connections

    /// A connection can take the next request.
    func free(_ connection: HTTPClientConnection) {
        guard !isClosed else { return connection.close() }
        idle.append(connection)
        let box = NIOLoopBound(connection, eventLoop: eventLoop)
        connection.idleTimer = eventLoop.scheduleTask(in: Self.idleTime) { box.value.close() }
        // From the next turn of the loop: whoever has got a response may want more from the same server.
        guard !waiting.isEmpty else { return }
        let pool = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.execute { pool.value.serve() }
    }

    func closed(_ connection: HTTPClientConnection) {
        idle.removeAll { $0 === connection }
        // One that never became ready is counted where it failed.
        guard connection.wasReady, !isClosed else { return }
        total -= 1
        serve()
        fetcher.dropIfUnused(self, url, tls)
    }

    private func connect() {
        connecting += 1
        total += 1
        let pool = NIOLoopBound(self, eventLoop: eventLoop)
        made().whenComplete { result in
            let pool = pool.value
            if pool.isClosed {
                if case .success(let connection) = result { connection.value.close() }
                return
            }
            pool.connecting -= 1
            switch result {
            case .success(let connection):
                connection.value.wasReady = true
                pool.free(connection.value)
                pool.serve()
            case .failure(let error):
                pool.total -= 1
                pool.waiting.popFirst()?.broken(error)
                pool.serve()
                pool.fetcher.dropIfUnused(pool, pool.url, pool.tls)
            }
        }
    }

    private func made() -> EventLoopFuture<NIOLoopBound<HTTPClientConnection>> {
        guard url.isSecure else { return open(nil) }
        let pool = NIOLoopBound(self, eventLoop: eventLoop)
        return fetcher.tlsContext(tls).flatMap { pool.value.open($0) }
    }

    private func open(_ context: NIOSSLContext?) -> EventLoopFuture<NIOLoopBound<HTTPClientConnection>> {
        let ready = eventLoop.makePromise(of: Void.self)
        let connection = HTTPClientConnection(self, isSecure: url.isSecure, ready: ready)
        let box = NIOLoopBound(connection, eventLoop: eventLoop)
        let url = url
        ClientBootstrap(group: eventLoop)
            .connectTimeout(Self.connectTime)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let context {
                        try pipeline.addHandler(
                            NIOSSLClientHandler(context: context, serverHostname: url.isAddress ? nil : url.host)
                        )
                    }
                    try pipeline.addHandlers([
                        HTTPRequestEncoder(), box.value.heads,
                        ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)),
                        box.value,
                    ])
                }
            }
            .connect(host: url.host, port: url.port)
            .whenFailure { box.value.couldNotConnect($0) }
        return ready.futureResult.map { box }
    }

    func close() {
        isClosed = true
        waiting = HTTPWaitingRuns()
        for connection in idle { connection.close() }
        idle = []
    }
}

@available(*, unavailable)
extension HTTPClientPool: Sendable {}
