// Owns: writing Encodable types as Lua values: a tree first, as encoders may come back to a place, then the stack.
// Pure up to the push; any thread.

import CLuaVM
import LuaVM
import ScriptRuntime

/// A value on its way to Lua. Unlike ``LuaValue`` it knows a list from a table, which matters when both are empty.
final class LuaNode {
    enum Content {
        case null
        case boolean(Bool)
        case integer(Int64)
        case number(Double)
        case string(String)
        case bytes([UInt8])
        case list([LuaNode])
        case table([(String, LuaNode)])
    }

    var content: Content

    init(_ content: Content = .null) { self.content = content }

    func push(to results: LuaResults) throws(LuaMismatch) {
        let L = results.L
        switch content {
        case .null: results.script.vm.pushNull(L)
        case .boolean(let flag): lua_pushboolean(L, flag ? 1 : 0)
        case .integer(let number): lua_pushinteger(L, lua_Integer(number))
        case .number(let number): lua_pushnumber(L, number)
        case .string(let text): results.script.vm.pushString(L, text)
        case .bytes(let bytes): bytes.withUnsafeBytes { results.script.vm.pushString(L, $0) }
        case .list(let nodes):
            try results.reserve()
            lua_createtable(L, CInt(clamping: nodes.count), 0)
            for (index, node) in nodes.enumerated() {
                try node.push(to: results)
                lua_rawseti(L, -2, lua_Integer(index + 1))
            }
            results.script.vm.markArray(L, -1)
        case .table(let members):
            try results.reserve()
            lua_createtable(L, 0, CInt(clamping: members.count))
            for (name, node) in members {
                results.script.vm.pushString(L, name)
                try node.push(to: results)
                lua_rawset(L, -3)
            }
        }
    }
}

struct LuaValueEncoder: Encoder {
    let node: LuaNode
    let path: [any CodingKey]

    init(node: LuaNode = LuaNode(), path: [any CodingKey]) {
        self.node = node
        self.path = path
    }

    var codingPath: [any CodingKey] { path }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .table = node.content {} else { node.content = .table([]) }
        return KeyedEncodingContainer(KeyedLuaNodes(node: node, path: path))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .list = node.content {} else { node.content = .list([]) }
        return LuaNodeList(node: node, path: path)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }
}

extension LuaValueEncoder: SingleValueEncodingContainer {
    func encodeNil() throws { node.content = .null }
    func encode(_ value: Bool) throws { node.content = .boolean(value) }
    func encode(_ value: String) throws { node.content = .string(value) }
    func encode(_ value: Double) throws { node.content = .number(value) }
    func encode(_ value: Float) throws { node.content = .number(Double(value)) }
    func encode(_ value: Int) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: Int8) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: Int16) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: Int32) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: Int64) throws { node.content = .integer(value) }
    func encode(_ value: UInt) throws { try large(value) }
    func encode(_ value: UInt8) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: UInt16) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: UInt32) throws { node.content = .integer(Int64(value)) }
    func encode(_ value: UInt64) throws { try large(value) }

    func encode<T: Encodable>(_ value: T) throws {
        if let bytes = value as? [UInt8] {
            node.content = .bytes(bytes)
        } else {
            try value.encode(to: self)
        }
    }

    private func large(_ value: some FixedWidthInteger) throws {
        guard let number = Int64(exactly: value) else { throw LuaMismatch("\(value) is beyond Lua's integers") }
        node.content = .integer(number)
    }
}

/// The members of a table; a nil member is left out, as Swift's `encodeIfPresent` has it, and an explicit one is null.
private struct KeyedLuaNodes<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: LuaNode
    let path: [any CodingKey]

    var codingPath: [any CodingKey] { path }

    private func member(_ key: Key) -> LuaValueEncoder {
        let member = LuaNode()
        if case .table(var members) = node.content {
            node.content = .null
            members.append((key.stringValue, member))
            node.content = .table(members)
        }
        return LuaValueEncoder(node: member, path: path + [key])
    }

    func encodeNil(forKey key: Key) throws { try member(key).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: String, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Float, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int8, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int16, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int32, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: Int64, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: UInt, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: UInt8, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: UInt16, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: UInt32, forKey key: Key) throws { try member(key).encode(value) }
    func encode(_ value: UInt64, forKey key: Key) throws { try member(key).encode(value) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try member(key).encode(value) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type,
        forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        member(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { member(key).unkeyedContainer() }
    func superEncoder() -> any Encoder { LuaValueEncoder(node: node, path: path) }
    func superEncoder(forKey key: Key) -> any Encoder { member(key) }
}

/// The elements of a list.
private struct LuaNodeList: UnkeyedEncodingContainer {
    let node: LuaNode
    let path: [any CodingKey]

    var codingPath: [any CodingKey] { path }

    var count: Int {
        if case .list(let nodes) = node.content { nodes.count } else { 0 }
    }

    private func element() -> LuaValueEncoder {
        let element = LuaNode()
        let path = path + [LuaCodingKey(intValue: count)]
        if case .list(var nodes) = node.content {
            node.content = .null
            nodes.append(element)
            node.content = .list(nodes)
        }
        return LuaValueEncoder(node: element, path: path)
    }

    func encodeNil() throws { try element().encodeNil() }
    func encode<T: Encodable>(_ value: T) throws { try element().encode(value) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        element().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { element().unkeyedContainer() }
    func superEncoder() -> any Encoder { element() }
}
