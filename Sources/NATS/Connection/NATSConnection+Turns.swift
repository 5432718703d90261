// Owns: the share that a connection has of its event loop. What is read is delivered until somebody says that it is enough
// for this turn of the loop; the rest stays where it is, here and in the socket, until it goes on. Loop-bound.

import Synchronization

/// A word that is never set.
nonisolated(unsafe) let neverOver: UnsafeMutablePointer<Atomic<UInt32>> = {
    let word = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)
    word.initialize(to: Atomic(0))
    return word
}()

extension NATSConnection {
    /// Leaves what was read, and is not delivered yet, until ``goOnWithTurn()``. What comes meanwhile waits behind it.
    package func holdForTurn() {
        link?.hold(.turn)
        oldLink?.handler.hold(.turn)
    }

    /// Delivers what was left.
    package func goOnWithTurn() {
        let old = oldLink?.handler
        old?.release(.turn)
        link?.release(.turn)
    }
}
