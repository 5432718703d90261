// Owns: what a version of a script has of metrics and traces: the spans of what no message began, the counters of its sends.
// Worker's thread.

import Instrumentation
import LuaVM
import ScriptRuntime

/// Metrics and traces of one version of a script.
final class ScriptTelemetry: ScriptFeature, RunWatcher {
    /// Whether messages have spans.
    let isTraced: Bool
    /// The spans of what no message began, by the slots of their coroutines.
    var taskSpans: [Int: TaskSpan] = [:]
    /// What is counted of sends; made when the first of a kind is.
    var sendMetrics: [PaniniMiddlewareKind: MessageMetrics] = [:]

    private let telemetry: HostTelemetry?

    required init(_ script: Script) {
        telemetry = script.place[HostTelemetry.self]
        isTraced = telemetry?.traces != nil
        super.init(script)
        if isTraced { script.watchedRuns += 1 }
    }

    /// The outermost middleware.
    override func prepare() {
        guard let telemetry else { return }
        let kinds = Set(script.middlewares.kinds.all)
        script.addOuter(TelemetryMiddleware(kinds: kinds, instruments: telemetry))
    }

    func runBegins(_ coroutine: LuaCoroutine, _ activity: Activity, function index: CInt) {
        if isTraced { script.beginSpan(coroutine, activity, function: index) }
    }

    func runDidEnd(_ coroutine: LuaCoroutine, _ error: @autoclosure () -> LuaError?) {
        if isTraced { script.endSpan(slot: Int(coroutine.slot), error()) }
    }

    func runIsGivenUp(slot: Int, _ activity: Activity, _ reason: ReplyError) {
        if isTraced { script.endSpan(slot: slot, activity, givenUp: reason) }
    }

    func runSpawned(_ record: SpawnRecord) { record.context = script.traceContext }
}

extension Script {
    var telemetry: ScriptTelemetry { features[ScriptTelemetry.self] }
}
