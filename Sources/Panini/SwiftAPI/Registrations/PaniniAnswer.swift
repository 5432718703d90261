// Owns: what a route in Swift answers when a value alone does not say it: status, headers, kind of body. A value; any
// thread. In Lua it is what `panini.response` makes, so that middlewares of scripts see nothing new.

import CLuaVM
import LuaVM
import ScriptRuntime

/// The answer of a route in Swift, with a status and headers.
///
/// ```swift
/// service.route(.post, "/orders") { (request: PaniniRequest, order: Order) in
///     PaniniAnswer(status: 201, headers: ["location": "/orders/\(order.id)"], json: order)
/// }
/// ```
public struct PaniniAnswer: LuaConvertible {
    private enum Content: Sendable {
        case none
        case json(any LuaConvertible)
        /// With the name that `panini.response` has for it.
        case bytes(StaticString, [UInt8])
    }

    /// From 200 to 599.
    public var status: Int
    /// The header fields; without content-length, date and connection, which the server writes.
    public var headers: PaniniHTTPFields
    private let content: Content

    /// An answer without a body.
    ///
    /// - Parameters:
    ///   - status: From 200 to 599.
    ///   - headers: The header fields.
    public init(status: Int, headers: PaniniHTTPFields = [:]) {
        self.status = status
        self.headers = headers
        content = .none
    }

    /// An answer of JSON.
    ///
    /// - Parameters:
    ///   - status: From 200 to 599.
    ///   - headers: The header fields.
    ///   - json: The value.
    public init(status: Int = 200, headers: PaniniHTTPFields = [:], json: some LuaConvertible) {
        self.status = status
        self.headers = headers
        content = .json(json)
    }

    /// An answer of plain text.
    ///
    /// - Parameters:
    ///   - status: From 200 to 599.
    ///   - headers: The header fields.
    ///   - text: The text.
    public init(status: Int = 200, headers: PaniniHTTPFields = [:], text: String) {
        self.status = status
        self.headers = headers
        content = .bytes("text", Array(text.utf8))
    }

    /// An answer of HTML.
    ///
    /// - Parameters:
    ///   - status: From 200 to 599.
    ///   - headers: The header fields.
    ///   - html: The document.
    public init(status: Int = 200, headers: PaniniHTTPFields = [:], html: String) {
        self.status = status
        self.headers = headers
        content = .bytes("html", Array(html.utf8))
    }

    /// An answer of any bytes.
    ///
    /// - Parameters:
    ///   - status: From 200 to 599.
    ///   - headers: The header fields; without a content-type it is `application/octet-stream`.
    ///   - body: The bytes.
    public init(status: Int = 200, headers: PaniniHTTPFields = [:], body: [UInt8]) {
        self.status = status
        self.headers = headers
        content = .bytes("body", body)
    }

    /// What an error text calls it.
    public static var luaDescription: String { "a response" }

    /// There is none to read: scripts give no responses to Swift.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> PaniniAnswer {
        throw argument.mismatch("something else: a response goes from Swift to Lua only")
    }

    /// Pushes what `panini.response` makes.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        try results.reserve()
        let L = results.L
        let vm = results.script.vm
        lua_createtable(L, 0, 3)
        let table = lua_gettop(L)
        vm.pushString(L, "status" as StaticString)
        lua_pushinteger(L, lua_Integer(status))
        lua_rawset(L, table)
        if headers.count > 0 {
            vm.pushString(L, "headers" as StaticString)
            pushHeaders(results)
            lua_rawset(L, table)
        }
        switch content {
        case .none: break
        case .json(let value):
            vm.pushString(L, "json" as StaticString)
            try value.push(to: results)
            if lua_type(L, -1) == LUA_TNIL {
                lua_settop(L, -2)
                vm.pushNull(L)
            }
            lua_rawset(L, table)
        case .bytes(let kind, let bytes):
            vm.pushString(L, kind)
            bytes.withUnsafeBytes { vm.pushString(L, $0) }
            lua_rawset(L, table)
        }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(results.script.http.responseType))
        lua_setmetatable(L, table)
    }

    /// Name → value, of several values the list.
    private func pushHeaders(_ results: LuaResults) {
        let L = results.L
        let vm = results.script.vm
        var lists: [String: [String]] = [:]
        for (name, value) in headers { lists[name.lowercased(), default: []].append(value) }
        lua_createtable(L, 0, CInt(clamping: lists.count))
        for (name, values) in lists {
            vm.pushString(L, name)
            lua_createtable(L, CInt(clamping: values.count), 0)
            for (index, value) in values.enumerated() {
                vm.pushString(L, value)
                lua_rawseti(L, -2, lua_Integer(index + 1))
            }
            lua_rawset(L, -3)
        }
    }
}
