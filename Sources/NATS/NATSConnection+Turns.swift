// A connection whose messages take long shares its event loop: what is read is delivered until somebody says that it is enough
// for this turn of the loop, and the rest stays where it is, here and in the socket, until it goes on. Loop-bound.

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
        move?.left?.hold(.turn)
    }

    /// Delivers what was left.
    package func goOnWithTurn() {
        let left = move?.left
        left?.release(.turn)
        link?.release(.turn)
    }
}
