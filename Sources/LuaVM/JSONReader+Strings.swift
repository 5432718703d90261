// The strings of a JSON text: plain ones go to Lua from where they lie, others through the scratch buffer.
internal import Bytes
internal import CLuaVM

extension JSONReader {
    mutating func string() -> Bool {
        var length = 0
        return rawString(&length) != nil
    }

    /// Reads and pushes the string at `p`. Its address in Lua, which for short ones tells equal strings.
    @inline(__always)
    mutating func rawString(_ length: inout Int) -> UnsafeRawPointer? {
        let first = p + 1
        var q = first
        while end - q >= 8 {
            let special = JSONWord.special(JSONWord.load(q))
            if special == 0 {
                q += 8
                continue
            }
            q += JSONWord.firstIndex(special)
            break
        }
        // At a byte that needs a look, or among the last seven.
        while q < end {
            let byte = q.pointee
            if byte == UInt8(ascii: "\"") {
                guard reserve() else { return nil }
                length = q - first
                p = q + 1
                return pushBytes(first, length)
            }
            guard byte >= 0x20, byte < 0x80, byte != UInt8(ascii: "\\") else { break }
            q += 1
        }
        return unusualString(first, q, &length)
    }

    @inline(__always)
    mutating func pushBytes(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UnsafeRawPointer? {
        guard count < 4096 || permits(count &+ 64) else { return nil }
        let text = UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)
        return UnsafeRawPointer(lua_pushlstring(L, text, count))
    }

    /// The rest of a string that holds escapes or more than ASCII, or is wrong. `q`: the first byte that says so.
    @inline(never)
    mutating func unusualString(
        _ first: UnsafePointer<UInt8>,
        _ at: UnsafePointer<UInt8>,
        _ length: inout Int
    ) -> UnsafeRawPointer? {
        var q = at
        // From here on the bytes are not in the scratch buffer yet.
        var pending = first
        scratch.pointee.count = 0
        while q < end {
            let byte = q.pointee
            if byte >= 0x80 {
                let sequence = UTF8Text.sequenceLength(q, end)
                guard sequence > 0 else { return failString(.invalidUTF8, q) }
                q += sequence
            } else if byte == UInt8(ascii: "\"") {
                guard reserve() else { return nil }
                p = q + 1
                if pending == first {
                    length = q - first
                    return pushBytes(first, length)
                }
                keep(pending, q)
                length = scratch.pointee.count
                return pushBytes(scratch.pointee.base, length)
            } else if byte == UInt8(ascii: "\\") {
                keep(pending, q)
                guard let after = escape(q) else { return nil }
                q = after
                pending = q
            } else if byte < 0x20 {
                return failString(.controlCharacter, q)
            } else if end - q >= 8 {
                let special = JSONWord.special(JSONWord.load(q))
                q += special == 0 ? 8 : JSONWord.firstIndex(special)
            } else {
                q += 1
            }
        }
        return failString(.unexpectedEnd, end)
    }

    mutating func failString(_ kind: LuaJSONError.Kind, _ at: UnsafePointer<UInt8>) -> UnsafeRawPointer? {
        p = at
        _ = fail(kind)
        return nil
    }

    func keep(_ from: UnsafePointer<UInt8>, _ to: UnsafePointer<UInt8>) {
        let count = to - from
        scratch.pointee.reserve(count)
        (scratch.pointee.base + scratch.pointee.count).update(from: from, count: count)
        scratch.pointee.count &+= count
    }

    /// Writes what the escape at `q` stands for. The byte behind it, nil when it is wrong.
    mutating func escape(_ q: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
        guard end - q >= 2 else { return failEscape(.unexpectedEnd, end) }
        scratch.pointee.reserve(4)
        switch q[1] {
        case UInt8(ascii: "\""): scratch.pointee.put(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): scratch.pointee.put(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): scratch.pointee.put(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): scratch.pointee.put(0x08)
        case UInt8(ascii: "f"): scratch.pointee.put(0x0C)
        case UInt8(ascii: "n"): scratch.pointee.put(0x0A)
        case UInt8(ascii: "r"): scratch.pointee.put(0x0D)
        case UInt8(ascii: "t"): scratch.pointee.put(0x09)
        case UInt8(ascii: "u"): return unicodeEscape(q)
        default: return failEscape(.invalidEscape, q)
        }
        return q + 2
    }

    mutating func unicodeEscape(_ q: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
        guard let unit = codeUnit(q) else { return failEscape(end - q < 6 ? .unexpectedEnd : .invalidEscape, q) }
        guard unit & 0xF800 == 0xD800 else {
            scratch.pointee.putScalar(unit)
            return q + 6
        }
        // The first half of a pair needs its second half at once.
        guard unit < 0xDC00, end - q >= 12, let low = codeUnit(q + 6), low & 0xFC00 == 0xDC00 else {
            return failEscape(.loneSurrogate, q)
        }
        scratch.pointee.putScalar(0x10000 &+ ((unit & 0x3FF) &<< 10) &+ (low & 0x3FF))
        return q + 12
    }

    /// The code unit of a "\uXXXX" at `q`.
    func codeUnit(_ q: UnsafePointer<UInt8>) -> UInt32? {
        guard end - q >= 6, q[0] == UInt8(ascii: "\\"), q[1] == UInt8(ascii: "u") else { return nil }
        var unit: UInt32 = 0
        for index in 2..<6 {
            let byte = q[index]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte &- UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte &- UInt8(ascii: "a") &+ 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte &- UInt8(ascii: "A") &+ 10
            default: return nil
            }
            unit = unit &<< 4 | UInt32(digit)
        }
        return unit
    }

    mutating func failEscape(_ kind: LuaJSONError.Kind, _ at: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
        p = at
        _ = fail(kind)
        return nil
    }
}

extension ByteStorage {
    /// Appends a scalar value as UTF-8; four bytes were reserved.
    fileprivate mutating func putScalar(_ scalar: UInt32) {
        switch scalar {
        case 0..<0x80:
            put(UInt8(truncatingIfNeeded: scalar))
        case 0x80..<0x800:
            put(UInt8(truncatingIfNeeded: 0xC0 | scalar &>> 6))
            put(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        case 0x800..<0x10000:
            put(UInt8(truncatingIfNeeded: 0xE0 | scalar &>> 12))
            put(UInt8(truncatingIfNeeded: 0x80 | (scalar &>> 6) & 0x3F))
            put(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        default:
            put(UInt8(truncatingIfNeeded: 0xF0 | scalar &>> 18))
            put(UInt8(truncatingIfNeeded: 0x80 | (scalar &>> 12) & 0x3F))
            put(UInt8(truncatingIfNeeded: 0x80 | (scalar &>> 6) & 0x3F))
            put(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        }
    }
}
