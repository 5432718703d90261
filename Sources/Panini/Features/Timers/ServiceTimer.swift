// Owns: one `app.timer_task`: its options and the arithmetic of its next tick. Loop-bound; no clock of its own.

import LuaVM
import ScriptRuntime

/// A timer of a script.
final class ServiceTimer: ActivityOwner {
    enum Mode {
        /// At multiples of the interval from the first tick, whatever a tick takes.
        case rate
        /// An interval after the end of the tick before.
        case delay
    }

    let index: Int
    let name: String?
    let intervalNanoseconds: UInt64
    let isImmediate: Bool
    let jitterNanoseconds: UInt64
    let mode: Mode
    let eachWorker: Bool
    let function: LuaReference
    /// `orders.lua:30`: where the function was defined.
    let origin: String

    /// Whether it ticks: not before its script serves, and not after another has taken over.
    var isOn = false
    var isRunning = false
    /// The timer of the version before, while a tick of it may still run; and that of the next one.
    var predecessor: ServiceTimer?
    weak var successor: ServiceTimer?
    /// The unjittered time of the next tick.
    private(set) var due: UInt64 = 0
    private(set) var skipped: UInt64 = 0
    var failed: UInt64 = 0

    init(
        index: Int,
        script: Script,
        name: String?,
        intervalNanoseconds: UInt64,
        isImmediate: Bool,
        jitterNanoseconds: UInt64,
        mode: Mode,
        eachWorker: Bool,
        function: LuaReference,
        origin: String
    ) {
        self.index = index
        self.name = name
        self.intervalNanoseconds = intervalNanoseconds
        self.isImmediate = isImmediate
        self.jitterNanoseconds = jitterNanoseconds
        self.mode = mode
        self.eachWorker = eachWorker
        self.function = function
        self.origin = origin
        super.init(script: script)
    }

    // MARK: - Its runs: a tick each

    override func traits(of activity: Activity) -> ActivityTraits { [.holdsStop, .takesTurn] }

    override func spanName(of activity: Activity, at line: @autoclosure () -> Substring) -> String { title }

    override func begin(_ activity: Activity) { script.service?.timerDue(self) }

    override func beginTurn(_ activity: Activity) -> Bool { script.service?.runTick(self) ?? false }

    override func handOver(_ activity: Activity, to next: Script) -> Activity? { nil }

    override func failed(_ activity: Activity, _ error: LuaError) {
        failed &+= 1
        script.service?.taskFailed("timer \(label)", error)
    }

    override func ended(_ activity: Activity) {
        script.endActivity()
        guard let service = script.service else { return }
        service.tickEnded(self)
        if service.sync.isOn { return service.syncEnded(script) }
        if script.isEnding { service.endIfIdle(script) }
    }

    var label: String { name ?? origin }

    /// What it is called where no line of code is of use.
    var title: String { "timer \(name ?? "every \(formatted(Double(intervalNanoseconds) / 1e9)) s")" }

    /// The time of the first tick.
    func begin(now: UInt64) -> UInt64 {
        due = isImmediate ? now : now &+ intervalNanoseconds
        return jittered()
    }

    /// Takes over the beat of the version before.
    ///
    /// - Returns: The time of the next tick; nil when a tick runs whose end sets it.
    func begin(after other: ServiceTimer, now: UInt64) -> UInt64? {
        due = other.due
        if other.isRunning || other.predecessor?.isRunning == true {
            predecessor = other.isRunning ? other : other.predecessor
            other.successor = self
            predecessor?.successor = self
            if mode == .delay { return nil }
        }
        return jittered()
    }

    /// The tick after one that fell due, in `rate` mode: late ones are skipped, the phase is kept.
    func advance(now: UInt64) -> UInt64 {
        due &+= intervalNanoseconds
        if due <= now {
            let missed = (now &- due) / intervalNanoseconds &+ 1
            skipped &+= missed
            due &+= missed &* intervalNanoseconds
        }
        return jittered()
    }

    /// A tick fell due while the one before still ran.
    func countSkipped() { skipped &+= 1 }

    /// The next tick in `delay` mode, when one has ended.
    func restart(now: UInt64) -> UInt64 {
        due = now &+ intervalNanoseconds
        return jittered()
    }

    private func jittered() -> UInt64 {
        jitterNanoseconds == 0 ? due : due &+ UInt64.random(in: 0...jitterNanoseconds)
    }
}

extension ServiceTimer: Resumable {
    /// Its alarm, which keeps it alive, and not its script: that is there for as long as the timer is on.
    func goOn(_ token: UInt64) { if isOn { script.service?.tick(self) } }
}

/// What makes a timer the same as one of the version before.
struct TimerKey: Hashable {
    let name: String?
    let interval: UInt64
    let isRate: Bool

    init(_ timer: ServiceTimer) {
        name = timer.name
        interval = timer.intervalNanoseconds
        isRate = timer.mode == .rate
    }
}
