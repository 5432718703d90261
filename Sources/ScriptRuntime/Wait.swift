// Owns: what a suspended coroutine waits for, and who cancels the wait when the coroutine is given up. A value; loop-bound.

/// Cancels waits.
public protocol WaitOwner: AnyObject {
    /// The coroutine of this number waits no more.
    func cancel(_ wait: Wait, of coroutine: UInt64)
}

/// What a suspended coroutine waits for.
public struct Wait {
    /// Cancels the wait; nil when it needs no cancelling.
    package var owner: (any WaitOwner)?
    /// Which of its owner's waits it is; only the owner reads these.
    package var token: UInt64 = 0
    package var detail: UInt64 = 0
    /// Whether the wait is ended from outside or by the script itself; this decides whether the next segment is charged.
    package var resumeCause: ResumeCause
    package var isNone = false

    package static var none: Wait { Wait(resumeCause: .own, isNone: true) }

    /// A wait for something from outside that needs no cancelling.
    package static var outside: Wait { Wait(resumeCause: .outside) }

    /// A wait for the end of something that the script itself has begun; it needs no cancelling.
    package static var own: Wait { Wait(resumeCause: .own) }

    package init(
        _ owner: (any WaitOwner)? = nil,
        token: UInt64 = 0,
        detail: UInt64 = 0,
        resumeCause: ResumeCause = .outside
    ) {
        self.owner = owner
        self.token = token
        self.detail = detail
        self.resumeCause = resumeCause
    }

    private init(resumeCause: ResumeCause, isNone: Bool = false) {
        self.resumeCause = resumeCause
        self.isNone = isNone
    }
}
