// Owns: a feature that uses every hook there is and writes down when it is called: for the tests beside it. It stands in no
// program.

import Bytes
import CLuaVM
import LuaVM
import MetricsTestKit
import NATS
import NATSProtocol
import NIOCore
import ScriptRuntime
import Synchronization

@testable import Panini

/// What was called, in order, by the service's name. The tests of a suite run beside each other.
enum ProbeLog {
    private static let lines = Mutex<[String: [String]]>([:])

    static func note(_ service: String, _ line: String) { lines.withLock { $0[service, default: []].append(line) } }

    static func lines(of service: String) -> [String] { lines.withLock { $0[service] ?? [] } }
}

extension Feature {
    static let probe = Feature(
        ScriptProbe.self,
        ServiceProbe.self,
        HostProbe.self,
        shared: [{ ProbeShared() }],
        middlewareKinds: [.sendProbe, .listenProbe],
        permissions: [ScriptProbe.permission],
        options: [ScriptProbe.preparation, ScriptProbe.refused, HostProbe.word],
        functions: [
            Function(
                entry: HostFunctionEntry(name: "probe", signature: "app.probe(subject, message) -> message") {
                    hostCall($0, $1, "app.probe", takes: 2) { call throws(UsageError) in
                        try call.script.features[ScriptProbe.self].send(call)
                    }
                },
                annotation: "Gives its message back.\n@param subject string\n@param message any\n@return any message"
            ),
            Function(
                entry: HostFunctionEntry(name: "probe_shared", signature: "app.probe_shared() -> count, word") {
                    hostCall($0, $1, "app.probe_shared", takes: 0) { call in
                        call.script.features[ScriptProbe.self].shared(call)
                    }
                },
                annotation: "What workers share, and what the host gives.\n@return integer count\n@return string word"
            ),
            Function(
                entry: HostFunctionEntry(name: "probed", signature: "app.probed(text) -> text") {
                    hostCall($0, $1, "app.probed", takes: 1) { call throws(UsageError) in
                        try call.script.features[ScriptProbe.self].receive(call)
                    }
                },
                annotation: "Gives its text back.\n@param text string\n@return string text"
            ),
        ]
    )
}

extension PaniniMiddlewareKind {
    static let sendProbe = sent("send_probe", 60, verb: "probe")
    static let listenProbe = received("listen_probe", 61)
}

extension WorkerCounter {
    static let probes = WorkerCounter("panini_probes")
}

/// What the workers of a service share.
final class ProbeShared: Sendable {
    private let count = Atomic(0)

    func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}

/// What the host gives to scripts.
struct ProbeWord: Sendable {
    let text: String
}

/// What comes in through `app.probed`.
struct ProbeSource: MiddlewareSource {
    let text: String
    let probe: ScriptProbe

    var subject: String { "probed" }
    var pattern: String { "probe.*" }
    var payload: [UInt8]? { Array(text.utf8) }
    var headerFields: [(name: String, value: String)] { [("Probe", text)] }

    var kept: AnyObject? {
        get { probe.kept }
        nonmutating set { probe.kept = newValue }
    }
}

final class ScriptProbe: ScriptFeature, MiddlewareComposer {
    static let preparation = OptionDefinition.kept(
        "probe",
        .choice(["ready", "fails", "silent"]),
        usual: .string("ready"),
        "how its preparation ends ({default})"
    )
    static let refused = OptionDefinition.kept("probe_refused", .boolean, usual: .boolean(false), "refuse the file")
    static let permission = PermissionDefinition("probe", of: "subject", "What untrusted scripts may probe.")

    var kept: AnyObject?
    private var sends: LuaReference?
    private var receives: LuaReference?
    private lazy var direct: LuaReference = reference { L, _ in
        // The message.
        lua_settop(L, 2)
        return 1
    }
    private lazy var handler: LuaReference = reference { L, _ in
        lua_settop(L, 1)
        return 1
    }

    private func reference(_ function: LuaVM.HostFunction) -> LuaReference {
        let L = script.vm.state
        script.vm.pushHostFunction(function, context: Unmanaged.passUnretained(script).toOpaque(), onto: L)
        return script.vm.makeReference(L)
    }

    var middlewareKinds: [PaniniMiddlewareKind] { [.sendProbe, .listenProbe] }

    func source(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source {
        kind.isSend ? .sent(L) : .other(ProbeSource(text: script.vm.string(L, 1) ?? "none", probe: self))
    }

    func recompose() {
        for chain in [sends, receives] { if let chain { script.vm.release(chain) } }
        let layers = script.middlewares.layers + script.middlewares.outer
        sends = script.chain(.sendProbe, layers, to: direct)
        receives = script.chain(.listenProbe, layers, to: handler)
    }

    fileprivate func send(_ call: HostCall) throws(UsageError) -> CInt {
        let subject = try call.string(1, "the subject")
        if let restrictions = script.restrictions, !restrictions.values(of: Self.permission).contains(subject) {
            return call.failure(CallError("denied", "the script may not probe \(subject)"))
        }
        lua_settop(call.L, 3)
        script.vm.push(sends ?? direct, onto: call.L)
        return LuaVM.call
    }

    fileprivate func shared(_ call: HostCall) -> CInt {
        lua_pushinteger(call.L, lua_Integer(script.place[ProbeShared.self]?.next() ?? 0))
        script.vm.pushString(call.L, script.place[ProbeWord.self]?.text ?? "none")
        return 2
    }

    fileprivate func receive(_ call: HostCall) throws(UsageError) -> CInt {
        _ = try call.string(1, "the text")
        lua_settop(call.L, 1)
        script.vm.push(receives ?? handler, onto: call.L)
        return LuaVM.call
    }

    override func fileEnded() throws(ScriptError) {
        recompose()
        guard script.options?.value(of: Self.refused) == .boolean(true) else { return }
        throw ScriptError(.refusedByFeature, "\(script.path): the probe refuses the file")
    }

    override var listed: [ListedRegistration] {
        [ListedRegistration(kind: "probe", name: "one", details: ["mode": "\(mode)", "of": "a test"])]
    }

    fileprivate var mode: String {
        guard case .string(let mode)? = script.options?.value(of: Self.preparation) else { return "" }
        return mode
    }
}

final class ServiceProbe: ServiceFeature {
    private struct NoProbe: Error {}

    private func note(_ line: String) { ProbeLog.note(service.options.serviceName, line) }

    override func prepare(_ version: Script) -> [Preparation] {
        let mode = version.features[ScriptProbe.self].mode
        let name = service.options.serviceName
        note("prepare \(version.generation) \(mode)")
        let loop = service.worker.eventLoop
        let promise = loop.makePromise(of: Void.self)
        loop.scheduleTask(in: .milliseconds(mode == "silent" ? 400 : 30)) {
            ProbeLog.note(name, "prepared")
            if mode == "fails" { promise.fail(NoProbe()) } else { promise.succeed() }
        }
        return [Preparation(what: "probe", limit: .milliseconds(200), future: promise.futureResult)]
    }

    override func subscribe(_ version: Script) -> PaniniError? {
        note("subscribe \(version.generation)")
        return nil
    }

    override func withdraw(_ staging: Staging) { note("withdraw \(staging.script.generation)") }

    override func connectionEvent(_ event: NATSEvent) {
        switch event {
        case .connected: note("connected")
        case .disconnected: note("disconnected")
        case .reconnected: note("reconnected")
        default: break
        }
    }

    override func drain() -> EventLoopFuture<Void>? {
        note("drain")
        let name = service.options.serviceName
        return service.worker.eventLoop.scheduleTask(in: .milliseconds(100)) { ProbeLog.note(name, "drained") }
            .futureResult
    }

    override func willDisconnect() -> EventLoopFuture<Void>? {
        note("will disconnect, connected \(service.connection.isConnected)")
        let name = service.options.serviceName
        return service.worker.eventLoop.scheduleTask(in: .milliseconds(30)) { ProbeLog.note(name, "given back") }
            .futureResult
    }

    override func shut() { note("shut") }

    override func close() { note("close") }

    override func count(into counters: inout WorkerCounters) { counters[.probes] = 3 }

    override func add(to status: inout WorkerStatus) {
        let details = [PaniniServiceReport.Registration.Detail(name: "next", value: "soon")]
        status.rows.append(PaniniServiceReport.Registration(kind: "probe", name: "clock", details: details))
        status.figures["probe_sum"] = WorkerFigure(2)
        status.figures["probe_largest"] = WorkerFigure(service.worker.index, .largest)
    }
}

/// A backend that the feature itself is.
enum ProbeBackend {
    static let metrics = TestMetrics()
}

final class HostProbe: HostFeature {
    private struct NoHost: Error {}

    static let word = OptionDefinition.kept("probe_word", .string, usual: .string("usual"), "a word ({default})").ofHost

    private var names: [String] = []

    override var given: (any Sendable)? {
        guard case .string(let text)? = try? host.value(of: Self.word) else { return nil }
        return ProbeWord(text: text)
    }

    override func telemetry(over telemetry: HostTelemetry?) -> HostTelemetry? {
        // The tests that want other backends say so by the name of a file.
        guard host.scriptPaths.contains(where: { $0.contains("own-backend") }) else { return telemetry }
        return HostTelemetry(metrics: ProbeBackend.metrics, traces: telemetry?.traces)
    }

    override func starting(_ path: String) {
        if path.contains("left-out") { ProbeLog.note("probe-left-out", "host: starting") }
    }

    override func leftOut(_ path: String) { ProbeLog.note("probe-left-out", "host: left out") }

    override func answer(_ command: String, _ question: JSONValue) -> EventLoopFuture<JSONText>? {
        guard command == "probe" else { return nil }
        return host.look(within: .milliseconds(200)).map { all in
            .object([
                ("said", .string(question["word"]?.string ?? "nothing")),
                ("services", .array(all.map { .string("\($0.0.serviceName) \($0.1[.probes])") })),
            ])
        }
    }

    override func start() -> Preparation? {
        // The tests that want it to fail say so by a service whose file has that name.
        guard host.scriptPaths.contains(where: { $0.contains("host-fails") }) else { return nil }
        return Preparation(
            what: "host probe",
            limit: .seconds(5),
            future: host.loop.makeFailedFuture(NoHost())
        )
    }

    override func started(_ report: PaniniServiceReport, from path: String) {
        names.append(report.serviceName)
        ProbeLog.note(report.serviceName, "host: started")
    }

    override func reloaded(_ report: PaniniReloadReport) { ProbeLog.note(report.serviceName, "host: reloaded") }

    override func notReloaded(_ service: String, _ error: PaniniError) {
        ProbeLog.note(service, "host: not reloaded, \(error.code)")
    }

    override func willStop() { for name in names { ProbeLog.note(name, "host: will stop") } }

    override func stop() -> EventLoopFuture<Void>? {
        let names = names
        return host.loop.scheduleTask(in: .milliseconds(20)) {
            for name in names { ProbeLog.note(name, "host: stopped") }
        }.futureResult
    }
}
