// Owns: `app.http.websocket` and `app.http.nats_bridge` as scripts call them. Worker's thread, while the file runs.

import Bytes
import CLuaVM
import LuaVM
import NATSProtocol
import PaniniHTTP
import ScriptRuntime

extension Script {
    private static let commonOptions = [
        "max_message", "max_unsent", "ping_interval", "idle_timeout", "origins", "middlewares",
    ]

    /// `app.http.websocket(path, [options,] handler)`.
    func webSocket(_ call: HostCall) throws(UsageError) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        let (hasOptions, index) = try webSocketPlaces(call)
        var common = CommonOptions()
        var timeout = options?.handlerTimeout ?? 30
        if hasOptions {
            let given = try LuaOptions(call, 2, known: Self.commonOptions + ["max_queue", "protocols", "timeout"])
            try read(given, into: &common)
            common.settings.maximumQueue =
                try given.integer("max_queue", in: 1...100_000, or: "a whole number from 1 to 100000")
                ?? common.settings.maximumQueue
            common.terms.subprotocols = try subprotocols(given) ?? common.terms.subprotocols
            timeout = try given.onlySeconds("timeout", in: 0.001...86400) ?? timeout
        }
        let layers = hasOptions ? try ownMiddlewares(call, 2, of: [.httpRequest]) : []
        let form = try webSocketForm(call, index, path)
        let webSocket = WebSocketRoute(
            form: form.form,
            settings: common.settings,
            terms: common.terms,
            timeoutNanoseconds: nanoseconds(timeout),
            origin: form.origin
        )
        try add(webSocket, path, layers, call)
        return 0
    }

    /// Whether there are options, and where the handler is, which may be a table, too.
    private func webSocketPlaces(_ call: HostCall) throws(UsageError) -> (Bool, CInt) {
        guard call.type(2) == LUA_TFUNCTION else {
            return call.givenCount > 2 ? (call.type(2) == LUA_TTABLE, 3) : (false, 2)
        }
        return (false, try call.optionsAndHandler(2).handler)
    }

    /// `app.http.nats_bridge(path, { allow = {...}, ... })`.
    func natsBridge(_ call: HostCall) throws(UsageError) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        var common = CommonOptions()
        common.settings.maximumMessage = 64 << 10
        common.settings.maximumUnsent = 1 << 20
        var allowed: [String] = []
        var maximum = 100
        let given = try LuaOptions(call, 2, known: Self.commonOptions + ["allow", "max_subscriptions"])
        if let value = given["allow"] {
            guard case .array = value else { throw given.must("allow", "be a list of subjects") }
            allowed = try permitted(given)
        }
        try read(given, into: &common)
        let asked = try given.integer("max_subscriptions", in: 1...100_000, or: "a whole number from 1 to 100000")
        maximum = asked.map { call.bounded($0, by: maximum, "max_subscriptions") } ?? maximum
        guard !allowed.isEmpty else {
            throw UsageError(
                "\(call.name): needs allow, the subjects that its clients may subscribe to: { allow = { \"prices.>\" } }"
            )
        }
        let layers = try ownMiddlewares(call, 2, of: [.httpRequest])
        let settings = BridgeSettings(
            permissions: SubjectPermissions(patterns: allowed),
            maximumSubscriptions: maximum
        )
        let webSocket = WebSocketRoute(
            form: .bridge(settings),
            settings: common.settings,
            terms: common.terms,
            timeoutNanoseconds: 0,
            origin: self.path
        )
        try add(webSocket, path, layers, call)
        return 0
    }

    private func add(
        _ webSocket: WebSocketRoute,
        _ path: String,
        _ layers: [MiddlewareLayer],
        _ call: HostCall
    ) throws(UsageError) {
        let route = HTTPRoute(
            script: self,
            method: "GET",
            path: path,
            parameters: (try? HTTPRouteTable.names(of: path)) ?? [],
            handler: RegisteredFunction(function: webSockets.objects.acceptor, origin: webSocket.origin),
            middlewares: layers,
            maximumBody: 0,
            timeoutNanoseconds: nanoseconds(options?.handlerTimeout ?? 30)
        )
        route.webSocket = webSocket
        do throws(HTTPRouteError) {
            try http.routes.add(route)
        } catch {
            throw UsageError("\(call.name): \(error.message)")
        }
        compose(route)
    }

    /// The function, or the table of functions, at an index.
    private func webSocketForm(
        _ call: HostCall,
        _ index: CInt,
        _ path: String
    ) throws(UsageError) -> (form: WebSocketRoute.Form, origin: String) {
        let L = call.L
        if call.type(index) == LUA_TFUNCTION {
            guard options?.isSync != true else {
                throw UsageError(
                    """
                    app.http.websocket: with app_strategy = "sync" the handler is a table, as in { message = \
                    function(ws, data) ... end }; a function would keep everything else waiting until its client leaves
                    """
                )
            }
            let origin = origin(L, index)
            lua_pushvalue(L, index)
            return (.function(vm.makeReference(L)), origin)
        }
        guard call.type(index) == LUA_TTABLE else {
            throw UsageError(
                "app.http.websocket: the handler must be a function or a table of functions, not \(call.typeName(index))"
            )
        }
        var handlers = WebSocketHandlers()
        var place: String?
        lua_settop(L, index)
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            let text = lua_type(L, -2) == LUA_TSTRING ? vm.string(L, -2, upTo: UsageError.longest) : nil
            guard let name = text, WebSocketHandlers.names.contains(name) else {
                let name = text ?? "a position"
                throw UsageError(
                    "app.http.websocket: unknown function \"\(name)\""
                        + suggestion(for: name, in: WebSocketHandlers.names)
                )
            }
            guard lua_type(L, -1) == LUA_TFUNCTION else {
                throw UsageError("app.http.websocket: \(name) must be a function, not \(call.typeName(lua_gettop(L)))")
            }
            if name == "message" || place == nil { place = origin(L, lua_gettop(L)) }
            let function = vm.makeReference(L)
            switch name {
            case "open": handlers.open = function
            case "message": handlers.message = function
            case "close": handlers.close = function
            default: handlers.reload = function
            }
        }
        guard let place else {
            throw UsageError("app.http.websocket: the handler of \(path) has none of open, message, close and reload")
        }
        return (.table(handlers), place)
    }

    // MARK: - Options

    private struct CommonOptions {
        var settings = WebSocketSettings()
        var terms = WebSocketHandshake.Terms()
    }

    private func read(_ given: LuaOptions, into common: inout CommonOptions) throws(UsageError) {
        var settings = common.settings
        settings.idleTimeout = try given.onlySeconds("idle_timeout", in: 0.001...86400) ?? settings.idleTimeout
        // The bounds are what is there without the option. Beyond 1 GB a message does not fit into memory with its copies.
        let sizes: ClosedRange<Int64> = 1...(1 << 30)
        if let size = try given.size("max_message", in: sizes) {
            settings.maximumMessage = given.call.bounded(size, by: settings.maximumMessage, "max_message")
        }
        if let size = try given.size("max_unsent", in: sizes) {
            settings.maximumUnsent = given.call.bounded(size, by: settings.maximumUnsent, "max_unsent")
        }
        common.terms.origins = try origins(given) ?? common.terms.origins
        if case .boolean(false)? = given["ping_interval"] {
            settings.pingInterval = 0
        } else {
            settings.pingInterval = try given.onlySeconds("ping_interval", in: 0...86400) ?? settings.pingInterval
        }
        common.settings = settings
    }

    private func texts(_ given: LuaOptions, _ name: String) throws(UsageError) -> [String]? {
        try given.texts(name, called: "texts") { !$0.isEmpty }
    }

    private func subprotocols(_ given: LuaOptions) throws(UsageError) -> [String]? {
        guard let list = try texts(given, "protocols") else { return nil }
        for name in list where !name.utf8.allSatisfy({ ASCII.isTokenByte($0) }) {
            throw UsageError(
                "\(given.call.name): \"\(name)\" is no name of a subprotocol: no spaces, commas and the like"
            )
        }
        return list
    }

    private func origins(_ given: LuaOptions) throws(UsageError) -> [String]? {
        guard let list = try texts(given, "origins") else { return nil }
        for origin in list where origin != "*" && origin != "self" && origin != "null" {
            let rest = origin.parts(between: ASCII.slash)
            guard rest.count == 3, rest[0].ends(with: ":"), rest[1].isEmpty, !rest[2].isEmpty else {
                throw UsageError(
                    """
                    \(given.call.name): "\(origin)" is no origin; it looks like https://shop.example, or is "self" or "*"
                    """
                )
            }
        }
        guard !list.isEmpty else { throw UsageError("\(given.call.name): origins is empty: nobody could connect") }
        return list
    }

    private func permitted(_ given: LuaOptions) throws(UsageError) -> [String] {
        var list: [SubjectPattern] = []
        for text in try texts(given, "allow") ?? [] {
            do throws(SubjectPattern.Invalid) {
                list.append(try SubjectPattern(text))
            } catch {
                throw UsageError("\(given.call.name): allow: \(error.message)")
            }
        }
        // What a script may not listen to itself it cannot let others listen to.
        if let denied = listenDenied(list) { throw UsageError("\(given.call.name): \(denied.message)") }
        return list.map(\.subject)
    }
}
