// require for scripts: the host says where modules come from, this says when they run (panini_require.c) and what was
// loaded. No file is opened here.
internal import CLuaVM

/// A module's text, as the host found it.
package struct LuaModule {
    package var path: String
    package var source: [UInt8]

    package init(path: String, source: [UInt8]) {
        self.path = path
        self.source = source
    }
}

/// What the host says to the question for a module, or for a file of `package.searchpath`.
package enum LuaModuleAnswer<Found> {
    case found(Found)
    /// Where it is not: a line for each place.
    case missing([String])
}

/// A module that a script asked for and that was found, whether its body then succeeded or not.
package struct LuaModuleRecord: Equatable {
    package let name: String
    package let path: String
}

/// Keeps the host's closure behind a stable address for C.
final class ModuleResolver {
    unowned let vm: LuaVM
    let resolve: (_ name: String, _ path: String) -> LuaModuleAnswer<LuaModule>
    let search: (_ file: String, _ path: String) -> LuaModuleAnswer<String>
    /// Coroutines that wait for a module that another one is loading.
    var waiting: [String: [UInt64]] = [:]
    let wake: ((UInt64) -> Void)?

    init(
        vm: LuaVM,
        resolve: @escaping (String, String) -> LuaModuleAnswer<LuaModule>,
        search: @escaping (String, String) -> LuaModuleAnswer<String>,
        wake: ((UInt64) -> Void)?
    ) {
        self.vm = vm
        self.resolve = resolve
        self.search = search
        self.wake = wake
    }
}

extension LuaVM {
    /// Lets scripts `require` what the resolver finds. Bodies may wait; each runs once.
    ///
    /// - Parameters:
    ///   - resolver: Takes the name, with dots for slashes, and `package.path`.
    ///   - search: Takes the name of a file without its ending, and templates: what `package.searchpath` is to find.
    ///   - wake: Called, in the middle of Lua's run, with the id of a coroutine that has waited for a module which
    ///     another one was loading: it is to be resumed, without arguments, once Lua has returned. Without it such a
    ///     coroutine gets an error instead.
    package func installRequire(
        resolver: @escaping (_ name: String, _ path: String) -> LuaModuleAnswer<LuaModule>,
        search: @escaping (_ file: String, _ path: String) -> LuaModuleAnswer<String> = { _, _ in .missing([]) },
        wake: ((UInt64) -> Void)? = nil
    ) {
        let box = ModuleResolver(vm: self, resolve: resolver, search: search, wake: wake)
        moduleResolver = box
        vm.pointee.loader.context = Unmanaged.passUnretained(box).toOpaque()
        vm.pointee.loader.load = { L, context, name, length, path, pathLength in
            guard let L, let context, let name, let path else { return -1 }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            let texts = (text(name, length), text(path, pathLength))
            return resolver.vm.pushModule(texts.0, path: texts.1, resolver: resolver, onto: L)
        }
        vm.pointee.loader.search = { L, context, file, length, path, pathLength in
            guard let L, let context, let file, let path else { return -1 }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            switch resolver.search(text(file, length), text(path, pathLength)) {
            case .found(let path):
                resolver.vm.pushString(L, path)
                return 1
            case .missing(let lines):
                resolver.vm.pushString(L, lines.joined(separator: "\n\t"))
                return -1
            }
        }
        guard wake != nil else { return }
        vm.pointee.loader.wait = { context, name, length in
            guard let context, let name else { return }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            guard let running = resolver.vm.running else { return }
            resolver.waiting[text(name, length), default: []].append(running.id)
        }
        vm.pointee.loader.ended = { context, name, length in
            guard let context, let name else { return }
            let resolver = Unmanaged<ModuleResolver>.fromOpaque(context).takeUnretainedValue()
            guard !resolver.waiting.isEmpty else { return }
            for id in resolver.waiting.removeValue(forKey: text(name, length)) ?? [] {
                resolver.wake?(id)
            }
        }
    }

    private func pushModule(
        _ name: String,
        path: String,
        resolver: ModuleResolver,
        onto L: OpaquePointer
    ) -> CInt {
        lua_checkstack(L, 4)
        let module: LuaModule
        switch resolver.resolve(name, path) {
        case .found(let found): module = found
        case .missing(let lines):
            pushString(L, lines.joined(separator: "\n\t"))
            return -1
        }
        let record = LuaModuleRecord(name: name, path: module.path)
        if !loadedModules.contains(record) { loadedModules.append(record) }
        let status = module.source.withUnsafeBytes { pushChunk($0, path: module.path, onto: L) }
        guard status == LUA_OK else { return 0 }
        pushString(L, module.path)
        return 1
    }

    /// Puts templates in front of `package.path`, or behind it.
    package func addSearchPath(_ templates: [String], first: Bool, _ L: OpaquePointer) {
        guard !templates.isEmpty else { return }
        lua_checkstack(L, 8)
        templates.joined(separator: ";").withCString { panini_add_search_path(L, $0, first ? 1 : 0) }
    }

    /// Pops the value on top of `L`; `require(name)` returns it from now on.
    package func setLoadedModule(_ name: String, _ L: OpaquePointer) {
        lua_checkstack(L, 8)
        name.withCString { panini_set_loaded(L, $0) }
    }
}

private func text(_ bytes: UnsafePointer<CChar>, _ count: Int) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
}
