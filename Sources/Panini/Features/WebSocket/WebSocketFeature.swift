// Owns: what WebSockets say of themselves: `app.http.websocket` and `app.http.nats_bridge`, and what editors know of them. A
// constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.http.websocket` and `app.http.nats_bridge`.
    static let webSockets = Feature(
        ScriptWebSockets.self,
        ServiceWebSockets.self,
        functions: webSocketFunctions,
        types: webSocketTypes
    )

    /// In the table of the web server.
    private static let webSocketFunctions: [Function] = [
        Function(
            table: "app.http",
            entry: HostFunctionEntry(
                name: "websocket",
                signature: "app.http.websocket(path, [options,] handler | { open =, message =, close =, reload = })"
            ) {
                hostCall($0, $1, "app.http.websocket", takes: 3) { call throws(UsageError) in
                    try call.script.webSocket(call)
                }
            },
            annotation: """
                A route that upgrades to a WebSocket: one function for the life of a connection, or one per event.
                @param path string
                @param options panini.WebSocketOptions
                @param handler panini.WebSocketHandler
                @overload fun(path: string, handler: panini.WebSocketHandler)
                """
        ),
        Function(
            table: "app.http",
            entry: HostFunctionEntry(
                name: "nats_bridge",
                signature: "app.http.nats_bridge(path, { allow = {...}, ... })"
            ) {
                hostCall($0, $1, "app.http.nats_bridge", takes: 2) { call throws(UsageError) in
                    try call.script.natsBridge(call)
                }
            },
            annotation: """
                Lets browsers subscribe to subjects of NATS over a WebSocket, without any Lua.
                @param path string
                @param options panini.BridgeOptions
                """
        ),
    ]

    /// Connections, and what the routes take.
    private static let webSocketTypes = [
        """
        A connection of a WebSocket.
        @class panini.WebSocket
        @field id integer no other connection of this process has or had it
        @field protocol? string the subprotocol that was agreed on
        @field context table a table of this connection
        @field receive fun(): string?, "text"|"binary"|panini.Error waits for a message; nil and an error at the end
        @field send fun(text: string, options?: { wait?: boolean }): true|nil, panini.Error?
        @field send_binary fun(bytes: string, options?: { wait?: boolean }): true|nil, panini.Error?
        @field close fun(code?: integer, reason?: string): boolean false when it was closed before
        """,
        """
        An open connection.
        @class panini.WebSocket
        @field id integer no other connection of this process has it
        @field protocol? string the subprotocol that was agreed on
        @field context table a table of this connection
        @field receive fun(): string?, "text"|"binary"|panini.Error waits; nil and an error once it has ended
        @field send fun(text: string, options?: { wait?: boolean }): true?, panini.Error? waits while the client is slow
        @field send_binary fun(bytes: string, options?: { wait?: boolean }): true?, panini.Error?
        @field close fun(code?: integer, reason?: string): boolean false when it was closed before
        """,
        """
        @class panini.WebSocketEvents
        @field open? fun(ws: panini.WebSocket, req: panini.Request): ...
        @field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
        @field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
        @field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of `open` when it comes over from a reload
        """,
        """
        @class panini.WebSocketHandlers
        @field open? fun(ws: panini.WebSocket, req: panini.Request): ...
        @field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
        @field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
        @field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of open, after a reload
        """,
        "@alias panini.WebSocketHandler (fun(ws: panini.WebSocket, req: panini.Request): ...)|panini.WebSocketEvents",
        "@alias panini.WebSocketHandler fun(ws: panini.WebSocket, req: panini.Request): ...",
        """
        @class panini.WebSocketOptions
        @field max_message? integer|string ("1MB")
        @field max_queue? integer messages not received yet (64)
        @field max_unsent? integer|string ("16MB")
        @field ping_interval? number|false seconds of silence before a ping (30)
        @field idle_timeout? number seconds
        @field timeout? number seconds for a function of a table
        @field origins? string[] which pages may connect ({ "self" })
        @field protocols? string[] the subprotocols
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.WebSocketOptions
        @field max_message? integer|string the largest message ("1MB")
        @field max_queue? integer messages that may wait to be received (64)
        @field max_unsent? integer|string bytes that may wait to be sent ("16MB")
        @field ping_interval? number|false seconds of silence before a ping (30)
        @field idle_timeout? number seconds of silence before the end (web_idle_timeout)
        @field timeout? number seconds for a function of a table (handler_timeout)
        @field origins? string[] pages that may connect: "self", "https://shop.example", "*" ({ "self" })
        @field protocols? string[] subprotocols that are spoken
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.BridgeOptions
        @field allow string[] the subjects that clients may subscribe to
        @field max_subscriptions? integer of one client
        @field max_message? integer|string ("64KB")
        @field max_unsent? integer|string ("1MB")
        @field ping_interval? number|false
        @field idle_timeout? number
        @field origins? string[]
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.BridgeOptions
        @field allow string[] what clients may subscribe to: { "prices.>" }
        @field max_subscriptions? integer of one client (100)
        @field max_message? integer|string the largest command ("64KB")
        @field max_unsent? integer|string beyond it a slow client is dropped ("1MB")
        @field ping_interval? number|false seconds of silence before a ping (30)
        @field idle_timeout? number seconds of silence before the end (web_idle_timeout)
        @field origins? string[] pages that may connect: "self", "https://shop.example", "*" ({ "self" })
        @field middlewares? panini.Middleware[]
        """,
    ]
}
