// Owns: a feature as an example: counters of a script that outlive its versions. docs/architecture.md explains how to add a
// feature with it. It stands in no program; the tests beside it add it to a host with one line.

import CLuaVM
import LuaVM
import ScriptRuntime

@testable import Panini

extension Feature {
    /// `app.counter` and `app.counters`.
    static let counters = Feature(
        ScriptCounters.self,
        CounterService.self,
        options: [ScriptCounters.start],
        tables: [
            Table(
                "app.counters",
                type: "panini.Counters",
                annotation: "The counters of a service.",
                summary: "all of them at once",
                hint: "a counter is made by app.counter(name)"
            )
        ],
        functions: [
            Function(
                entry: HostFunctionEntry(name: "counter", signature: "app.counter(name [, by]) -> value") {
                    hostCall($0, $1, "app.counter", takes: 2) { call throws(UsageError) in
                        try call.script.features[ScriptCounters.self].counter(call)
                    }
                },
                annotation: """
                    Declares a counter while the file runs, and counts later; it goes on over reloads.
                    @param name string
                    @param by? integer how much is added (1)
                    @return integer value
                    """
            ),
            Function(
                table: "app.counters",
                entry: HostFunctionEntry(name: "reset", signature: "app.counters.reset(name) -> value before") {
                    hostCall($0, $1, "app.counters.reset", takes: 1) { call throws(UsageError) in
                        try call.script.features[ScriptCounters.self].reset(call)
                    }
                },
                annotation: """
                    Lets a counter begin anew.
                    @param name string
                    @return integer value what it was before
                    """
            ),
            Function(
                table: "app.counters",
                entry: HostFunctionEntry(name: "list", signature: "app.counters.list() -> counters by name") {
                    hostCall($0, $1, "app.counters.list", takes: 0) { call throws(UsageError) in
                        try call.script.features[ScriptCounters.self].list(call)
                    }
                },
                annotation: """
                    All counters.
                    @return panini.Counter[] counters by name
                    """
            ),
        ],
        values: [
            Value("app.counters.most", type: "integer how many a script may have") { _, L, _ in
                lua_pushinteger(L, lua_Integer(ScriptCounters.most))
            }
        ],
        types: [
            """
            A counter as `app.counters.list` has it.
            @class panini.Counter
            @field name string
            @field value integer
            """
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

    static let most = 100

    private(set) var names: [String] = []
    /// What counters begin with.
    fileprivate private(set) var firstValue = 0

    /// The options are known.
    override func appMade() {
        if case .integer(let number)? = script.options?.value(of: Self.start) { firstValue = Int(number) }
    }

    /// What a reload compares.
    override var registered: [(name: String, form: String)] { names.map { (name: "counter \($0)", form: "") } }

    fileprivate func counter(_ call: HostCall) throws(UsageError) -> CInt {
        let name = try call.string(1, "the name")
        if script.phase == .loading {
            guard !names.contains(name) else {
                throw UsageError("app.counter: there is one called \"\(name)\" already")
            }
            guard names.count < Self.most else { throw UsageError("app.counter: there are \(Self.most) already") }
            names.append(name)
            return 0
        }
        let by = call.isNone(2) ? 1 : lua_tointegerx(call.L, 2, nil)
        lua_pushinteger(call.L, lua_Integer(try service(call, name).add(Int(by), to: name)))
        return 1
    }

    fileprivate func reset(_ call: HostCall) throws(UsageError) -> CInt {
        let name = try call.string(1, "the name")
        let service = try service(call, name)
        lua_pushinteger(call.L, lua_Integer(service.value(of: name)))
        service.set(name, to: firstValue)
        return 1
    }

    fileprivate func list(_ call: HostCall) throws(UsageError) -> CInt {
        let L = call.L
        lua_createtable(L, CInt(names.count), 0)
        for (position, name) in names.sorted().enumerated() {
            let value = try service(call, name).value(of: name)
            lua_createtable(L, 0, 2)
            script.vm.pushString(L, "name" as StaticString)
            script.vm.pushString(L, name)
            lua_rawset(L, -3)
            script.vm.pushString(L, "value" as StaticString)
            lua_pushinteger(L, lua_Integer(value))
            lua_rawset(L, -3)
            lua_rawseti(L, -2, lua_Integer(position + 1))
        }
        return 1
    }

    /// Those of the service, for a counter that the script has declared.
    private func service(_ call: HostCall, _ name: String) throws(UsageError) -> CounterService {
        guard let service = script.service, names.contains(name) else {
            throw UsageError("\(call.name): \"\(name)\" was not declared while the file ran")
        }
        return service.features[CounterService.self]
    }
}

/// What it has in a service: the values, which go on when the script is exchanged.
final class CounterService: ServiceFeature {
    private var values: [String: Int] = [:]

    fileprivate func value(of name: String) -> Int { values[name] ?? 0 }

    fileprivate func set(_ name: String, to value: Int) { values[name] = value }

    fileprivate func add(_ amount: Int, to name: String) -> Int {
        values[name, default: 0] += amount
        return value(of: name)
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
