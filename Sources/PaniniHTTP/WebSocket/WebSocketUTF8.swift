// Owns: well-formed UTF-8 across pieces: a text message may be cut anywhere, also inside a character. A pure value; any
// thread.

/// Checks a text that arrives in pieces (RFC 3629), and finds what is wrong at the byte that makes it wrong.
package struct WebSocketUTF8: Equatable {
    /// How many bytes of a character are still to come.
    private var missing: UInt8 = 0
    /// What the next of them may be: overlong forms, surrogates and what is beyond U+10FFFF fail at the second byte.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    package init() {}

    /// Whether the text may end here: not in the middle of a character.
    package var isComplete: Bool { missing == 0 }

    /// Takes the next piece; false when no continuation can make the text right.
    package mutating func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress else { return true }
        var index = 0
        let count = bytes.count
        while index < count {
            if missing == 0 {
                index = Self.skipASCII(base, index, count)
                guard index < count else { return true }
            }
            guard step(base.load(fromByteOffset: index, as: UInt8.self)) else { return false }
            index &+= 1
        }
        return true
    }

    /// Whether these bytes are a whole text.
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var check = WebSocketUTF8()
        return check.take(bytes) && check.isComplete
    }

    /// Where the run of ASCII that begins at `index` ends.
    private static func skipASCII(_ base: UnsafeRawPointer, _ index: Int, _ count: Int) -> Int {
        var index = index
        while index &+ 8 <= count {
            let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            guard word & 0x8080_8080_8080_8080 == 0 else { break }
            index &+= 8
        }
        while index < count, base.load(fromByteOffset: index, as: UInt8.self) < 0x80 { index &+= 1 }
        return index
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
