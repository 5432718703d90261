// Byte-level helpers shared by the client's and the server's parser: names for the few ASCII codes of the protocol,
// case-insensitive comparison, decimal numbers. Pure functions over raw bytes, no String, usable on any thread.

/// The ASCII codes the NATS protocol is made of, and comparisons on raw bytes.
package enum ASCII {
    package static let tab = UInt8(ascii: "\t")
    package static let lineFeed = UInt8(ascii: "\n")
    package static let carriageReturn = UInt8(ascii: "\r")
    package static let space = UInt8(ascii: " ")
    package static let dot = UInt8(ascii: ".")
    package static let star = UInt8(ascii: "*")
    package static let greater = UInt8(ascii: ">")
    package static let slash = UInt8(ascii: "/")
    package static let colon = UInt8(ascii: ":")
    package static let plus = UInt8(ascii: "+")
    package static let minus = UInt8(ascii: "-")
    package static let zero = UInt8(ascii: "0")
    package static let nine = UInt8(ascii: "9")
    package static let quote = UInt8(ascii: "'")

    /// Lower case of one ASCII letter; every other byte is returned as it is.
    @inline(__always)
    package static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// Whether `bytes` spells `word`, ignoring the case of ASCII letters. `word` must be lower case.
    package static func equals(_ bytes: UnsafeRawBufferPointer, ignoringCase word: StaticString) -> Bool {
        guard bytes.count == word.utf8CodeUnitCount else { return false }
        return hasPrefix(bytes, ignoringCase: word)
    }

    /// Whether `bytes` begins with `word`, ignoring the case of ASCII letters. `word` must be lower case.
    package static func hasPrefix(_ bytes: UnsafeRawBufferPointer, ignoringCase word: StaticString) -> Bool {
        guard bytes.count >= word.utf8CodeUnitCount else { return false }
        let expected = word.utf8Start
        for index in 0..<word.utf8CodeUnitCount where lowercased(bytes[index]) != expected[index] {
            return false
        }
        return true
    }

    /// The decimal number `bytes` spells: digits only, at least one, no sign; nil when it is anything else or would
    /// not fit 18 digits (so it never overflows).
    @inline(__always)
    package static func decimal(_ bytes: UnsafeRawBufferPointer) -> Int? {
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
    @inline(__always)
    package static func digitCount(_ value: Int) -> Int {
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
    @inline(__always)
    package static func writeDecimal(_ value: Int, to target: UnsafeMutableRawPointer) -> Int {
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
    package static var none: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Whether both hold the same bytes.
    @inline(__always)
    package func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        for index in 0..<count where self[index] != other[index] {
            return false
        }
        return true
    }
}
