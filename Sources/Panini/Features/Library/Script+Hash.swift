// Owns: `panini.hash`. Worker's thread.

import LuaVM
import ScriptRuntime

extension Script {
    func sha256(_ call: HostCall) throws(UsageError) -> CInt {
        let text = try call.bytes(1, "the text")
        writer.removeAll(keepingCapacity: true)
        HashFunctions.sha256(text, into: writer)
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    func hmacSHA256(_ call: HostCall) throws(UsageError) -> CInt {
        let key = try call.bytes(1, "the key")
        let text = try call.bytes(2, "the text")
        writer.removeAll(keepingCapacity: true)
        HashFunctions.hmacSHA256(key: key, text, into: writer)
        vm.pushString(call.L, writer.bytes)
        return 1
    }
}
