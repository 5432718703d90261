// Owns: what runs in a script now, as far as what it spawns needs it. A value of a Script; loop-bound.

/// What runs in a script now.
public struct RunningActivity {
    /// A stop waits for it.
    public var holdsStop: Bool
    /// What has begun the stretch that runs.
    @usableFromInline package var drive: Drive
    /// What the run is about, for the feature that has let it run.
    public var subject: UnsafeMutableRawPointer?
    /// The spawned function itself, which its activity keeps alive.
    @usableFromInline package unowned(unsafe) var spawned: SpawnRecord?
    /// What the stretch counts to, if the script itself has begun it; somebody else keeps it alive.
    @usableFromInline package unowned(unsafe) var account: RunAccount?

    /// Something that is let run from outside.
    ///
    /// - Parameter subject: What it is about, for the feature that lets it run.
    @inlinable @inline(__always)
    public init(holdsStop: Bool = false, subject: UnsafeMutableRawPointer? = nil) {
        self.holdsStop = holdsStop
        self.drive = .outside
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
