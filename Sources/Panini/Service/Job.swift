// Owns: what a coroutine runs for (a message, a task, a tick ...) and what a suspended one waits for. Loop-bound.

import CLuaShim
import Instrumentation
import LuaVM
import NATS
import PaniniHTTP

/// Why a coroutine runs.
enum Activity {
    /// A handler; the message block lives as long as its coroutine does.
    case message(Listener, UnsafeMutablePointer<panini_message>)
    case task(index: Int)
    case tick(ServiceTimer)
    case startTask(index: Int)
    case stopHook(index: Int)
    case reloadHook
    case spawned(SpawnRecord)
    /// A handler of the web server.
    case request(HTTPRoute, HTTPRequest)
    /// What writes a streamed response.
    case stream(HTTPRoute, HTTPRequest)
    /// A function of a WebSocket route.
    case webSocket(WebSocketSession, WebSocketTurns.Turn)

    /// A stop of the service waits for its end, and for the end of what it spawns.
    var holdsStop: Bool {
        switch self {
        case .message, .tick, .request, .stream, .webSocket: true
        case .spawned(let record): record.holdsStop
        case .task, .startTask, .stopHook, .reloadHook: false
        }
    }

    /// Under `app_strategy = "sync"` nothing else begins before it ends.
    var takesTurn: Bool {
        switch self {
        case .message, .tick, .request, .task, .webSocket: true
        case .spawned, .stream, .startTask, .stopHook, .reloadHook: false
        }
    }
}

/// What a suspended coroutine waits for: needed to take the wait back when the coroutine is given up.
enum Wait {
    case none
    case request(NATSRequestID, DataType)
    case sleep(DeadlineHandle)
    case barrier
    /// Room at the connection.
    case room(WaitingSend)
    case spawned
    /// A client that is slow to read.
    case write(HTTPRequest)
    /// Another server's answer.
    case fetch(HTTPFetchID)
    /// A Swift function that takes its time.
    case swift(SwiftTask)
    /// A message of a WebSocket, or its client that is slow to read.
    case webSocket(WebSocketSession)
}

/// A suspended coroutine. Made when a coroutine first waits: a handler that never waits costs no object.
final class Job {
    let activity: Activity
    let coroutine: UInt64
    var wait = Wait.none
    /// Of a run without an end.
    var account: RunAccount?
    /// Links of the list of deadlines it stands in.
    var deadline: UInt64 = 0
    unowned(unsafe) var previous: Job?
    unowned(unsafe) var next: Job?
    var list: DeadlineList?

    init(activity: Activity, coroutine: UInt64) {
        self.activity = activity
        self.coroutine = coroutine
    }
}

@available(*, unavailable)
extension Job: Sendable {}

/// The suspended coroutines of a script that share one time limit, in order of their deadlines.
///
/// As all have the same limit, appending keeps the order: entering and leaving cost a few pointer writes, and nothing
/// stale stays behind, unlike in a heap with lazy removal.
final class DeadlineList {
    let nanoseconds: Int64
    /// The alarm for the first entry, while it is set.
    var alarm: DeadlineHandle?
    private(set) unowned(unsafe) var first: Job?
    private unowned(unsafe) var last: Job?

    init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The list does not keep jobs alive; whoever ends a job removes it first.
    func append(_ job: Job, now: UInt64) {
        job.deadline = now &+ UInt64(nanoseconds)
        job.list = self
        job.previous = last
        job.next = nil
        last?.next = job
        last = job
        if first == nil { first = job }
    }

    func remove(_ job: Job) {
        guard job.list === self else { return }
        if let previous = job.previous { previous.next = job.next } else { first = job.next }
        if let next = job.next { next.previous = job.previous } else { last = job.previous }
        job.previous = nil
        job.next = nil
        job.list = nil
    }
}

@available(*, unavailable)
extension DeadlineList: Sendable {}

/// A function started by `app.spawn` or `app.wait_all`, while it runs.
final class SpawnRecord {
    /// The handle's userdata in the registry, so that results outlive the coroutine; `nil` for `wait_all`.
    var handle: LuaReference?
    /// Coroutines in `handle.wait()`.
    var waiters: [UInt64] = []
    /// Who called from Swift.
    var call: SwiftCall?
    /// The group and position of a `wait_all` that started it.
    var group: WaitGroup?
    var position = 0
    /// The groups of `wait_all` that wait for its handle, with the positions there.
    var groups: [(group: WaitGroup, position: Int)] = []

    /// The coroutines that go on when it has ended.
    var allWaiters: [UInt64] { waiters + groups.map(\.group.waiter) + (group.map { [$0.waiter] } ?? []) }

    /// It waits for another spawned function.
    var isWaiting = false
    /// Whether somebody will see its error.
    var isAwaited: Bool { !waiters.isEmpty || !groups.isEmpty }
    /// The span that it was started in.
    var context: InstrumentationContext?
    /// The number of the request whose handler has spawned it; 0: none.
    let request: UInt64
    /// A stop waits for it: it was started by a handler or a tick, not by a task that may run for ever.
    let holdsStop: Bool
    /// What it counts to beside its budget, shared with what it spawns.
    var account: RunAccount?
    /// What has begun it.
    var drive = Drive.outside

    init(holdsStop: Bool, request: UInt64 = 0) {
        self.holdsStop = holdsStop
        self.request = request
    }
}

@available(*, unavailable)
extension SpawnRecord: Sendable {}

/// One `app.wait_all` call.
final class WaitGroup {
    var remaining: Int
    let waiter: UInt64
    /// Tables in the registry: results and errors by position.
    let results: LuaReference
    let errors: LuaReference
    var hasErrors = false

    init(remaining: Int, waiter: UInt64, results: LuaReference, errors: LuaReference) {
        self.remaining = remaining
        self.waiter = waiter
        self.results = results
        self.errors = errors
    }
}

@available(*, unavailable)
extension WaitGroup: Sendable {}
