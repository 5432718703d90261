// Owns: hexadecimal digits, read and written. Pure; any thread.

/// Hexadecimal digits.
package enum Hex {
    /// The value of a digit in either case; nil for every other byte.
    @inlinable @inline(__always)
    package static func value(of byte: UInt8) -> UInt8? {
        let digit = byte &- 0x30
        if digit < 10 { return digit }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// Whether a byte is a digit, in either case.
    @inlinable @inline(__always)
    package static func isDigit(_ byte: UInt8) -> Bool { value(of: byte) != nil }

    /// The digit of the lowest four bits, in lower case.
    @inlinable @inline(__always)
    package static func digit(_ value: UInt8) -> UInt8 {
        let low = value & 15
        return low < 10 ? 0x30 &+ low : 0x57 &+ low
    }

    /// The digit of the lowest four bits, in capitals, as percent coding has it.
    @inlinable @inline(__always)
    package static func capitalDigit(_ value: UInt8) -> UInt8 {
        let low = value & 15
        return low < 10 ? 0x30 &+ low : 0x37 &+ low
    }

    /// Appends two digits for each byte, in lower case.
    @inlinable
    package static func append(_ bytes: some Sequence<UInt8>, to sink: inout some ByteSink) {
        for byte in bytes {
            sink.append(digit(byte >> 4))
            sink.append(digit(byte))
        }
    }
}
