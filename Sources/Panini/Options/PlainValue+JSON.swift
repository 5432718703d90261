// Owns: reading a configuration file's JSON into plain values, with the one JSON codec there is. Any thread.

import CLuaShim
import LuaVM

extension PlainValue {
    /// Reads a JSON document; used for files, never for messages.
    init(json: [UInt8]) throws(OptionProblem) {
        let vm: LuaVM
        do throws(LuaError) {
            vm = try LuaVM()
        } catch {
            throw OptionProblem(message: error.message)
        }
        defer { vm.close() }
        do throws(LuaJSONError) {
            try json.withUnsafeBufferPointer { bytes throws(LuaJSONError) in
                try vm.pushJSON(UnsafeRawBufferPointer(bytes), onto: vm.state)
            }
        } catch {
            throw OptionProblem(message: "not valid JSON: \(error.description)")
        }
        do throws(Unreadable) {
            self = try PlainValue(vm.state, -1, vm: vm)
        } catch {
            throw OptionProblem(message: error.message)
        }
    }
}
