// Wiping of what must not stay in memory. Any thread.

import Glibc

package enum Secret {
    /// Overwrites `bytes` in place and empties the array. Of an array that shares its storage only this copy goes.
    package static func wipe(_ bytes: inout [UInt8]) {
        bytes.withUnsafeMutableBytes { buffer in
            if let base = buffer.baseAddress { explicit_bzero(base, buffer.count) }
        }
        bytes = []
    }
}
