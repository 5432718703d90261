// Owns: what a coroutine runs for: an owner that lives long anyway, and a token that tells the owner which of its runs it is.
// Loop-bound. The runtime knows no owner by name: it asks the owner for everything in which owners differ.

public import Instrumentation
public import LuaVM

/// What follows from the kind of a run.
public struct ActivityTraits: OptionSet {
    /// The bits.
    public let rawValue: UInt8

    /// Traits by their bits.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A stop of the service waits for its end, and for the end of what it spawns.
    @inlinable public static var holdsStop: ActivityTraits { ActivityTraits(rawValue: 1) }
    /// Under `app_strategy = "sync"` nothing else begins before it ends.
    @inlinable public static var takesTurn: ActivityTraits { ActivityTraits(rawValue: 2) }
    /// It may live as long as the service does, and has a new budget after each wait. All other runs have one budget from
    /// beginning to end.
    @inlinable public static var hasOpenEnd: ActivityTraits { ActivityTraits(rawValue: 4) }
}

/// Why a coroutine runs.
public struct Activity {
    /// Who lets it run.
    public let owner: ActivityOwner
    /// Which run of its owner it is; only the owner reads it.
    public let token: UInt
    /// The object that the run is about, if there is one; the run keeps it alive.
    public let object: AnyObject?

    /// A run.
    @inlinable @inline(__always)
    public init(_ owner: ActivityOwner, token: UInt = 0, object: AnyObject? = nil) {
        self.owner = owner
        self.token = token
        self.object = object
    }

    package var traits: ActivityTraits { owner.traits(of: self) }
}

/// Who lets coroutines run: a listener, a route, a timer, a connection.
///
/// A class, so that a run needs no object of its own: each decision of its owner is one virtual call.
open class ActivityOwner {
    /// The generation it belongs to, which lives longer.
    @usableFromInline let scriptReference: Unmanaged<Script>

    /// - Parameter script: Lives longer.
    @inlinable
    public init(script: Script) { scriptReference = .passUnretained(script) }

    /// Its generation of the script.
    @inlinable public final var script: Script {
        @inline(__always) get { scriptReference.takeUnretainedValue() }
    }

    /// The script, without counting a reference to it: each use of ``script`` is a retain and a release, some 75 instructions.
    @inlinable @inline(__always)
    public final func withScript<Result>(_ body: (Script) -> Result) -> Result {
        scriptReference._withUnsafeGuaranteedRef(body)
    }

    // MARK: What a run is

    open func traits(of activity: Activity) -> ActivityTraits { [] }

    /// How many nanoseconds it may take from its first wait on; nil for no limit.
    open func timeLimit(of activity: Activity) -> Int64? { nil }

    /// Adds what spawned functions take over from the run.
    open func describe(_ activity: Activity, in running: inout RunningActivity) {}

    /// What traces call it.
    ///
    /// - Parameter line: Where its function was defined.
    open func spanName(of activity: Activity, at line: @autoclosure () -> Substring) -> String { "task \(line())" }

    /// The span that it continues; nil when it has one of its own.
    open func spanContext(of activity: Activity) -> InstrumentationContext? { nil }

    // MARK: Beginnings

    /// A run that was put off may begin.
    open func begin(_ activity: Activity) {}

    /// It is its turn under `app_strategy = "sync"`.
    ///
    /// - Returns: False when there is nothing to begin any more.
    open func beginTurn(_ activity: Activity) -> Bool {
        begin(activity)
        return true
    }

    /// Another version of the script takes over a run that has not begun.
    ///
    /// - Returns: The run that waits in its place; nil for none.
    open func handOver(_ activity: Activity, to next: Script) -> Activity? { activity }

    /// It will not begin, because its script ends.
    ///
    /// - Returns: Whether its requester was answered. Only then it is taken out of the queue.
    open func refuse(_ activity: Activity, _ reason: ReplyError) -> Bool { false }

    // MARK: Ends

    /// Its function has returned `count` values, which lie on top of `L`.
    open func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        // `return nil, err` is an error here too: the field's way of failing must not be silent.
        if count >= 2, let error = script.returnedError(L, count) { failed(activity, error) }
    }

    /// Keeps the run's data, which the collector would free together with its failed coroutine.
    ///
    /// - Returns: The same run; nil when there is no memory to keep its data.
    open func keep(_ activity: Activity) -> Activity? { activity }

    /// Gives back what ``keep(_:)`` has made.
    open func release(kept activity: Activity) {}

    /// Its function has raised an error.
    open func failed(_ activity: Activity, _ error: LuaError) {}

    /// Its time is over.
    ///
    /// - Returns: The error for those who wait for it.
    open func expired(_ activity: Activity, seconds: Double) -> ReplyError {
        ReplyError(504, "the handler took longer than \(formatted(seconds)) s")
    }

    /// It is given up: the service stops, or its version of the script ends.
    ///
    /// - Returns: Whether somebody waited for it, and was answered.
    open func givenUp(_ activity: Activity, _ reason: ReplyError) -> Bool { false }

    /// It has returned or failed. Not called for a run that was given up.
    open func ended(_ activity: Activity) {}
}

@available(*, unavailable)
extension ActivityOwner: Sendable {}
