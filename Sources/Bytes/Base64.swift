// Owns: base64 with the standard digits and padding, and base64url without (RFC 4648, sections 4 and 5). Pure; any thread.

/// Base64 with padding.
package enum Base64 {
    /// How many digits so many bytes become.
    @inlinable @inline(__always)
    package static func length(of count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Appends the digits of `bytes`.
    @inlinable
    package static func append(_ bytes: UnsafeRawBufferPointer, to sink: inout some ByteSink) {
        var index = 0
        while index < bytes.count {
            let left = bytes.count &- index
            let first = UInt32(bytes[index]) << 16
            let second = left > 1 ? UInt32(bytes[index &+ 1]) << 8 : 0
            let group = first | second | (left > 2 ? UInt32(bytes[index &+ 2]) : 0)
            for place in 0..<4 {
                sink.append(place <= left ? digit(group >> UInt32(18 &- place &* 6)) : UInt8(ascii: "="))
            }
            index &+= 3
        }
    }

    /// The digits of `bytes`.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let bytes = Array(bytes)
        var text: [UInt8] = []
        text.reserveCapacity(length(of: bytes.count))
        bytes.withUnsafeBytes { append($0, to: &text) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Why a text is not base64.
    package enum Fault: Error, Equatable {
        /// The byte at this position is no digit.
        case digit(at: Int)
        /// Bits that no byte takes are not zero: there is one text for one value.
        case strayBits
    }

    /// Appends the bytes that `text` stands for.
    ///
    /// - Parameters:
    ///   - text: Whole groups of four digits.
    ///   - isLast: Whether its last group is the last of all, which may be padded.
    @inlinable
    package static func appendDecoded(
        _ text: UnsafeRawBufferPointer,
        isLast: Bool = true,
        to sink: inout some ByteSink
    ) throws(Fault) {
        precondition(text.count % 4 == 0, "groups of four digits")
        var index = 0
        while index < text.count {
            let mayBePadded = isLast && index &+ 4 == text.count
            let equals = UInt8(ascii: "=")
            let padding = !mayBePadded || text[index &+ 3] != equals ? 0 : text[index &+ 2] == equals ? 2 : 1
            var group: UInt32 = 0
            for place in 0..<4 {
                group <<= 6
                guard place < 4 &- padding else { continue }
                guard let six = value(of: text[index &+ place]) else { throw .digit(at: index &+ place) }
                group |= UInt32(six)
            }
            let unused: UInt32 = padding == 2 ? 0xFFFF : padding == 1 ? 0xFF : 0
            guard group & unused == 0 else { throw .strayBits }
            for place in 0..<(3 &- padding) {
                sink.append(UInt8(truncatingIfNeeded: group >> UInt32(16 &- place &* 8)))
            }
            index &+= 4
        }
    }

    /// The value of a digit; nil for every other byte, `=` too.
    @inlinable @inline(__always)
    package static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case 65...90: digit &- 65
        case 97...122: digit &- 71
        case 48...57: digit &+ 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// The digit of the lowest six bits.
    @inlinable @inline(__always)
    package static func digit(_ value: UInt32) -> UInt8 {
        switch UInt8(truncatingIfNeeded: value & 63) {
        case let six where six < 26: 65 &+ six
        case let six where six < 52: 71 &+ six
        case let six where six < 62: six &- 4
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }
}

/// Base64url without padding, as JWTs and signatures have it.
package enum Base64URL {
    /// The digits of `bytes`.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Base64.encode(bytes).utf8.prefix { $0 != UInt8(ascii: "=") }.map { digit -> UInt8 in
            switch digit {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: digit
            }
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// Whether `byte` may stand in base64url.
    package static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: ASCII.isLetter(byte) || ASCII.isDigit(byte)
        }
    }
}
