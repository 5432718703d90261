// Owns: routes as scripts register them. Worker's thread, while the file runs.

import Bytes
import CLuaVM
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension Script {
    private static let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

    /// The longest pattern of a route, in bytes: clients' targets are shorter.
    private static let longestPath = 65_536

    /// `app.http.get(path, [options,] handler)` and its likes.
    func route(_ call: HostCall, _ method: String) throws(UsageError) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        let place = try call.optionsAndHandler(2)
        try add(call, method, path, options: place.options, handler: place.handler)
        return 0
    }

    func anyRoute(_ call: HostCall) throws(UsageError) -> CInt {
        try requireWebServer(call)
        guard try call.bytes(1, "the method").count <= UsageError.longest else {
            throw UsageError("app.http.route: the method is longer than 64 bytes")
        }
        let name = try call.string(1, "the method")
        // `get` is a slip that helps nobody: methods have a case, and all that are known have capitals.
        let method = name.uppercased()
        guard
            method == "*"
                || !method.isEmpty && method.utf8.count <= 64 && method.utf8.allSatisfy({ ASCII.isTokenByte($0) })
        else { throw UsageError("app.http.route: \"\(name)\" is no method; * stands for all") }
        guard method != "CONNECT" else {
            throw UsageError("app.http.route: CONNECT is for proxies, and never reaches a route")
        }
        let path = try routePath(call, 2)
        let place = try call.optionsAndHandler(3)
        try add(call, method, path, options: place.options, handler: place.handler)
        return 0
    }

    /// `app.http.view(path, [options,] { get = fn, ... })`.
    func view(_ call: HostCall) throws(UsageError) -> CInt {
        try requireWebServer(call)
        let path = try routePath(call, 1)
        let L = call.L
        let index: CInt = call.givenCount > 2 ? 3 : 2
        guard call.type(index) == LUA_TTABLE else {
            throw UsageError("app.http.view: takes a table of functions by verb, not \(call.typeName(index))")
        }
        let verbs = Self.methods.map { $0.lowercased() }
        var found: [String] = []
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            let text = vm.string(L, -2, upTo: UsageError.longest)
            guard lua_type(L, -2) == LUA_TSTRING, let name = text, verbs.contains(name) else {
                let name = text ?? "?"
                throw UsageError("app.http.view: unknown verb \"\(name)\"" + suggestion(for: name, in: verbs))
            }
            found.append(name)
            lua_settop(L, -2)
        }
        guard !found.isEmpty else { throw UsageError("app.http.view: the view of \(path) has no functions") }
        let top = lua_gettop(L)
        for name in found.sorted() {
            panini_field(L, index, name)
            try add(
                call,
                name.uppercased(),
                path,
                options: index == 3 && !call.isNone(2) ? 2 : 0,
                handler: lua_gettop(L)
            )
            lua_settop(L, top)
        }
        return 0
    }

    func requireWebServer(_ call: HostCall) throws(UsageError) {
        // An address has it near its beginning.
        if lua_type(call.L, 1) == LUA_TSTRING, let text = vm.stringBytes(call.L, 1)?.prefix(UsageError.longest),
            holdsScheme(text), lua_type(call.L, call.argumentCount) != LUA_TFUNCTION
        {
            throw UsageError("\(call.name) makes a route; to get something from elsewhere there is app.http.fetch")
        }
        try call.requireLoading()
        guard options?.webServer == true else {
            throw UsageError("\(call.name): this app serves no HTTP; say panini.app{ web_server = true, ... }")
        }
    }

    /// Whether `://` stands in it.
    private func holdsScheme(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        text.indices.contains { text[$0] == ASCII.colon && text[$0...].starts(with: "://".utf8) }
    }

    func routePath(_ call: HostCall, _ index: CInt) throws(UsageError) -> String {
        guard try call.bytes(index, "the path").count <= Self.longestPath else {
            throw UsageError("\(call.name): the path is longer than \(Self.longestPath) bytes")
        }
        let path = try call.string(index, "the path")
        do throws(HTTPRouteError) {
            _ = try HTTPRouteTable.names(of: path)
        } catch {
            throw UsageError("\(call.name): \(error.message)")
        }
        return path
    }

    private func add(
        _ call: HostCall,
        _ method: String,
        _ path: String,
        options index: CInt,
        handler handlerIndex: CInt
    ) throws(UsageError) {
        try call.requireFunction(handlerIndex, "the handler")
        var maximumBody: Int?
        var timeout = options?.handlerTimeout ?? 30
        var layers: [MiddlewareLayer] = []
        var isGuarded = false
        var takesBytes = false
        if index != 0 {
            let known = ["max_body", "timeout", "bytes", "validator", "on_invalid", "middlewares"]
            let given = try LuaOptions(call, index, known: known)
            takesBytes = try given.flag("bytes") ?? takesBytes
            maximumBody = try given.size("max_body", in: 0...(1 << 40)).map {
                call.bounded($0, by: options?.webMaxBody ?? 0, "max_body")
            }
            timeout = try given.seconds("timeout", in: 0.001...86400) ?? timeout
            layers = try ownMiddlewares(call, index, of: [.httpRequest])
            isGuarded = try hasValidator(call, index, dataType: .json)
        }
        let origin = origin(call.L, handlerIndex)
        lua_pushvalue(call.L, handlerIndex)
        var handler = RegisteredFunction(function: vm.makeReference(call.L), origin: origin)
        if isGuarded { handler = guarded(call, options: index, handler: handler, by: http.guardHost) }
        let route = HTTPRoute(
            script: self,
            method: method,
            path: path,
            parameters: (try? HTTPRouteTable.names(of: path)) ?? [],
            handler: handler,
            middlewares: layers,
            maximumBody: maximumBody,
            timeoutNanoseconds: nanoseconds(timeout)
        )
        route.takesBytes = takesBytes
        do throws(HTTPRouteError) {
            try http.routes.add(route)
        } catch {
            throw UsageError("\(call.name): \(error.message)")
        }
        compose(route)
    }

    /// The route that stands for OPTIONS of all paths without one: its handler returns nothing.
    func makeOptionsRoute() -> HTTPRoute {
        vm.pushHostFunction({ _, _ in 0 }, context: nil, onto: vm.state)
        let route = HTTPRoute(
            script: self,
            method: "OPTIONS",
            path: "*",
            parameters: [],
            handler: RegisteredFunction(function: vm.makeReference(vm.state), origin: path),
            middlewares: [],
            maximumBody: nil,
            timeoutNanoseconds: nanoseconds(options?.handlerTimeout ?? 30)
        )
        compose(route)
        return route
    }
}
