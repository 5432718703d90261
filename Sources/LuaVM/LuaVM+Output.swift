// What scripts write to standard streams, and what they ask for and do not get. The state's thread.
internal import CLuaVM

/// Something a script may ask for that is left out.
package enum LuaNotice: CInt {
    /// A finalizer, `__gc` in a metatable.
    case finalizer = 0
    /// A collection, or another way of the collector.
    case collection = 1
}

extension LuaVM {
    /// Takes what scripts write by `io.write` and the streams `io.stdout` (1) and `io.stderr` (2). No text: what was written so
    /// far is to go on.
    package func takeOutput(
        context: UnsafeMutableRawPointer,
        _ function:
            @escaping @convention(c) (
                UnsafeMutableRawPointer?, CInt, UnsafePointer<CChar>?, Int
            ) -> Void
    ) {
        vm.pointee.callbacks.output_context = context
        vm.pointee.callbacks.output = function
    }

    /// Tells of what scripts ask for and do not get: a ``LuaNotice`` by its number.
    package func takeNotices(
        context: UnsafeMutableRawPointer,
        _ function: @escaping @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, CInt) -> Void
    ) {
        vm.pointee.callbacks.notice_context = context
        vm.pointee.callbacks.notice = function
    }

    /// Pops the function on top of `L` and makes it that one of a standard library.
    package func setLibraryFunction(_ library: String, _ name: String, _ L: OpaquePointer) {
        lua_checkstack(L, 8)
        library.withCString { library in
            name.withCString { panini_set_library_function(L, library, $0) }
        }
    }
}
