import CLuaShim
import Testing

@testable import LuaVM

@Suite struct LuaVMTests {
    @Test func runsAChunkAndReturnsItsValue() throws {
        let machine = try Machine()
        #expect(try machine.run("return {a = {1, 2.5, 'x'}}") == #"{"a":[1,2.5,"x"]}"#)
    }

    @Test func aHandlerSuspendsAndContinuesWithTheHostsValues() throws {
        let machine = try Machine()
        let co = try machine.coroutine("local a, b = wait('first'); return a .. b")
        #expect(machine.resume(co) == .suspended)
        #expect(machine.vm.suspendedCount == 1)
        let outcome = machine.resume(co, with: ["x", "y"])
        #expect(machine.finish(co, outcome) == [#""xy""#])
        #expect(machine.vm.suspendedCount == 0)
        #expect(machine.waits == ["first"])
    }

    @Test func decodesAndEncodesTheSample() throws {
        let machine = try Machine()
        let sample = #"{"key1":"value1","key4":[1,2,3,4],"key3":3.0}"#
        let bytes = Array(sample.utf8)
        try bytes.withUnsafeBytes { try machine.vm.pushJSON($0, onto: machine.vm.state) }
        let text = machine.encoded(machine.vm.state, -1)
        for part in [#""key1":"value1""#, #""key4":[1,2,3,4]"#, #""key3":3.0"#] { #expect(text.contains(part)) }
    }
}
