// Owns: the short way to say what a host offers to scripts. Plain values; any thread.

extension PaniniHostConfiguration {
    /// Offers Swift functions to every service's script, as a module.
    ///
    /// ```swift
    /// configuration.module("geo") { module in
    ///     module.function("distance") { (a: Double, b: Double) in abs(a - b) }
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - name: What scripts `require`: see ``PaniniModule/init(_:)``.
    ///   - build: Adds the module's members.
    public mutating func module(_ name: String, _ build: (inout PaniniModule) -> Void) {
        precondition(!modules.contains { $0.name == name }, "there are two modules \"\(name)\"")
        var module = PaniniModule(name)
        build(&module)
        modules.append(module)
    }
}
