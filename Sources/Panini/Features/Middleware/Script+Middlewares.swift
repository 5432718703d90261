// Owns: app.add_middleware, app.remove_middleware and the option `middlewares` as scripts use them, and composing what
// they registered into chains. Worker's thread; never per message.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import ScriptRuntime

extension Script {
    /// What functions of a middleware are called.
    private var middlewareNames: [String] { middlewares.kinds.all.map(\.name) + ["send_any", "listen_any"] }

    /// Gives a middleware in Swift its number.
    func adopt(_ middleware: any PaniniMiddleware) -> SwiftMiddleware {
        let swiftMiddleware = SwiftMiddleware(id: makeHandleNumber(), kinds: middleware.kinds)
        middlewares.swiftMiddlewares[swiftMiddleware.id] = middleware
        return swiftMiddleware
    }

    /// Puts a middleware of the program around all those of the script, which has none yet.
    func addOuter(_ middleware: any PaniniMiddleware) {
        middlewares.outer.append(MiddlewareLayer(id: makeHandleNumber(), swiftMiddleware: adopt(middleware)))
        composeSends()
    }

    // MARK: - Calls of scripts

    func addMiddleware(_ call: HostCall) throws(UsageError) -> CInt {
        guard phase != .closed else { throw UsageError("app.add_middleware: the service has stopped") }
        guard middlewares.layers.count < ScriptMiddlewares.maximumLayers else {
            throw UsageError(
                "app.add_middleware: there are \(ScriptMiddlewares.maximumLayers) middlewares already, the most there may be"
            )
        }
        let layer = try readLayer(call, 1, "the middleware")
        middlewares.layers.append(layer)
        recompose()
        _ = panini_handle_push(call.L, middlewares.handleType, layer.id)
        return 1
    }

    func removeMiddleware(_ call: HostCall) throws(UsageError) -> CInt {
        guard let handle = panini_userdata_at(call.L, 1, middlewares.handleType) else {
            throw UsageError("app.remove_middleware: takes what app.add_middleware returned, not \(call.typeName(1))")
        }
        let removed = removeMiddleware(number: handle.assumingMemoryBound(to: panini_handle.self).pointee.id)
        lua_pushboolean(call.L, removed ? 1 : 0)
        return 1
    }

    /// False when it had been removed before.
    fileprivate func removeMiddleware(number: Int64) -> Bool {
        guard phase != .closed, let index = middlewares.layers.firstIndex(where: { $0.id == number }) else {
            return false
        }
        let layer = middlewares.layers.remove(at: index)
        recompose()
        release(layer)
        return true
    }

    /// Gives back the functions of a middleware that is in no chain any more.
    func release(_ layer: MiddlewareLayer) {
        for reference in Set(layer.functions.values.map(\.index)) { vm.release(LuaReference(index: reference)) }
    }

    /// The option `middlewares` of the options at an index: each must be for one of the kinds.
    func ownMiddlewares(
        _ call: HostCall,
        _ index: CInt,
        of kinds: [PaniniMiddlewareKind]
    ) throws(UsageError) -> [MiddlewareLayer] {
        let L = call.L
        let type = vm.pushRawField(L, index, "middlewares")
        defer { lua_settop(L, -2) }
        guard type != LUA_TNIL else { return [] }
        guard type == LUA_TTABLE else {
            throw UsageError("\(call.name): middlewares must be a list of middlewares, not \(call.typeName(-1))")
        }
        let list = lua_gettop(L)
        let count = lua_rawlen(L, list)
        guard count <= ScriptMiddlewares.maximumLayers else {
            throw UsageError("\(call.name): more than \(ScriptMiddlewares.maximumLayers) middlewares")
        }
        if count == 0 {
            lua_pushnil(L)
            if panini_next(L, list) != 0 {
                lua_settop(L, list)
                throw UsageError("\(call.name): middlewares must be a list, as in middlewares = { audit }")
            }
        }
        var layers: [MiddlewareLayer] = []
        for position in 0..<count {
            lua_rawgeti(L, list, lua_Integer(position + 1))
            defer { lua_settop(L, list) }
            let layer = try readLayer(call, lua_gettop(L), "entry \(position + 1) of middlewares")
            guard kinds.contains(where: { layer.covers($0) }) else {
                let names = kinds.map(\.name).joined(separator: ", ")
                throw UsageError("\(call.name): entry \(position + 1) of middlewares is for none of \(names)")
            }
            layers.append(layer)
        }
        return layers
    }

    // MARK: - Reading a middleware

    private func readLayer(_ call: HostCall, _ index: CInt, _ what: String) throws(UsageError) -> MiddlewareLayer {
        let L = call.L
        if let swiftMiddleware = panini_userdata_at(L, index, middlewares.swiftType) {
            let id = swiftMiddleware.assumingMemoryBound(to: panini_handle.self).pointee.id
            return MiddlewareLayer(
                id: makeHandleNumber(),
                swiftMiddleware: SwiftMiddleware(id: id, kinds: middlewares.swiftMiddlewares[id]?.kinds ?? [])
            )
        }
        guard lua_type(L, index) == LUA_TTABLE else {
            if lua_type(L, index) == LUA_TFUNCTION {
                throw UsageError(
                    "\(call.name): \(what) is a function; call it, so that the middleware it makes stands there"
                )
            }
            throw UsageError(
                "\(call.name): \(what) must be a table of functions, or a function that returns one, not \(call.typeName(index))"
            )
        }
        try checkNames(call, index, what)
        var layer = MiddlewareLayer(id: makeHandleNumber())
        let fallbacks = ["send_any", "listen_any"].map { ($0, function(call.L, index, $0)) }
        for kind in middlewares.kinds.all {
            let fallback = fallbacks.first { $0.0 == kind.fallback }?.1
            layer.functions[kind] = function(call.L, index, kind.name) ?? fallback
        }
        guard !layer.functions.isEmpty else {
            throw UsageError("\(call.name): \(what) has none of \(middlewareNames.joined(separator: ", "))")
        }
        return layer
    }

    private func checkNames(_ call: HostCall, _ index: CInt, _ what: String) throws(UsageError) {
        let L = call.L
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        let names = middlewareNames
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            guard lua_type(L, -2) == LUA_TSTRING, let name = vm.string(L, -2, upTo: UsageError.longest) else {
                throw UsageError("\(call.name): \(what) must have functions by their names")
            }
            guard names.contains(name) else {
                throw UsageError(
                    "\(call.name): \(what) has an unknown function \"\(name)\""
                        + suggestion(for: name, in: names)
                )
            }
            guard lua_type(L, -1) == LUA_TFUNCTION else {
                throw UsageError("\(call.name): \(name) of \(what) must be a function, not \(call.typeName(-1))")
            }
            lua_settop(L, -2)
        }
    }

    /// A function of the table, or of the tables its metatables name as `__index`.
    private func function(_ L: OpaquePointer, _ index: CInt, _ name: String) -> LuaReference? {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        lua_pushvalue(L, index)
        for _ in 0..<16 {
            if panini_field(L, top + 1, name) == LUA_TFUNCTION { return vm.makeReference(L) }
            lua_settop(L, top + 1)
            guard lua_getmetatable(L, top + 1) != 0, panini_field(L, top + 2, "__index") == LUA_TTABLE else {
                return nil
            }
            lua_copy(L, top + 3, top + 1)
            lua_settop(L, top + 1)
        }
        return nil
    }

    // MARK: - Composing

    /// Makes all chains anew. Messages that are on their way go on with the chain they began with.
    private func recompose() {
        for feature in features.all { (feature as? any MiddlewareComposer)?.recompose() }
    }

    func composeSends() {
        for old in [middlewares.publish, middlewares.publishSync, middlewares.request] {
            if let old { vm.release(old) }
        }
        let layers = middlewares.layers + middlewares.outer
        middlewares.publish = chain(.sendPublish, layers, to: middlewares.directCalls.publish)
        middlewares.publishSync = chain(.sendPublish, layers, to: middlewares.directCalls.publishSync)
        middlewares.request = chain(.sendRequest, layers, to: middlewares.directCalls.request)
    }

    /// A function that goes through all layers of a kind, the last one first; nil when there are none.
    func chain(
        _ kind: PaniniMiddlewareKind,
        _ layers: [MiddlewareLayer],
        to inner: LuaReference
    ) -> LuaReference? {
        guard layers.contains(where: { $0.covers(kind) }) else { return nil }
        let L = vm.state
        lua_checkstack(L, 12)
        vm.push(inner, onto: L)
        for layer in layers where layer.covers(kind) {
            if let function = layer.functions[kind] {
                vm.push(function, onto: L)
                lua_rotate(L, -2, 1)
                kind.verb.withUTF8Buffer { verb in
                    verb.withMemoryRebound(to: CChar.self) {
                        panini_middleware_push_step(L, middlewares.host, kind.number, $0.baseAddress)
                    }
                }
            } else if let swiftMiddleware = layer.swiftMiddleware {
                panini_middleware_push_native_step(L, middlewares.host, swiftMiddleware.id, kind.number)
            }
        }
        return vm.makeReference(L)
    }

    /// Leaves a sending call to its middlewares; what is wrong with it is said at the script's own line first.
    func goThrough(_ call: HostCall, _ chain: LuaReference) throws(UsageError) -> CInt {
        _ = try call.bytes(1, "the subject")
        guard call.isNone(3) || call.type(3) == LUA_TTABLE else {
            throw UsageError("\(call.name): options must be a table, not \(call.typeName(3))")
        }
        vm.push(chain, onto: call.L)
        return LuaVM.call
    }
}

/// The sending calls themselves, behind all middlewares.
struct DirectCalls {
    let publish: LuaReference
    let publishSync: LuaReference
    let request: LuaReference

    init(_ vm: LuaVM, context: UnsafeMutableRawPointer) {
        func reference(_ function: LuaVM.HostFunction) -> LuaReference {
            vm.pushHostFunction(function, context: context, onto: vm.state)
            return vm.makeReference(vm.state)
        }
        publish = reference {
            hostCall($0, $1, "app.publish", takes: 3) { call throws(UsageError) in
                try call.script.publishDirectly(call, force: false)
            }
        }
        publishSync = reference {
            hostCall($0, $1, "app.publish_sync", takes: 3) { call throws(UsageError) in
                try call.script.publishDirectly(call, force: true)
            }
        }
        request = reference {
            hostCall($0, $1, "app.request", takes: 3) { call throws(UsageError) in try call.script.requestDirectly(call)
            }
        }
    }
}

/// The method of a middleware's handle.
let removeMiddlewareHandle: panini_handle_function = { L, context, handle in
    let removed = Script.from(context).removeMiddleware(number: handle.unsafelyUnwrapped.pointee.id)
    lua_pushboolean(L, removed ? 1 : 0)
    return 1
}
