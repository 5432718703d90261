// Owns: the way back of async Swift functions: from any thread to the worker's, many at once. The mailbox is the only part
// that other threads touch; it is locked for an append.

import CLuaVM
import Instrumentation
import LuaVM
import NIOCore
import ScriptRuntime
import Synchronization

/// Pushes what a call gives: the number of results, or ``LuaVM/raise``.
typealias PushResult = @Sendable (EmbeddedCall) -> CInt

/// What a script's async functions leave for it. One per script.
final class SwiftCompletions: Sendable {
    struct Item: Sendable {
        let coroutine: UInt64
        let name: String
        let push: PushResult
    }

    let eventLoop: any EventLoop
    /// The script while it lives; on the loop only.
    private let owner: NIOLoopBoundBox<Unmanaged<Script>?>
    private let items = Mutex<[Item]>([])
    /// No more work is given to the loop, which may be gone.
    private let isClosed = Mutex(false)

    init(_ script: Script, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        owner = NIOLoopBoundBox(Unmanaged.passUnretained(script), eventLoop: eventLoop)
    }

    /// Leaves a completion; the first one of a batch wakes the loop.
    func add(_ item: Item) {
        let isFirst = items.withLock { items in
            items.append(item)
            return items.count == 1
        }
        if isFirst { execute { script in script.takeCompletions() } }
    }

    /// Runs something on the loop with the script, unless that has been closed meanwhile.
    func execute(_ body: @escaping @Sendable (Script) -> Void, otherwise: (@Sendable () -> Void)? = nil) {
        let isAccepted = isClosed.withLock { isClosed in
            guard !isClosed else { return false }
            eventLoop.execute { [owner] in
                if let script = owner.value { body(script.takeUnretainedValue()) } else { otherwise?() }
            }
            return true
        }
        if !isAccepted { otherwise?() }
    }

    func takeAll() -> [Item] {
        items.withLock { items in
            defer { items = [] }
            return items
        }
    }

    /// On the loop, when the script is closed.
    func close() {
        isClosed.withLock { $0 = true }
        owner.value = nil
    }
}

/// Where the end of a call's task meets the call: whichever comes first leaves word for the other.
final class SwiftEnding: Sendable {
    private enum State {
        case running
        case ended(PushResult)
        case awaited
    }

    private let state = Mutex(State.running)

    /// The task has ended.
    ///
    /// - Returns: Whether the coroutine waits for it, and must be woken.
    func end(_ push: @escaping PushResult) -> Bool {
        state.withLock { state in
            if case .awaited = state { return true }
            state = .ended(push)
            return false
        }
    }

    /// The coroutine would wait.
    ///
    /// - Returns: What to push when the task has ended already, and nothing has to be waited for.
    func await() -> PushResult? {
        state.withLock { state in
            if case .ended(let push) = state { return push }
            state = .awaited
            return nil
        }
    }
}

/// The task of a call that waits.
final class SwiftTask {
    let task: Task<Void, Never>

    init(_ task: Task<Void, Never>) { self.task = task }
}

extension SwiftTask: WaitOwner {
    func cancel(_ wait: Wait, of coroutine: UInt64) { task.cancel() }
}

@available(*, unavailable)
extension SwiftTask: Sendable {}

extension Script {
    /// Runs `body` in a task, and suspends the calling coroutine until it is done. A body that begins here and ends without
    /// having waited is answered at once: two changes of thread cost several times what such a call does.
    func startWaiting(
        _ call: EmbeddedCall,
        _ start: PaniniTaskStart,
        _ body: @escaping @Sendable () async -> PushResult
    ) throws -> CInt {
        guard phase == .live, let completions = embedding.completions(of: self) else {
            throw PaniniMisuse("waits, which cannot be while the file runs; use app.on_start_task")
        }
        guard vm.canSuspend(call.L), let id = vm.running?.id else {
            throw PaniniMisuse(
                "cannot wait here: inside a callback of table.sort, string.gsub and the like Lua cannot yield"
            )
        }
        let name = call.name
        let context = traceContext
        let ending = SwiftEnding()
        let work: @Sendable () async -> Void = {
            let push: PushResult
            if let context {
                push = await InstrumentationContext.withValue(context) { await body() }
            } else {
                push = await body()
            }
            if ending.end(push) { completions.add(SwiftCompletions.Item(coroutine: id, name: name, push: push)) }
        }
        let task =
            switch start {
            case .onWorker: Task.immediateDetached(operation: work)
            case .offWorker: Task.detached(operation: work)
            }
        if let push = ending.await() { return push(call) }
        nextWait = Wait(SwiftTask(task))
        return LuaVM.suspend
    }

    /// Wakes every coroutine whose Swift function has ended.
    func takeCompletions() {
        guard phase != .closed, let completions = embedding.completions else { return }
        if depth == 0, mustDefer { return self.defer(.goOn(embedding, 0)) }
        for item in completions.takeAll() {
            // A handler may close the script.
            guard phase != .closed else { return }
            enter {
                resume(item.coroutine) { L in
                    lua_checkstack(L, EmbeddedBody.stack)
                    return item.push(EmbeddedCall(script: self, L: L, name: item.name))
                }
            }
        }
    }
}
