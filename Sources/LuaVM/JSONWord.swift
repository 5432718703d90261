// Owns: the search for the end of the plain run in a JSON string, eight bytes at a time. Pure; any thread.

/// Eight bytes at a time: which of them end the plain run of a JSON string.
enum JSONWord {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The high bit of every byte that is a quote, a backslash, a control character or not ASCII. The lowest set bit is
    /// exact; above it there may be false ones.
    @inline(__always)
    static func special(_ word: UInt64) -> UInt64 {
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let quotes = (quote &- ones) & ~quote
        let backslashes = (backslash &- ones) & ~backslash
        let controls = (word &- (ones &* 0x20)) & ~word
        return (quotes | backslashes | controls | word) & highs
    }

    @inline(__always)
    static func load(_ p: UnsafePointer<UInt8>) -> UInt64 {
        UInt64(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt64.self))
    }

    @inline(__always)
    static func loadHalf(_ p: UnsafePointer<UInt8>) -> UInt32 {
        UInt32(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self))
    }

    /// Which byte of the word the lowest set bit of `special` is in.
    @inline(__always)
    static func firstIndex(_ special: UInt64) -> Int { special.trailingZeroBitCount &>> 3 }
}
