// Owns: the bytes that protocols are made of: their codes, classes of them, case folding, comparison without regard to case,
// decimal numbers. Pure functions over bytes, no String; any thread. What is small is inlinable: parsers call it for each byte. It is
// public and no product: Swift 6.3 takes nothing of `package` into another module (measured).

/// The ASCII codes of the protocols, and comparisons on bytes.
public enum ASCII {
    // Computed, so that another module has the number and no address to look at.
    /// Horizontal tab.
    @inlinable @inline(__always) public static var tab: UInt8 { 0x09 }
    /// Line feed, LF.
    @inlinable @inline(__always) public static var lineFeed: UInt8 { 0x0A }
    /// Carriage return, CR.
    @inlinable @inline(__always) public static var carriageReturn: UInt8 { 0x0D }
    /// A space.
    @inlinable @inline(__always) public static var space: UInt8 { 0x20 }
    /// A single quote, `'`.
    @inlinable @inline(__always) public static var quote: UInt8 { 0x27 }
    /// `*`
    @inlinable @inline(__always) public static var star: UInt8 { 0x2A }
    /// `+`
    @inlinable @inline(__always) public static var plus: UInt8 { 0x2B }
    /// `-`
    @inlinable @inline(__always) public static var minus: UInt8 { 0x2D }
    /// `.`
    @inlinable @inline(__always) public static var dot: UInt8 { 0x2E }
    /// `/`
    @inlinable @inline(__always) public static var slash: UInt8 { 0x2F }
    /// The digit 0.
    @inlinable @inline(__always) public static var zero: UInt8 { 0x30 }
    /// The digit 9.
    @inlinable @inline(__always) public static var nine: UInt8 { 0x39 }
    /// `:`
    @inlinable @inline(__always) public static var colon: UInt8 { 0x3A }
    /// `>`
    @inlinable @inline(__always) public static var greater: UInt8 { 0x3E }

    // MARK: - Classes

    /// A to Z and a to z.
    @inlinable @inline(__always)
    public static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }

    /// 0 to 9.
    @inlinable @inline(__always)
    public static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// A space or a tab: what stands around words of a line.
    @inlinable @inline(__always)
    public static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// What methods of HTTP, names of header fields and subprotocols are made of (RFC 9110, section 5.6.2).
    @inlinable @inline(__always)
    public static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }

    // MARK: - Case

    /// Lower case of one ASCII letter; every other byte is returned as it is.
    @inlinable @inline(__always)
    public static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// Whether `bytes` spells `word`, ignoring the case of ASCII letters. `word` must be lower case.
    @inlinable @inline(__always)
    public static func equals(_ bytes: UnsafeRawBufferPointer, ignoringCase word: StaticString) -> Bool {
        guard bytes.count == word.utf8CodeUnitCount else { return false }
        return hasPrefix(bytes, ignoringCase: word)
    }

    /// Whether `bytes` begins with `word`, ignoring the case of ASCII letters. `word` must be lower case.
    @inlinable @inline(__always)
    public static func hasPrefix(_ bytes: UnsafeRawBufferPointer, ignoringCase word: StaticString) -> Bool {
        guard bytes.count >= word.utf8CodeUnitCount else { return false }
        let expected = word.utf8Start
        for index in 0..<word.utf8CodeUnitCount where lowercased(bytes[index]) != expected[index] {
            return false
        }
        return true
    }

    /// Whether `text` spells `word`, ignoring the case of ASCII letters. `word` must be lower case.
    @inlinable
    public static func equals(_ text: some Collection<UInt8>, ignoringCase word: StaticString) -> Bool {
        guard text.count == word.utf8CodeUnitCount else { return false }
        var expected = word.utf8Start
        for byte in text {
            guard lowercased(byte) == expected.pointee else { return false }
            expected += 1
        }
        return true
    }

    /// Whether two texts are the same but for the case of ASCII letters.
    @inlinable
    public static func equals(_ one: some Collection<UInt8>, ignoringCase other: some Collection<UInt8>) -> Bool {
        one.count == other.count && zip(one, other).allSatisfy { lowercased($0) == lowercased($1) }
    }

    // MARK: - Numbers

    /// The decimal number `bytes` spells: digits only, at least one, no sign; nil when it is anything else or would
    /// not fit 18 digits (so it never overflows).
    @inlinable @inline(__always)
    public static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count > 0, bytes.count <= 18 else { return nil }
        var value = 0
        for byte in bytes {
            let digit = byte &- zero
            guard digit < 10 else { return nil }
            value = value &* 10 &+ Int(digit)
        }
        return value
    }

    /// How many decimal digits `value` (not negative) has.
    @inlinable @inline(__always)
    public static func digitCount(_ value: Int) -> Int {
        var count = 1
        var rest = value
        while rest >= 10 {
            rest /= 10
            count += 1
        }
        return count
    }

    /// Writes `value` (not negative) in decimal at `target` and returns how many bytes that were. The caller has
    /// made room for 20 bytes.
    @inlinable @inline(__always)
    public static func writeDecimal(_ value: Int, to target: UnsafeMutableRawPointer) -> Int {
        if value < 10 {
            target.storeBytes(of: zero &+ UInt8(truncatingIfNeeded: value), as: UInt8.self)
            return 1
        }
        let count = digitCount(value)
        var rest = value
        var index = count
        while index > 0 {
            index &-= 1
            let next = rest / 10
            target.storeBytes(
                of: zero &+ UInt8(truncatingIfNeeded: rest &- next &* 10),
                toByteOffset: index,
                as: UInt8.self
            )
            rest = next
        }
        return count
    }
}

extension UnsafeRawBufferPointer {
    /// No bytes at all, as the absent value of optional fields (reply, headers).
    @inlinable @inline(__always)
    public static var none: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Whether both hold the same bytes.
    @inlinable @inline(__always)
    public func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        for index in 0..<count where self[index] != other[index] {
            return false
        }
        return true
    }
}

extension BidirectionalCollection<UInt8> where SubSequence == Self {
    /// The bytes without the blanks at their ends.
    public var withoutBlanks: Self {
        var rest = self
        while let first = rest.first, ASCII.isBlank(first) { rest = rest.dropFirst() }
        while let last = rest.last, ASCII.isBlank(last) { rest = rest.dropLast() }
        return rest
    }
}
