// Owns: the ways to write a listener in Swift: with or without data, a reply, waiting. Any thread; handlers run on the
// worker's, async ones in tasks.

extension PaniniRegistrations {
    /// Listens to a subject with a handler that answers at once, on the worker's thread.
    ///
    /// - Parameters:
    ///   - subject: As in scripts: `orders.get`, `orders.*.paid`, `orders.{id}.paid`, `logs.>`.
    ///   - options: Queue group, limits, middlewares.
    ///   - handler: Takes the message. What it returns is the reply: texts and bytes as they are, everything else as JSON, nil
    ///     as an empty payload. ``PaniniScriptError`` becomes an error reply with its code; any other error is logged and
    ///     answered 500.
    public mutating func listen<Reply: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage) throws -> Reply
    ) {
        add(
            subject,
            options,
            takesData: false,
            .answering { call in
                let message = PaniniMessage(call)
                return { try handler(message) }
            }
        )
    }

    /// Listens to a subject with a handler that returns at once, on the worker's thread, and sends no reply.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares.
    ///   - handler: Takes the message. A requester gets an answer only when it throws.
    public mutating func listen(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage) throws -> Void
    ) {
        add(
            subject,
            options,
            takesData: false,
            .silent { call in
                let message = PaniniMessage(call)
                return { try handler(message) }
            }
        )
    }

    /// Listens to a subject with a handler that takes its time: it runs in a task.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares.
    ///   - handler: Takes the message; what it returns is the reply.
    public mutating func listen<Reply: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage) async throws -> Reply
    ) {
        add(
            subject,
            options,
            takesData: false,
            .answeringLater(options.start) { call in
                let message = PaniniMessage(call)
                return { try await handler(message) }
            }
        )
    }

    /// Listens to a subject with a handler that takes its time and sends no reply.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares.
    ///   - handler: Takes the message. A requester gets an answer only when it throws.
    public mutating func listen(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage) async throws -> Void
    ) {
        add(
            subject,
            options,
            takesData: false,
            .silentLater(options.start) { call in
                let message = PaniniMessage(call)
                return { try await handler(message) }
            }
        )
    }

    // MARK: - With the message's data

    /// Listens to a subject with a handler that takes the message's data and answers at once, on the worker's thread.
    ///
    /// Data that is not what the handler takes is answered 422 and names the place; a payload that is no JSON, 400.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares, how the payload becomes data.
    ///   - handler: Takes the message and its data; what it returns is the reply.
    public mutating func listen<Data: LuaConvertible, Reply: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage, Data) throws -> Reply
    ) {
        add(
            subject,
            options,
            takesData: true,
            .answering { call throws(LuaMismatch) in
                let data = try call.fed(Data.self)
                let message = PaniniMessage(call)
                return { try handler(message, data) }
            }
        )
    }

    /// Listens to a subject with a handler that takes the message's data, returns at once and sends no reply.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares, how the payload becomes data.
    ///   - handler: Takes the message and its data.
    public mutating func listen<Data: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage, Data) throws -> Void
    ) {
        add(
            subject,
            options,
            takesData: true,
            .silent { call throws(LuaMismatch) in
                let data = try call.fed(Data.self)
                let message = PaniniMessage(call)
                return { try handler(message, data) }
            }
        )
    }

    /// Listens to a subject with a handler that takes the message's data and its time: it runs in a task.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares, how the payload becomes data.
    ///   - handler: Takes the message and its data; what it returns is the reply.
    public mutating func listen<Data: LuaConvertible, Reply: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage, Data) async throws -> Reply
    ) {
        add(
            subject,
            options,
            takesData: true,
            .answeringLater(options.start) { call throws(LuaMismatch) in
                let data = try call.fed(Data.self)
                let message = PaniniMessage(call)
                return { try await handler(message, data) }
            }
        )
    }

    /// Listens to a subject with a handler that takes the message's data and its time, and sends no reply.
    ///
    /// - Parameters:
    ///   - subject: As in scripts.
    ///   - options: Queue group, limits, middlewares, how the payload becomes data.
    ///   - handler: Takes the message and its data.
    public mutating func listen<Data: LuaConvertible>(
        _ subject: String,
        options: PaniniListenerOptions = PaniniListenerOptions(),
        _ handler: @escaping @Sendable (PaniniMessage, Data) async throws -> Void
    ) {
        add(
            subject,
            options,
            takesData: true,
            .silentLater(options.start) { call throws(LuaMismatch) in
                let data = try call.fed(Data.self)
                let message = PaniniMessage(call)
                return { try await handler(message, data) }
            }
        )
    }

    private mutating func add(
        _ subject: String,
        _ options: PaniniListenerOptions,
        takesData: Bool,
        _ body: EmbeddedBody
    ) {
        listeners.append(SwiftListener(subjects: [subject], options: options, takesData: takesData, body: body))
    }
}
