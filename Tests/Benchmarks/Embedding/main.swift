// What a Swift function costs a script, over a call of a Lua function. The figures of docs/performance.md, by
// swift run --package-path Tests/Benchmarks -c release EmbeddingBenchmark [CASE...]

import Glibc
import LuaVM
import Panini
import PaniniTesting

private let script = """
    local app = panini.app{ service_name = "bench", handler_timeout = 600, limits = { cpu = 600 } }
    local swift = require "swift"
    local function nothing() return true end
    local function add(a, b) return a + b end
    local cases = {
        lua_nothing = function(n) for i = 1, n do nothing() end end,
        swift_nothing = function(n) local f = swift.nothing for i = 1, n do f() end end,
        lua_add = function(n) for i = 1, n do add(i, 2) end end,
        swift_add = function(n) local f = swift.add for i = 1, n do f(i, 2) end end,
        swift_text = function(n) local f = swift.text for i = 1, n do f("a short text") end end,
        swift_codable = function(n) local f = swift.codable for i = 1, n do f({ x = 1, y = 2 }) end end,
        swift_method = function(n) local o = swift.object() for i = 1, n do o.add(2) end end,
        lua_spawn = function(n) for i = 1, n do app.sleep(0) end end,
        swift_off_worker = function(n) local f = swift.elsewhere for i = 1, n do f(i) end end,
        swift_async = function(n) local f = swift.later for i = 1, n do f(i) end end,
        -- Many at once: the way a busy service calls.
        swift_async_together = function(n)
            local f, list = swift.later, {}
            for i = 1, 100 do list[i] = function() for j = 1, n // 100 do f(j) end end end
            app.wait_all(list)
        end,
    }
    function run(name, n)
        local begun = panini.monotonic()
        cases[name](n)
        return (panini.monotonic() - begun) / n * 1e6
    end
    """

private struct Point: Codable, LuaConvertible {
    var x: Double
    var y: Double
}

private final class Counter: PaniniObject {
    func add(_ number: Int) -> Int { number + 1 }
}

private func configure(_ configuration: inout PaniniHostConfiguration) {
    configuration.texts["bench.lua"] = script
    configuration.module("swift") { module in
        module.type(Counter.self, "counter") { type in
            type.method("add") { (counter: Counter, number: Int) in counter.add(number) }
        }
        module.function("object") { () in Counter() }
        module.function("nothing") { () in true }
        module.function("add") { (a: Int, b: Int) in a + b }
        module.function("text") { (text: String) in text }
        module.function("codable") { (point: Point) in point.x + point.y }
        module.function("later") { (number: Int) async in number }
        module.function("elsewhere", start: .offWorker) { (number: Int) async in number }
    }
}

/// CPU time of the process so far, in microseconds.
private func cpuTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func microseconds(_ time: timeval) -> Double { Double(time.tv_sec) * 1e6 + Double(time.tv_usec) }
    return microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
}

private func rounded(_ microseconds: Double) -> Double { (microseconds * 1000).rounded() / 1000 }

try await PaniniTestHost.run(scripts: ["bench.lua"], configure: configure) { test in
    let all: [(String, Int)] = [
        ("lua_nothing", 2_000_000), ("swift_nothing", 2_000_000), ("lua_add", 2_000_000), ("swift_add", 2_000_000),
        ("swift_text", 1_000_000), ("swift_codable", 100_000), ("swift_method", 1_000_000), ("lua_spawn", 20_000),
        ("swift_async", 20_000), ("swift_async_together", 200_000), ("swift_off_worker", 20_000),
    ]
    let chosen = CommandLine.arguments.dropFirst()
    let cases = all.filter { chosen.isEmpty || chosen.contains($0.0) }
    // One round of all after the other, so that a busy moment does not fall on one case alone.
    var times: [String: [(wall: Double, cpu: Double)]] = [:]
    for _ in 0..<7 {
        for (name, count) in cases {
            let before = cpuTime()
            guard case .number(let microseconds)? = try await test.host.call("run", of: "bench", name, count).first
            else {
                fatalError("no figure")
            }
            times[name, default: []].append((microseconds, (cpuTime() - before) / Double(count)))
        }
    }
    print("per call, median of 7 rounds: CPU time of the process (time that passed)")
    for (name, _) in cases {
        let runs = times[name] ?? []
        let cpu = runs.map(\.cpu).sorted()[runs.count / 2]
        let wall = runs.map(\.wall).sorted()[runs.count / 2]
        print("\(name): \(rounded(cpu)) µs (\(rounded(wall)) µs)")
    }
}
