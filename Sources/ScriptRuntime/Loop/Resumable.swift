// Owns: the protocol by which a worker resumes an object: from an alarm, in a turn, at the outermost level. Loop-bound.

/// An object that a worker resumes, with the token that the object has left for that.
public protocol Resumable: AnyObject {
    /// Continues the work that the token names.
    func goOn(_ token: UInt64)
}
