// Owns: the web server of a service: its start and stop, and the way of a request to its handler. Loop-bound.

import CLuaVM
import Glibc
import Logging
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime

extension Service: HTTPDelegate {
    /// Opens the port, last of all that a start does.
    ///
    /// - Parameters:
    ///   - port: The port that another worker has bound.
    ///   - inherited: What listens there already.
    func startWebServer(port: Int?, _ inherited: HTTPListeningSocket?) -> EventLoopFuture<Void> {
        guard options.webServer, web.opensPort else { return worker.eventLoop.makeSucceededVoidFuture() }
        var configuration = webConfiguration(options, port: port)
        configuration.inherited = inherited
        let server = HTTPServer(
            configuration: configuration,
            eventLoop: worker.eventLoop,
            sockets: web.sockets,
            memory: shared.webMemory,
            delegate: self
        )
        web.server = server
        let box = NIOLoopBound((self, server), eventLoop: worker.eventLoop)
        return bind(server, options).map { port in
            let (service, server) = box.value
            service.web.port = port
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
        configuration.reportsResponses = options.webAccessLog
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
            if let problem = error as? HTTPServerError {
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
        case EADDRINUSE: return "the port is in use"
        case EACCES: return "the port is reserved for the system's administrator"
        case EADDRNOTAVAIL: return "the address is none of this machine's"
        default: return oneLine("\(error)")
        }
    }

    // MARK: - Reload

    /// Makes the web server of the staged script ready: another port is bound now, and serves from the switch on.
    func stageWeb(port: Int?) -> EventLoopFuture<Void> {
        guard let staging = staged else { return worker.eventLoop.makeSucceededVoidFuture() }
        let new = staging.options
        guard new.webServer, web.opensPort else {
            if web.server != nil { staged?.web = .close }
            return worker.eventLoop.makeSucceededVoidFuture()
        }
        let configuration = webConfiguration(new, port: port)
        let isSamePlace = options.webHost == new.webHost && options.webPort == new.webPort
        let isSameScheme = (options.webCertificateFile == nil) == (new.webCertificateFile == nil)
        if let server = web.server, isSamePlace, isSameScheme {
            do throws(HTTPServerError) {
                staged?.web = .reconfigure(try server.reconfiguration(configuration))
                return worker.eventLoop.makeSucceededVoidFuture()
            } catch {
                return worker.eventLoop.makeFailedFuture(
                    PaniniError(code: .invalidOption, message: "\(new.serviceName): web_tls: \(error.message)")
                )
            }
        }
        guard web.server == nil || !isSamePlace else {
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
            sockets: web.sockets,
            memory: shared.webMemory,
            delegate: self
        )
        let box = NIOLoopBound((self, server, staging.script), eventLoop: worker.eventLoop)
        return bind(server, new).map { port in
            let (service, server, script) = box.value
            // Given up meanwhile; there may be another one already.
            guard service.staged?.script === script else { return server.close() }
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
            web.server = server
            web.port = port
            server.accept()
        case .close:
            endWeb()
            web.server = nil
            web.port = nil
        }
    }

    private func endWeb() {
        guard let old = web.server else { return }
        web.ending.append(old)
        old.stop { [self] in web.ended(old) }
    }

    // MARK: - Requests

    func admits(_ request: HTTPRequest) -> HTTPResponse? {
        guard let route = match(request) else { return unmatched(request) }
        route.received &+= 1
        request.maximumBody = route.maximumBody ?? options.webMaxBody
        guard lifecycle.isServing || lifecycle.isStopping else { return .failure(503, "the service is starting") }
        if (route.web ?? web).requestsInFlight >= options.webMaxRequests {
            counters.requestRefused()
            return .failure(503, "too many requests are being answered", headers: [("retry-after", "1")])
        }
        guard let terms = route.webSocket else { return nil }
        return refusal(of: request, by: terms)
    }

    /// Finds the route of a request in the script that runs.
    private func match(_ request: HTTPRequest) -> HTTPRoute? {
        let script = script
        let http = script.http
        let head = request.raw
        let found = head.bytes.withUnsafeBufferPointer { bytes in
            http.routes.table.find(
                method: head.method.rawValue,
                in: UnsafeBufferPointer(rebasing: bytes[..<head.pathLength])
            )
        }
        guard let found else { return nil }
        request.route = found
        request.generation = script.generation
        return http.routes.all[found]
    }

    /// The response to a request without a route.
    private func unmatched(_ request: HTTPRequest) -> HTTPResponse? {
        request.maximumBody = options.webMaxBody
        let method = request.method
        if method == "OPTIONS", request.path == "*" {
            // The server as a whole (RFC 9110, section 9.3.7).
            return HTTPResponse(status: 204, headers: [("allow", knownMethods.sorted().joined(separator: ", "))])
        }
        guard HTTPMethods.isRegistered(method) || knownMethods.contains(method) else {
            return .failure(
                HTTPRefusalError(
                    .method,
                    "the method \(method) is not known here; no route names it",
                    kind: .unsupported,
                    status: 501
                )
            )
        }
        switch script.http.routes.table.match(method: method, path: Substring(request.path).utf8) {
        case .methodNotAllowed(let allowed):
            var all = allowed
            if !all.contains("OPTIONS") { all.append("OPTIONS") }
            let header: HTTPFields = [("allow", all.sorted().joined(separator: ", "))]
            if method == "OPTIONS" {
                // A middleware may answer a CORS preflight request.
                guard script.http.optionsRoute.hasMiddlewares else { return HTTPResponse(status: 204, headers: header) }
                request.responseHeaders = header
                return nil
            }
            return .failure(405, "\(allowed.joined(separator: ", ")) only", headers: header)
        case .notFound, .found: return .failure(404, "there is nothing here")
        }
    }

    /// The methods that the routes have; `*` among them means all usual ones.
    private var knownMethods: Set<String> {
        var methods = script.http.routes.table.methods
        if methods.remove("*") != nil { methods.formUnion(HTTPMethods.usual) }
        if methods.contains("GET") { methods.insert("HEAD") }
        return methods.union(["OPTIONS"])
    }

    func received(_ request: HTTPRequest) {
        // A connection may have held the request back for longer than the script lives.
        guard script.phase != .closed else { return request.respond(.failure(503, "the service is stopping")) }
        guard let route = route(of: request) else {
            request.respond(.failure(404, "there is nothing here"))
            return
        }
        // Without middlewares an upgrade needs no Lua.
        if route.webSocket != nil, !route.hasMiddlewares { return script.accept(route, request) }
        (route.web ?? web).beginRequest()
        script.beginActivity()
        if sync.isOn {
            if sync.isBusy {
                sync.append(Activity(route, object: request))
                return
            }
            sync.isBusy = true
        }
        if script.mustDefer { return script.defer(.begin(Activity(route, object: request))) }
        script.enter { route.start(request) }
        noteWork()
    }

    /// The route that a complete request goes to; matched again when the script was replaced while its body came in.
    private func route(of request: HTTPRequest) -> HTTPRoute? {
        if request.route < 0 { return script.http.optionsRoute }
        let script = script
        if request.generation == script.generation { return script.http.routes.all[request.route] }
        return match(request)
    }

    /// A request that has not begun runs on the script that has taken over.
    func handOver(_ request: HTTPRequest, to script: Script) -> Activity? {
        guard let route = route(of: request) else {
            web.endRequest()
            request.respond(.failure(404, "there is nothing here"))
            return nil
        }
        script.beginActivity()
        return Activity(route, object: request)
    }

    func responded(_ report: HTTPAccessReport) {
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

    func lost(_ request: HTTPRequest) {
        // Its handler has a copy, or does not begin any more; middlewares find it by its number.
        if request.openNumber == 0 { request.releaseBody() }
        for script in scripts where script.phase == .live {
            script.writable(request, .failure(CallError("closed", "the client has closed the connection")))
        }
    }

    func canWrite(_ request: HTTPRequest) {
        for script in scripts where script.phase == .live { script.writable(request, .success) }
    }

    func webMemoryCalmedDown() {
        // Connections may hold something for longer than the script lives.
        guard script.phase != .closed else { return }
        panini_release_free_memory(script.vm.state)
        // What Lua made for the responses is garbage by now.
        noteWork()
    }

    // MARK: - Ends

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

extension HTTPRoute {
    /// Runs the handler on a request.
    func start(_ request: HTTPRequest) {
        let activity = Activity(self, object: request)
        // The client has gone while it waited for its turn.
        guard request.connection != nil else { return ended(activity) }
        withScript { script in start(request, activity, in: script) }
    }

    @inline(__always)
    private func start(_ request: HTTPRequest, _ activity: Activity, in script: Script) {
        let vm = script.vm
        guard vm.hasRoom(for: (request.body?.readableBytes ?? 0) + Script.coroutineBytes) else {
            return script.failBeforeStart(activity)
        }
        let co = vm.acquireCoroutine()
        script.push(request, number: hasMiddlewares ? http.open(request) : 0, as: http.requestType, onto: co.thread)
        // The object has a copy; middlewares in Swift read the request's own.
        if !hasMiddlewares { request.releaseBody() }
        vm.push(entry, onto: co.thread)
        lua_pushvalue(co.thread, 1)
        script.current = RunningActivity(holdsStop: true)
        script.settle(co, vm.resume(co, argumentCount: 1), activity)
    }
}

extension Script {
    /// Puts the middlewares around a route's handler.
    func compose(_ route: HTTPRoute) {
        let layers = route.middlewares + middlewares.layers + middlewares.outer
        let old = route.entry
        route.entry = chain(.httpRequest, layers, to: route.handler) ?? route.handler
        if old.index != route.handler.index { vm.release(old) }
    }
}
