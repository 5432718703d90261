// Owns: the web server of a service: its start and stop, and the way of a request to its handler. Loop-bound.

import CLuaShim
import Logging
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP

extension Service: HTTPServerDelegate {
    /// Opens the port, last of all that a start does.
    ///
    /// - Parameters:
    ///   - port: The port that another worker has bound.
    ///   - inherited: What listens there already.
    func startWebServer(port: Int?, _ inherited: HTTPListeningSocket?) -> EventLoopFuture<Void> {
        guard options.webServer, opensWebPort else { return worker.eventLoop.makeSucceededVoidFuture() }
        var configuration = webConfiguration(options, port: port)
        configuration.inherited = inherited
        let server = HTTPServer(
            configuration: configuration,
            eventLoop: worker.eventLoop,
            sockets: sockets,
            memory: shared.webMemory,
            delegate: self
        )
        web = server
        let box = NIOLoopBound((self, server), eventLoop: worker.eventLoop)
        return bind(server, options).map { port in
            let (service, server) = box.value
            service.webPort = port
            server.accept()
        }
    }

    func webConfiguration(_ options: AppOptions, port: Int?) -> HTTPServerConfiguration {
        var configuration = HTTPServerConfiguration()
        configuration.host = options.webHost
        configuration.port = port ?? options.webPort
        configuration.sharesPort = shared.workers > 1
        configuration.joinsPort = port != nil
        configuration.maximumHeaderBytes = options.webMaxHeaderBytes
        configuration.headerTimeout = options.webHeaderTimeout
        configuration.bodyTimeout = options.webBodyTimeout
        configuration.idleTimeout = options.webIdleTimeout
        configuration.maximumConnections = options.webMaxConnections
        configuration.maximumMemory = options.webMemory ?? MachineMemory.webDefault
        configuration.maximumConnectionMemory = options.webConnectionMemory
        configuration.shortestTime = Self.shortestWebSocketTime(staged?.script ?? script)
        configuration.reportsAnswers = options.webAccessLog
        configuration.speaksHTTP2 = options.webHTTP2
        configuration.maximumStreams = options.webMaxStreams
        configuration.compresses = options.webCompression
        if let certificate = options.webCertificateFile, let key = options.webKeyFile {
            configuration.tls = (certificate, key)
        }
        return configuration
    }

    private func bind(_ server: HTTPServer, _ options: AppOptions) -> EventLoopFuture<Int?> {
        let scheme = server.configuration.tls == nil ? "http" : "https"
        let shown = options.webHost.contains(":") ? "[\(options.webHost)]" : options.webHost
        let box = NIOLoopBound(self, eventLoop: worker.eventLoop)
        return server.start().flatMapThrowing { address in
            let service = box.value
            if service.worker.isFirst, !service.isReplacement {
                service.logger.info("web server on \(scheme)://\(shown):\(address.port ?? options.webPort)")
            }
            return address.port
        }.flatMapErrorThrowing { error in
            let service = box.value
            if let problem = error as? HTTPServerProblem {
                throw PaniniError(
                    code: .invalidOption,
                    message: "\(service.options.serviceName): web_tls: \(problem.message)"
                )
            }
            throw PaniniError(
                code: .webServer,
                message: """
                    \(service.options.serviceName): the web server cannot listen on \(shown):\(options.webPort): \
                    \(Self.bindProblem(error)); choose another with --web-port
                    """
            )
        }
    }

    private static func bindProblem(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        switch error.errnoCode {
        case 98: return "the port is in use"
        case 13: return "the port is reserved for the system's administrator"
        case 99: return "the address is none of this machine's"
        default: return oneLine("\(error)")
        }
    }

    // MARK: - Reload

    /// Makes the web server of the staged script ready: another port is bound now, and answers from the switch on.
    func stageWeb(port: Int?) -> EventLoopFuture<Void> {
        guard let new = staged?.options else { return worker.eventLoop.makeSucceededVoidFuture() }
        guard new.webServer, opensWebPort else {
            if web != nil { staged?.web = .close }
            return worker.eventLoop.makeSucceededVoidFuture()
        }
        let configuration = webConfiguration(new, port: port)
        let isSamePlace = options.webHost == new.webHost && options.webPort == new.webPort
        let isSameScheme = (options.webCertificateFile == nil) == (new.webCertificateFile == nil)
        if let web, isSamePlace, isSameScheme {
            do throws(HTTPServerProblem) {
                staged?.web = .reconfigure(try web.reconfiguration(configuration))
                return worker.eventLoop.makeSucceededVoidFuture()
            } catch {
                return worker.eventLoop.makeFailedFuture(
                    PaniniError(code: .invalidOption, message: "\(new.serviceName): web_tls: \(error.message)")
                )
            }
        }
        guard web == nil || !isSamePlace else {
            return worker.eventLoop.makeFailedFuture(
                PaniniError(
                    code: .invalidOption,
                    message: """
                        \(new.serviceName): web_tls cannot be turned \(isSameScheme ? "over" : new.webCertificateFile == nil ? "off" : "on") \
                        by a reload on the same port; restart the service, or choose another port
                        """
                )
            )
        }
        let server = HTTPServer(
            configuration: configuration,
            eventLoop: worker.eventLoop,
            sockets: sockets,
            memory: shared.webMemory,
            delegate: self
        )
        let box = NIOLoopBound((self, server), eventLoop: worker.eventLoop)
        return bind(server, new).map { port in
            let (service, server) = box.value
            if service.staged == nil { server.close() }
            service.staged?.web = .open(server, port: port)
        }
    }

    /// The switch, for the web server.
    func switchWeb(_ change: WebChange) {
        switch change {
        case .none: break
        case .reconfigure(let apply): apply()
        case .open(let server, let port):
            endWeb()
            web = server
            webPort = port
            server.accept()
        case .close:
            endWeb()
            web = nil
            webPort = nil
        }
    }

    private func endWeb() {
        guard let old = web else { return }
        endingWebs.append(old)
        old.stop { [self] in endingWebs.removeAll { $0 === old } }
    }

    // MARK: - Requests

    func server(_ server: HTTPServer, admits request: HTTPRequest) -> HTTPAnswer? { admits(request) }

    func admits(_ request: HTTPRequest) -> HTTPAnswer? {
        guard let route = match(request) else { return unmatched(request) }
        route.received &+= 1
        request.maximumBody = route.maximumBody ?? options.webMaxBody
        guard state == .running || state == .stopping else { return .failure(503, "the service is starting") }
        if requestsInFlight >= options.webMaxRequests {
            refusedRequests &+= 1
            return .failure(503, "too many requests are being answered", headers: [("retry-after", "1")])
        }
        guard let terms = route.webSocket else { return nil }
        return refusal(of: request, by: terms)
    }

    /// Finds the route of a request in the script that runs.
    private func match(_ request: HTTPRequest) -> HTTPRoute? {
        let script = script
        let head = request.raw
        let found = head.bytes.withUnsafeBufferPointer { bytes in
            script.registrations.routes.table.find(
                method: head.method.rawValue,
                in: UnsafeBufferPointer(rebasing: bytes[..<head.pathLength])
            )
        }
        guard let found else { return nil }
        request.route = found
        request.generation = script.generation
        return script.registrations.routes.all[found]
    }

    /// The answer to a request without a route.
    private func unmatched(_ request: HTTPRequest) -> HTTPAnswer? {
        request.maximumBody = options.webMaxBody
        let method = request.method
        if method == "OPTIONS", request.path == "*" {
            // The server as a whole (RFC 9110, section 9.3.7).
            return HTTPAnswer(status: 204, headers: [("allow", knownMethods.sorted().joined(separator: ", "))])
        }
        guard HTTPMethods.isRegistered(method) || knownMethods.contains(method) else {
            return .failure(
                HTTPRefusal(
                    .method,
                    "the method \(method) is not known here; no route names it",
                    kind: .unsupported,
                    status: 501
                )
            )
        }
        switch script.registrations.routes.table.match(method: method, path: Substring(request.path).utf8) {
        case .methodNotAllowed(let allowed):
            var all = allowed
            if !all.contains("OPTIONS") { all.append("OPTIONS") }
            let header = [(name: "allow", value: all.sorted().joined(separator: ", "))]
            if method == "OPTIONS" {
                // Middlewares answer what browsers ask before they ask.
                guard script.optionsRoute.hasMiddlewares else { return HTTPAnswer(status: 204, headers: header) }
                request.answerHeaders = header
                return nil
            }
            return .failure(405, "\(allowed.joined(separator: ", ")) only", headers: header)
        case .notFound, .found: return .failure(404, "there is nothing here")
        }
    }

    /// The methods that the routes have; `*` among them means all usual ones.
    private var knownMethods: Set<String> {
        var methods = script.registrations.routes.table.methods
        if methods.remove("*") != nil { methods.formUnion(HTTPMethods.usual) }
        if methods.contains("GET") { methods.insert("HEAD") }
        return methods.union(["OPTIONS"])
    }

    func server(_ server: HTTPServer, received request: HTTPRequest) { received(request) }

    func received(_ request: HTTPRequest) {
        guard let route = route(of: request) else {
            request.answer(.failure(404, "there is nothing here"))
            return
        }
        // Without middlewares an upgrade needs no Lua.
        if route.webSocket != nil, !route.hasMiddlewares { return script.accept(route, request) }
        requestsInFlight += 1
        script.activeCount += 1
        if sync.isOn {
            if sync.isBusy {
                sync.append(.request(route, request))
                return
            }
            sync.isBusy = true
        }
        if script.mustWait { return script.defer(.request(route, request)) }
        script.enter { script.start(route, request) }
        workWasDone()
    }

    /// The route that a complete request goes to; matched again when the script was replaced while its body came in.
    private func route(of request: HTTPRequest) -> HTTPRoute? {
        if request.route < 0 { return script.optionsRoute }
        let script = script
        if request.generation == script.generation { return script.registrations.routes.all[request.route] }
        return match(request)
    }

    /// A request that has not begun runs on the script that has taken over.
    func moved(_ request: HTTPRequest, from old: Script) -> SyncStart? {
        old.activeCount -= 1
        guard let route = route(of: request) else {
            requestsInFlight -= 1
            request.answer(.failure(404, "there is nothing here"))
            return nil
        }
        script.activeCount += 1
        return .request(route, request)
    }

    func server(_ server: HTTPServer, answered report: HTTPAnswerReport) { logAccess(report) }

    func logAccess(_ report: HTTPAnswerReport) {
        guard script.logs(.info, "access") else { return }
        script.log(
            .info,
            "access",
            "\(report.method) \(report.path) \(report.status)",
            [
                "remote_address": "\(report.remoteAddress)", "bytes": .stringConvertible(report.bytes),
                "status": .stringConvertible(report.status), "seconds": .stringConvertible(report.seconds),
            ]
        )
    }

    func server(_ server: HTTPServer, lost request: HTTPRequest) { lost(request) }

    func lost(_ request: HTTPRequest) {
        // Its handler has a copy, or does not begin any more; middlewares find it by its number.
        if request.openNumber == 0 { request.releaseBody() }
        for script in scripts where script.phase == .live {
            script.writable(request, .failure(CallError("closed", "the client has closed the connection")))
        }
    }

    func server(_ server: HTTPServer, canWrite request: HTTPRequest) { canWrite(request) }

    func canWrite(_ request: HTTPRequest) {
        for script in scripts where script.phase == .live { script.writable(request, .success) }
    }

    func server(_ server: HTTPServer, shed: HTTPShedding) { webShed(shed, by: server) }

    func serverCalmedDown(_ server: HTTPServer) {
        panini_release_free_memory(script.vm.state)
        // What Lua made for the answers is garbage by now.
        workWasDone()
    }

    // MARK: - Ends

    func requestEnded(_ activity: Activity, of script: Script) {
        switch activity {
        case .request(_, let request), .stream(_, let request):
            if request.openNumber != 0 {
                script.openRequests[request.openNumber] = nil
                request.openNumber = 0
            }
        default: break
        }
        script.activeCount -= 1
        if case .request = activity { requestsInFlight -= 1 }
        if sync.isOn, case .request = activity { return syncEnded(script) }
        if script.isEnding { endIfIdle(script) }
    }

    func requestFailed(_ route: HTTPRoute, _ request: HTTPRequest, _ error: LuaError) {
        route.failed &+= 1
        if let problem = error.errorsProblem { script.logErrorsLeftOut(problem, of: route.origin) }
        if error.isTable, let code = error.code {
            return script.refuse(request, ReplyError(code: code, message: error.message, errors: error.errors))
        }
        logger.error(
            "handler of \(route.method) \(route.path) (\(route.origin)) failed: \(error.message)",
            metadata: traceback(error)
        )
        script.refuse(request, error.reply(debug: debug))
    }

    func streamFailed(_ route: HTTPRoute, _ request: HTTPRequest, _ error: LuaError) {
        route.failed &+= 1
        logger.error(
            "the stream of \(route.method) \(route.path) (\(route.origin)) failed: \(error.message)",
            metadata: traceback(error)
        )
        request.endStream(isComplete: false)
    }
}

extension Script {
    /// Runs a route's handler on a request.
    func start(_ route: HTTPRoute, _ request: HTTPRequest) {
        // The client has gone while it waited for its turn.
        guard request.connection != nil else {
            service?.activityEnded(.request(route, request), of: self)
            return
        }
        guard vm.hasRoom(for: (request.body?.readableBytes ?? 0) + Self.coroutineBytes) else {
            return settleUnstarted(.request(route, request))
        }
        let co = vm.acquireCoroutine()
        push(request, number: route.hasMiddlewares ? open(request) : 0, onto: co.thread)
        // The object has a copy; middlewares in Swift read the request's own.
        if !route.hasMiddlewares { request.releaseBody() }
        vm.push(route.entry, onto: co.thread)
        lua_pushvalue(co.thread, 1)
        current = RunningActivity(holdsStop: true)
        settle(co, vm.resume(co, argumentCount: 1), .request(route, request))
    }

    /// Puts the middlewares around a route's handler.
    func compose(_ route: HTTPRoute) {
        let layers = route.middlewares + middlewares.layers + middlewares.outer
        let old = route.entry
        route.entry = chain(.httpRequest, layers, to: route.handler) ?? route.handler
        if old.index != route.handler.index { vm.release(old) }
    }
}
