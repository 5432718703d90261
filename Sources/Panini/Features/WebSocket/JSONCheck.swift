// Owns: whether bytes are one JSON text (RFC 8259), without making anything of it. A pure value; any thread.

import Bytes

/// Walks over a JSON text. The bytes are known to be UTF-8.
package struct JSONCheck {
    private let bytes: UnsafeRawBufferPointer
    private var index = 0
    private static let maximumDepth = 128

    private init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Whether the bytes are one value, with nothing but white space around it.
    package static func isValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var check = JSONCheck(bytes)
        guard check.value(depth: 0) else { return false }
        check.skipSpace()
        return check.index == bytes.count
    }

    private var byte: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ expected: UInt8) -> Bool {
        guard byte == expected else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func value(depth: Int) -> Bool {
        skipSpace()
        switch byte {
        case UInt8(ascii: "{"):
            return depth < Self.maximumDepth && members(UInt8(ascii: "}"), named: true, depth: depth)
        case UInt8(ascii: "["):
            return depth < Self.maximumDepth && members(UInt8(ascii: "]"), named: false, depth: depth)
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "t"): return word("true")
        case UInt8(ascii: "f"): return word("false")
        case UInt8(ascii: "n"): return word("null")
        default: return number()
        }
    }

    private mutating func members(_ end: UInt8, named: Bool, depth: Int) -> Bool {
        index += 1
        skipSpace()
        if take(end) { return true }
        while true {
            if named {
                skipSpace()
                guard string() else { return false }
                skipSpace()
                guard take(UInt8(ascii: ":")) else { return false }
            }
            guard value(depth: depth + 1) else { return false }
            skipSpace()
            if take(end) { return true }
            guard take(UInt8(ascii: ",")) else { return false }
        }
    }

    private mutating func word(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.count - index >= count, bytes[index..<(index + count)].elementsEqual(word.bytes) else {
            return false
        }
        index += count
        return true
    }

    private mutating func string() -> Bool {
        guard take(UInt8(ascii: "\"")) else { return false }
        while let byte {
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"): guard escape() else { return false }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    private mutating func escape() -> Bool {
        guard let byte else { return false }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return true
        case UInt8(ascii: "u"):
            guard bytes.count - index >= 4 else { return false }
            let digits = bytes[index..<(index + 4)]
            index += 4
            return digits.allSatisfy(Hex.isDigit)
        default: return false
        }
    }

    private mutating func digits() -> Bool {
        let start = index
        while let byte, ASCII.isDigit(byte) { index += 1 }
        return index > start
    }

    private mutating func number() -> Bool {
        _ = take(UInt8(ascii: "-"))
        guard let first = byte else { return false }
        if first == UInt8(ascii: "0") { index += 1 } else if !digits() { return false }
        if take(UInt8(ascii: ".")), !digits() { return false }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            return digits()
        }
        return true
    }
}

extension StaticString {
    fileprivate var bytes: UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
    }
}
