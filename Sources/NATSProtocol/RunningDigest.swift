// Owns: SHA-256 over bytes that come piece by piece. A value; any thread.

import Crypto

/// SHA-256 of what was added.
package struct RunningDigest: Sendable {
    private var hash = SHA256()

    package init() {}

    /// Adds bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

    /// The 32 bytes of the digest; more can be added behind.
    package var bytes: [UInt8] { Array(hash.finalize()) }
}
