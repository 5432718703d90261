// require for scripts: the host says where modules come from, this says when they run (panini_require.c) and what was
// loaded. No file is opened here.
internal import CLuaShim

/// A module's text, as the host found it.
package struct LuaModule {
    package var path: String
    package var source: [UInt8]

    package init(path: String, source: [UInt8]) {
        self.path = path
        self.source = source
    }
}

/// A module that a script asked for and that was found, whether its body then succeeded or not.
package struct LuaModuleRecord: Equatable {
    package let name: String
    package let path: String
}

/// Keeps the host's closure behind a stable address for C.
final class ModuleResolver {
    unowned let vm: LuaVM
    let resolve: (String) -> LuaModule?
    /// Coroutines that wait for a module that another one is loading.
    var waiting: [String: [UInt64]] = [:]
    let wake: ((UInt64) -> Void)?

    init(vm: LuaVM, resolve: @escaping (String) -> LuaModule?, wake: ((UInt64) -> Void)?) {
        self.vm = vm
        self.resolve = resolve
        self.wake = wake
    }
}

extension LuaVM {
    /// Lets scripts `require` what the resolver finds. Bodies may wait; each runs once.
    ///
    /// - Parameters:
    ///   - resolver: Takes the name as the script wrote it; nil when there is no such module.
    ///   - wake: Called, in the middle of Lua's run, with the id of a coroutine that has waited for a module which
    ///     another one was loading: it is to be resumed, without arguments, once Lua has returned. Without it such a
    ///     coroutine gets an error instead.
    package func installRequire(
        resolver: @escaping (String) -> LuaModule?,
        wake: ((UInt64) -> Void)? = nil
    ) {
        let box = ModuleResolver(vm: self, resolve: resolver, wake: wake)
        moduleResolver = box
        vm.pointee.loader.context = Unmanaged.passUnretained(box).toOpaque()
        vm.pointee.loader.load = { L, context, name, length in
            guard let L, let context, let name else { return -1 }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            let bytes = UnsafeRawBufferPointer(start: name, count: length)
            return resolver.vm.pushModule(String(decoding: bytes, as: UTF8.self), resolver: resolver, onto: L)
        }
        guard wake != nil else { return }
        vm.pointee.loader.wait = { context, name, length in
            guard let context, let name else { return }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            guard let running = resolver.vm.running else { return }
            let bytes = UnsafeRawBufferPointer(start: name, count: length)
            resolver.waiting[String(decoding: bytes, as: UTF8.self), default: []].append(running.id)
        }
        vm.pointee.loader.ended = { context, name, length in
            guard let context, let name else { return }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            guard !resolver.waiting.isEmpty else { return }
            let bytes = UnsafeRawBufferPointer(start: name, count: length)
            for id in resolver.waiting.removeValue(forKey: String(decoding: bytes, as: UTF8.self)) ?? [] {
                resolver.wake?(id)
            }
        }
    }

    private func pushModule(_ name: String, resolver: ModuleResolver, onto L: OpaquePointer) -> CInt {
        guard let module = resolver.resolve(name) else { return -1 }
        let record = LuaModuleRecord(name: name, path: module.path)
        if !loadedModules.contains(record) { loadedModules.append(record) }
        lua_checkstack(L, 4)
        let status = module.source.withUnsafeBytes { pushChunk($0, path: module.path, onto: L) }
        guard status == LUA_OK else { return 0 }
        pushString(L, module.path)
        return 1
    }

    /// Pops the value on top of `L`; `require(name)` returns it from now on.
    package func setLoadedModule(_ name: String, _ L: OpaquePointer) {
        lua_checkstack(L, 8)
        name.withCString { panini_set_loaded(L, $0) }
    }
}
