// Lua values that Swift holds: numbered slots of the registry, reused.
internal import CLuaVM

/// A Lua value kept alive for Swift. Belongs to the state that made it, until it is released.
package struct LuaReference: Equatable, Hashable, Sendable {
    package let index: CInt

    package init(index: CInt) { self.index = index }
}

/// Which registry slots are free.
struct ReferenceTable {
    private var free = UnsafeStack<CInt>(capacity: 8)
    private(set) var count = 0

    func deallocate() {
        free.deallocate()
    }

    /// A free slot. A new one is the first behind all that are taken: libraries in C take theirs in the same way (`luaL_ref`).
    @inline(__always)
    mutating func take(_ L: OpaquePointer) -> CInt {
        count &+= 1
        if let index = free.pop() { return index }
        return CInt(lua_rawlen(L, PaniniRegistry)) + 1
    }

    @inline(__always)
    mutating func giveBack(_ index: CInt) {
        count &-= 1
        free.push(index)
    }
}

extension LuaVM {
    /// Pops the value on top of `L` and keeps it.
    package func makeReference(_ L: OpaquePointer) -> LuaReference {
        let index = core.pointee.references.take(L)
        lua_rawseti(L, PaniniRegistry, lua_Integer(index))
        return LuaReference(index: index)
    }

    /// Pushes the value. `L` needs a free slot, as for every push.
    @inline(__always)
    package func push(_ reference: LuaReference, onto L: OpaquePointer) {
        lua_rawgeti(L, PaniniRegistry, lua_Integer(reference.index))
    }

    /// Lets go of the value. Each reference is released once.
    package func release(_ reference: LuaReference) {
        lua_checkstack(state, 1)
        // `false` rather than nil, so that the registry keeps its array part.
        lua_pushboolean(state, 0)
        lua_rawseti(state, PaniniRegistry, lua_Integer(reference.index))
        core.pointee.references.giveBack(reference.index)
    }

    /// How many references are alive.
    package var referenceCount: Int { core.pointee.references.count }
}

/// The registry's pseudo index.
@inline(__always)
var PaniniRegistry: CInt { PANINI_REGISTRY_INDEX }
