// Owns: what the value of a `host` field can be (RFC 9110, section 7.2; RFC 3986, section 3.2.2). Pure; any thread.

import Bytes

/// The value of `host` and of `:authority`.
enum HTTPHostField {
    /// Whether it is a host, with or without a port; or empty, where a URL has none.
    ///
    /// A comma, which the grammar has in names, is refused: it is how two fields look that somebody has joined.
    @inline(__always)
    static func isValid(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        // A name, an address of version 4, a port: what is looked at for each request.
        for index in 0..<value.count where !isPlain(value[index]) { return isValid(value, from: index) }
        return true
    }

    /// The same for text.
    static func isValid(_ value: String) -> Bool { Array(value.utf8).withUnsafeBufferPointer { isValid($0) } }

    @inline(__always)
    private static func isPlain(_ byte: UInt8) -> Bool {
        // Letters, digits, "-", "." and "_", by bits: no branch for each range.
        byte < 128 && (byte < 64 ? plainLow : plainHigh) &>> (UInt64(byte) & 63) & 1 == 1
    }

    private static let plainLow: UInt64 = 0x03FF_6000_0000_0000
    private static let plainHigh: UInt64 = 0x07FF_FFFE_87FF_FFFE

    @inline(never)
    private static func isValid(_ value: UnsafeBufferPointer<UInt8>, from index: Int) -> Bool {
        if value[0] == UInt8(ascii: "[") { return isAddress(value) }
        var index = index
        while index < value.count {
            switch value[index] {
            case UInt8(ascii: ":"): return isPort(value, from: index + 1)
            case UInt8(ascii: "%"):
                guard index + 2 < value.count, Hex.isDigit(value[index + 1]), Hex.isDigit(value[index + 2]) else {
                    return false
                }
                index += 3
            case let byte where isPlain(byte) || "~!$&'()*+;=".utf8.contains(byte): index += 1
            default: return false
            }
        }
        return true
    }

    /// `[::1]`, with or without a port.
    private static func isAddress(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let end = value.firstIndex(of: UInt8(ascii: "]")), end > 2 else { return false }
        let isAddress = value[1..<end].allSatisfy {
            Hex.isDigit($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".")
        }
        guard isAddress, value[1..<end].contains(UInt8(ascii: ":")) else { return false }
        if end + 1 == value.count { return true }
        return value[end + 1] == UInt8(ascii: ":") && isPort(value, from: end + 2)
    }

    private static func isPort(_ value: UnsafeBufferPointer<UInt8>, from index: Int) -> Bool {
        var port = 0
        for byte in value[index...] {
            guard ASCII.isDigit(byte) else { return false }
            port = port * 10 + Int(byte) - 48
            guard port <= 65535 else { return false }
        }
        return true
    }
}
