// Runs of a script without a service: what an owner hears of their ends, waits, sleeps, time limits, spawned functions, and the
// lines that a script writes.

import CLuaVM
import LuaVM
import NIOCore
import NIOPosix
import Testing

@testable import ScriptRuntime

/// Notes what becomes of its runs.
private final class Notes: ActivityOwner {
    var texts: [String] = []
    var limit: Int64?
    var whenEnded: (() -> Void)?

    override func traits(of activity: Activity) -> ActivityTraits { .holdsStop }

    override func timeLimit(of activity: Activity) -> Int64? { limit }

    override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        let values = (0..<count).map { script.vm.string(L, lua_gettop(L) - count + 1 + $0) ?? "?" }
        texts.append("\(activity.token) returned \(values.joined(separator: " "))")
    }

    override func failed(_ activity: Activity, _ error: LuaError) {
        texts.append("\(activity.token) failed \(error.kind)")
    }

    override func expired(_ activity: Activity, seconds: Double) -> ReplyError {
        texts.append("\(activity.token) expired")
        return super.expired(activity, seconds: seconds)
    }

    override func givenUp(_ activity: Activity, _ reason: ReplyError) -> Bool {
        texts.append("\(activity.token) given up")
        return true
    }

    override func ended(_ activity: Activity) {
        texts.append("\(activity.token) ended")
        whenEnded?()
    }
}

/// Functions that wait, for scripts without any other.
private final class Waiting: ScriptFeature {
    var lines: [String] = []

    override func prepare() {
        let vm = script.vm
        let context = Unmanaged.passUnretained(script).toOpaque()
        let functions: [(StaticString, LuaVM.HostFunction)] = [
            (
                "wait",
                { _, context in
                    Script.from(context).nextWait = .outside
                    return LuaVM.suspend
                }
            ),
            (
                "spawn",
                { hostCall($0, $1, "spawn", takes: 1) { call throws(UsageError) in try call.script.spawn(call) } }
            ),
            (
                "sleep",
                {
                    hostCall($0, $1, "sleep", takes: 1) { call throws(UsageError) in
                        let seconds = try call.seconds(1, "the duration")
                        try call.script.requireSuspendable(call)
                        return call.script.sleep(seconds: seconds)
                    }
                }
            ),
        ]
        for (name, function) in functions {
            vm.pushHostFunction(function, context: context, onto: vm.state)
            vm.setGlobal(vm.state, name)
        }
    }

    override func wrote(_ line: String, isErrors: Bool) { lines.append((isErrors ? "error: " : "") + line) }
}

@Suite("Runs of a script without a service", .timeLimit(.minutes(5)))
struct RunTests {
    @Test("an owner hears how each of its runs ends, once")
    func ends() throws {
        let script = try Script.bare(features: [Waiting.self])
        defer { script.close() }
        let notes = Notes(script: script)
        for (token, text) in [(UInt(1), "return 'a', 'b'"), (2, "error('x')"), (3, "return")] {
            let function = try script.function(text)
            script.enter { script.start(function, Activity(notes, token: token)) }
        }
        #expect(
            notes.texts == ["1 returned a b", "1 ended", "2 failed runtime", "2 ended", "3 returned ", "3 ended"]
        )
    }

    @Test("a run that waits goes on with what it is woken with, and only once")
    func waits() throws {
        let script = try Script.bare(features: [Waiting.self])
        defer { script.close() }
        let notes = Notes(script: script)
        let function = try script.function("local ok = wait(); return ok and 'woken' or 'no'")
        script.enter { script.start(function, Activity(notes, token: 7)) }
        #expect(notes.texts.isEmpty && script.suspendedCount == 1)
        let number = try #require(script.suspendedRuns.compactMap { $0 }.first?.coroutine)
        let isFirst = script.resume(number) { script.push(.success, onto: $0) }
        let isSecond = script.resume(number) { script.push(.success, onto: $0) }
        #expect(isFirst && !isSecond && script.suspendedCount == 0)
        #expect(notes.texts == ["7 returned woken", "7 ended"])
    }

    @Test("a run that is given up waits no more")
    func closing() throws {
        let script = try Script.bare(features: [Waiting.self])
        let notes = Notes(script: script)
        let function = try script.function("wait()")
        script.enter { script.start(function, Activity(notes, token: 1)) }
        let suspendedRun = try #require(script.suspendedRuns.compactMap { $0 }.first)
        script.abandon(suspendedRun, notes.expired(suspendedRun.activity, seconds: 1))
        #expect(notes.texts == ["1 expired"] && script.suspendedCount == 0)
        script.close()
        #expect(script.phase == .closed)
    }

    @Test("lines are told as they end, and the rest at the end of the script")
    func lines() throws {
        let script = try Script.bare(features: [Waiting.self])
        let waiting = script.features[Waiting.self]
        let notes = Notes(script: script)
        let function = try script.function("io.write('a', 'b\\nc'); io.stderr:write('x\\n'); io.write('d')")
        script.enter { script.start(function, Activity(notes)) }
        #expect(waiting.lines == ["ab", "error: x"])
        script.close()
        #expect(waiting.lines == ["ab", "error: x", "cd"])
    }

    @Test("a run over its time limit is ended, a sleep within it goes on, and spawned functions run")
    func times() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let texts = try await loop.flatSubmit { () -> EventLoopFuture<[String]> in
            let promise = loop.makePromise(of: [String].self)
            do {
                let script = try Script.bare(features: [Waiting.self])
                let worker = Worker(eventLoop: loop)
                let turn = try #require(ServiceTurn(worker, slice: 1))
                let host = ScriptHost(worker: worker, turn: turn)
                script.host = host
                let notes = Notes(script: script)
                notes.limit = 100_000_000
                notes.whenEnded = {
                    guard notes.texts.count(where: { $0.hasSuffix("ended") }) == 2 else { return }
                    promise.succeed(notes.texts)
                    // Not from within a run of it.
                    loop.assumeIsolated().execute {
                        script.close()
                        worker.turns.close()
                        withExtendedLifetime((host, turn)) {}
                    }
                }
                let short = try script.function(
                    """
                    local n = 0
                    local handle = spawn(function() sleep(0.002); n = n + 1; return 'done' end)
                    sleep(0.001)
                    return handle.wait()
                    """
                )
                let long = try script.function("sleep(60)")
                script.enter { script.start(short, Activity(notes, token: 1)) }
                script.enter { script.start(long, Activity(notes, token: 2)) }
            } catch {
                promise.fail(error)
            }
            return promise.futureResult
        }.get()
        #expect(texts == ["1 returned done", "1 ended", "2 expired", "2 ended"])
    }
}
