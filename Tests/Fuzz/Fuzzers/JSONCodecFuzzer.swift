// libFuzzer's entry for the JSON codec. Any bytes are read; what can be read must be written, read again and written
// the same; and nothing may be left on the stack. Built by scripts/fuzz only.
import CLuaVM
import LuaVM

nonisolated(unsafe) private let vm: LuaVM = {
    do {
        return try LuaVM()
    } catch {
        fatalError("\(error)")
    }
}()

nonisolated(unsafe) private let first = ByteWriter()
nonisolated(unsafe) private let second = ByteWriter()

func fuzzJSONCodec(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let L = vm.state
    let input = UnsafeRawBufferPointer(start: data, count: size)
    do {
        try vm.pushJSON(input, onto: L)
    } catch {
        precondition(lua_gettop(L) == 0, "a failed read left something")
        precondition((0...size).contains(error.offset ?? -1), "the place of an error lies outside of the text")
        return 0
    }
    precondition(lua_gettop(L) == 1, "a read left more than its value")
    do {
        first.removeAll()
        try vm.encodeJSON(L, 1, into: first)
        try vm.pushJSON(first.bytes, onto: L)
        second.removeAll()
        try vm.encodeJSON(L, 2, into: second)
        // The order of keys may differ between two tables with the same ones; nothing else may.
        precondition(first.bytes.sorted() == second.bytes.sorted(), "a value did not survive")
    } catch {
        fatalError("what was read cannot be written: \(error)")
    }
    precondition(lua_gettop(L) == 2, "writing left something")
    lua_settop(L, 0)
    return 0
}
