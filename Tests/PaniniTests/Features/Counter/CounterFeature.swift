// Owns: a feature as an example: counters of a script that outlive its versions. docs/architecture.md explains how to add a
// feature with it. It stands in no program; the tests beside it add it to a host with one line.

import CLuaVM
import LuaVM
import ScriptRuntime

@testable import Panini

extension Feature {
    /// `app.counter`.
    static let counters = Feature(
        ScriptCounters.self,
        CounterService.self,
        options: [ScriptCounters.start],
        functions: [
            Function(
                entry: HostFunctionEntry(name: "counter", signature: "app.counter(name [, by]) -> value") {
                    hostCall($0, $1, "app.counter", takes: 2) { call throws(Misuse) in
                        try call.script.features[ScriptCounters.self].counter(call)
                    }
                },
                annotation: """
                    Declares a counter while the file runs, and counts later; it goes on over reloads.
                    @param name string
                    @param by? integer how much is added (1)
                    @return integer value
                    """
            )
        ]
    )
}

/// What it has in a version: the counters that the script has declared.
final class ScriptCounters: ScriptFeature {
    /// Its option: one row, from which flags, files, help and editors know it.
    static let start = OptionDefinition.kept(
        "counter_start",
        .integer(0...1_000_000),
        usual: .integer(0),
        "what counters begin with ({default})",
        untrusted: .own
    )

    private(set) var names: [String] = []

    /// What a reload compares.
    override var registered: [(name: String, form: String)] { names.map { (name: "counter \($0)", form: "") } }

    fileprivate func counter(_ call: HostCall) throws(Misuse) -> CInt {
        let name = try call.string(1, "the name")
        if script.phase == .loading {
            guard !names.contains(name) else { throw Misuse("app.counter: there is one called \"\(name)\" already") }
            names.append(name)
            return 0
        }
        guard let service = script.service, names.contains(name) else {
            throw Misuse("app.counter: \"\(name)\" was not declared while the file ran")
        }
        let by = call.isNone(2) ? 1 : lua_tointegerx(call.L, 2, nil)
        lua_pushinteger(call.L, service.features[CounterService.self].add(Int(by), to: name))
        return 1
    }

    fileprivate var firstValue: Int {
        guard case .integer(let number)? = script.options?.value(of: Self.start) else { return 0 }
        return Int(number)
    }
}

/// What it has in a service: the values, which go on when the script is exchanged.
final class CounterService: ServiceFeature {
    private var values: [String: Int] = [:]

    fileprivate func add(_ amount: Int, to name: String) -> lua_Integer {
        values[name, default: 0] += amount
        return lua_Integer(values[name] ?? 0)
    }

    /// A version serves: its counters are there, those that it has not declared are gone.
    override func begin(_ version: Script, after old: Script?) {
        let counters = version.features[ScriptCounters.self]
        values = Dictionary(uniqueKeysWithValues: counters.names.map { ($0, values[$0] ?? counters.firstValue) })
    }

    /// `panini ps --json` and the status have a row for each.
    override func add(to status: inout WorkerStatus) {
        for (name, value) in values { status.figures["counter_\(name)"] = WorkerFigure(value) }
    }
}
