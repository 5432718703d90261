// Owns: what a suspended coroutine waits for, as far as it must be taken back when the coroutine is given up. A value; loop-bound.

/// Takes a wait back.
public protocol WaitOwner: AnyObject {
    /// The coroutine of this number waits no more.
    func cancel(_ wait: Wait, of coroutine: UInt64)
}

/// What a suspended coroutine waits for.
public struct Wait {
    /// Takes it back; nil where there is nothing to take back.
    package var owner: (any WaitOwner)?
    /// Which of its owner's waits it is; only the owner reads these.
    package var token: UInt64 = 0
    package var detail: UInt64 = 0
    /// What the end of the wait is to the stretch that it begins.
    package var drive: Drive
    package var isNone = false

    package static var none: Wait { Wait(drive: .own, isNone: true) }

    /// For a word from outside that comes by itself.
    package static var outside: Wait { Wait(drive: .outside) }

    /// For the end of what the script has begun itself.
    package static var own: Wait { Wait(drive: .own) }

    package init(_ owner: (any WaitOwner)? = nil, token: UInt64 = 0, detail: UInt64 = 0, drive: Drive = .outside) {
        self.owner = owner
        self.token = token
        self.detail = detail
        self.drive = drive
    }

    private init(drive: Drive, isNone: Bool = false) {
        self.drive = drive
        self.isNone = isNone
    }
}
