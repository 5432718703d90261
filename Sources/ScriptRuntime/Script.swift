// Owns: one version of a script on one loop: its Lua state, what its features keep in it, its suspended coroutines. Loop-bound.
// Knows no capability, no service and no option.

import Bytes
import CLuaVM
import CScriptObjects
package import Logging
import LoopTools
public import LuaVM

/// Where a script lies.
package struct ScriptFile {
    /// As given, which names the chunk.
    package let path: String
    package let directory: String

    package init(path: String) {
        self.path = path
        directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }
}

/// A loaded script.
public final class Script {
    /// How far the script has come: what it may call depends on it.
    public enum Phase {
        /// The file runs: it registers and computes; there is no connection yet.
        case loading
        /// Loaded; calls that need the broker are allowed.
        case live
        /// Closed: nothing runs any more.
        case closed
    }

    /// Its Lua state.
    public let vm: LuaVM
    package let file: ScriptFile
    /// Where it runs, and what it shares with the other workers.
    package let place: ScriptPlace
    /// Where its own records go.
    package var logger: Logger
    @exclusivity(unchecked) @usableFromInline var phaseNow = Phase.loading
    /// The limits of its runs, as far as they are known.
    package var limits = ScriptLimits()
    /// What its features have of it.
    @exclusivity(unchecked) @usableFromInline var featureList = ScriptFeatures()
    /// What runs and waits in it.
    @exclusivity(unchecked) @usableFromInline package var runs = RunState()
    @exclusivity(unchecked) @usableFromInline unowned(unsafe) var hostNow: ScriptHost?
    /// The CPU share of the service that runs this script (`ServiceTurn.share`).
    @exclusivity(unchecked) @usableFromInline package private(set) var share: OpaquePointer?
    /// What it has in the state by itself.
    @exclusivity(unchecked) package private(set) var tables: ScriptTables
    /// Encoded payloads; reused.
    package let writer = ByteWriter()
    /// What Lua libraries need around them.
    package var libraries: ScriptLibraries

    // What other modules look at on the way of a message is read here: there the compiler does not know that its access is
    // unchecked.

    /// How far it has come.
    public var phase: Phase {
        @inlinable @inline(__always) get { phaseNow }
        set { phaseNow = newValue }
    }

    /// What its features have of it.
    @inlinable public var features: ScriptFeatures {
        @inline(__always) _read { yield featureList }
    }

    /// Whom this script serves; `nil` for `panini check`.
    public var host: ScriptHost? {
        @inlinable @inline(__always) get { hostNow }
        set {
            hostNow = newValue
            share = newValue?.turn.share
        }
    }

    /// Makes the Lua state; the file has not run.
    package init(
        path: String,
        settings: ScriptSettings,
        logger: Logger,
        place: ScriptPlace
    ) throws(ScriptError) {
        self.file = ScriptFile(path: path)
        self.place = place
        self.libraries = ScriptLibraries(modules: ModuleSearch(directory: file.directory, settings: settings.modules))
        self.logger = logger
        do throws(LuaError) {
            self.vm = try LuaVM(configuration: settings.configuration)
        } catch {
            throw ScriptError(.noState, "\(path): no Lua state: \(error.message)")
        }
        self.tables = ScriptTables(vm)
        for kind in place.features { featureList.add(kind.init(self)) }
        featureList.add(SpawnedFunctions(self))
        openLibraries()
        for feature in features.all { feature.prepare() }
        for feature in features.all { try feature.load() }
    }

    deinit {
        deadlineLists.detach()
        vm.close()
    }

    package var path: String { file.path }

    package var directory: String { file.directory }

    /// Counts up with each version of the service's code.
    package var generation: Int { place.generation }

    /// Closes the Lua state. Everything suspended is given up.
    package func close() {
        guard phase != .closed else { return }
        flushStreams()
        phase = .closed
        for (slot, suspendedRun) in suspendedRuns.enumerated() {
            guard let suspendedRun else { continue }
            cancelWait(of: suspendedRun)
            if watchedRuns > 0 { tellGivenUp(slot: slot, suspendedRun.activity, .stopping) }
        }
        // An alarm would keep this alive until its time.
        for alarm in deadlineLists.alarms { host?.worker.cancel(alarm) }
        for feature in features.all { feature.close() }
        runs.giveUpAll()
        vm.close()
        // Whoever still has the script may have it longer than the service lives.
        host = nil
        deadlineLists.detach()
    }

    /// Whether something waits for the end of what it runs.
    package var isEnding: Bool { host?.awaitsEnd(of: self) == true }

    /// A number for a handle or a listener; never used twice.
    package func makeHandleNumber() -> Int64 { tables.makeHandleNumber() }

    /// The app is made, and lies on top: its identity is compared with first arguments for as long as the script runs.
    package func keepApp(_ L: OpaquePointer) { tables.keepApp(L, vm) }

    package static func from(_ context: UnsafeMutableRawPointer?) -> Script {
        Unmanaged<Script>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    }

    /// Pushes the table `{ code =, message = }` that calls return beside `nil`.
    package func push(_ error: CallError, onto L: OpaquePointer) {
        var message =
            error.message.utf8.count <= LuaVM.longestErrorText ? error.message : LuaVM.shortened(error.message)
        message.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) { text in
                switch error.code {
                case .number(let number):
                    panini_error_push(L, tables.errorType, nil, 0, number, text.baseAddress ?? emptyText, text.count)
                case .text(var code):
                    code.withUTF8 { code in
                        code.withMemoryRebound(to: CChar.self) { code in
                            panini_error_push(
                                L,
                                tables.errorType,
                                code.baseAddress ?? emptyText,
                                code.count,
                                0,
                                text.baseAddress ?? emptyText,
                                text.count
                            )
                        }
                    }
                }
            }
        }
    }

    /// Where the function at an index was defined: `orders.lua:12`.
    package func origin(_ L: OpaquePointer, _ index: CInt) -> String {
        var buffer = [CChar](repeating: 0, count: 512)
        guard panini_function_origin(L, index, &buffer, buffer.count) != 0 else { return path }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

@available(*, unavailable)
extension Script: Sendable {}

nonisolated(unsafe) private let emptyText: UnsafePointer<CChar> = {
    let text = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    text.pointee = 0
    return UnsafePointer(text)
}()
