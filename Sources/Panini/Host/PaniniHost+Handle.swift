// Owns: requests of HTTP that another server brings: from a task to a worker's thread, through the same routes as over a
// port, and the response back. Any thread.

import NIOCore
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime
import Synchronization

extension PaniniHost {
    /// Answers a request by the routes of the services, as their web servers would: with the same limits, middlewares and
    /// handlers. For a program that has a server of its own and mounts scripts in it.
    ///
    /// ```swift
    /// let response = try await host.handle(PaniniRequest(target: "/orders/7"))
    /// print(response.status, try await response.body.collect())
    /// ```
    ///
    /// A service must say `web_server = true`; whether it opens its port, too, says
    /// ``PaniniHostConfiguration/opensWebPorts``. Nothing is compressed. An answer to HEAD has the
    /// `content-length` of the body that GET would have, others have none. Routes of WebSockets answer 426: they need a
    /// connection.
    ///
    /// - Parameters:
    ///   - request: Method, target, headers and body. The body is complete; it may have a `content-encoding`.
    ///   - service: The name of the service that answers; nil: the first in the configuration that has a route for it.
    /// - Returns: The answer, errors included: 404 for an unknown path, 413 for a body over `web_max_body`. As soon as its head
    ///   is there; a streamed body goes on coming.
    /// - Throws: ``PaniniError`` with the code `not_running` when there is no such service that serves HTTP, or the host does
    ///   not run, `worker_stuck` when a script holds the worker that had the request; `CancellationError` when the task is
    ///   cancelled.
    public func handle(_ request: PaniniRequest, by service: String? = nil) async throws -> PaniniResponse {
        guard let instance = try await instance(for: request, service) else {
            throw PaniniError(
                code: .notRunning,
                message: service.map { "no service \"\($0)\" runs and serves HTTP (web_server = true)" }
                    ?? "no service runs and serves HTTP (web_server = true)"
            )
        }
        let call = LocalCall(instance.openCalls)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                call.begin(continuation)
                let isSent = whileLoopsRun { instance.execute { service in service.handle(request, call) } }
                if !isSent { call.end(.failure(PaniniError(code: .notRunning, message: "the host has ended"))) }
            }
        } onCancel: {
            call.end(.failure(CancellationError()))
            _ = whileLoopsRun { instance.execute { service in service.giveUp(call) } }
        }
    }

    /// The worker of the service that a request is for.
    private func instance(for request: PaniniRequest, _ service: String?) async throws -> WorkerInstance? {
        var best: (instance: WorkerInstance, rank: Int)?
        for mount in mounted(service) {
            guard let instance = mount.instance else { continue }
            let rank = await rank(of: request, on: instance)
            if rank == 3 { return instance }
            if rank > best?.rank ?? 0 { best = (instance, rank) }
        }
        return best?.instance
    }

    /// 0 as well when a script holds the worker.
    private func rank(of request: PaniniRequest, on instance: WorkerInstance) async -> Int {
        let result = OneResult<Int>()
        return await withCheckedContinuation { continuation in
            result.begin(continuation)
            guard let number = instance.openCalls.add({ result.end(0) }) else { return result.end(0) }
            let isSent = whileLoopsRun {
                instance.execute { service in
                    instance.openCalls.remove(number)
                    result.end(service.rank(of: request))
                }
            }
            if !isSent { result.end(0) }
        }
    }
}

/// Resumes whoever waits, once.
private final class OneResult<Value: Sendable>: Sendable {
    private let continuation = Mutex<CheckedContinuation<Value, Never>?>(nil)

    func begin(_ continuation: CheckedContinuation<Value, Never>) {
        self.continuation.withLock { $0 = continuation }
    }

    func end(_ value: Value) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: value)
    }
}

/// One call of ``PaniniHost/handle(_:by:)``: resumes whoever waits, once.
final class LocalCall: Sendable {
    private struct State {
        var continuation: CheckedContinuation<PaniniResponse, any Error>?
        var isOver = false
        /// What came before anybody waited.
        var early: Result<PaniniResponse, any Error>?
        /// The response's body, while its pieces come.
        var body: HTTPLocalBody?
        var number: UInt64?
    }

    private let state = Mutex(State())
    private let openCalls: OpenCalls

    /// - Parameter openCalls: Those of the worker that responds.
    init(_ openCalls: OpenCalls) {
        self.openCalls = openCalls
        let number = openCalls.add { [weak self] in self?.workerLost() }
        state.withLock { $0.number = number }
        if number == nil { workerLost() }
    }

    deinit {
        if let number = state.withLock({ $0.number }) { openCalls.remove(number) }
    }

    /// A script holds the worker: nothing more comes.
    private func workerLost() {
        end(
            .failure(PaniniError(code: .workerStuck, message: "a script holds the worker that had the request"))
        )
        state.withLock { $0.body }?.breakOff()
    }

    /// The response's head is there, and its body will be.
    func streams(_ body: HTTPLocalBody) { state.withLock { $0.body = body } }

    var isOver: Bool { state.withLock { $0.isOver } }

    func begin(_ continuation: CheckedContinuation<PaniniResponse, any Error>) {
        let result = state.withLock { state in
            if !state.isOver { state.continuation = continuation }
            return state.early
        }
        if let result { continuation.resume(with: result) }
    }

    func end(_ result: Result<PaniniResponse, any Error>) {
        let continuation = state.withLock { state -> CheckedContinuation<PaniniResponse, any Error>? in
            guard !state.isOver else { return nil }
            state.isOver = true
            // A response holds the call for as long as somebody reads it: not the other way round.
            if state.continuation == nil { state.early = result }
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(with: result)
    }
}

extension Service {
    /// How well this service fits a request: 3 it has the route, 2 the path, 1 it serves HTTP, 0 it does not.
    fileprivate func rank(of request: PaniniRequest) -> Int {
        guard options.webServer, lifecycle.isServing || lifecycle.isStopping else { return 0 }
        let path = request.target.prefix { $0 != "?" }
        switch script.http.routes.table.match(method: request.method, path: path.utf8) {
        case .found: return 3
        case .methodNotAllowed: return 2
        case .notFound: return 1
        }
    }

    fileprivate func handle(_ request: PaniniRequest, _ call: LocalCall) {
        guard !call.isOver else { return }
        guard lifecycle.isServing || lifecycle.isStopping else {
            return call.end(
                .failure(PaniniError(code: .notRunning, message: "\(options.serviceName) does not run any more"))
            )
        }
        let head = HTTPRequestHead(
            version: .http1_1,
            method: HTTPMethod(rawValue: request.method),
            uri: request.target,
            headers: HTTPHeaders(request.headers.map { ($0.name, $0.value) })
        )
        let exchange = HTTPLocalExchange(
            head: head,
            remoteAddress: request.remoteAddress,
            delegate: self,
            eventLoop: worker.eventLoop,
            onResponse: { response in
                if case .stream(let body) = response.body { call.streams(body) }
                call.end(.success(PaniniResponse(response, of: call)))
            },
            onEnd: { [unowned self] in ended($0) }
        )
        exchange.call = call
        web.localExchanges[ObjectIdentifier(exchange)] = exchange
        exchange.begin(body: ByteBuffer(bytes: request.body), limits: webConfiguration(options, port: nil))
    }

    /// Whoever called waits no longer.
    fileprivate func giveUp(_ call: LocalCall) {
        for exchange in web.localExchanges.values where exchange.call === call { exchange.lost() }
    }

    private func ended(_ exchange: HTTPLocalExchange) {
        guard web.localExchanges.removeValue(forKey: ObjectIdentifier(exchange)) != nil else { return }
        if options.webAccessLog { responded(exchange.report) }
    }

    /// The service has stopped: whoever still waits hears so.
    func closeLocalExchanges() {
        for exchange in web.localExchanges.values { exchange.close() }
        web.localExchanges = [:]
    }
}

extension PaniniResponse {
    fileprivate init(_ response: HTTPLocalExchange.Response, of call: LocalCall) {
        status = response.status
        headers = PaniniHTTPFields(response.headers)
        switch response.body {
        case .bytes(let bytes): body = PaniniBody(content: .bytes(bytes))
        case .stream(let stream): body = PaniniBody(content: .stream(PaniniBody.Stream(stream, of: call)))
        }
    }
}
