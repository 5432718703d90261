// libFuzzer's entry for what scripts can do to the host: programs out of bytes, in a state that runs out of memory and collects
// at any allocation. Built by scripts/fuzz only.
import LuaFuzzSupport

func fuzzLuaHost(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    var reach = LuaHostReach()
    do {
        try LuaHostCheck.check(input, &reach)
    } catch {
        fatalError("\(error)\n\(LuaHostCheck.program(input))")
    }
    return 0
}
