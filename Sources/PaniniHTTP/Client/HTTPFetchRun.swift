// Owns: one running fetch: its time limit, the request that is under way, and handing on what comes. Loop-bound. What to do
// next is the machine's decision.

import NIOCore
import NIOHTTP1

/// A fetch from its start to its one end.
final class HTTPFetchRun {
    let id: HTTPFetchID
    let context: UInt64
    private let seconds: Double
    private let isStreamed: Bool
    private weak var sink: (any HTTPFetchSink)?
    private unowned let fetcher: HTTPFetcher
    private let ended: ((HTTPFetchEnd) -> Void)?
    private var machine: HTTPFetchMachine
    /// Where the request is under way; nil while it waits for one, and once its response is complete.
    private var connection: HTTPClientConnection?
    /// Where it waits for a connection.
    private var pool: HTTPClientPool?
    private var timer: Scheduled<Void>?
    private var body = ByteBuffer()
    /// The request under way went out on a connection that had served others.
    private var isOnUsed = false
    private var hasResponse = false
    /// All of the response has come.
    private var isInputEnded = false
    private var sinkWaits = false
    /// How it ended while the sink was busy with what it had.
    private var outcome: Outcome?
    private var isOver = false

    private enum Outcome {
        case complete
        case failed(HTTPFetchError)
    }

    init(
        _ fetch: HTTPFetch,
        id: HTTPFetchID,
        context: UInt64,
        sink: any HTTPFetchSink,
        fetcher: HTTPFetcher,
        ended: ((HTTPFetchEnd) -> Void)?
    ) {
        self.id = id
        self.context = context
        self.seconds = fetch.seconds
        self.isStreamed = fetch.isStreamed
        self.sink = sink
        self.fetcher = fetcher
        self.ended = ended
        self.machine = HTTPFetchMachine(fetch)
    }

    func belongs(to other: any HTTPFetchSink) -> Bool { sink === other }

    // MARK: - Start

    func start() {
        sinkWaits = true
        let box = NIOLoopBound(self, eventLoop: fetcher.eventLoop)
        timer = fetcher.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { box.value.timedOut() }
        // The sink hears of nothing from within its call.
        fetcher.eventLoop.execute { box.value.send() }
    }

    private func send() {
        guard !isOver else { return }
        let hop = machine.hop
        guard let sink, sink.fetch(context, mayConnectTo: hop.url.host, port: hop.url.port) else {
            return fail(HTTPFetchError(.denied, "connections to \(hop.url.authority) are not allowed here"))
        }
        guard let pool = fetcher.pool(hop.url, hop.tls) else {
            return fail(HTTPFetchError(.closed, "the service has stopped"))
        }
        hasResponse = false
        isOnUsed = false
        isInputEnded = false
        self.pool = pool
        pool.enter(self)
    }

    /// A connection is this fetch's.
    func start(on connection: HTTPClientConnection) {
        pool = nil
        self.connection = connection
        isOnUsed = connection.isUsed
        connection.send(machine.hop, for: self)
    }

    // MARK: - What comes back

    func head(_ head: HTTPResponseHead) {
        guard !isOver else { return }
        hasResponse = true
        let headers = HTTPFields(head.headers.lazy.map { (name: $0.name.lowercased(), value: $0.value) })
        switch machine.head(status: Int(head.status.code), headers: headers) {
        case .receive:
            if isStreamed, let response = machine.response { tell { $0.fetch(context, began: response) } }
        case .skip: fetcher.counters.redirected &+= 1
        case .fail(let failure): fail(failure)
        }
    }

    func bytes(_ bytes: ByteBuffer) {
        guard !isOver else { return }
        switch machine.bytes(bytes) {
        case .continueReading: break
        case .take:
            // Until it is handed on; at once, when nobody streams.
            connection?.pause()
            handOn()
        case .abandon:
            dropConnection()
            concluded()
        }
    }

    /// Gives the sink what has come, as far as it wants it.
    private func handOn() {
        while !isOver, !isStreamed || sinkWaits {
            switch machine.nextPiece() {
            case .bytes(let piece):
                if isStreamed {
                    tell { $0.fetch(context, received: piece) }
                } else {
                    body.writeImmutableBuffer(piece)
                }
            case .none:
                if isInputEnded { return concluded() }
                connection?.resume()
                return
            case .fail(let failure): return fail(failure)
            }
        }
    }

    func end() {
        guard !isOver else { return }
        connection = nil
        isInputEnded = true
        // What has come and was not handed on yet goes first.
        if machine.isReceiving { handOn() } else { concluded() }
    }

    private func concluded() {
        switch machine.end() {
        case .finish: conclude(.complete)
        case .send: send()
        case .fail(let failure): fail(failure)
        }
    }

    func broken(_ error: any Error) {
        guard !isOver else { return }
        pool = nil
        connection = nil
        // A kept connection that the server was about to close: the request goes once more, if it changes nothing.
        if isOnUsed, !hasResponse, Self.isRepeatable(machine.hop.method) { return send() }
        fail(.of(error, machine.hop.url))
    }

    // MARK: - The sink

    func wantsPiece() {
        sinkWaits = true
        let box = NIOLoopBound(self, eventLoop: fetcher.eventLoop)
        fetcher.eventLoop.execute { box.value.goOn() }
    }

    private func goOn() {
        guard sinkWaits else { return }
        guard let outcome else { return handOn() }
        conclude(outcome)
    }

    private func tell(_ event: (any HTTPFetchSink) -> Void) {
        sinkWaits = false
        if let sink { event(sink) }
    }

    // MARK: - Ends

    /// Tells the sink, now or when it asks.
    private func conclude(_ outcome: Outcome) {
        timer?.cancel()
        guard sinkWaits else {
            self.outcome = outcome
            return
        }
        over(outcome) { sink in
            switch outcome {
            case .complete:
                guard let response = machine.response else { return }
                sink.fetch(context, completed: response, body: isStreamed ? nil : body)
            case .failed(let failure): sink.fetch(context, failed: failure)
            }
        }
    }

    private func timedOut() {
        let what =
            pool.map { $0.isFull ? "no free connection" : "no connection" }
            ?? (machine.response == nil ? "no answer" : "not all of the answer")
        fail(HTTPFetchError(.timeout, "\(machine.hop.url.authority): \(what) within \(seconds) s"))
    }

    private func fail(_ failure: HTTPFetchError) {
        guard !isOver, outcome == nil else { return }
        fetcher.counters.failed &+= 1
        dropConnection()
        conclude(.failed(failure))
    }

    func cancel() {
        dropConnection()
        over(outcome) { _ in }
    }

    private func over(_ outcome: Outcome?, _ event: (any HTTPFetchSink) -> Void) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        fetcher.ended(self)
        ended?(end(outcome))
        tell(event)
    }

    private func end(_ outcome: Outcome?) -> HTTPFetchEnd {
        let status = machine.response?.status
        if case .failed(let failure) = outcome { return .failed(failure, status: status) }
        // A stream ends where its reader has enough.
        if let status, outcome != nil || isStreamed { return .responded(status: status) }
        return .abandoned(status: status)
    }

    private func dropConnection() {
        let connection = connection
        let pool = pool
        self.connection = nil
        self.pool = nil
        connection?.close()
        pool?.leave(self)
    }

    private static func isRepeatable(_ method: String) -> Bool {
        ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(method)
    }
}

@available(*, unavailable)
extension HTTPFetchRun: Sendable {}
