// Owns: what waits for the outermost level of the worker: coroutines that may go on. Loop-bound values. It keeps a chain of
// completions (a spawned function that ends wakes its waiter, which ends and wakes its own ...) from nesting on the stack.

package import LuaVM

/// Something that a script goes on with when nothing else of it runs.
package enum ReadyItem {
    /// A spawned function, and what keeps its results.
    case start(LuaReference, SpawnRecord)
    case resume(UInt64, Completion)
    /// A run that was put off.
    case begin(Activity)
    case goOn(any Resumable, UInt64)
    /// Handlers whose time may be over.
    case expiry(DeadlineList)
}
