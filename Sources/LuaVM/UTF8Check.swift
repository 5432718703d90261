// Well-formed UTF-8, byte by byte: no overlong forms, no surrogates, nothing beyond U+10FFFF.

enum UTF8Check {
    /// The length of the sequence that starts at `p` (a byte from 0x80 on), 0 when it is not well-formed.
    @inline(__always)
    static func sequenceLength(_ p: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Int {
        let lead = p[0]
        let available = end - p
        if lead < 0xC2 { return 0 }
        if lead < 0xE0 {
            guard available >= 2, isTail(p[1]) else { return 0 }
            return 2
        }
        if lead < 0xF0 {
            guard available >= 3, isTail(p[1]), isTail(p[2]) else { return 0 }
            if lead == 0xE0, p[1] < 0xA0 { return 0 }
            if lead == 0xED, p[1] > 0x9F { return 0 }
            return 3
        }
        guard lead < 0xF5, available >= 4, isTail(p[1]), isTail(p[2]), isTail(p[3]) else { return 0 }
        if lead == 0xF0, p[1] < 0x90 { return 0 }
        if lead == 0xF4, p[1] > 0x8F { return 0 }
        return 4
    }

    @inline(__always)
    private static func isTail(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}

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
