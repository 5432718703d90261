// Owns: one `app.http.websocket` or `app.http.nats_bridge` as a script registered it. Loop-bound; knows nothing of
// connections.

import LuaVM
import PaniniHTTP

/// The functions of a route whose handler is a table.
struct WebSocketHandlers {
    var open: LuaReference?
    var message: LuaReference?
    var close: LuaReference?
    /// Called in place of `open` for connections that an older version of the script has accepted.
    var reload: LuaReference?

    static let names = ["open", "message", "close", "reload"]

    subscript(turn: WebSocketTurns.Turn) -> LuaReference? {
        switch turn {
        case .handler: nil
        case .open: open
        case .message: message
        case .close: close
        case .reload: reload
        }
    }
}

/// What a bridge lets its clients do.
struct BridgeSettings: Equatable {
    /// Patterns that a subscription must be wholly covered by.
    let permissions: SubjectPermissions
    let maximumSubscriptions: Int
}

/// What stands behind a route that upgrades.
final class WebSocketRoute: HTTPUpgrade {
    enum Form {
        /// One function for the whole life of a connection.
        case function(LuaReference)
        /// One function per event.
        case table(WebSocketHandlers)
        /// Subjects of the broker, without Lua.
        case bridge(BridgeSettings)
    }

    let form: Form
    let settings: WebSocketSettings
    let terms: WebSocketHandshake.Terms
    /// For the functions of a table.
    let timeoutNanoseconds: Int64
    /// `chat.lua:12`: where the handler was defined.
    let origin: String

    // Counters.
    var opened: UInt64 = 0
    var failed: UInt64 = 0

    init(
        form: Form,
        settings: WebSocketSettings,
        terms: WebSocketHandshake.Terms,
        timeoutNanoseconds: Int64,
        origin: String
    ) {
        self.form = form
        self.settings = settings
        self.terms = terms
        self.timeoutNanoseconds = timeoutNanoseconds
        self.origin = origin
    }

    var handlers: WebSocketHandlers? {
        if case .table(let handlers) = form { handlers } else { nil }
    }

    var bridge: BridgeSettings? {
        if case .bridge(let settings) = form { settings } else { nil }
    }
}

extension HTTPRoute {
    /// Set for a route that upgrades; its handler is what accepts then.
    var webSocket: WebSocketRoute? {
        get { upgrade.map { unsafeDowncast($0, to: WebSocketRoute.self) } }
        set { upgrade = newValue }
    }
}
