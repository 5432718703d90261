// Owns: the ways to write a route of the web server in Swift: with or without the body's data, waiting or not. Any thread;
// handlers run on the worker's, async ones in tasks.

extension PaniniRegistrations {
    /// Serves a path with a handler that answers at once, on the worker's thread.
    ///
    /// The service must have a web server (`web_server = true`).
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - path: As in scripts: `/orders/{id}`, `/files/{path...}`.
    ///   - options: The largest body, the time limit, middlewares.
    ///   - handler: Takes the request. It returns a ``PaniniAnswer``, or as in scripts a text, anything else for JSON, or nil
    ///     for 204. ``PaniniScriptError`` becomes an answer with its code; any other error is logged and answered 500.
    public mutating func route<Reply: LuaConvertible>(
        _ method: PaniniHTTPMethod,
        _ path: String,
        options: PaniniRouteOptions = PaniniRouteOptions(),
        _ handler: @escaping @Sendable (PaniniRequest) throws -> Reply
    ) {
        add(
            method,
            path,
            options,
            takesBody: false,
            .answering { call in
                let request = PaniniRequest(call)
                return { try handler(request) }
            }
        )
    }

    /// Serves a path with a handler that takes its time: it runs in a task.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - path: As in scripts.
    ///   - options: The largest body, the time limit, middlewares.
    ///   - handler: Takes the request and returns the answer.
    public mutating func route<Reply: LuaConvertible>(
        _ method: PaniniHTTPMethod,
        _ path: String,
        options: PaniniRouteOptions = PaniniRouteOptions(),
        _ handler: @escaping @Sendable (PaniniRequest) async throws -> Reply
    ) {
        add(
            method,
            path,
            options,
            takesBody: false,
            .answeringLater(options.start) { call in
                let request = PaniniRequest(call)
                return { try await handler(request) }
            }
        )
    }

    /// Serves a path with a handler that takes the JSON of the request's body and answers at once, on the worker's thread.
    ///
    /// A body that is not what the handler takes is answered 422 and names the place; one that is no JSON, 400.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - path: As in scripts.
    ///   - options: The largest body, the time limit, middlewares.
    ///   - handler: Takes the request and the value of its body, and returns the answer.
    public mutating func route<Body: LuaConvertible, Reply: LuaConvertible>(
        _ method: PaniniHTTPMethod,
        _ path: String,
        options: PaniniRouteOptions = PaniniRouteOptions(),
        _ handler: @escaping @Sendable (PaniniRequest, Body) throws -> Reply
    ) {
        add(
            method,
            path,
            options,
            takesBody: true,
            .answering { call throws(LuaMismatch) in
                let body = try call.fed(Body.self)
                let request = PaniniRequest(call)
                return { try handler(request, body) }
            }
        )
    }

    /// Serves a path with a handler that takes the JSON of the request's body and its time: it runs in a task.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - path: As in scripts.
    ///   - options: The largest body, the time limit, middlewares.
    ///   - handler: Takes the request and the value of its body, and returns the answer.
    public mutating func route<Body: LuaConvertible, Reply: LuaConvertible>(
        _ method: PaniniHTTPMethod,
        _ path: String,
        options: PaniniRouteOptions = PaniniRouteOptions(),
        _ handler: @escaping @Sendable (PaniniRequest, Body) async throws -> Reply
    ) {
        add(
            method,
            path,
            options,
            takesBody: true,
            .answeringLater(options.start) { call throws(LuaMismatch) in
                let body = try call.fed(Body.self)
                let request = PaniniRequest(call)
                return { try await handler(request, body) }
            }
        )
    }

    private mutating func add(
        _ method: PaniniHTTPMethod,
        _ path: String,
        _ options: PaniniRouteOptions,
        takesBody: Bool,
        _ body: EmbeddedBody
    ) {
        routes.append(SwiftRoute(method: method, path: path, options: options, takesBody: takesBody, body: body))
    }
}
