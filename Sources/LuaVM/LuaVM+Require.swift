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

    init(vm: LuaVM, resolve: @escaping (String) -> LuaModule?) {
        self.vm = vm
        self.resolve = resolve
    }
}

extension LuaVM {
    /// Lets scripts `require` what the resolver finds. Bodies may wait; each runs once.
    ///
    /// - Parameter resolver: Takes the name as the script wrote it; nil when there is no such module.
    package func installRequire(resolver: @escaping (String) -> LuaModule?) {
        let box = ModuleResolver(vm: self, resolve: resolver)
        moduleResolver = box
        vm.pointee.loader.context = Unmanaged.passUnretained(box).toOpaque()
        vm.pointee.loader.load = { L, context, name, length in
            guard let L, let context, let name else { return -1 }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            let bytes = UnsafeRawBufferPointer(start: name, count: length)
            return resolver.vm.pushModule(String(decoding: bytes, as: UTF8.self), resolver: resolver, onto: L)
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
