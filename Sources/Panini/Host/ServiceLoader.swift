// Owns: from a file's path to a loaded script and a service. The thread of the worker; reads files, which is fine before
// a service runs.

import Logging
import LuaVM
import NATS
import PaniniObservability
import ScriptRuntime

enum ServiceLoader {
    /// Loads a script that makes an app.
    static func load(
        _ path: String,
        overrides: PaniniOverrides,
        logger: Logger,
        logs: PaniniLogs? = nil,
        middlewares: [any PaniniMiddleware] = [],
        place: ScriptPlace
    ) throws(PaniniError) -> (script: Script, options: AppOptions) {
        let script = try loadScript(
            path,
            overrides: overrides,
            logger: logger,
            logs: logs,
            middlewares: middlewares,
            place: place
        )
        guard let options = script.options else {
            script.close()
            throw PaniniError(code: .noApp, message: "\(path): the script made no app; it calls panini.app{...} once")
        }
        return (script, options)
    }

    /// Runs the script's file; it registers what it serves.
    static func loadScript(
        _ path: String,
        overrides: PaniniOverrides,
        logger: Logger,
        logs: PaniniLogs? = nil,
        middlewares: [any PaniniMiddleware] = [],
        place: ScriptPlace = .plain
    ) throws(PaniniError) -> Script {
        let source = try read(path, place.sources)
        var surroundings = place
        surroundings[PaniniLogs.self] = logs
        surroundings[[any PaniniMiddleware].self] = middlewares
        let script = try Script(
            path: path,
            overrides: overrides,
            logger: logger,
            place: surroundings
        )
        do throws(LuaError) {
            script.vm.setLabel(path)
            let chunk = try source.withUnsafeBufferPointer { bytes throws(LuaError) in
                try script.vm.load(UnsafeRawBufferPointer(bytes), path: path)
            }
            defer { script.vm.release(chunk) }
            let co = script.vm.acquireCoroutine()
            script.vm.push(chunk, onto: co.thread)
            switch script.vm.resume(co, argumentCount: 0) {
            case .returned:
                script.vm.recycle(co)
                if let problem = script.vm.weakKeyProblem() {
                    throw LuaError(kind: .runtime, message: "\(path): \(problem)")
                }
                do throws(ScriptError) {
                    try script.fileEnded()
                } catch {
                    throw LuaError(kind: .runtime, message: error.message)
                }
            case .failed: throw script.vm.takeError(co)
            case .suspended:
                script.vm.discard(co)
                throw LuaError(kind: .runtime, message: "\(path): the file waits; use app.on_start_task for that")
            }
        } catch {
            script.close()
            if let failure = script.version.outsideFailure { throw failure }
            throw PaniniError(
                code: error.kind == .syntax ? .scriptSyntax : .scriptFailed,
                message: placed(error, in: path),
                traceback: error.traceback
            )
        }
        do throws(PaniniError) {
            try script.install(place[PaniniRegistrations.self] ?? PaniniRegistrations())
        } catch {
            script.close()
            throw error
        }
        return script
    }

    /// An error's text with the script's file and line in front: as Lua put them, or for an error that carries no place
    /// of its own (a table, nil) as the traceback has them.
    private static func placed(_ error: LuaError, in path: String) -> String {
        if let text = withFullPath(error.message[...], path) { return text }
        if error.message.contains(path) { return error.message }
        for line in (error.traceback ?? "").split(separator: "\n") {
            guard let place = withFullPath(line.drop { $0 == " " || $0 == "\t" }, path) else { continue }
            let digits = place.dropFirst(path.count + 1).prefix { $0.isNumber }
            if !digits.isEmpty { return "\(path):\(digits): \(error.message)" }
        }
        return "\(path): \(error.message)"
    }

    /// A text that begins with the path and a colon, where Lua may have shortened a long path to `...` and its end.
    private static func withFullPath(_ text: Substring, _ path: String) -> String? {
        if text.hasPrefix(path + ":") { return String(text) }
        guard text.hasPrefix("..."), let colon = text.firstIndex(of: ":") else { return nil }
        let end = text[..<colon].dropFirst(3)
        return !end.isEmpty && path.hasSuffix(end) ? path + text[colon...] : nil
    }

    private static func read(_ path: String, _ sources: SourceFiles) throws(PaniniError) -> [UInt8] {
        do throws(FileError) {
            return try sources.read(path, maximum: ModuleSearch.maximumScriptBytes)
        } catch {
            throw PaniniError(code: .scriptNotFound, message: error.message)
        }
    }
}
