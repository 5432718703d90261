// Where bytes are cut into pieces, by a seed. Pure, any thread.

import NATSFuzzSupport

/// Ways to cut the same bytes into pieces.
enum Cuts {
    /// The pieces' ends, for pieces of 1 to `longest` bytes.
    static func make(_ count: Int, longest: Int, seed: UInt64) -> [Int] {
        var random = SeededGenerator(seed: seed &+ UInt64(longest))
        var ends: [Int] = []
        var at = 0
        while at < count {
            at = min(count, at + Int.random(in: 1...longest, using: &random))
            ends.append(at)
        }
        return ends
    }
}
