// How strings and floats look in JSON.

internal import Bytes

extension JSONWriter {
    // MARK: - Strings

    mutating func string(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        out.reserve(length &+ 16)
        let quote = UInt8(ascii: "\"")
        let to = out.base + out.count
        to[0] = quote
        out.count &+= 1
        if length >= 8 { return longString(bytes, length) }
        // Up to seven bytes: overlapping reads give every byte at least once, whatever the length.
        let word: UInt64
        if length >= 4 {
            let head = JSONWord.loadHalf(bytes)
            let tail = JSONWord.loadHalf(bytes + (length &- 4))
            UnsafeMutableRawPointer(to + 1).storeBytes(of: head.littleEndian, as: UInt32.self)
            UnsafeMutableRawPointer(to + (length &- 3)).storeBytes(of: tail.littleEndian, as: UInt32.self)
            word = UInt64(head) | UInt64(tail) &<< 32
        } else if length > 0 {
            let first = bytes[0]
            let middle = bytes[length &>> 1]
            let last = bytes[length &- 1]
            to[1] = first
            to[1 &+ length &>> 1] = middle
            to[length] = last
            word = UInt64(first) | UInt64(middle) &<< 8 | UInt64(last) &<< 16 | 0x2020_2020_2000_0000
        } else {
            to[1] = quote
            out.count &+= 1
            return true
        }
        guard JSONWord.special(word) == 0 else { return unusualString(bytes, bytes + length) }
        to[length &+ 1] = quote
        out.count &+= length &+ 1
        return true
    }

    /// Eight bytes at a time, the last eight overlapping.
    private mutating func longString(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        let to = out.base + out.count
        let last = length &- 8
        var at = 0
        while true {
            let word = JSONWord.load(bytes + at)
            UnsafeMutableRawPointer(to + at).storeBytes(of: word.littleEndian, as: UInt64.self)
            let special = JSONWord.special(word)
            guard special == 0 else {
                let plain = at &+ JSONWord.firstIndex(special)
                out.count &+= plain
                return unusualString(bytes + plain, bytes + length)
            }
            if at == last { break }
            at = min(at &+ 8, last)
        }
        to[length] = UInt8(ascii: "\"")
        out.count &+= length &+ 1
        return true
    }

    /// The rest of a string that needs escapes or holds more than ASCII.
    @inline(never)
    mutating func unusualString(_ from: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Bool {
        var q = from
        var looked = from
        while q < end {
            if q - looked > 16384 {
                guard permits() else { return false }
                looked = q
            }
            out.reserve((end - q) &+ 16)
            let byte = q.pointee
            if byte >= 0x80 {
                let sequence = UTF8Text.sequenceLength(q, end)
                guard sequence > 0 else { return fail(.invalidUTF8) }
                for offset in 0..<sequence { out.put(q[offset]) }
                q += sequence
            } else if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                escape(byte)
                q += 1
            } else if end - q >= 8 {
                let word = JSONWord.load(q)
                UnsafeMutableRawPointer(out.base + out.count).storeBytes(of: word.littleEndian, as: UInt64.self)
                let special = JSONWord.special(word)
                let plain = special == 0 ? 8 : JSONWord.firstIndex(special)
                q += plain
                out.count &+= plain
            } else {
                out.put(byte)
                q += 1
            }
        }
        out.put(UInt8(ascii: "\""))
        return true
    }

    mutating func escape(_ byte: UInt8) {
        out.put(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): out.put(byte)
        case 0x08: out.put(UInt8(ascii: "b"))
        case 0x09: out.put(UInt8(ascii: "t"))
        case 0x0A: out.put(UInt8(ascii: "n"))
        case 0x0C: out.put(UInt8(ascii: "f"))
        case 0x0D: out.put(UInt8(ascii: "r"))
        default:
            out.put(UInt8(ascii: "u"))
            out.put(UInt8(ascii: "0"))
            out.put(UInt8(ascii: "0"))
            out.put(UInt8(ascii: "0") &+ byte &>> 4)
            let low = byte & 15
            out.put(low < 10 ? UInt8(ascii: "0") &+ low : UInt8(ascii: "a") &+ low &- 10)
        }
    }

    // MARK: - Floats

    /// The shortest text that reads back as the same double, and reads back as a float.
    mutating func float(_ number: Double) -> Bool {
        out.reserve(32)
        // Whole numbers and short decimals: digits with a point in the right place, with as few decimals as there can be.
        // The check that the digits read back makes it right; at most 15 of them make it the shortest.
        let magnitude = number.magnitude
        if magnitude < 1e15 {
            var scale = 0
            while scale < 7 {
                let scaled = magnitude * PowersOfTen[scale]
                guard scaled < 1e15 else { break }
                let digits = Int64(scaled + 0.5)
                // A product is rounded, and so was the number: what is nearer to a whole number than both may err is worth
                // a division, which is exact enough to tell.
                if (Double(digits) - scaled).magnitude <= scaled * Self.productError,
                    Double(digits) / PowersOfTen[scale] == magnitude
                {
                    if number.sign == .minus { out.put(UInt8(ascii: "-")) }
                    decimal(digits, scale: scale)
                    return true
                }
                scale &+= 1
            }
        }
        guard number.isFinite else { return fail(.notFinite) }
        var text = number.description
        text.withUTF8 { bytes in
            out.reserve(bytes.count)
            for byte in bytes { out.put(byte) }
        }
        return true
    }

    /// How far, in parts of it, the product of a decimal and its power of ten may be from the whole number that it stands for:
    /// half a unit of the last place for each of two roundings.
    private static var productError: Double { 0x1.2p-52 }

    @inline(__always)
    mutating func decimal(_ digits: Int64, scale: Int) {
        guard scale > 0 else {
            out.putDecimal(digits)
            out.put(UInt8(ascii: "."))
            out.put(UInt8(ascii: "0"))
            return
        }
        let unit = Int64(PowersOfTen[scale])
        out.putDecimal(digits / unit)
        out.put(UInt8(ascii: "."))
        var rest = digits % unit
        var at = out.base + (out.count &+ scale)
        out.count &+= scale
        for _ in 0..<scale {
            at -= 1
            at.pointee = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
            rest /= 10
        }
    }
}
