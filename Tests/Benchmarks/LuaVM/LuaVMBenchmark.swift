// CPU time of the steps of a message inside LuaVM: best of several rounds, so that what else the machine does matters
// less. Run with: swift run --package-path Tests/Benchmarks -c release LuaVMBenchmark [NAME [ITERATIONS]]
import CLuaVM
import Glibc
import LuaVM

private let sample = """
    {"key1":"value1","key2":2,"key3":3.0,"key4":[1,2,3,4],"key5":{"1":1,"2":2,"3":3,"4":4,"5":5},\
    "key6":{"subkey1":"1","subkey2":2,"3":3,"4":4,"5":5},"key7":null}
    """

@main
struct LuaVMBenchmark {
    let vm: LuaVM
    let only: String?
    /// In place of each step's own number: few under callgrind.
    let iterations: Int?

    static func main() throws {
        let arguments = CommandLine.arguments
        try LuaVMBenchmark(
            vm: LuaVM(),
            only: arguments.count > 1 ? arguments[1] : nil,
            iterations: arguments.count > 2 ? Int(arguments[2]) : nil
        ).run()
    }

    /// Nanoseconds of CPU time of one call.
    func measure(_ name: String, iterations: Int = 100_000, _ body: () -> Void) {
        if let only, only != name { return }
        let iterations = self.iterations ?? iterations
        var best = Double.infinity
        for _ in 0..<12 {
            let begin = cpuTime()
            for _ in 0..<iterations { body() }
            best = min(best, (cpuTime() - begin) / Double(iterations))
        }
        print("\(name): \((best * 10).rounded() / 10) ns")
    }

    private func cpuTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }

    func run() throws {
        let L = vm.state
        let text = UnsafeMutableRawBufferPointer.allocate(byteCount: sample.utf8.count, alignment: 1)
        text.copyBytes(from: sample.utf8)
        let bytes = UnsafeRawBufferPointer(text)
        let writer = ByteWriter()

        measure("decode") {
            decode(bytes, L)
            lua_settop(L, -2)
        }
        for (name, makes) in [
            ("prices", "i * 7 % 100000 / 100"), ("fractions", "math.random()"), ("whole floats", "i * 1.0"),
        ] {
            guard try vm.run("numbers = {} for i = 1, 1000 do numbers[i] = \(makes) end", name: "numbers").isEmpty
            else { return }
            lua_rawgeti(L, PANINI_REGISTRY_INDEX, 2)
            vm.pushString(L, "numbers")
            lua_rawget(L, -2)
            measure("encode 1000 \(name)", iterations: 500) {
                writer.removeAll()
                try? vm.encodeJSON(L, -1, into: writer)
            }
            lua_settop(L, -3)
        }
        decode(bytes, L)
        measure("encode") {
            writer.removeAll()
            encode(L, writer)
        }
        lua_settop(L, 0)
        measure("decode+encode") {
            writer.removeAll()
            decode(bytes, L)
            encode(L, writer)
            lua_settop(L, -2)
        }

        let trivial = try vm.load("local function handler() end return handler", path: "trivial.lua")
        _ = try vm.call(trivial)
        let handler = vm.makeReference(L)
        measure("pooled resume", iterations: 1_000_000) {
            let co = vm.acquireCoroutine()
            vm.push(handler, onto: co.thread)
            _ = vm.resume(co, argumentCount: 0)
            vm.recycle(co)
        }

        vm.pushHostFunction({ _, _ in LuaVM.suspend }, context: nil, onto: L)
        vm.setGlobal(L, "wait")
        let waiting = try vm.load("local wait = wait return function() return wait() end", path: "waiting.lua")
        _ = try vm.call(waiting)
        let waiter = vm.makeReference(L)
        measure("suspend and resume", iterations: 1_000_000) {
            let co = vm.acquireCoroutine()
            vm.push(waiter, onto: co.thread)
            _ = vm.resume(co, argumentCount: 0)
            _ = vm.resume(co, argumentCount: 0)
            vm.recycle(co)
        }

        vm.pushHostFunction({ _, _ in 0 }, context: nil, onto: L)
        vm.setGlobal(L, "host")
        let looping = try vm.load("local host = host for i = 1, 1000 do host() end", path: "looping.lua")
        measure("1000 host calls", iterations: 1_000) { _ = try? vm.call(looping) }
    }

    private func decode(_ bytes: UnsafeRawBufferPointer, _ L: OpaquePointer) {
        do {
            try vm.pushJSON(bytes, onto: L)
        } catch {
            fatalError("\(error)")
        }
    }

    private func encode(_ L: OpaquePointer, _ writer: ByteWriter) {
        do {
            try vm.encodeJSON(L, -1, into: writer)
        } catch {
            fatalError("\(error)")
        }
    }
}
