// Owns: from the tables that features have declared to those in a script's Lua state. Worker's thread, while the script is made
// or loaded.

import CLuaVM
import LuaVM
import ScriptRuntime

extension Script {
    /// Makes the global `panini`, which `require "panini"` returns too.
    func makeTables() {
        let L = vm.state
        let api = place.api
        push(api.panini, of: api, onto: L)
        lua_pushvalue(L, -1)
        _ = vm.makeReference(L)
        lua_pushvalue(L, -1)
        vm.setLoadedModule("panini", L)
        vm.setGlobal(L, "panini")
        guard !vm.configuration.isTrusted else { return }
        for function in api.replacements {
            guard let (library, name) = function.replaces else { continue }
            vm.pushHostFunction(function.entry.function, context: context, onto: L)
            vm.setLibraryFunction(library, name, L)
        }
    }

    /// Pushes a table with everything in it. It refuses assignments, which nobody would ever see.
    func push(_ index: Int, of api: ScriptAPI, onto L: OpaquePointer) {
        let table = api.tables[index]
        lua_checkstack(L, 16)
        lua_createtable(L, 0, CInt(table.count))
        let contents = lua_gettop(L)
        panini_push_fixed(L, table.declaration.path, table.declaration.hint)
        for function in table.functions {
            vm.pushString(L, function.entry.name)
            if let push = function.push {
                push(self, L, contents + 1)
            } else {
                vm.pushHostFunction(function.entry.function, context: context, onto: L)
            }
            lua_rawset(L, contents)
        }
        for value in table.values {
            vm.pushString(L, value.name)
            value.declaration.push(self, L, contents + 1)
            lua_rawset(L, contents)
        }
        for inner in table.tables {
            vm.pushString(L, api.tables[inner].name)
            push(inner, of: api, onto: L)
            lua_rawset(L, contents)
        }
        lua_rotate(L, contents, 1)
        lua_settop(L, -2)
    }

    /// What host functions get back as their script.
    private var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }
}
