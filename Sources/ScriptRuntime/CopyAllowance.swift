// Owns: how much one call of a host function may copy from Lua to Swift. A value; the worker's thread.

package import LuaVM

/// What is left to copy for one call.
///
/// A table may hold the same text a thousand times: small in Lua, and a thousand texts as a copy. Copies live beside the Lua
/// state until the call has used them, and often twice, as what was read and as what goes out; so they get half of what the state
/// has left of its limit.
package struct CopyAllowance {
    private let vm: LuaVM
    private var left: Int

    package init(_ vm: LuaVM) {
        self.vm = vm
        self.left = vm.bytesLeft / 2
    }

    /// What may still be taken, in bytes.
    package var rest: Int { max(left, 0) }

    /// Takes the bytes of one value. False: it may not be copied, for want of memory or because the run is to end.
    package mutating func take(_ bytes: Int) -> Bool {
        left -= bytes
        return left >= 0 && !vm.isRunOver
    }

    /// The same, as an error of the call.
    package mutating func take(_ bytes: Int, for call: StaticString) throws(UsageError) {
        guard take(bytes) else { throw UsageError("\(call): \(LuaVM.memoryText)") }
    }
}
