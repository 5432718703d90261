// Owns: what well-formed UTF-8 is (RFC 3629): no overlong forms, no surrogates, nothing beyond U+10FFFF. Of bytes that are all
// there, and of those that arrive in pieces. Pure; any thread.

/// Well-formed UTF-8.
public enum UTF8Text {
    /// The length of the sequence that starts at `p` (a byte from 0x80 on), 0 when it is not well-formed.
    @inlinable @inline(__always)
    public static func sequenceLength(_ p: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Int {
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

    /// Whether a byte continues a sequence.
    @inlinable @inline(__always)
    public static func isTail(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }

    /// Where the run of ASCII that begins at `index` ends.
    @inlinable @inline(__always)
    public static func skipASCII(_ base: UnsafeRawPointer, _ index: Int, _ count: Int) -> Int {
        var index = index
        while index &+ 8 <= count {
            let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            guard word & 0x8080_8080_8080_8080 == 0 else { break }
            index &+= 8
        }
        while index < count, base.load(fromByteOffset: index, as: UInt8.self) < 0x80 { index &+= 1 }
        return index
    }

    /// Whether these bytes are a whole text. Looks at each byte once, and makes no String of them.
    public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        let count = bytes.count
        let text = base.assumingMemoryBound(to: UInt8.self)
        var index = skipASCII(base, 0, count)
        while index < count {
            let length = sequenceLength(text + index, text + count)
            guard length > 0 else { return false }
            index &+= length
            // A text in another script has more of it; one in this has a run again.
            if index < count, text[index] < 0x80 { index = skipASCII(base, index, count) }
        }
        return true
    }

    /// The same for an array.
    public static func isValid(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { isValid($0) } }
}

/// Checks a text that arrives in pieces, which may be cut anywhere, also inside a character; finds what is wrong at the byte that
/// makes it wrong.
public struct UTF8Pieces: Equatable {
    /// How many bytes of a character are still to come.
    private var missing: UInt8 = 0
    /// What the next of them may be: overlong forms, surrogates and what is beyond U+10FFFF fail at the second byte.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Nothing has come yet.
    public init() {}

    /// Whether the text may end here: not in the middle of a character.
    public var isComplete: Bool { missing == 0 }

    /// Takes the next piece; false when no continuation can make the text right.
    public mutating func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        var index = 0
        let count = bytes.count
        while index < count {
            if missing == 0 {
                index = UTF8Text.skipASCII(base, index, count)
                guard index < count else { return true }
            }
            guard step(base.load(fromByteOffset: index, as: UInt8.self)) else { return false }
            index &+= 1
        }
        return true
    }

    private mutating func step(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard byte >= lowest, byte <= highest else { return false }
            missing &-= 1
            (lowest, highest) = (0x80, 0xBF)
            return true
        }
        switch byte {
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, lowest) = (2, 0xA0)
        case 0xED: (missing, highest) = (2, 0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, lowest) = (3, 0x90)
        case 0xF1...0xF3: missing = 3
        case 0xF4: (missing, highest) = (3, 0x8F)
        default: return byte < 0x80
        }
        return true
    }
}
