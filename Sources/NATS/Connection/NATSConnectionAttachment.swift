// Owns: what lives on a connection's loop beside its subscriptions and must know when the connection comes and goes. Whoever
// is the connection's delegate tells it.

/// Something that a connection carries. All are called on the loop.
package protocol NATSConnectionAttachment: AnyObject {
    /// The connection is there, for the first time or again; subscriptions are made.
    func connectionUp()
    /// The connection is lost.
    func connectionLost()
    /// The server denied a publish to `subject`.
    func publishDenied(_ subject: String, _ text: String)
    /// The connection is closed for good.
    func connectionClosed()
}
