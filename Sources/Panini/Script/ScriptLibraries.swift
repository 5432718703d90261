// Owns: what Lua libraries expect around a script: the folders of modules, the standard streams, and what the log was told of
// once. Worker's thread.

import CLuaShim
import Glibc
import Logging
import LuaVM

/// What the libraries of one script need of the host.
struct ScriptLibraries {
    /// Where its modules lie.
    var modules: ModuleSearch
    /// `io.stdout` and `io.stderr`.
    var output = LineBuffer()
    var errors = LineBuffer()
    /// What it has asked for and does not get.
    var noticed: Set<CInt> = []
    /// Options of calls that it has asked more of than it gets.
    var lowered: Set<String> = []

    init(modules: ModuleSearch) { self.modules = modules }
}

/// Text that comes in pieces and goes on in lines.
struct LineBuffer {
    /// A line that does not end goes on in parts.
    static let longestLine = 8192

    private var pending: [UInt8] = []

    /// Adds a piece; hands on each line that it ends, without its line break.
    mutating func add(_ piece: UnsafeRawBufferPointer, _ line: (String) -> Void) {
        var rest = piece[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            pending += rest[..<end]
            line(take())
            rest = rest[(end + 1)...]
        }
        pending += rest
        if pending.count >= Self.longestLine { line(take()) }
    }

    var isEmpty: Bool { pending.isEmpty }

    /// What has come of a line so far.
    mutating func take() -> String {
        defer { pending.removeAll(keepingCapacity: pending.capacity <= Self.longestLine) }
        return String(decoding: pending, as: UTF8.self)
    }
}

extension Script {
    /// Before the file runs: modules, streams, the environment.
    func openLibraries() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        vm.installRequire(
            resolver: { [unowned self] name, path in libraries.modules.module(name, path: path) },
            search: { [unowned self] file, path in libraries.modules.file(file, path: path) },
            wake: { [unowned self] id in wake(id, .nothing) }
        )
        vm.addSearchPath(libraries.modules.templates, first: true, vm.state)
        vm.takeOutput(context: context) { context, stream, text, count in
            Script.from(context).write(UnsafeRawBufferPointer(start: text, count: count), isErrors: stream == 2)
        }
        vm.takeNotices(context: context) { L, context, notice in
            Script.from(context).notice(notice, L.unsafelyUnwrapped)
        }
        guard !vm.configuration.isTrusted, let entry = HostFunctionEntry.panini.first(where: { $0.name == "env" })
        else {
            return
        }
        vm.pushHostFunction(entry.function, context: context, onto: vm.state)
        vm.setLibraryFunction("os", "getenv", vm.state)
    }

    /// The app's options are known: the script itself may name folders of modules, unless somebody did outside.
    func addModulePath(_ options: AppOptions, _ L: OpaquePointer) {
        guard !options.modulePath.isEmpty, !overrides.contains("module_path") else { return }
        vm.addSearchPath(libraries.modules.add(options.modulePath), first: false, L)
    }

    /// The option as it was given outside the script; a wrong one is reported when the script makes its app.
    static func modulePath(in overrides: PaniniOverrides) -> [String] {
        var merged = MergedOptions()
        do throws(AppOptions.Failure) {
            try merged.add(overrides.only(["module_path"]))
        } catch {
            return []
        }
        guard case .list(let folders) = merged.values["module_path"]?.value else { return [] }
        return folders
    }

    /// `LUA_PATH`, as Lua 5.4 reads it.
    static func luaPath() -> String? {
        (getenv("LUA_PATH_5_4") ?? getenv("LUA_PATH")).map { String(cString: $0) }
    }

    // MARK: - Streams

    private func write(_ text: UnsafeRawBufferPointer, isErrors: Bool) {
        guard phase != .closed else { return }
        let level: Logger.Level = isErrors ? .warning : .info
        guard text.baseAddress != nil else {
            let rest = isErrors ? libraries.errors.take() : libraries.output.take()
            if !rest.isEmpty { logLine(level, rest) }
            return
        }
        if isErrors {
            libraries.errors.add(text) { logLine(level, $0) }
        } else {
            libraries.output.add(text) { logLine(level, $0) }
        }
    }

    /// `print`: ends the line that `io.write` began.
    func logPrinted(_ text: String) {
        logLine(.info, libraries.output.isEmpty ? text : libraries.output.take() + text)
    }

    /// What was written and has no line break yet, at the end of the script.
    func flushStreams() {
        for (level, rest) in [(Logger.Level.info, libraries.output.take()), (.warning, libraries.errors.take())]
        where !rest.isEmpty {
            logLine(level, rest)
        }
    }

    private func logLine(_ level: Logger.Level, _ text: String) {
        let name = options?.serviceName ?? ""
        if logs(level, name) { log(level, name, text) }
    }

    // MARK: - Notices

    private func notice(_ number: CInt, _ L: OpaquePointer) {
        guard phase != .closed, libraries.noticed.insert(number).inserted else { return }
        let place = vm.position(L)
        let text =
            switch LuaNotice(rawValue: number) {
            case .finalizer: "__gc is ignored: scripts have no finalizers; variables with <close> end in time"
            case .collection: "collectgarbage does nothing but count: the host collects"
            case nil: "something is ignored"
            }
        logger.info("\(place.isEmpty ? path : place): \(text)")
    }
}
