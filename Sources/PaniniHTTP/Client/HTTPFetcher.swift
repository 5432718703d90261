// Owns: the HTTP client of one event loop: its connections, which fetches run, and how many at once go to one server.
// Loop-bound. Knows neither Lua nor what a response is good for.

package import NIOCore
import NIOPosix
import NIOSSL

/// Who fetches. Each fetch ends with one call of `completed` or `failed`, unless it is cancelled.
package protocol HTTPFetchSink: AnyObject {
    /// Whether a connection may be made; asked before each request, redirects among them.
    func fetch(_ context: UInt64, mayConnectTo host: String, port: Int) -> Bool
    /// The head of a streamed response. Ask for the body with ``HTTPFetcher/next(_:)``.
    func fetch(_ context: UInt64, began response: HTTPFetchResponse)
    /// A piece of a streamed body that was asked for.
    func fetch(_ context: UInt64, received piece: ByteBuffer)
    /// All of a response has come; the body is nil when it was streamed.
    func fetch(_ context: UInt64, completed response: HTTPFetchResponse, body: ByteBuffer?)
    func fetch(_ context: UInt64, failed failure: HTTPFetchError)
}

/// A running fetch.
package typealias HTTPFetchID = UInt64

/// What a client has counted since its start.
package struct HTTPFetchCounters: Equatable, Sendable {
    package var started: UInt64 = 0
    package var failed: UInt64 = 0
    package var cancelled: UInt64 = 0
    package var redirected: UInt64 = 0
    /// Requests that had to wait because of the limit of connections to their server.
    package var queued: UInt64 = 0
}

/// An HTTP client on one event loop.
package final class HTTPFetcher {
    let eventLoop: any EventLoop
    /// The most connections to one server: scheme, host and port.
    package var maximumConnections: Int
    package internal(set) var counters = HTTPFetchCounters()
    private var runs: [HTTPFetchID: HTTPFetchRun] = [:]
    private var lastID: HTTPFetchID = 0
    private var pools: [Server: HTTPClientPool] = [:]
    /// One per answer to whom to trust: reading the system's certificates takes milliseconds.
    private var contexts: [HTTPFetchTLS: EventLoopFuture<NIOSSLContext>] = [:]
    private var isClosed = false

    private struct Server: Hashable {
        let isSecure: Bool
        let host: String
        let port: Int
        let tls: HTTPFetchTLS?
    }

    package init(eventLoop: any EventLoop, maximumConnections: Int = 64) {
        self.eventLoop = eventLoop
        self.maximumConnections = maximumConnections
    }

    // MARK: - Fetches

    /// How many fetches have not ended.
    package var runningCount: Int { runs.count }

    /// Starts a fetch. The sink hears of it later, never from within this call.
    ///
    /// - Parameters:
    ///   - context: The sink's own; given back with every call.
    ///   - ended: Called once, however the fetch ends; before the sink hears of it.
    package func start(
        _ fetch: HTTPFetch,
        context: UInt64,
        sink: any HTTPFetchSink,
        ended: ((HTTPFetchEnd) -> Void)? = nil
    ) -> HTTPFetchID {
        eventLoop.assertInEventLoop()
        lastID += 1
        counters.started &+= 1
        let run = HTTPFetchRun(fetch, id: lastID, context: context, sink: sink, fetcher: self, ended: ended)
        runs[lastID] = run
        run.start()
        return lastID
    }

    /// Asks for the next piece of a streamed body. The sink hears of it later.
    package func next(_ id: HTTPFetchID) { runs[id]?.wantsPiece() }

    /// Ends a fetch whose response nobody wants any more.
    package func cancel(_ id: HTTPFetchID) {
        guard let run = runs[id] else { return }
        counters.cancelled &+= 1
        run.cancel()
    }

    /// Ends all fetches of one sink, or those of one of its contexts, without telling it.
    package func cancelAll(of sink: any HTTPFetchSink, context: UInt64? = nil) {
        for (id, run) in runs where run.belongs(to: sink) && (context == nil || run.context == context) { cancel(id) }
    }

    /// Ends all fetches, without telling their sinks, and closes the connections.
    package func close() {
        isClosed = true
        for id in runs.keys { cancel(id) }
        for pool in pools.values { pool.close() }
        pools = [:]
    }

    func ended(_ run: HTTPFetchRun) { runs[run.id] = nil }

    // MARK: - Connections

    /// The connections to a URL's server; nil once the client is closed.
    func pool(_ url: HTTPURL, _ tls: HTTPFetchTLS) -> HTTPClientPool? {
        guard !isClosed else { return nil }
        let server = server(url, tls)
        if let pool = pools[server] { return pool }
        let pool = HTTPClientPool(url, tls, self)
        pools[server] = pool
        return pool
    }

    /// A service that talks to ever new servers must not keep a pool of each.
    func dropIfUnused(_ pool: HTTPClientPool, _ url: HTTPURL, _ tls: HTTPFetchTLS) {
        guard pool.isUnused, pools[server(url, tls)] === pool else { return }
        pools[server(url, tls)] = nil
    }

    private func server(_ url: HTTPURL, _ tls: HTTPFetchTLS) -> Server {
        Server(isSecure: url.isSecure, host: url.host, port: url.port, tls: url.isSecure ? tls : nil)
    }

    /// Made on another thread, as it reads files. One that cannot be made is tried again by the next fetch.
    func tlsContext(_ tls: HTTPFetchTLS) -> EventLoopFuture<NIOSSLContext> {
        if let context = contexts[tls] { return context }
        let context = NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            if let file = tls.authorityFile { configuration.trustRoots = .file(file) }
            if !tls.verifies { configuration.certificateVerification = .none }
            do {
                return try NIOSSLContext(configuration: configuration)
            } catch {
                throw HTTPClientTLSError()
            }
        }
        contexts[tls] = context
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        context.whenFailure { _ in box.value.contexts[tls] = nil }
        return context
    }
}

@available(*, unavailable)
extension HTTPFetcher: Sendable {}
