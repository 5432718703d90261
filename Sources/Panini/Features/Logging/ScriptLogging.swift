// Owns: what a version of a script has of the logs: where its records go, and what the log was told of once. Worker's thread.

import Logging
import LuaVM
import PaniniObservability
import ScriptRuntime

/// The logs of one version of a script.
final class ScriptLogging: ScriptFeature {
    /// Those of the service, once its options are known; nil where the program has none, and for `panini check`.
    var serviceLogs: ServiceLogs?
    /// The name of the thread the script runs on, as its records have it.
    let threadName: String
    /// Globals made after the file had run, which the log knows of.
    var reportedGlobals: Set<String> = []

    required init(_ script: Script) {
        threadName = script.place.threadName ?? LogRecord.currentThreadName()
        super.init(script)
    }

    override func prepare() {
        script.vm.pushHostFunction(
            printText,
            context: Unmanaged.passUnretained(script).toOpaque(),
            onto: script.vm.state
        )
        script.vm.setGlobal(script.vm.state, "print")
    }

    override func appMade() throws(ScriptError) {
        guard let options = script.options else { return }
        do throws(PaniniError) {
            try script.openLogs(options)
        } catch {
            script.version.outsideFailure = error
            throw ScriptError(.refusedByFeature, error.message)
        }
    }

    override func fileEnded() {
        script.vm.reportGlobals(context: Unmanaged.passUnretained(script).toOpaque()) { L, context in
            Script.from(context).logging.globalMade(L.unsafelyUnwrapped)
        }
    }

    override func wrote(_ line: String, isErrors: Bool) {
        let level: Logger.Level = isErrors ? .warning : .info
        let name = script.options?.serviceName ?? ""
        if script.logs(level, name) { script.log(level, name, line) }
    }

    /// A forgotten `local`: handlers that run at the same time then share what each thinks its own.
    private func globalMade(_ L: OpaquePointer) {
        guard script.phase != .closed, reportedGlobals.count < Self.mostReportedGlobals else { return }
        let name = script.vm.string(L, 2, upTo: ValueShower.longestKey) ?? ""
        guard reportedGlobals.insert(name).inserted else { return }
        let place = script.vm.position(L)
        script.logger.warning(
            "\(place.isEmpty ? script.path : place): the global '\(name)' is made in a handler; write local, or declare it at file level"
        )
    }

    /// A script that makes names up is told of so many.
    private static let mostReportedGlobals = 100
}

extension Script {
    var logging: ScriptLogging { features[ScriptLogging.self] }
}
