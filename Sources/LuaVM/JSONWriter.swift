// From Lua values to JSON bytes, straight from the stack. A local value on Swift's stack, one per encoded value: it
// works on a copy of the writer's storage and puts it back at the end.
//
// Tables are read raw. `lua_next` cannot raise here: its key is the one it returned itself, and nothing changes the
// table meanwhile.
internal import CLuaShim

struct JSONWriter {
    let L: OpaquePointer
    var out: ByteStorage
    private let workspace: JSONWorkspace
    private var depth = 0

    private(set) var failure: LuaJSONError.Kind?
    /// What sort of value has no JSON form.
    private(set) var unsupported: CInt = LUA_TNONE
    private(set) var path = JSONPath()

    init(_ L: OpaquePointer, _ out: ByteStorage, workspace: JSONWorkspace) {
        self.L = L
        self.out = out
        self.workspace = workspace
    }

    @inline(never)
    private mutating func fail(_ kind: LuaJSONError.Kind) -> Bool {
        failure = kind
        return false
    }

    // MARK: - Values

    /// Writes the value at `index`, an absolute one.
    mutating func value(_ index: CInt) -> Bool {
        switch lua_type(L, index) {
        case LUA_TSTRING:
            var length = 0
            guard let bytes = lua_tolstring(L, index, &length) else { return fail(.unsupportedType) }
            return string(UnsafeRawPointer(bytes).assumingMemoryBound(to: UInt8.self), length)
        case LUA_TNUMBER:
            if lua_isinteger(L, index) != 0 {
                out.reserve(24)
                out.putDecimal(Int64(lua_tointegerx(L, index, nil)))
                return true
            }
            return float(lua_tonumberx(L, index, nil))
        case LUA_TTABLE:
            return table(index)
        case LUA_TBOOLEAN:
            if lua_toboolean(L, index) != 0 {
                word(0x6575_7274)
            } else {
                out.reserve(8)
                word(0x736C_6166)
                out.put(UInt8(ascii: "e"))
            }
            return true
        case LUA_TLIGHTUSERDATA where lua_touserdata(L, index) == nil:
            word(0x6C6C_756E)
            return true
        case LUA_TNIL:
            word(0x6C6C_756E)
            return true
        case let type:
            unsupported = type
            return fail(.unsupportedType)
        }
    }

    /// Four bytes, little endian.
    @inline(__always)
    private mutating func word(_ bytes: UInt32) {
        out.reserve(8)
        UnsafeMutableRawPointer(out.base + out.count).storeBytes(of: bytes.littleEndian, as: UInt32.self)
        out.count &+= 4
    }

    // MARK: - Tables

    private mutating func table(_ index: CInt) -> Bool {
        guard depth < workspace.depth else { return fail(.tooDeep) }
        let identity = lua_topointer(L, index)
        var level = depth
        while level > 0 {
            level &-= 1
            if workspace.ancestors[level] == identity { return fail(.cycle) }
        }
        guard lua_checkstack(L, 6) != 0 else { return fail(.tooLarge) }
        workspace.ancestors[depth] = identity
        depth &+= 1

        var isMarked = false
        if lua_getmetatable(L, index) != 0 {
            isMarked = lua_topointer(L, -1) == workspace.arrayMetatable
            lua_settop(L, -2)
        }
        let key = lua_gettop(L) &+ 1
        lua_pushnil(L)
        guard lua_next(L, index) != 0 else {
            out.reserve(2)
            out.put(UInt8(ascii: isMarked ? "[" : "{"))
            out.put(UInt8(ascii: isMarked ? "]" : "}"))
            depth &-= 1
            return true
        }
        let isWritten: Bool
        switch lua_type(L, key) {
        case LUA_TSTRING: isWritten = isMarked ? fail(.mixedTable) : object(index, key)
        case LUA_TNUMBER: isWritten = array(index, key)
        default: isWritten = fail(.invalidKey)
        }
        depth &-= 1
        return isWritten
    }

    /// The first key and value are at `key` and above it.
    private mutating func object(_ index: CInt, _ key: CInt) -> Bool {
        out.reserve(1)
        out.put(UInt8(ascii: "{"))
        repeat {
            guard lua_type(L, key) == LUA_TSTRING else {
                return fail(lua_type(L, key) == LUA_TNUMBER ? .mixedTable : .invalidKey)
            }
            var length = 0
            guard let bytes = lua_tolstring(L, key, &length) else { return fail(.invalidKey) }
            guard string(UnsafeRawPointer(bytes).assumingMemoryBound(to: UInt8.self), length) else {
                return prependKey(key)
            }
            out.reserve(1)
            out.put(UInt8(ascii: ":"))
            guard value(key &+ 1) else { return prependKey(key) }
            out.reserve(1)
            out.put(UInt8(ascii: ","))
            lua_settop(L, key)
        } while lua_next(L, index) != 0
        out.base[out.count &- 1] = UInt8(ascii: "}")
        return true
    }

    @inline(never)
    private mutating func prependKey(_ key: CInt) -> Bool {
        var length = 0
        if let bytes = lua_tolstring(L, key, &length) {
            path.prepend(key: UnsafeRawBufferPointer(start: bytes, count: length))
        }
        return false
    }

    /// In the order of `lua_next` while that is 1, 2, 3...; which it is but for tables that were filled oddly.
    private mutating func array(_ index: CInt, _ key: CInt) -> Bool {
        let begin = out.count
        out.reserve(1)
        out.put(UInt8(ascii: "["))
        var position: lua_Integer = 0
        repeat {
            position &+= 1
            guard lua_isinteger(L, key) != 0, lua_tointegerx(L, key, nil) == position else {
                out.count = begin
                lua_settop(L, key &- 1)
                return unorderedArray(index, key)
            }
            guard value(key &+ 1) else {
                path.prepend(position: Int(position))
                return false
            }
            out.reserve(1)
            out.put(UInt8(ascii: ","))
            lua_settop(L, key)
        } while lua_next(L, index) != 0
        out.base[out.count &- 1] = UInt8(ascii: "]")
        return true
    }

    /// Looks at all keys first: they must be 1 to n, in any order.
    @inline(never)
    private mutating func unorderedArray(_ index: CInt, _ key: CInt) -> Bool {
        var count: lua_Integer = 0
        var largest: lua_Integer = 0
        var hasOther = false
        var hasPositionBelowOne = false
        lua_pushnil(L)
        while lua_next(L, index) != 0 {
            lua_settop(L, key)
            guard lua_type(L, key) == LUA_TNUMBER || lua_type(L, key) == LUA_TSTRING else { return fail(.invalidKey) }
            guard lua_isinteger(L, key) != 0 else {
                hasOther = true
                continue
            }
            let position = lua_tointegerx(L, key, nil)
            hasPositionBelowOne = hasPositionBelowOne || position < 1
            largest = max(largest, position)
            count &+= 1
        }
        if hasOther { return fail(.mixedTable) }
        guard !hasPositionBelowOne, count == largest else { return fail(.sparseArray) }
        out.reserve(1)
        out.put(UInt8(ascii: "["))
        var position: lua_Integer = 1
        while position <= count {
            lua_rawgeti(L, index, position)
            guard value(key) else {
                path.prepend(position: Int(position))
                return false
            }
            lua_settop(L, key &- 1)
            out.reserve(1)
            out.put(UInt8(ascii: ","))
            position &+= 1
        }
        out.base[out.count &- 1] = UInt8(ascii: "]")
        return true
    }

    // MARK: - Strings

    private mutating func string(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        out.reserve(length &+ 16)
        out.put(UInt8(ascii: "\""))
        var q = bytes
        let end = bytes + length
        while end - q >= 8 {
            let word = JSONWord.load(q)
            UnsafeMutableRawPointer(out.base + out.count).storeBytes(of: word.littleEndian, as: UInt64.self)
            let special = JSONWord.special(word)
            guard special == 0 else {
                let plain = JSONWord.firstIndex(special)
                q += plain
                out.count &+= plain
                return unusualString(q, end)
            }
            q += 8
            out.count &+= 8
        }
        while q < end {
            let byte = q.pointee
            guard byte >= 0x20, byte < 0x80, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") else {
                return unusualString(q, end)
            }
            out.put(byte)
            q += 1
        }
        out.put(UInt8(ascii: "\""))
        return true
    }

    /// The rest of a string that needs escapes or holds more than ASCII.
    @inline(never)
    private mutating func unusualString(_ from: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Bool {
        var q = from
        while q < end {
            out.reserve((end - q) &+ 16)
            let byte = q.pointee
            if byte >= 0x80 {
                let sequence = UTF8Check.sequenceLength(q, end)
                guard sequence > 0 else { return fail(.invalidUTF8) }
                for offset in 0..<sequence { out.put(q[offset]) }
                q += sequence
            } else if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                escape(byte)
                q += 1
            } else if end - q >= 8 {
                let word = JSONWord.load(q)
                UnsafeMutableRawPointer(out.base + out.count).storeBytes(of: word.littleEndian, as: UInt64.self)
                let special = JSONWord.special(word)
                let plain = special == 0 ? 8 : JSONWord.firstIndex(special)
                q += plain
                out.count &+= plain
            } else {
                out.put(byte)
                q += 1
            }
        }
        out.put(UInt8(ascii: "\""))
        return true
    }

    private mutating func escape(_ byte: UInt8) {
        out.put(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): out.put(byte)
        case 0x08: out.put(UInt8(ascii: "b"))
        case 0x09: out.put(UInt8(ascii: "t"))
        case 0x0A: out.put(UInt8(ascii: "n"))
        case 0x0C: out.put(UInt8(ascii: "f"))
        case 0x0D: out.put(UInt8(ascii: "r"))
        default:
            out.put(UInt8(ascii: "u"))
            out.put(UInt8(ascii: "0"))
            out.put(UInt8(ascii: "0"))
            out.put(UInt8(ascii: "0") &+ byte &>> 4)
            let low = byte & 15
            out.put(low < 10 ? UInt8(ascii: "0") &+ low : UInt8(ascii: "a") &+ low &- 10)
        }
    }

    // MARK: - Floats

    /// The shortest text that reads back as the same double, and reads back as a float.
    private mutating func float(_ number: Double) -> Bool {
        out.reserve(32)
        // Whole numbers and short decimals: digits with a point in the right place. The check that the digits read
        // back makes it right; at most 15 of them make it the shortest.
        let magnitude = number.magnitude
        if magnitude < 1e15 {
            var scale = 0
            while scale < 7 {
                let scaled = magnitude * PowersOfTen[scale]
                guard scaled < 1e15 else { break }
                let digits = Int64(scaled)
                if Double(digits) == scaled, Double(digits) / PowersOfTen[scale] == magnitude {
                    if number.sign == .minus { out.put(UInt8(ascii: "-")) }
                    decimal(digits, scale: scale)
                    return true
                }
                scale &+= 1
            }
        }
        guard number.isFinite else { return fail(.notFinite) }
        var text = number.description
        text.withUTF8 { bytes in
            out.reserve(bytes.count)
            for byte in bytes { out.put(byte) }
        }
        return true
    }

    @inline(__always)
    private mutating func decimal(_ digits: Int64, scale: Int) {
        guard scale > 0 else {
            out.putDecimal(digits)
            out.put(UInt8(ascii: "."))
            out.put(UInt8(ascii: "0"))
            return
        }
        let unit = Int64(PowersOfTen[scale])
        out.putDecimal(digits / unit)
        out.put(UInt8(ascii: "."))
        var rest = digits % unit
        var at = out.base + (out.count &+ scale)
        out.count &+= scale
        for _ in 0..<scale {
            at -= 1
            at.pointee = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
            rest /= 10
        }
    }
}
