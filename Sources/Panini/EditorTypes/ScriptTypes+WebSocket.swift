// Owns: the annotations of WebSockets for panini.d.lua. Constants.

extension ScriptTypes {
    static let webSocket: [String: String] = [
        "websocket": """
        A route that upgrades: one function for a connection's whole life, or one for each event.
        @param path string `/rooms/{room}`
        @param options panini.WebSocketOptions
        @param handler panini.WebSocketHandler|panini.WebSocketHandlers
        @overload fun(path: string, handler: panini.WebSocketHandler|panini.WebSocketHandlers)
        """,
        "nats_bridge": """
        Lets browsers subscribe to subjects, without Lua: they send `{"action": "subscribe", "subjects": [...]}`.
        @param path string
        @param options panini.BridgeOptions
        """,
    ]

    static let webSocketClasses: [String] = [
        "@alias panini.WebSocketHandler fun(ws: panini.WebSocket, req: panini.Request): ...",
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
        @class panini.WebSocketHandlers
        @field open? fun(ws: panini.WebSocket, req: panini.Request): ...
        @field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
        @field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
        @field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of open, after a reload
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
