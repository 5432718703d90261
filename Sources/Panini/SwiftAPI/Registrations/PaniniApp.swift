// Owns: what Swift sends as a service: through the service's connection, its middlewares and its permissions, as `app.publish`
// and `app.request` of its script do. Any thread; what is sent goes over the worker's.

import CScriptObjects
import Instrumentation
import LuaVM
import ScriptRuntime

/// A service that Swift code sends for, as scripts do with their `app`.
///
/// A handler in Swift has that of its message or request; ``PaniniHost/app(_:)`` gives one by its name. What it sends goes
/// through the connection and the middlewares of the service, and belongs to the span that is current.
///
/// ```swift
/// service.listen("orders.add") { (message: PaniniMessage, order: Order) async throws in
///     let price = try await message.app.request("prices.get", order.sku, as: Double.self)
///     try await message.app.publish("orders.added", ["id": order.id])
/// }
/// ```
public struct PaniniApp: Sendable {
    enum Way: Sendable {
        /// The version that a message or request came to; nil when it has none.
        case script(SwiftCompletions?)
        /// The version that serves.
        case named(PaniniHost, String)
    }

    let way: Way

    /// Publishes a message; waits while the broker takes less than the service sends, as `app.publish` of a script does.
    ///
    /// - Parameters:
    ///   - subject: A subject without wildcards.
    ///   - message: Texts and bytes go as they are, everything else as JSON, nil as an empty payload.
    ///   - headers: Names and values of one line each.
    ///   - replyTo: The subject that answers shall go to.
    /// - Throws: ``PaniniScriptError`` with the codes of `app.publish`: `disconnected`, `denied` and the like;
    ///   `closed` when the service's version runs no more.
    public func publish(
        _ subject: String,
        _ message: some LuaConvertible,
        headers: KeyValuePairs<String, String> = [:],
        replyTo: String? = nil
    ) async throws {
        var options = SendTable(headers)
        if let replyTo { options.fields["reply_to"] = .string(replyTo) }
        try await send(.publish, [subject, message, options.value]) { _, _, _ in }
    }

    /// Sends a request, and waits for its reply; `timeout` covers the wait for a broker that takes too little, too.
    ///
    /// - Parameters:
    ///   - subject: A subject without wildcards.
    ///   - message: Texts and bytes go as they are, everything else as JSON, nil as an empty payload.
    ///   - headers: Names and values of one line each.
    ///   - timeout: How long to wait, from a millisecond to a day.
    /// - Returns: The reply, with its bytes and headers.
    /// - Throws: ``PaniniScriptError``: the error that was answered, with its code, or `timeout`, `no_responders`, `disconnected`
    ///   and what else `app.request` returns; `closed` when the service's version runs no more.
    public func request(
        _ subject: String,
        _ message: some LuaConvertible,
        headers: KeyValuePairs<String, String> = [:],
        timeout: Duration = .seconds(10)
    ) async throws -> PaniniMessage {
        var options = SendTable(headers, timeout)
        options.fields["response_data_type"] = "bytes"
        return try await send(.request, [subject, message, options.value]) { script, L, first in
            guard let message = panini_message_at(L, first + 2, script.messaging.messageType) else {
                throw PaniniScriptError(code: "no_message", "a middleware gave the request a result without a message")
            }
            return PaniniMessage(message, of: script)
        }
    }

    /// Sends a request, and waits for the data of its reply.
    ///
    /// - Parameters:
    ///   - subject: A subject without wildcards.
    ///   - message: Texts and bytes go as they are, everything else as JSON, nil as an empty payload.
    ///   - headers: Names and values of one line each.
    ///   - timeout: How long to wait, from a millisecond to a day.
    ///   - type: What the reply is.
    ///   - dataType: How the reply's payload becomes data.
    /// - Returns: The reply's data.
    /// - Throws: What ``request(_:_:headers:timeout:)`` throws; `decode` for a reply that is something else.
    public func request<Reply: LuaConvertible>(
        _ subject: String,
        _ message: some LuaConvertible,
        headers: KeyValuePairs<String, String> = [:],
        timeout: Duration = .seconds(10),
        as type: Reply.Type,
        dataType: PaniniListenerOptions.DataType = .json
    ) async throws -> Reply {
        var options = SendTable(headers, timeout)
        options.fields["response_data_type"] = .string("\(dataType)")
        return try await send(.request, [subject, message, options.value]) { script, L, first in
            do throws(LuaMismatch) {
                return try Reply.read(LuaArgument(script: script, L: L, index: first))
            } catch {
                let place = error.path.isEmpty ? "the reply of \(subject)" : "the reply of \(subject):"
                throw PaniniScriptError(code: "decode", "\(place) \(error.description)")
            }
        }
    }

    /// Calls a function of the script's `app`, past whatever the script has done to that table.
    private func send<Result: Sendable>(
        _ function: HostFunctionEntry,
        _ arguments: [any LuaConvertible],
        _ take: @escaping @Sendable (Script, OpaquePointer, CInt) throws -> Result
    ) async throws -> Result {
        let completions: SwiftCompletions?
        switch way {
        case .script(let own): completions = own
        case .named(let host, let service): completions = try await host.completions(of: service)
        }
        guard let completions else {
            throw PaniniScriptError(code: "closed", "there is no such service, or it does not run")
        }
        return try await completions.call(arguments, isSend: true) { script, L in
            script.vm.pushHostFunction(
                function.function,
                context: Unmanaged.passUnretained(script).toOpaque(),
                onto: L
            )
        } take: { script, L, first, _ in
            try take(script, L, first)
        }
    }
}

extension PaniniHost {
    /// A service, to publish and request as it: through its connection, its middlewares and its permissions.
    ///
    /// - Parameter service: The service's name. It is looked for at each use, so the service may start later.
    /// - Returns: What sends for it.
    public func app(_ service: String) -> PaniniApp { PaniniApp(way: .named(self, service)) }
}

/// The options of a send, as scripts write them.
private struct SendTable {
    var fields: [LuaValue: LuaValue] = [:]

    init(_ headers: KeyValuePairs<String, String>, _ timeout: Duration? = nil) {
        if let timeout { fields["timeout"] = .number(timeout / .seconds(1)) }
        guard !headers.isEmpty else { return }
        var values: [String: [LuaValue]] = [:]
        for (name, value) in headers { values[name, default: []].append(.string(value)) }
        fields["headers"] = .table(
            Dictionary(uniqueKeysWithValues: values.map { (LuaValue.string($0), LuaValue.list($1)) })
        )
    }

    var value: LuaValue { .table(fields) }
}
