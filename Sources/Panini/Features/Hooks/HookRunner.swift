// Owns: running start tasks, on_reload and on_stop of a script one after another, each to its end. Loop-bound.

import Logging
import LuaVM
import NIOCore
import ScriptRuntime

/// What a hook is for.
enum HookKind: UInt {
    case start
    case reload
    case stop

    /// What the script calls it.
    var name: String {
        switch self {
        case .start: "on_start_task"
        case .reload: "on_reload"
        case .stop: "on_stop"
        }
    }
}

/// Runs the hooks of a script.
final class HookRunner: ActivityOwner {
    /// Hooks that run one after another.
    private struct Sequence {
        let kind: HookKind
        let functions: [RegisteredFunction]
        /// Pushes the arguments of each; returns their number.
        let push: (OpaquePointer) -> CInt
        /// Called once, after the last one or the first failure.
        let completion: (PaniniError?) -> Void
        var index = 0
        var failure: PaniniError?
        /// The one whose turn it is has begun.
        var hasBegun = false
    }

    private var sequence: Sequence?
    /// The hook that the sequence waits for.
    private var awaitsEnd = false

    var isRunning: Bool { sequence != nil }

    /// Runs hooks in order.
    ///
    /// - Parameters:
    ///   - push: Pushes the arguments of each; returns their number.
    ///   - completion: Called after the last one, or with the first failure. Not called when the script is closed before.
    func run(
        _ kind: HookKind,
        _ functions: [RegisteredFunction],
        push: @escaping (OpaquePointer) -> CInt,
        completion: @escaping (PaniniError?) -> Void
    ) {
        sequence = Sequence(kind: kind, functions: functions, push: push, completion: completion)
        next()
    }

    private func next() {
        guard script.phase != .closed, let sequence else { return }
        guard sequence.failure == nil, sequence.index < sequence.functions.count else {
            self.sequence = nil
            awaitsEnd = false
            return sequence.completion(sequence.failure)
        }
        awaitsEnd = true
        self.sequence?.hasBegun = false
        script.defer(.begin(activity(sequence.kind, sequence.index)))
    }

    private func activity(_ kind: HookKind, _ index: Int) -> Activity {
        Activity(self, token: kind.rawValue | UInt(index) << 2)
    }

    private static func kind(of activity: Activity) -> HookKind { HookKind(rawValue: activity.token & 3) ?? .start }

    private static func index(of activity: Activity) -> Int { Int(activity.token >> 2) }

    /// Lets a hook do what it does before its first wait, now: there is no time for more.
    func runAtOnce(_ kind: HookKind, _ index: Int, _ function: RegisteredFunction, push: (OpaquePointer) -> CInt) {
        script.enter { script.start(function.function, activity(kind, index), push: push) }
    }

    // MARK: - Its runs: a hook each

    override func begin(_ activity: Activity) {
        guard let sequence, !sequence.hasBegun, sequence.kind == Self.kind(of: activity),
            sequence.index == Self.index(of: activity)
        else { return }
        self.sequence?.hasBegun = true
        script.start(sequence.functions[sequence.index].function, activity, push: sequence.push)
    }

    override func spanName(of activity: Activity, at line: @autoclosure () -> Substring) -> String {
        "task \(Self.kind(of: activity).name) \(line())"
    }

    override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        guard Self.kind(of: activity) == .reload else { return super.returned(activity, L, count) }
        if let error = script.service?.reloadHookReturned(L, count, of: script) { failed(activity, error) }
    }

    /// What a start task or on_reload was for does not happen; the other on_stops run.
    override func failed(_ activity: Activity, _ error: LuaError) {
        guard let service = script.service else { return }
        let kind = Self.kind(of: activity)
        let index = Self.index(of: activity)
        let functions = functions(kind)
        let origin = functions.indices.contains(index) ? functions[index].origin : script.path
        let what = "\(kind.name) (\(origin)) failed: \(error.message)"
        guard kind != .stop else { return service.logger.error("\(what)", metadata: service.traceback(error)) }
        guard sequence?.failure == nil else { return }
        sequence?.failure = PaniniError(
            code: .startTaskFailed,
            message: "\(service.options.serviceName): \(what)",
            traceback: error.traceback
        )
    }

    private func functions(_ kind: HookKind) -> [RegisteredFunction] {
        switch kind {
        case .start: script.hooks.startTasks
        case .reload: script.hooks.reloadHook.map { [$0] } ?? []
        case .stop: script.hooks.stopHooks
        }
    }

    override func ended(_ activity: Activity) {
        guard awaitsEnd, let service = script.service else { return }
        awaitsEnd = false
        // From the next turn of the loop: hooks must not nest, and the coroutine that has just ended goes back first.
        service.worker.eventLoop.assumeIsolated().execute { [script, self] in
            guard script.phase != .closed else { return }
            sequence?.index += 1
            next()
        }
    }
}
