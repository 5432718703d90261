// Owns: the word by which a worker lets somebody go on: from an alarm, in a turn, at the outermost level. Loop-bound.

/// Somebody who is told to go on, with the token that it has left for that.
public protocol Resumable: AnyObject {
    /// It is told.
    func goOn(_ token: UInt64)
}
