// Owns: what runs in a script now: the part that functions which it spawns need. A value of a Script; loop-bound.

/// What runs in a script now.
public struct RunningActivity {
    /// A stop waits for it.
    public var holdsStop: Bool
    /// Why the run was begun or resumed.
    @usableFromInline package var resumeCause: ResumeCause
    /// What the run is about, for the feature that has begun it.
    public var subject: UnsafeMutableRawPointer?
    /// The spawned function itself, which its activity keeps alive.
    @usableFromInline package unowned(unsafe) var spawned: SpawnRecord?
    /// The account that is charged when the script itself resumed the run. `RunState.runningAccount` or the spawned function
    /// keeps it alive.
    @usableFromInline package unowned(unsafe) var account: RunAccount?

    /// A run that was begun from outside.
    ///
    /// - Parameter subject: What the run is about, for the feature that has begun it.
    @inlinable @inline(__always)
    public init(holdsStop: Bool = false, subject: UnsafeMutableRawPointer? = nil) {
        self.holdsStop = holdsStop
        self.resumeCause = .outside
        self.subject = subject
        self.spawned = nil
        self.account = nil
    }
}

extension RunningActivity {
    package init(_ activity: Activity) {
        self.init()
        holdsStop = activity.traits.contains(.holdsStop)
        activity.owner.describe(activity, in: &self)
    }
}
