// Owns: what a function is that scripts call: a name, a text, and the Swift code behind it. Worker's thread.

package import LuaVM

/// A function of the script's API.
package struct HostFunctionEntry {
    /// The name in its table: `publish`.
    package let name: String
    /// How it is called, for documentation and editors.
    package let signature: String
    package let function: LuaVM.HostFunction

    package init(name: String, signature: String, function: @escaping LuaVM.HostFunction) {
        self.name = name
        self.signature = signature
        self.function = function
    }
}

/// Runs a host function's body, and turns a misuse into a Lua error at the script's line. What the script says beyond the
/// arguments that the function takes is such a misuse.
@inline(__always)
package func hostCall(
    _ L: OpaquePointer?,
    _ context: UnsafeMutableRawPointer?,
    _ name: StaticString,
    takes most: CInt,
    _ body: (HostCall) throws(UsageError) -> CInt
) -> CInt {
    let call = HostCall(L: L.unsafelyUnwrapped, script: Script.from(context), name: name)
    call.dropSelf(call.script.tables.app)
    do throws(UsageError) {
        try call.refuseSurplus(beyond: most)
        return try body(call)
    } catch {
        return call.raise(error)
    }
}
