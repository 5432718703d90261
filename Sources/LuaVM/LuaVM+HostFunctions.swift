// Swift functions that scripts call. They return a status; C raises or suspends after they have returned, so that no
// Swift frame is ever jumped over.
internal import CLuaVM

extension LuaVM {
    /// A function for scripts. Its arguments are `L`'s stack, from 1. It returns the number of results it left on
    /// top, or ``raise`` with an error value on top, or ``suspend``.
    package typealias HostFunction = @convention(c) (_ L: OpaquePointer?, _ context: UnsafeMutableRawPointer?) -> CInt

    /// The value on top is raised as an error.
    package static var raise: CInt { -1 }

    /// The coroutine waits; what the host pushes before it resumes it becomes the call's results. Check `canSuspend`
    /// before anything is started.
    package static var suspend: CInt { -2 }

    /// The function on top is called with what lies below it; its results are the host function's.
    package static var call: CInt { -3 }

    /// Pushes a host function. `context` outlives the state, or every use of the function.
    package func pushHostFunction(
        _ f: @escaping HostFunction,
        context: UnsafeMutableRawPointer?,
        onto L: OpaquePointer
    ) {
        panini_push_host_function(L, f, context)
    }

    /// Whether the host function that `L` is calling may return ``suspend``.
    package func canSuspend(_ L: OpaquePointer) -> Bool {
        panini_can_suspend(L) != 0
    }

    /// Pushes "path:line: message" with the script's own line that called the host function, to be raised.
    package func pushError(_ L: OpaquePointer, _ message: String) {
        // What is wrong with a long text is said in its beginning.
        var message = message.utf8.count <= LuaVM.longestErrorText ? message : LuaVM.shortened(message)
        message.withUTF8 { text in
            text.withMemoryRebound(to: CChar.self) { panini_push_positioned(L, $0.baseAddress ?? emptyText, $0.count) }
        }
    }

    /// A text as an error has it.
    package static func shortened(_ text: String) -> String {
        var text = text
        return text.withUTF8 { LuaVM.shown(UnsafeRawBufferPointer($0), upTo: longestErrorText) }
    }
}

/// A valid address for empty strings, whose buffers may have none.
nonisolated(unsafe) let emptyText: UnsafePointer<CChar> = {
    let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    byte.initialize(to: 0)
    return UnsafePointer(byte)
}()
