// From Lua values to JSON bytes, straight from the stack. A local value on Swift's stack, one per encoded value: it
// works on a copy of the writer's storage and puts it back at the end.
//
// Tables are read raw. `lua_next` cannot raise here: its key is the one it returned itself, and nothing changes the
// table meanwhile. No function is called here that takes memory of Lua's, but for its stack: the collector does not run, so
// that texts are read where they lie, and no finalizer of the host's can find the writer's storage half written.
internal import CLuaVM

struct JSONWriter {
    let L: OpaquePointer
    var out: ByteStorage
    let workspace: JSONWorkspace
    let vm: UnsafeMutablePointer<panini_vm>
    /// The most bytes that may lie in `out`.
    let maximum: Int
    var depth = 0

    var failure: LuaJSONError.Kind?
    /// What sort of value has no JSON form.
    var unsupported: CInt = LUA_TNONE
    var path = JSONPath()

    init(
        _ L: OpaquePointer,
        _ out: ByteStorage,
        workspace: JSONWorkspace,
        vm: UnsafeMutablePointer<panini_vm>,
        maximum: Int
    ) {
        self.vm = vm
        self.maximum = maximum
        self.L = L
        self.out = out
        self.workspace = workspace
    }

    @inline(never)
    mutating func fail(_ kind: LuaJSONError.Kind) -> Bool {
        failure = kind
        return false
    }

    /// A table that holds another one twice, which holds another one twice ...: a small value may be a large text. A run
    /// that is to end stops here, too.
    @inline(__always)
    mutating func permits() -> Bool {
        out.count <= maximum && panini_is_killed(vm) == 0 ? true : fail(.memory)
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
    mutating func word(_ bytes: UInt32) {
        out.reserve(8)
        UnsafeMutableRawPointer(out.base + out.count).storeBytes(of: bytes.littleEndian, as: UInt32.self)
        out.count &+= 4
    }

    // MARK: - Tables

    mutating func table(_ index: CInt) -> Bool {
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
    mutating func object(_ index: CInt, _ key: CInt) -> Bool {
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
            guard value(key &+ 1), permits() else { return prependKey(key) }
            out.reserve(1)
            out.put(UInt8(ascii: ","))
            lua_settop(L, key)
        } while lua_next(L, index) != 0
        out.base[out.count &- 1] = UInt8(ascii: "}")
        return true
    }

    @inline(never)
    mutating func prependKey(_ key: CInt) -> Bool {
        var length = 0
        if let bytes = lua_tolstring(L, key, &length) {
            path.prepend(key: UnsafeRawBufferPointer(start: bytes, count: length))
        }
        return false
    }

    /// In the order of `lua_next` while that is 1, 2, 3...; which it is but for tables that were filled oddly.
    mutating func array(_ index: CInt, _ key: CInt) -> Bool {
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
            guard value(key &+ 1), permits() else {
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
    mutating func unorderedArray(_ index: CInt, _ key: CInt) -> Bool {
        var count: lua_Integer = 0
        var largest: lua_Integer = 0
        var hasOther = false
        var hasPositionBelowOne = false
        lua_pushnil(L)
        while lua_next(L, index) != 0 {
            lua_settop(L, key)
            guard permits() else { return false }
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
            guard value(key), permits() else {
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
}
