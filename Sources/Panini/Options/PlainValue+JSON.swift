// Owns: reading a configuration file's JSON into plain values, with the one JSON codec there is. Any thread.

import LuaVM
import ScriptRuntime

extension PlainValue {
    /// Reads a JSON document; used for files, never for messages.
    init(json: [UInt8]) throws(OptionError) {
        let vm: LuaVM
        do throws(LuaError) {
            vm = try LuaVM()
        } catch {
            throw OptionError(message: error.message)
        }
        defer { vm.close() }
        do throws(LuaJSONError) {
            try json.withUnsafeBufferPointer { bytes throws(LuaJSONError) in
                try vm.pushJSON(UnsafeRawBufferPointer(bytes), onto: vm.state)
            }
        } catch {
            throw OptionError(message: "not valid JSON: \(error.description)")
        }
        do throws(Unreadable) {
            self = try PlainValue(vm.state, -1, vm: vm)
        } catch {
            throw OptionError(message: error.message)
        }
    }
}
