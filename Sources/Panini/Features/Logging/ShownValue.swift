// Owns: Lua values as a log shows them: any value, within bounds, and without an error ever. Worker's thread, during one call
// from Lua. Tables are read raw; the only code of the script that runs is `__tostring`, under a protected call. It may change
// the tables that are being read, so that each step looks whether it can go on.

import Bytes
import CLuaVM
import LuaVM
import ScriptRuntime

/// Reads values for one record, and counts what it may still take.
struct ValueShower {
    let L: OpaquePointer
    let script: Script
    /// How many values of tables the record may still hold.
    private var valuesLeft = Self.mostValues
    /// How many bytes of texts.
    private var bytesLeft: Int
    /// The tables that are being read: one that is met again contains itself.
    private var open: [UnsafeRawPointer?] = []

    static let mostValues = 1000
    /// The texts of fields and of tables, all together.
    static let mostBytes = 64 << 10
    /// A text that is logged by itself.
    static let longestText = 1 << 20
    static let deepest = 8
    static let longestKey = 256

    init(_ L: OpaquePointer, script: Script, bytes: Int = Self.mostBytes) {
        self.L = L
        self.script = script
        self.bytesLeft = bytes
    }

    // MARK: - Values

    /// The value at an index; what cannot be shown is a short text in brackets.
    mutating func value(_ index: CInt) -> PlainValue {
        switch lua_type(L, index) {
        case LUA_TNIL, LUA_TNONE: .null
        case LUA_TBOOLEAN: .boolean(lua_toboolean(L, index) != 0)
        case LUA_TNUMBER where lua_isinteger(L, index) != 0: .integer(Int64(lua_tointegerx(L, index, nil)))
        case LUA_TNUMBER: .number(lua_tonumberx(L, index, nil))
        case LUA_TSTRING: text(script.vm.stringBytes(L, index) ?? emptyBytes)
        case LUA_TLIGHTUSERDATA where script.vm.isNull(L, index): .null
        case LUA_TFUNCTION: .other("(function \(origin(index)))")
        case LUA_TTABLE: table(lua_absindex(L, index))
        default: described(lua_absindex(L, index))
        }
    }

    private func origin(_ index: CInt) -> String {
        guard lua_checkstack(L, 4) != 0, lua_iscfunction(L, index) == 0 else { return "of the host" }
        return script.origin(L, index)
    }

    /// What `__tostring` says, or else the type.
    private mutating func described(_ index: CInt) -> PlainValue {
        guard lua_checkstack(L, 8) != 0 else {
            return .other("(\(String(cString: lua_typename(L, lua_type(L, index)))))")
        }
        defer { lua_settop(L, -2) }
        if panini_has_text(L, index) != 0 {
            panini_push_text(L, index)
            return text(script.vm.stringBytes(L, -1) ?? emptyBytes)
        }
        panini_push_type_name(L, index)
        return .other("(\(script.vm.string(L, -1) ?? "value"))")
    }

    private mutating func text(_ bytes: UnsafeRawBufferPointer) -> PlainValue {
        let shown = Self.cut(bytes, to: max(bytesLeft, 0))
        bytesLeft -= shown.utf8.count
        return .string(shown)
    }

    /// As much of a text as there is room for, in whole characters, and how long it was.
    static func cut(_ bytes: UnsafeRawBufferPointer, to most: Int) -> String {
        LuaVM.shown(bytes, upTo: most)
    }

    // MARK: - Tables

    private mutating func table(_ index: CInt) -> PlainValue {
        guard lua_checkstack(L, 10) != 0 else { return .other("(a table)") }
        if panini_has_text(L, index) != 0 { return described(index) }
        return contents(index)
    }

    /// A table's entries that are read in one go.
    private enum Part {
        case all
        case small
        case large

        func has(_ L: OpaquePointer, _ index: CInt) -> Bool {
            guard self != .all else { return true }
            let type = lua_type(L, index)
            let isLarge =
                type == LUA_TTABLE || type == LUA_TUSERDATA || type == LUA_TSTRING && lua_rawlen(L, index) > 1024
            return isLarge == (self == .large)
        }
    }

    /// The fields of a record: what is large comes last, so that it takes no room from the others.
    mutating func fields(_ index: CInt) -> [(String, PlainValue)] {
        entries(contents(index, .small)) + entries(contents(index, .large))
    }

    private func entries(_ value: PlainValue) -> [(String, PlainValue)] {
        switch value {
        case .object(let members): members
        case .array(let items): items.enumerated().map { ("[\($0.offset + 1)]", $0.element) }
        default: [("(fields)", value)]
        }
    }

    /// The entries of the table at an index, whatever its metatable says.
    private mutating func contents(_ index: CInt, _ part: Part = .all) -> PlainValue {
        let identity = lua_topointer(L, index)
        guard !open.contains(identity) else { return .other("(a table that contains itself)") }
        guard open.count < Self.deepest, lua_checkstack(L, 10) != 0 else {
            return .other("(a table, nested too deeply)")
        }
        open.append(identity)
        defer { open.removeLast() }
        let table = lua_absindex(L, index)
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        var items: [(Int64, PlainValue)] = []
        var members: [(String, PlainValue)] = []
        var isLeftOut = false
        lua_pushnil(L)
        while true {
            let step = panini_next_of_changing(L, table)
            guard step > 0 else {
                isLeftOut = step < 0
                break
            }
            guard part.has(L, top + 2) else {
                lua_settop(L, top + 1)
                continue
            }
            guard valuesLeft > 0, bytesLeft > 0, !script.vm.isRunOver else {
                isLeftOut = true
                break
            }
            valuesLeft -= 1
            let value = value(top + 2)
            if lua_isinteger(L, top + 1) != 0 {
                items.append((Int64(lua_tointegerx(L, top + 1, nil)), value))
            } else {
                members.append((key(top + 1), value))
            }
            lua_settop(L, top + 1)
        }
        items.sort { $0.0 < $1.0 }
        if members.isEmpty, items.enumerated().allSatisfy({ Int64($0.offset + 1) == $0.element.0 }) {
            return .array(items.map(\.1) + (isLeftOut ? [.other("(more is left out)")] : []))
        }
        members += items.map { ("[\($0.0)]", $0.1) }
        members.sort { $0.0 < $1.0 }
        if isLeftOut { members.append(("(more)", .other("(left out)"))) }
        return .object(members)
    }

    private mutating func key(_ index: CInt) -> String {
        switch lua_type(L, index) {
        case LUA_TSTRING:
            let shown = Self.cut(script.vm.stringBytes(L, index) ?? emptyBytes, to: Self.longestKey)
            bytesLeft -= shown.utf8.count
            return shown
        case LUA_TNUMBER: return "[\(lua_tonumberx(L, index, nil))]"
        case LUA_TBOOLEAN: return "[\(lua_toboolean(L, index) != 0)]"
        default:
            panini_push_type_name(L, index)
            defer { lua_settop(L, -2) }
            return "[(\(script.vm.string(L, -1) ?? "value"))]"
        }
    }

    // MARK: - Texts

    /// The value at an index as `print` shows it: as `tostring` says, but tables with their contents.
    mutating func line(_ index: CInt) -> String {
        let index = lua_absindex(L, index)
        guard lua_checkstack(L, 10) != 0 else { return "(the Lua stack is full)" }
        if lua_type(L, index) == LUA_TFUNCTION { return "(function \(origin(index)))" }
        if lua_type(L, index) == LUA_TTABLE, panini_has_text(L, index) == 0 { return contents(index).luaText }
        panini_push_text(L, index)
        defer { lua_settop(L, -2) }
        return Self.cut(script.vm.stringBytes(L, -1) ?? emptyBytes, to: Self.longestText)
    }
}

extension PlainValue {
    /// The value as Lua would have it written.
    var luaText: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .boolean(let flag): text += flag ? "true" : "false"
        case .integer(let number): text += String(number)
        case .number(let number): text += String(number)
        case .string(let string): Self.quote(string, to: &text)
        case .other(let name): text += name
        case .array(let items):
            text += "{"
            for (index, item) in items.enumerated() {
                text += index == 0 ? " " : ", "
                item.write(to: &text)
            }
            text += items.isEmpty ? "}" : " }"
        case .object(let members):
            text += "{"
            for (index, (name, value)) in members.enumerated() {
                text += index == 0 ? " " : ", "
                if Self.isName(name) || name.hasPrefix("[") || name.hasPrefix("(") {
                    text += name
                } else {
                    text += "["
                    Self.quote(name, to: &text)
                    text += "]"
                }
                text += " = "
                value.write(to: &text)
            }
            text += " }"
        }
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !ASCII.isDigit(first) else { return false }
        return text.utf8.allSatisfy { isNameByte($0) && $0 != UInt8(ascii: "-") }
    }

    private static func quote(_ string: String, to text: inout String) {
        text += "\""
        for character in string.unicodeScalars {
            switch character {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            default: text.unicodeScalars.append(character)
            }
        }
        text += "\""
    }
}
