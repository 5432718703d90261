// Owns: what a script's Lua state has of the modules that a Swift program offers. Worker's thread, while the script is made.

import CLuaVM
import CScriptObjects
import LuaVM
import ScriptRuntime

extension Script {
    /// Makes the modules, so that `require` finds them.
    func install(_ modules: [PaniniModule]) throws(ScriptError) {
        for module in modules {
            // Types first: a constant may be an object.
            for object in module.objects { declare(object, in: module) }
        }
        for module in modules {
            do throws(LuaMismatch) {
                try install(module)
            } catch {
                throw ScriptError(
                    .refusedByFeature,
                    "module \(module.name) cannot be offered to \(path): \(error.description)"
                )
            }
        }
    }

    private func install(_ module: PaniniModule) throws(LuaMismatch) {
        let L = vm.state
        lua_checkstack(L, 16)
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        lua_createtable(L, 0, CInt(module.members.count))
        for member in module.members {
            vm.pushString(L, member.name)
            switch member.content {
            case .function(let body):
                let function = keep(body, named: "\(module.name).\(member.name)")
                lua_pushvalue(L, top + 1)
                panini_push_bound_function(L, EmbeddedFunction.entry, Unmanaged.passUnretained(function).toOpaque())
            case .constant(let push):
                do throws(LuaMismatch) {
                    try push(LuaResults(script: self, L: L))
                } catch {
                    throw error.inside(".\(member.name)")
                }
            }
            lua_rawset(L, top + 1)
        }
        lua_pushvalue(L, top + 1)
        vm.setLoadedModule(module.name, L)
    }

    private func declare(_ object: ObjectDefinition, in module: PaniniModule) {
        guard embedding.types[object.key] == nil else { return }
        let L = vm.state
        lua_checkstack(L, 16)
        lua_createtable(L, 0, CInt(object.methods.count))
        for method in object.methods {
            let function = keep(method.body, named: "\(object.name).\(method.name)", isMethod: true)
            vm.pushString(L, method.name)
            lua_pushlightuserdata(L, Unmanaged.passUnretained(function).toOpaque())
            lua_rawset(L, -3)
        }
        object.name.withCString { name in
            panini_object_push_metatable(L, name, callMethod, releaseObject)
        }
        embedding.types[object.key] = ObjectType(name: object.name, metatable: vm.makeReference(L).index)
    }

    /// Keeps a function for as long as the state may call it.
    func keep(_ body: EmbeddedBody, named name: String, isMethod: Bool = false) -> EmbeddedFunction {
        let function = EmbeddedFunction(script: self, name: name, body: body, isMethod: isMethod)
        embedding.functions.append(function)
        return function
    }
}

/// What Swift modules need in one script's state.
final class ScriptEmbedding: ScriptFeature, Resumable {
    var types: [ObjectIdentifier: ObjectType] = [:]
    /// The class that was looked for last, and its handles' metatable.
    private var last: (key: ObjectIdentifier, metatable: CInt)?
    /// What Lua's closures point to.
    var functions: [EmbeddedFunction] = []
    /// Made when a function first waits.
    private(set) var completions: SwiftCompletions?

    /// The metatable of a class' handles; nil when no module declares it.
    func metatable(of key: ObjectIdentifier) -> CInt? {
        if let last, last.key == key { return last.metatable }
        guard let type = types[key] else { return nil }
        last = (key, type.metatable)
        return type.metatable
    }

    func completions(of script: Script) -> SwiftCompletions? {
        if let completions { return completions }
        completions = script.service.map { SwiftCompletions(script, eventLoop: $0.worker.eventLoop) }
        return completions
    }

    override func load() throws(ScriptError) { try script.install(script.place[[PaniniModule].self] ?? []) }

    /// Takes what Swift functions have left.
    func goOn(_ token: UInt64) { script.takeCompletions() }

    override func close() {
        completions?.close()
        completions = nil
    }
}

extension Script {
    var embedding: ScriptEmbedding { features[ScriptEmbedding.self] }
}

/// Called by C for a method of a Swift object: the object's handle is put in front of the arguments.
private let callMethod: LuaVM.HostFunction = { L, context in
    let L = L.unsafelyUnwrapped
    guard lua_checkstack(L, 1) != 0 else { return 0 }
    lua_pushvalue(L, CInt(PANINI_BOUND_VALUE))
    lua_rotate(L, 1, 1)
    return EmbeddedFunction.entry(L, context)
}

/// Called by C when Lua has no more use of a handle.
private let releaseObject: @convention(c) (UnsafeMutableRawPointer?) -> Void = { object in
    guard let object else { return }
    Unmanaged<AnyObject>.fromOpaque(object).release()
}
