// From JSON bytes to Lua values in one pass: what is read lies on the Lua stack until its table is complete, so that
// tables are made in their final size. A local value on Swift's stack, one per text.
//
// May call only Lua functions that raise for lack of memory at most (they do not, while Swift is on the stack), and
// only after `reserve` made sure of a slot.
//
// The text is the caller's: of a string or a message of Lua's that lies on the stack. What is read lies on the stack as well,
// keys too, whose addresses are compared and never followed.
internal import CLuaVM

struct JSONReader {
    /// From here on a table is made first and filled as its values come.
    static let batch: CInt = 64

    let L: OpaquePointer
    let start: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>
    let scratch: UnsafeMutablePointer<ByteStorage>
    let keys: UnsafeMutablePointer<UnsafeRawPointer?>
    let maximumDepth: Int
    let vm: UnsafeMutablePointer<panini_vm>

    var p: UnsafePointer<UInt8>
    var depth = 0
    /// Lua's stack: the index on top, and the highest one that is reserved.
    var top: CInt
    var limit: CInt

    var failure: LuaJSONError.Kind?
    var failedAt: UnsafePointer<UInt8>
    var path = JSONPath()

    init(
        _ L: OpaquePointer,
        _ bytes: UnsafeBufferPointer<UInt8>,
        base: UnsafePointer<UInt8>,
        workspace: JSONWorkspace,
        scratch: UnsafeMutablePointer<ByteStorage>,
        vm: UnsafeMutablePointer<panini_vm>
    ) {
        self.vm = vm
        self.L = L
        start = base
        end = base + bytes.count
        p = base
        failedAt = base
        self.scratch = scratch
        keys = workspace.keys
        maximumDepth = workspace.depth
        top = lua_gettop(L)
        limit = top
    }

    /// Reads the whole text. One value is on top, or there is a failure and something above the old top.
    mutating func readText() -> Bool {
        if end - start >= 3, start[0] == 0xEF, start[1] == 0xBB, start[2] == 0xBF { return fail(.byteOrderMark) }
        skipSpace()
        guard value() else { return false }
        skipSpace()
        return p == end ? true : fail(.trailingText)
    }

    // MARK: - Helpers

    @inline(never)
    mutating func fail(_ kind: LuaJSONError.Kind) -> Bool {
        failure = kind
        failedAt = p
        return false
    }

    /// Something else was expected here.
    @inline(never)
    mutating func failHere() -> Bool {
        fail(p == end ? .unexpectedEnd : .unexpectedByte)
    }

    /// Whether so many bytes are left. A run that is to end stops here, too; what it says is not looked at.
    @inline(__always)
    mutating func permits(_ bytes: Int) -> Bool {
        panini_has_room(vm, bytes) != 0 && panini_is_killed(vm) == 0 ? true : fail(.memory)
    }

    /// The same for a table that has grown to `count` entries: it doubles now and then.
    @inline(__always)
    mutating func permits(entry count: Int, of bytes: Int) -> Bool {
        count & 255 != 0 || permits(count & (count &- 1) == 0 ? count &* 2 &* bytes : 4096)
    }

    /// Counts one push.
    @inline(__always)
    mutating func reserve() -> Bool {
        if top == limit {
            guard lua_checkstack(L, 64) != 0 else { return fail(.tooLarge) }
            limit = top &+ 64
        }
        top &+= 1
        return true
    }

    @inline(__always)
    mutating func skipSpace() {
        while p < end {
            let byte = p.pointee
            if byte > 0x20 { return }
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            p += 1
        }
    }

    // MARK: - Values

    mutating func value() -> Bool {
        guard p < end else { return fail(.unexpectedEnd) }
        switch p.pointee {
        case UInt8(ascii: "\""):
            return string()
        case UInt8(ascii: "{"):
            return object()
        case UInt8(ascii: "["):
            return array()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return number()
        case UInt8(ascii: "t"):
            guard word(0x6575_7274) else { return failHere() }
            p += 4
            guard reserve() else { return false }
            lua_pushboolean(L, 1)
            return true
        case UInt8(ascii: "f"):
            guard end - p >= 5, word(0x736C_6166), p[4] == UInt8(ascii: "e") else { return failHere() }
            p += 5
            guard reserve() else { return false }
            lua_pushboolean(L, 0)
            return true
        case UInt8(ascii: "n"):
            guard word(0x6C6C_756E) else { return failHere() }
            p += 4
            guard reserve() else { return false }
            lua_pushlightuserdata(L, nil)
            return true
        default:
            return fail(.unexpectedByte)
        }
    }

    /// Whether the next four bytes are these, little endian.
    @inline(__always)
    func word(_ expected: UInt32) -> Bool {
        end - p >= 4 && UInt32(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self)) == expected
    }

    // MARK: - Objects

    mutating func object() -> Bool {
        guard depth < maximumDepth else { return fail(.tooDeep) }
        p += 1
        skipSpace()
        if p < end, p.pointee == UInt8(ascii: "}") {
            p += 1
            guard reserve(), spare(), permits(64) else { return false }
            lua_createtable(L, 0, 0)
            // An array without elements is marked, too: which of the two it was is not forgotten.
            lua_rawgeti(L, PaniniRegistry, lua_Integer(PANINI_EMPTY_OBJECT_METATABLE))
            lua_setmetatable(L, -2)
            return true
        }
        guard reserve() else { return false }
        // The table's place, below its pairs.
        lua_pushnil(L)
        let table = top
        let openKeys = keys + depth &* JSONWorkspace.comparedKeys
        depth &+= 1
        var pairs: CInt = 0
        var hasLongKey = false
        var isMade = false
        while true {
            guard p < end, p.pointee == UInt8(ascii: "\"") else { return failHere() }
            var length = 0
            guard let key = rawString(&length) else { return false }
            hasLongKey = hasLongKey || length > 40
            if pairs < CInt(JSONWorkspace.comparedKeys) { openKeys[Int(pairs)] = key }
            skipSpace()
            guard p < end, p.pointee == UInt8(ascii: ":") else { return failHere() }
            p += 1
            skipSpace()
            let keyIndex = top
            guard value() else { return prependKey(at: keyIndex) }
            if isMade {
                lua_rawset(L, table)
                top &-= 2
                pairs &+= 1
                guard permits(entry: Int(pairs), of: 40) else { return false }
            } else {
                pairs &+= 1
                if pairs == JSONReader.batch {
                    guard fill(table, pairs, hint: pairs &* 2, inOrder: true) else { return false }
                    isMade = true
                }
            }
            skipSpace()
            guard p < end else { return fail(.unexpectedEnd) }
            if p.pointee == UInt8(ascii: ",") {
                p += 1
                skipSpace()
                continue
            }
            guard p.pointee == UInt8(ascii: "}") else { return fail(.unexpectedByte) }
            p += 1
            break
        }
        depth &-= 1
        if isMade { return true }
        return fill(table, pairs, hint: pairs, inOrder: hasLongKey || mayRepeat(openKeys, Int(pairs)))
    }

    /// Short strings are interned: the same key has the same address.
    @inline(__always)
    func mayRepeat(_ keys: UnsafeMutablePointer<UnsafeRawPointer?>, _ count: Int) -> Bool {
        if count > JSONWorkspace.comparedKeys { return true }
        var later = 1
        while later < count {
            let key = keys[later]
            var earlier = 0
            while earlier < later {
                if keys[earlier] == key { return true }
                earlier &+= 1
            }
            later &+= 1
        }
        return false
    }

    /// Makes the table in its place and moves the pairs above it into it. In order, the last of equal keys wins;
    /// backwards is faster, and only right when all keys differ.
    @inline(__always)
    mutating func fill(_ table: CInt, _ pairs: CInt, hint: CInt, inOrder: Bool) -> Bool {
        guard spare(), permits(64 &+ Int(hint) &* 40) else { return false }
        lua_createtable(L, 0, hint)
        lua_copy(L, -1, table)
        lua_settop(L, -2)
        if inOrder {
            var at = table &+ 1
            while at < top {
                lua_pushvalue(L, at)
                lua_pushvalue(L, at &+ 1)
                lua_rawset(L, table)
                at &+= 2
            }
            lua_settop(L, table)
        } else {
            var left = pairs
            while left > 0 {
                lua_rawset(L, table)
                left &-= 1
            }
        }
        top = table
        return true
    }

    /// Room for three values that are gone again at once.
    @inline(__always)
    mutating func spare() -> Bool {
        if limit &- top < 3 {
            guard lua_checkstack(L, 64) != 0 else { return fail(.tooLarge) }
            limit = top &+ 64
        }
        return true
    }

    /// A failing value leaves what lies below it on the stack alone, its key too.
    @inline(never)
    mutating func prependKey(at index: CInt) -> Bool {
        var length = 0
        if lua_type(L, index) == LUA_TSTRING, let bytes = lua_tolstring(L, index, &length) {
            path.prepend(key: UnsafeRawBufferPointer(start: bytes, count: length))
        }
        return false
    }

    // MARK: - Arrays

    mutating func array() -> Bool {
        guard depth < maximumDepth else { return fail(.tooDeep) }
        p += 1
        skipSpace()
        guard reserve() else { return false }
        // The table's place, below its values.
        lua_pushnil(L)
        let table = top
        if p < end, p.pointee == UInt8(ascii: "]") {
            p += 1
            return fillArray(table, 0)
        }
        depth &+= 1
        var count: CInt = 0
        var isMade = false
        while true {
            guard value() else {
                path.prepend(position: Int(count) + 1)
                return false
            }
            count &+= 1
            if isMade {
                lua_rawseti(L, table, lua_Integer(count))
                top &-= 1
                guard permits(entry: Int(count), of: 16) else { return false }
            } else if count == JSONReader.batch {
                guard fillArray(table, count) else { return false }
                isMade = true
            }
            skipSpace()
            guard p < end else { return fail(.unexpectedEnd) }
            if p.pointee == UInt8(ascii: ",") {
                p += 1
                skipSpace()
                continue
            }
            guard p.pointee == UInt8(ascii: "]") else { return fail(.unexpectedByte) }
            p += 1
            break
        }
        depth &-= 1
        return isMade ? true : fillArray(table, count)
    }

    /// Makes the array in its place and moves the values above it into it.
    @inline(__always)
    mutating func fillArray(_ table: CInt, _ count: CInt) -> Bool {
        guard spare(), permits(64 &+ Int(count) &* 16) else { return false }
        lua_createtable(L, count, 0)
        lua_rawgeti(L, PaniniRegistry, lua_Integer(PANINI_ARRAY_METATABLE))
        lua_setmetatable(L, -2)
        lua_copy(L, -1, table)
        lua_settop(L, -2)
        var left = count
        while left > 0 {
            lua_rawseti(L, table, lua_Integer(left))
            left &-= 1
        }
        top = table
        return true
    }
}
