// Owns: what a service has of the web: its server, those of versions before that end, and requests without a socket. Loop-bound.

import NIOCore
import PaniniHTTP
import ScriptRuntime

/// The web side of a service on one worker.
final class ServiceHTTP: ServiceFeature {
    /// Serves HTTP; nil when the app does not.
    var server: HTTPServer?
    /// Servers of versions before, on other ports, whose connections end.
    var ending: [HTTPServer] = []
    /// The sockets of all of them.
    let sockets = HTTPSockets()
    /// The port the server is bound to.
    var port: Int?
    /// Whether a server opens its port; without, requests come by ``PaniniHost/handle(_:by:)`` alone.
    var opensPort = true
    /// Requests whose handlers have begun, or wait for their turn to begin.
    @exclusivity(unchecked) private(set) var requestsInFlight = 0
    /// Requests that came without a socket and are not answered yet.
    var localExchanges: [ObjectIdentifier: HTTPLocalExchange] = [:]
    var faults = WebFaults()
    /// What servers have counted that are gone.
    private var left = WorkerCounters()

    /// All servers that have connections.
    var servers: [HTTPServer] { ending + (server.map { [$0] } ?? []) }

    /// A request is taken.
    @inline(__always)
    func beginRequest() { requestsInFlight += 1 }

    @inline(__always)
    func endRequest() { requestsInFlight -= 1 }

    // MARK: - Versions

    override func attach(_ version: Script) { for route in version.http.routes.all { route.web = self } }

    override func withdraw(_ staging: Staging) {
        if case .open(let server, _) = staging.web { server.close() }
    }

    override func commit(_ staging: Staging, from old: Script, to new: Script) { service.switchWeb(staging.web) }

    // MARK: - The end

    override func drain() -> EventLoopFuture<Void>? {
        guard let server else { return nil }
        let promise = service.worker.eventLoop.makePromise(of: Void.self)
        server.stop { promise.succeed() }
        return promise.futureResult
    }

    override var cut: (@Sendable () -> Void)? { { [sockets] in sockets.cut() } }

    override func shut() { for server in servers { server.close() } }

    override func close() { service.closeLocalExchanges() }

    // MARK: - What it shows

    override func housekeep() -> Bool {
        service.settleWebFaults()
        return faults.isOpen
    }

    override func count(into counters: inout WorkerCounters) {
        counters = counters + left
        for server in servers { counters = counters + Self.counters(of: server) }
    }

    /// A server has ended: what it has counted stays.
    func ended(_ server: HTTPServer) {
        ending.removeAll { $0 === server }
        left = left + Self.counters(of: server)
    }

    private static func counters(of server: HTTPServer) -> WorkerCounters {
        let http = server.counters
        let sockets = server.webSockets
        var counters = WorkerCounters()
        counters[.httpConnections] = http.connections
        counters[.httpRefusedConnections] = http.refusedConnections
        counters[.httpSurplusConnections] = http.surplusConnections
        counters[.httpFailedAccepts] = http.failedAccepts
        counters[.httpRejectedRequests] = http.refusedRequests.values.reduce(0, &+)
        counters[.webSockets] = sockets.opened
        counters[.webSocketReceived] = sockets.received
        counters[.webSocketSent] = sockets.sent
        counters[.webSocketFailures] = sockets.failed.values.reduce(0, &+) &+ sockets.timedOut
        counters[.webSocketRefusedSends] = sockets.refusedSends
        counters[.httpShedConnections] = http.shedConnections
        counters[.httpOverfullConnections] = http.overfullConnections
        counters[.httpBrokenStreams] = http.brokenStreams
        counters[.httpBrokenConnections] = http.brokenConnections
        return counters
    }

    override func add(to status: inout WorkerStatus) {
        for server in servers {
            status.webBytes += server.heldBytes
            status.shedConnections += Int(
                clamping: server.counters.shedConnections &+ server.counters.overfullConnections
            )
        }
    }
}

extension WorkerCounter {
    static let httpConnections = WorkerCounter("panini_http_connections")
    static let httpRefusedConnections = WorkerCounter("panini_http_refused_connections")
    static let httpSurplusConnections = WorkerCounter("panini_http_surplus_connections")
    static let httpFailedAccepts = WorkerCounter("panini_http_failed_accepts")
    static let httpRejectedRequests = WorkerCounter("panini_http_rejected_requests")
    static let httpShedConnections = WorkerCounter("panini_http_shed_connections")
    static let httpOverfullConnections = WorkerCounter("panini_http_overfull_connections")
    static let httpBrokenStreams = WorkerCounter("panini_http_broken_streams")
    static let httpBrokenConnections = WorkerCounter("panini_http_broken_connections")
    static let webSockets = WorkerCounter("panini_websockets")
    static let webSocketReceived = WorkerCounter("panini_websocket_received")
    static let webSocketSent = WorkerCounter("panini_websocket_sent")
    static let webSocketFailures = WorkerCounter("panini_websocket_failures")
    static let webSocketRefusedSends = WorkerCounter("panini_websocket_refused_sends")
}

extension Service {
    var web: ServiceHTTP { features[ServiceHTTP.self] }
}
