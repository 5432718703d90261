// Owns: building the `panini` and `app` tables of a script. Worker's thread, while the script is made or loaded.

import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime

extension Script {
    /// Makes the global `panini`, which `require "panini"` returns too, and `print`.
    func registerModules() {
        let L = vm.state
        lua_createtable(L, 0, CInt(HostFunctionEntry.panini.count + 6))
        add(HostFunctionEntry.panini + [HostFunctionEntry.response], L)
        addTable("json", HostFunctionEntry.json, L)
        addTable("base64", HostFunctionEntry.base64, L)
        addTable("hash", HostFunctionEntry.hash, L)
        addTable("middleware", HostFunctionEntry.middleware, L)
        vm.pushString(L, "null" as StaticString)
        vm.pushNull(L)
        lua_rawset(L, -3)
        for (name, number) in [("worker", place.worker), ("workers", place.workers)] {
            vm.pushString(L, name)
            lua_pushinteger(L, lua_Integer(number))
            lua_rawset(L, -3)
        }
        fix("panini", Self.ownVariables, L)
        lua_pushvalue(L, -1)
        _ = vm.makeReference(L)
        lua_pushvalue(L, -1)
        vm.setLoadedModule("panini", L)
        vm.setGlobal(L, "panini")
        vm.pushHostFunction(printText, context: context, onto: L)
        vm.setGlobal(L, "print")
        guard !vm.configuration.isTrusted, let entry = HostFunctionEntry.panini.first(where: { $0.name == "env" })
        else {
            return
        }
        vm.pushHostFunction(entry.function, context: context, onto: L)
        vm.setLibraryFunction("os", "getenv", L)
    }

    /// What host functions get back as their script.
    private var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    private func add(_ entries: [HostFunctionEntry], _ L: OpaquePointer) {
        for entry in entries {
            vm.pushString(L, entry.name)
            vm.pushHostFunction(entry.function, context: context, onto: L)
            lua_rawset(L, -3)
        }
    }

    private func addTable(
        _ name: String,
        of parent: String = "panini",
        _ entries: [HostFunctionEntry],
        hint: String = ownVariables,
        _ L: OpaquePointer,
        more: (OpaquePointer) -> Void = { _ in }
    ) {
        vm.pushString(L, name)
        lua_createtable(L, 0, CInt(entries.count))
        add(entries, L)
        more(L)
        fix("\(parent).\(name)", hint, L)
        lua_rawset(L, -3)
    }

    private static let ownVariables = "keep values of your own in variables of your own"

    /// Replaces the table on top by one that refuses assignments, which nobody would ever see.
    private func fix(_ name: String, _ hint: String, _ L: OpaquePointer) {
        panini_push_fixed(L, name, hint)
        lua_rotate(L, -2, 1)
        lua_settop(L, -2)
    }

    /// `panini.app{...}`.
    func makeApp(_ call: HostCall) throws(Misuse) -> CInt {
        guard options == nil else {
            throw Misuse("panini.app: this script has made its app already; one file is one service")
        }
        guard phase == .loading else { throw Misuse("panini.app: an app is made while the file runs, not later") }
        guard call.type(1) == LUA_TTABLE else {
            throw Misuse("panini.app: takes a table of options, as in panini.app{ service_name = \"orders\" }")
        }
        let members = try call.members(1)
        try requireAllowed(options: members)
        do throws(AppOptions.Failure) {
            options = try AppOptions(
                script: members,
                directory: directory,
                overrides: overrides,
                bounds: restrictions == nil ? nil : .untrusted,
                rows: place.options
            )
        } catch {
            switch error {
            case .script(let text): throw Misuse("panini.app: \(text)")
            case .outside(let text):
                version.outsideFailure = PaniniError(code: .invalidOption, message: text)
                throw Misuse(text)
            }
        }
        logger[metadataKey: "service"] = "\(options?.serviceName ?? "")"
        let L = call.L
        if let options {
            try settle(options)
            // Unless somebody has named them outside.
            if !overrides.contains("module_path") { addModulePath(options.modulePath, L) }
            for lowered in options.lowered {
                logger.warning("\(vm.position(L)): panini.app: \(lowered.text)")
            }
        }
        lua_createtable(L, 0, CInt(HostFunctionEntry.app.count + 4))
        add(HostFunctionEntry.app + place.functions, L)
        addTable(
            "http",
            of: "app",
            HostFunctionEntry.http,
            hint: "routes are made by calls, as in app.http.get(path, handler)",
            L,
            more: addFetch
        )
        addTable(
            "shared",
            of: "app",
            HostFunctionEntry.shared,
            hint: "app.shared.set(key, value) stores a value for all workers, app.shared.get(key) reads it",
            L
        )
        vm.pushString(L, "logger" as StaticString)
        pushLogger(options?.serviceName ?? "", L)
        lua_rawset(L, -3)
        panini_push_fixed(
            L,
            "app",
            "options are given to panini.app{...}, functions by calls, as in app.on_stop(fn); \(Self.ownVariables)"
        )
        vm.pushString(L, HostFunctionEntry.addMiddleware.name)
        lua_pushvalue(L, -2)
        panini_middleware_push_adder(L, HostFunctionEntry.addMiddleware.function, context)
        lua_rawset(L, -4)
        keepApp(L)
        return 1
    }

    /// What follows from the options before anything else runs: the connection's name, and the logs.
    private func settle(_ options: AppOptions) throws(Misuse) {
        vm.setLabel(options.serviceName)
        apply(options.limits)
        messaging.clientName =
            options.clientName ?? place.clientName ?? ServiceLoader.makeClientName(service: options.serviceName)
        do throws(PaniniError) {
            try openLogs(options)
        } catch {
            version.outsideFailure = error
            throw Misuse(error.message)
        }
    }

    /// Pushes a logger: a table of functions bound to it, so that a dot and a colon call alike.
    func pushLogger(_ name: String, _ L: OpaquePointer) {
        vm.pushString(L, name)
        let shared = lua_gettop(L)
        lua_createtable(L, 0, 6)
        vm.pushString(L, "name" as StaticString)
        lua_pushvalue(L, shared)
        lua_rawset(L, -3)
        panini_push_fixed(L, "logger", "levels are settings of the log: --log-level, config/log_config.json")
        for (level, function) in logFunctions {
            vm.pushString(L, level)
            lua_pushvalue(L, shared)
            lua_pushvalue(L, -3)
            panini_push_twice_bound_function(L, function, context)
            lua_rawset(L, -4)
        }
        lua_copy(L, -1, shared)
        lua_settop(L, shared)
    }
}
