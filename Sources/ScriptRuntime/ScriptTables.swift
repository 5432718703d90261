// Owns: what the runtime itself has in a script's Lua state: the app's identity, the type of errors, the numbers of handles. A
// value of a Script; loop-bound.

import CScriptObjects
package import LuaVM

/// Tables and types of one state.
package struct ScriptTables {
    /// The identity of the `app` table, to drop it from `app:listen(...)`.
    package private(set) var app: UnsafeRawPointer?
    /// The registry reference of the metatable of errors.
    package let errorType: CInt
    private var lastHandle: Int64 = 0

    package init(_ vm: LuaVM) {
        panini_error_push_metatable(vm.state)
        errorType = vm.makeReference(vm.state).index
    }

    package mutating func makeHandleNumber() -> Int64 {
        lastHandle += 1
        return lastHandle
    }

    /// Keeps what lies on top as the app.
    package mutating func keepApp(_ L: OpaquePointer, _ vm: LuaVM) {
        app = lua_topointer(L, -1)
        lua_pushvalue(L, -1)
        _ = vm.makeReference(L)
    }
}
