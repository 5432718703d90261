// Owns: running start tasks, on_reload and on_stop one after another, each to its end. Loop-bound.

import CLuaShim
import Logging
import LuaVM
import NIOCore

extension Service {
    /// Runs hooks of a script in order.
    ///
    /// - Parameters:
    ///   - activity: What a hook of that index counts as.
    ///   - push: Pushes the arguments of each; returns their number.
    ///   - completion: Called after the last one, or with the first failure. Not called when the script is closed before.
    func runHooks(
        of script: Script,
        _ functions: [RegisteredFunction],
        _ activity: @escaping (Int) -> Activity,
        push: @escaping (OpaquePointer) -> CInt,
        completion: @escaping (PaniniError?) -> Void
    ) {
        script.hook = HookProgress(functions: functions, completion: completion)
        nextHook(of: script, activity, push)
    }

    private func nextHook(
        of script: Script,
        _ activity: @escaping (Int) -> Activity,
        _ push: @escaping (OpaquePointer) -> CInt
    ) {
        guard script.phase != .closed, script.hook.isRunning else { return }
        let index = script.hook.index
        guard script.hook.failure == nil, index < script.hook.functions.count else { return hooksDone(script) }
        script.onHookEnd = { [unowned self, unowned script] in
            // From the next turn of the loop: hooks must not nest, and the coroutine that has just ended goes back first.
            worker.eventLoop.assumeIsolated().execute { [self] in
                script.hook.index = index + 1
                nextHook(of: script, activity, push)
            }
        }
        script.hook.run = { [unowned script] in
            script.start(script.hook.functions[index].function, activity(index), push: push)
        }
        script.defer(.hook(index: index))
    }

    /// Runs a hook whose turn it is.
    func runHook(_ index: Int, of script: Script) {
        guard script.hook.isRunning, script.hook.index == index, let run = script.hook.run else { return }
        script.hook.run = nil
        run()
    }

    private func hooksDone(_ script: Script) {
        let hook = script.hook
        script.hook = HookProgress()
        script.onHookEnd = nil
        hook.completion?(hook.failure)
    }

    func hookEnded(_ script: Script) {
        let next = script.onHookEnd
        script.onHookEnd = nil
        next?()
    }

    /// An on_start_task or on_reload failed: what it was for does not happen.
    func hookFailed(_ script: Script, _ what: String, _ error: LuaError) {
        script.hook.failure =
            script.hook.failure
            ?? PaniniError(
                code: .startTaskFailed,
                message: "\(options.serviceName): \(what) failed: \(error.message)",
                traceback: error.traceback
            )
    }

    /// Keeps what on_reload returned.
    func reloadHookReturned(_ L: OpaquePointer, _ count: CInt, of script: Script) {
        guard count > 0 else { return }
        let first = lua_gettop(L) - count + 1
        if count >= 2, let error = script.returnedError(L, count) {
            return activityFailed(.reloadHook, error, of: script)
        }
        do throws(LuaSnapshotProblem) {
            staged?.state = try script.vm.snapshot(L, first)
        } catch {
            activityFailed(.reloadHook, LuaError(kind: .runtime, message: error.message), of: script)
        }
    }
}
