// Owns: `app.http.websocket` and `app.http.nats_bridge` as scripts call them. Worker's thread, while the file runs.

import CLuaShim
import LuaVM
import NATSProtocol
import PaniniHTTP

extension Script {
    private static let commonOptions = [
        "max_message", "max_unsent", "ping_interval", "idle_timeout", "origins", "middlewares",
    ]

    /// `app.http.websocket(path, [options,] handler)`.
    func webSocket(_ call: HostCall) throws(Misuse) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        let (hasOptions, index) = try webSocketPlaces(call)
        var common = CommonOptions()
        var timeout = options?.handlerTimeout ?? 30
        if hasOptions {
            for (key, value) in try call.options(2, known: Self.commonOptions + ["max_queue", "protocols", "timeout"]) {
                switch (key, value) {
                case ("max_queue", .integer(let count)) where (1...100_000).contains(count):
                    common.settings.maximumQueue = Int(count)
                case ("max_queue", _): throw Misuse("\(call.name): max_queue must be a whole number from 1 to 100000")
                case ("protocols", .array(let items)): common.terms.subprotocols = try subprotocols(items, call)
                case ("timeout", _): timeout = try seconds(value, key, call, from: 0.001)
                default: try read(key, value, call, into: &common)
                }
            }
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
    private func webSocketPlaces(_ call: HostCall) throws(Misuse) -> (Bool, CInt) {
        guard call.type(2) == LUA_TFUNCTION else {
            return call.givenCount > 2 ? (call.type(2) == LUA_TTABLE, 3) : (false, 2)
        }
        return (false, try call.optionsAndHandler(2).handler)
    }

    /// `app.http.nats_bridge(path, { allow = {...}, ... })`.
    func natsBridge(_ call: HostCall) throws(Misuse) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        var common = CommonOptions()
        common.settings.maximumMessage = 64 << 10
        common.settings.maximumUnsent = 1 << 20
        var allowed: [String] = []
        var maximum = 100
        let known = Self.commonOptions + ["allow", "max_subscriptions"]
        for (key, value) in try call.options(2, known: known) {
            switch (key, value) {
            case ("allow", .array(let items)): allowed = try permitted(items, call)
            case ("allow", _): throw Misuse("\(call.name): allow must be a list of subjects")
            case ("max_subscriptions", .integer(let count)) where (1...100_000).contains(count):
                maximum = call.bounded(Int(count), by: maximum, key)
            case ("max_subscriptions", _):
                throw Misuse("\(call.name): max_subscriptions must be a whole number from 1 to 100000")
            default: try read(key, value, call, into: &common)
            }
        }
        guard !allowed.isEmpty else {
            throw Misuse(
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
    ) throws(Misuse) {
        let sockets = webSockets ?? ScriptWebSockets(self)
        webSockets = sockets
        let route = HTTPRoute(
            script: self,
            method: "GET",
            path: path,
            parameters: (try? HTTPRouteTable.names(of: path)) ?? [],
            handler: RegisteredFunction(function: sockets.acceptor, origin: webSocket.origin),
            middlewares: layers,
            maximumBody: 0,
            timeoutNanoseconds: nanoseconds(options?.handlerTimeout ?? 30)
        )
        route.webSocket = webSocket
        do throws(HTTPRouteProblem) {
            try registrations.routes.add(route)
        } catch {
            throw Misuse("\(call.name): \(error.message)")
        }
        compose(route)
    }

    /// The function, or the table of functions, at an index.
    private func webSocketForm(
        _ call: HostCall,
        _ index: CInt,
        _ path: String
    ) throws(Misuse) -> (form: WebSocketRoute.Form, origin: String) {
        let L = call.L
        if call.type(index) == LUA_TFUNCTION {
            guard options?.isSync != true else {
                throw Misuse(
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
            throw Misuse(
                "app.http.websocket: the handler must be a function or a table of functions, not \(call.typeName(index))"
            )
        }
        var handlers = WebSocketHandlers()
        var place: String?
        lua_settop(L, index)
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            guard lua_type(L, -2) == LUA_TSTRING, let name = vm.string(L, -2), WebSocketHandlers.names.contains(name)
            else {
                let name = lua_type(L, -2) == LUA_TSTRING ? vm.string(L, -2) ?? "?" : "a position"
                throw Misuse(
                    "app.http.websocket: unknown function \"\(name)\""
                        + suggestion(for: name, in: WebSocketHandlers.names)
                )
            }
            guard lua_type(L, -1) == LUA_TFUNCTION else {
                throw Misuse("app.http.websocket: \(name) must be a function, not \(call.typeName(lua_gettop(L)))")
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
            throw Misuse("app.http.websocket: the handler of \(path) has none of open, message, close and reload")
        }
        return (.table(handlers), place)
    }

    // MARK: - Options

    private struct CommonOptions {
        var settings = WebSocketSettings()
        var terms = WebSocketHandshake.Terms()
    }

    private func read(
        _ key: String,
        _ value: PlainValue,
        _ call: HostCall,
        into common: inout CommonOptions
    ) throws(Misuse) {
        switch (key, value) {
        // The bounds are what is there without the option.
        case ("max_message", _):
            common.settings.maximumMessage = call.bounded(
                try bytes(value, key, call),
                by: common.settings.maximumMessage,
                key
            )
        case ("max_unsent", _):
            common.settings.maximumUnsent = call.bounded(
                try bytes(value, key, call),
                by: common.settings.maximumUnsent,
                key
            )
        case ("ping_interval", .boolean(false)): common.settings.pingInterval = 0
        case ("ping_interval", _): common.settings.pingInterval = try seconds(value, key, call, from: 0)
        case ("idle_timeout", _): common.settings.idleTimeout = try seconds(value, key, call, from: 0.001)
        case ("origins", .array(let items)): common.terms.origins = try origins(items, call)
        case ("middlewares", _): break
        default: throw Misuse("\(call.name): option \"\(key)\" cannot be \(value.typeName)")
        }
    }

    private func bytes(_ value: PlainValue, _ key: String, _ call: HostCall) throws(Misuse) -> Int {
        do throws(OptionProblem) {
            // Beyond this a message does not fit into memory with its copies.
            let checked = try OptionDefinition(key, .size(1...(1 << 30)), "").check(value)
            guard case .integer(let count) = checked else { return 0 }
            return Int(count)
        } catch {
            throw Misuse("\(call.name): \(error.message)")
        }
    }

    private func seconds(
        _ value: PlainValue,
        _ key: String,
        _ call: HostCall,
        from least: Double
    ) throws(Misuse) -> Double {
        let seconds: Double? =
            switch value {
            case .integer(let number): Double(number)
            case .number(let number): number
            default: nil
            }
        guard let seconds, seconds >= least, seconds <= 86400 else {
            throw Misuse("\(call.name): \(key) must be a number of seconds from \(formatted(least)) to 86400")
        }
        return seconds
    }

    private func texts(_ items: [PlainValue], _ key: String, _ call: HostCall) throws(Misuse) -> [String] {
        var list: [String] = []
        for item in items {
            guard case .string(let text) = item, !text.isEmpty else {
                throw Misuse("\(call.name): \(key) must be a list of texts")
            }
            list.append(text)
        }
        return list
    }

    private func subprotocols(_ items: [PlainValue], _ call: HostCall) throws(Misuse) -> [String] {
        let list = try texts(items, "protocols", call)
        for name in list where !name.utf8.allSatisfy({ isTokenByte($0) }) {
            throw Misuse("\(call.name): \"\(name)\" is no name of a subprotocol: no spaces, commas and the like")
        }
        return list
    }

    private func origins(_ items: [PlainValue], _ call: HostCall) throws(Misuse) -> [String] {
        let list = try texts(items, "origins", call)
        for origin in list where origin != "*" && origin != "self" && origin != "null" {
            let rest = origin.parts(between: ASCII.slash)
            guard rest.count == 3, rest[0].ends(with: ":"), rest[1].isEmpty, !rest[2].isEmpty else {
                throw Misuse(
                    """
                    \(call.name): "\(origin)" is no origin; it looks like https://shop.example, or is "self" or "*"
                    """
                )
            }
        }
        guard !list.isEmpty else { throw Misuse("\(call.name): origins is empty: nobody could connect") }
        return list
    }

    private func permitted(_ items: [PlainValue], _ call: HostCall) throws(Misuse) -> [String] {
        var list: [SubjectPattern] = []
        for text in try texts(items, "allow", call) {
            do throws(SubjectPattern.Invalid) {
                list.append(try SubjectPattern(text))
            } catch {
                throw Misuse("\(call.name): allow: \(error.message)")
            }
        }
        // What a script may not listen to itself it cannot let others listen to.
        if let denied = listenDenied(list) { throw Misuse("\(call.name): \(denied.message)") }
        return list.map(\.subject)
    }
}
