// The budget of CPU time, and the watchdog that sees to it. The state's thread, but for LuaWatchdog, which is the process'.
internal import CLuaVM

extension LuaVM {
    /// How many seconds of CPU time one run may take; 0 for no limit. Changing it counts for a run that goes on, too.
    package var cpuLimit: Double {
        get { Double(vm.pointee.run.budget) / 1e9 }
        set {
            let isWatched = panini_vm_set_budget(vm, UInt64(max(newValue, 0) * 1e9)) != 0
            precondition(isWatched, "no thread, or no free real-time signal, for the watchdog of Lua")
        }
    }

    /// What reports of the watchdog call this state.
    package func setLabel(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                panini_vm_set_label(vm, $0.baseAddress ?? emptyText, $0.count)
            }
        }
    }

    /// Whether the run that goes on is to end: long loops of host functions stop early then. What they return is not
    /// looked at.
    package var isRunOver: Bool {
        @inline(__always) get { panini_is_killed(vm) != 0 }
    }

    /// Work of the host on a script's behalf that runs no Lua: inside of a run it belongs to that run, elsewhere it has a fifth
    /// of the budget. It looks at ``isRunOver``, and must not come here again.
    ///
    /// - Returns: False when it was to end: it may be half done.
    package func withinBudget<Failure: Error>(_ work: () throws(Failure) -> Void) throws(Failure) -> Bool {
        let watch = panini_begin_work(vm)
        var failure: Failure?
        do throws(Failure) { try work() } catch { failure = error }
        guard panini_end_work(vm, watch) == 0 else { return false }
        if let failure { throw failure }
        return true
    }

    /// Whether a coroutine that failed was ended by force.
    package func isKilled(_ co: LuaCoroutine) -> Bool {
        (core.pointee.coroutines.slots.base + Int(co.slot)).pointee.isKilled
    }

    /// Lets a suspended coroutine begin its next segment with a whole budget: for those that may live as long as the host.
    package func renewBudget(_ co: LuaCoroutine) {
        let entry = core.pointee.coroutines.slots.base + Int(co.slot)
        entry.pointee.time = 0
        entry.pointee.wall = 0
    }

    /// Has a suspended coroutine ended, as one over its budget is, when it is resumed next.
    package func endNext(_ co: LuaCoroutine) {
        (core.pointee.coroutines.slots.base + Int(co.slot)).pointee.time = PANINI_OVER_RATE
    }

    /// CPU time of the calling thread in nanoseconds.
    package static var threadTime: UInt64 { panini_thread_time() }

    /// Nanoseconds of a clock that stands still while the calling thread waits for a processor that other programs have.
    package static var availableTime: UInt64 { panini_available_time() }

    /// The error of what was ended by ``endNext(_:)``, or must not begin.
    ///
    /// - Parameter rate: How much CPU time it may take in a second.
    package func overRate(_ rate: Double) -> LuaError {
        LuaError(kind: .cpu, message: LuaVM.rateText(rate))
    }

    private static func rateText(_ rate: Double) -> String {
        """
        more than \(text(rate)) s of CPU time for each second, for too long: wait with app.sleep between parts of the work, or \
        raise limits.cpu_rate
        """
    }

    /// Tells of globals that are made from now on: the name is at index 2 of the stack.
    package func reportGlobals(
        context: UnsafeMutableRawPointer,
        _ function: @escaping @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void
    ) {
        vm.pointee.callbacks.global_context = context
        vm.pointee.callbacks.global_made = function
    }

    /// Where the innermost Lua function is: "orders.lua:12"; empty when there is none.
    package func position(_ L: OpaquePointer) -> String {
        panini_push_positioned(L, emptyText, 0)
        defer { lua_settop(L, -2) }
        let text = string(L, -1) ?? ""
        return text.hasSuffix(": ") ? String(text.dropLast(2)) : text
    }

    /// How many values tables with weak keys (`__mode = "k"`) may have all together; 0 for any number. Lua's collector goes
    /// over them in one step that no limit of time can end. Holds while there is a ``cpuLimit``.
    package var weakKeyLimit: Int {
        get { vm.pointee.weak.limit }
        set { vm.pointee.weak.limit = max(newValue, 0) }
    }

    /// Looks at the tables with weak keys now.
    ///
    /// - Returns: What is wrong with them, for people; nil when nothing is.
    package func weakKeyProblem() -> String? {
        switch panini_weak_check(state) {
        case CInt(PANINI_WEAK_LATE): LuaVM.lateModeText
        case CInt(PANINI_WEAK_MANY): weakKeyText
        default: nil
        }
    }

    /// Whether tables of this Lua are laid out as it is known here: if not, a table whose keys are all in one place holds the
    /// thread for as long as Lua takes to make room in it.
    package var knowsTables: Bool { vm.pointee.newindex_name != nil }

    private static let lateModeText = "__mode = \"k\" must be in the metatable before setmetatable gets it"

    private static func keysText(_ limit: Double) -> String {
        """
        a table has too many keys that Lua keeps in one place (integers with a large common divisor, or floats that differ in \
        their last digits): to make room would take more than a tenth of the \(text(limit)) s of CPU time; texts as keys \
        are spread
        """
    }

    private var weakKeyText: String { "more than \(weakKeyLimit) values in tables with weak keys (limits.weak_keys)" }

    /// The error of a run that was ended.
    ///
    /// - Parameter path: The file that was compiled, when that was it.
    func overBudget(compiling path: String? = nil) -> LuaError {
        let place = path ?? String(cString: panini_kill_place(vm))
        var reason = "more than \(LuaVM.text(cpuLimit)) s of CPU time"
        switch Int(vm.pointee.kill.reason) {
        case PANINI_KILL_FOR_WEAK_KEYS:
            reason = weakKeyText
            // What the run has left behind must not count against the next one.
            panini_collect(state)
        case PANINI_KILL_FOR_LATE_MODE: reason = LuaVM.lateModeText
        case PANINI_KILL_FOR_KEYS: reason = LuaVM.keysText(cpuLimit)
        case PANINI_KILL_GIVEN_UP: reason = "its worker was given up"
        case PANINI_KILL_FOR_RATE: reason = LuaVM.rateText(cpuRate)
        default: break
        }
        return LuaError(
            kind: .cpu,
            message: (place.isEmpty ? "" : place + ": ") + reason,
            traceback: String(cString: panini_kill_traceback(vm))
        )
    }

    private static func text(_ seconds: Double) -> String {
        Int(exactly: seconds).map { "\($0)" } ?? "\(seconds)"
    }
}

/// The thread that sees to the budgets of all states of the process.
public enum LuaWatchdog {
    /// A thread that does not come back from a script although its run was to end.
    public struct Wedge: Sendable {
        /// The thread's number, as ``threadNumber`` gave it there.
        public let thread: UInt64
        /// The thread's name.
        public let threadName: String
        /// Which state holds it; empty when it is over.
        public let label: String
        /// How long the run has gone on.
        public let seconds: Double
        /// The thread has come back after all.
        public let isOver: Bool
    }

    /// How many runs were ended so far.
    public static var endedRuns: UInt64 { panini_kill_count() }

    /// A number of the calling thread; the same in ``Wedge``.
    public static var threadNumber: UInt64 { panini_watch_number() }

    /// The real-time signal that ends runs; 0 before there is a state with a CPU limit.
    public static var signal: Int32 { panini_watchdog_signal() }

    /// Chooses the real-time signal, before the first state with a CPU limit is made. Without it the first one that nobody
    /// handles is taken.
    ///
    /// - Parameter number: From SIGRTMIN to SIGRTMAX.
    /// - Returns: False when it is no such signal, or when another one is in use already.
    public static func useSignal(_ number: Int32) -> Bool { panini_watchdog_set_signal(number) != 0 }

    /// Lets no Lua run on a thread any more: the run that goes on ends as soon as it can, each later one before its first
    /// instruction. For good.
    ///
    /// - Parameter thread: What ``threadNumber`` gave there.
    /// - Returns: False when there is no such thread any more.
    @discardableResult
    public static func giveUp(thread: UInt64) -> Bool { panini_watchdog_give_up(thread) != 0 }

    /// Says who hears of threads that are stuck.
    ///
    /// - Parameters:
    ///   - grace: Seconds beyond the CPU limit, or without any progress, after which a thread counts as stuck.
    ///   - handler: Called on the watchdog's thread; must return soon and run no Lua.
    public static func onWedge(after grace: Double, _ handler: @escaping @Sendable (Wedge) -> Void) {
        // Never freed: the watchdog may be about to call an older one.
        let box = Unmanaged.passRetained(Handler(handler))
        panini_watchdog_report(
            UInt64(max(grace, 0) * 1e9),
            { context, wedge in
                guard let context, let wedge else { return }
                Unmanaged<Handler>.fromOpaque(context).takeUnretainedValue().body(Wedge(wedge.pointee))
            },
            box.toOpaque()
        )
    }

    private final class Handler: Sendable {
        let body: @Sendable (Wedge) -> Void

        init(_ body: @escaping @Sendable (Wedge) -> Void) { self.body = body }
    }
}

extension LuaWatchdog.Wedge {
    fileprivate init(_ wedge: panini_wedge) {
        thread = wedge.thread_number
        threadName = withUnsafeBytes(of: wedge.thread_name) { LuaWatchdog.Wedge.text($0) }
        label = withUnsafeBytes(of: wedge.label) { LuaWatchdog.Wedge.text($0) }
        seconds = wedge.seconds
        isOver = wedge.is_over != 0
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
