// Owns: the web server of a service: its start and stop, and the way of a request to its handler. Loop-bound.

import CLuaShim
import Logging
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP

extension Service: HTTPServerDelegate {
    /// Opens the port, last of all that a start does.
    func startWebServer() -> EventLoopFuture<Void> {
        guard options.webServer else { return worker.eventLoop.makeSucceededVoidFuture() }
        var configuration = HTTPServerConfiguration()
        configuration.host = options.webHost
        configuration.port = options.webPort
        configuration.maximumHeaderBytes = options.webMaxHeaderBytes
        configuration.headerTimeout = options.webHeaderTimeout
        configuration.bodyTimeout = options.webBodyTimeout
        configuration.idleTimeout = options.webIdleTimeout
        configuration.maximumConnections = options.webMaxConnections
        configuration.reportsAnswers = options.webAccessLog
        if let certificate = options.webCertificateFile, let key = options.webKeyFile {
            configuration.tls = (certificate, key)
        }
        let scheme = configuration.tls == nil ? "http" : "https"
        let server = HTTPServer(configuration: configuration, eventLoop: worker.eventLoop, delegate: self)
        web = server
        let shown = options.webHost.contains(":") ? "[\(options.webHost)]" : options.webHost
        let box = NIOLoopBound(self, eventLoop: worker.eventLoop)
        return server.start().flatMapThrowing { address in
            let service = box.value
            service.webPort = address.port
            service.logger.info("web server on \(scheme)://\(shown):\(address.port ?? service.options.webPort)")
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
                    \(service.options.serviceName): the web server cannot listen on \(shown):\(service.options.webPort): \
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

    // MARK: - Requests

    func server(_ server: HTTPServer, admits request: HTTPRequest) -> HTTPAnswer? {
        let routes = script.registrations.routes
        let method = request.head.method.rawValue
        request.maximumBody = options.webMaxBody
        switch routes.table.match(method: method, path: request.path) {
        case .found(let index, _):
            let route = routes.all[index]
            route.received &+= 1
            request.route = index
            if let own = route.maximumBody { request.maximumBody = own }
            guard state == .running || state == .stopping else { return .failure(503, "the service is starting") }
            if requestsInFlight >= options.webMaxRequests {
                refusedRequests &+= 1
                return .failure(503, "too many requests are being answered", headers: [("retry-after", "1")])
            }
            return nil
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
        case .notFound: return .failure(404, "there is nothing here")
        }
    }

    func server(_ server: HTTPServer, received request: HTTPRequest) {
        let route = request.route < 0 ? script.optionsRoute : script.registrations.routes.all[request.route]
        requestsInFlight += 1
        activeCount += 1
        if sync.isOn {
            if sync.isBusy {
                sync.append(.request(route, request))
                return
            }
            sync.isBusy = true
        }
        if script.depth > 0 { return script.defer(.request(route, request)) }
        script.enter { script.start(route, request) }
    }

    func server(_ server: HTTPServer, answered report: HTTPAnswerReport) {
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

    func server(_ server: HTTPServer, lost request: HTTPRequest) {
        guard script.phase == .live else { return }
        script.writable(request, .failure(CallError("closed", "the client has closed the connection")))
    }

    func server(_ server: HTTPServer, canWrite request: HTTPRequest) {
        guard script.phase == .live else { return }
        script.writable(request, .success)
    }

    // MARK: - Ends

    func requestEnded(_ activity: Activity) {
        switch activity {
        case .request(_, let request), .stream(_, let request): request.detach()
        default: break
        }
        activeCount -= 1
        if case .request = activity { requestsInFlight -= 1 }
        if sync.isOn, case .request = activity { return syncEnded() }
        if state == .stopping { stopIfIdle() }
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
        script.refuse(request, debug ? ReplyError(500, error.message) : .internalError)
    }

    func streamFailed(_ route: HTTPRoute, _ request: HTTPRequest, _ error: LuaError) {
        route.failed &+= 1
        logger.error(
            "the stream of \(route.method) \(route.path) (\(route.origin)) failed: \(error.message)",
            metadata: traceback(error)
        )
        request.connection?.endStream(request.number, isComplete: false)
    }
}

extension Script {
    /// Runs a route's handler on a request.
    func start(_ route: HTTPRoute, _ request: HTTPRequest) {
        let co = vm.acquireCoroutine()
        push(request, onto: co.thread)
        vm.push(route.entry, onto: co.thread)
        lua_pushvalue(co.thread, 1)
        currentHoldsStop = true
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
