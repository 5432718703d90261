// Owns: a function that a script has registered, and where it was defined. A value of the script's state.

package import LuaVM

/// A registered function and where it was defined.
package struct RegisteredFunction {
    package let function: LuaReference
    /// `orders.lua:30`.
    package let origin: String

    package init(function: LuaReference, origin: String) {
        self.function = function
        self.origin = origin
    }
}
