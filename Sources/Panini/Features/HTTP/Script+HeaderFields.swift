// Owns: reading the `headers` that scripts give, and checking that they can go out. Worker's thread.

import Bytes
import CLuaVM
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension Script {
    /// What no script writes: it follows from the message, or concerns the connection.
    private static let reservedFields = [
        "content-length", "transfer-encoding", "connection", "date", "keep-alive", "te", "trailer", "upgrade",
    ]

    /// What goes out with a fetch unless the script says otherwise, `false` for not at all.
    private static let usualFields = ["user-agent", "accept", "accept-encoding"]

    /// The headers of the table at an index, their names in lower case, in the order of the names.
    ///
    /// - Parameters:
    ///   - call: What the function is called in errors.
    ///   - owner: Who writes what scripts may not.
    func headerFields(
        _ L: OpaquePointer,
        _ index: CInt,
        of call: StaticString,
        writtenBy owner: StaticString
    ) throws(UsageError) -> HTTPFields {
        var omitted: Set<String> = []
        let headers = try headerFields(L, index, of: call, writtenBy: owner, omitting: &omitted)
        guard let name = omitted.first else { return headers }
        throw UsageError("\(call): header \"\(name)\" cannot be boolean")
    }

    /// The same for headers of which some are there by themselves: `false` leaves them out.
    ///
    /// - Parameter omitted: Gets the names that are `false`.
    func headerFields(
        _ L: OpaquePointer,
        _ index: CInt,
        of call: StaticString,
        writtenBy owner: StaticString,
        omitting omitted: inout Set<String>
    ) throws(UsageError) -> HTTPFields {
        let index = lua_absindex(L, index)
        var headers: HTTPFields = []
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        var allowance = CopyAllowance(vm)
        guard lua_checkstack(L, 4) != 0 else { throw UsageError("\(call): the Lua stack is full") }
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            guard lua_type(L, top + 1) == LUA_TSTRING else { throw UsageError("\(call): headers must have names") }
            let length = Int(lua_rawlen(L, top + 1))
            guard length <= UsageError.longest else {
                throw UsageError("\(call): the name of a header is longer than \(UsageError.longest) bytes")
            }
            try allowance.take(length, for: call)
            let name = (vm.string(L, top + 1) ?? "").lowercased()
            guard !name.isEmpty, name.utf8.allSatisfy(ASCII.isTokenByte) else {
                throw UsageError("\(call): \"\(name)\" is no name for a header")
            }
            guard !Self.reservedFields.contains(name) else {
                throw UsageError("\(call): \(owner) itself writes \(name)")
            }
            if lua_type(L, top + 2) == LUA_TBOOLEAN, lua_toboolean(L, top + 2) == 0, Self.usualFields.contains(name) {
                omitted.insert(name)
            } else if lua_type(L, top + 2) == LUA_TTABLE {
                for position in stride(from: 1, through: lua_rawlen(L, top + 2), by: 1) {
                    if vm.isRunOver { break }
                    lua_rawgeti(L, top + 2, lua_Integer(position))
                    headers.add(name, try fieldValue(L, top + 3, name, call, &allowance))
                    lua_settop(L, top + 2)
                }
            } else {
                headers.add(name, try fieldValue(L, top + 2, name, call, &allowance))
            }
            lua_settop(L, top + 1)
        }
        guard let sorted = vm.sorted(Array(headers), by: { ByteOrder.precedes($0.name, $1.name) }) else {
            throw UsageError("\(call): the run is over")
        }
        return HTTPFields(sorted)
    }

    private func fieldValue(
        _ L: OpaquePointer,
        _ index: CInt,
        _ name: String,
        _ call: StaticString,
        _ allowance: inout CopyAllowance
    ) throws(UsageError) -> String {
        // An entry of the list is more than its text.
        try allowance.take((lua_type(L, index) == LUA_TSTRING ? Int(lua_rawlen(L, index)) : 0) + 64, for: call)
        let text: String
        switch lua_type(L, index) {
        case LUA_TSTRING: text = vm.string(L, index) ?? ""
        case LUA_TNUMBER where lua_isinteger(L, index) != 0: text = String(lua_tointegerx(L, index, nil))
        case LUA_TNUMBER: text = String(lua_tonumberx(L, index, nil))
        default:
            throw UsageError(
                "\(call): header \"\(name)\" cannot be \(String(cString: lua_typename(L, lua_type(L, index))))"
            )
        }
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 }) else {
            throw UsageError("\(call): the value of header \"\(name)\" has a line break or another control character")
        }
        return text
    }
}
