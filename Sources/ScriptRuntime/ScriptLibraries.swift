// Owns: what Lua libraries expect around a script: the folders of modules, the standard streams, and what the log was told of
// once. Worker's thread.

import CLuaVM
import Glibc
import Logging
import LuaVM

/// What the libraries of one script need of the host.
package struct ScriptLibraries {
    /// Where its modules lie.
    package var modules: ModuleSearch
    /// `io.stdout` and `io.stderr`.
    package var output = LineBuffer()
    package var errors = LineBuffer()
    /// Notices that are in the log already; each is logged once.
    package var noticed: Set<CInt> = []
    /// Options of calls that were lowered to a permitted value; the log names each once.
    package var lowered: Set<String> = []

    package init(modules: ModuleSearch) { self.modules = modules }
}

/// Text that comes in pieces and goes on in lines.
package struct LineBuffer {
    /// A line that does not end goes on in parts.
    package static let longestLine = 8192

    private var pending: [UInt8] = []

    /// Adds a piece; hands on each line that it ends, without its line break.
    ///
    /// - Parameter line: Whether the next line is wanted; otherwise the rest of the piece is dropped.
    package mutating func add(_ piece: UnsafeRawBufferPointer, _ line: (String) -> Bool) {
        var rest = piece[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            pending += rest[..<end]
            guard line(take()) else { return }
            rest = rest[(end + 1)...]
        }
        pending += rest
        if pending.count >= Self.longestLine { _ = line(take()) }
    }

    package var isEmpty: Bool { pending.isEmpty }

    /// What has come of a line so far.
    package mutating func take() -> String {
        defer { pending.removeAll(keepingCapacity: pending.capacity <= Self.longestLine) }
        return String(decoding: pending, as: UTF8.self)
    }
}

extension Script {
    /// Before the file runs: modules, streams, the environment.
    package func openLibraries() {
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
    }

    /// The script itself names further folders of modules.
    package func addModulePath(_ folders: [String], _ L: OpaquePointer) {
        guard !folders.isEmpty else { return }
        vm.addSearchPath(libraries.modules.add(folders), first: false, L)
    }

    // MARK: - Streams

    private func write(_ text: UnsafeRawBufferPointer, isErrors: Bool) {
        guard phase != .closed else { return }
        guard text.baseAddress != nil else {
            let rest = isErrors ? libraries.errors.take() : libraries.output.take()
            if !rest.isEmpty { tellLine(rest, isErrors) }
            return
        }
        // A text may have a hundred thousand lines: the run may be over before it is written.
        if isErrors {
            libraries.errors.add(text) { writeLine($0, true) }
        } else {
            libraries.output.add(text) { writeLine($0, false) }
        }
    }

    private func writeLine(_ text: String, _ isErrors: Bool) -> Bool {
        tellLine(text, isErrors)
        return !vm.isRunOver
    }

    /// `print`: ends the line that `io.write` began.
    package func logPrinted(_ text: String) {
        tellLine(libraries.output.isEmpty ? text : libraries.output.take() + text, false)
    }

    /// What was written and has no line break yet, at the end of the script.
    package func flushStreams() {
        for (rest, isErrors) in [(libraries.output.take(), false), (libraries.errors.take(), true)] where !rest.isEmpty
        {
            tellLine(rest, isErrors)
        }
    }

    private func tellLine(_ line: String, _ isErrors: Bool) {
        for feature in features.all { feature.wrote(line, isErrors: isErrors) }
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
