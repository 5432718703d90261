// Owns: percent coding (RFC 3986, section 2.1) and its form in forms, where a space is a plus (WHATWG URL,
// application/x-www-form-urlencoded). Pure; any thread. Which bytes need an escape is the caller's knowledge.

/// Escapes such as `%2F`.
package enum PercentCoding {
    /// The bytes with their escapes undone; nil when one of them is none.
    package static func decoded(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.underestimatedCount)
        var rest = text.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap(Hex.value), let low = rest.next().flatMap(Hex.value) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// The bytes of a part of a form: a plus is a space, and what is no escape stays as it is.
    package static func decodedForm(_ text: some Collection<UInt8>) -> [UInt8] {
        let text = Array(text)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let byte = text[index]
            index += 1
            guard byte == UInt8(ascii: "%"), index + 1 < text.count, let high = Hex.value(of: text[index]),
                let low = Hex.value(of: text[index + 1])
            else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                continue
            }
            bytes.append(high << 4 | low)
            index += 2
        }
        return bytes
    }

    /// Appends the escape of a byte.
    package static func appendEscape(of byte: UInt8, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "%"))
        text.append(Hex.capitalDigit(byte >> 4))
        text.append(Hex.capitalDigit(byte))
    }

    /// What a byte is in a form when it needs no escape.
    package static func formByte(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57, 65...90, 97...122, 0x2A, 0x2D, 0x2E, 0x5F: byte
        case 0x20: UInt8(ascii: "+")
        default: nil
        }
    }

    /// Appends a part of a form.
    package static func appendForm(_ bytes: UnsafeRawBufferPointer, to text: inout [UInt8]) {
        for byte in bytes {
            if let plain = formByte(byte) { text.append(plain) } else { appendEscape(of: byte, to: &text) }
        }
    }
}
