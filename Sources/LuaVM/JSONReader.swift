// From JSON bytes to Lua values in one pass: what is read lies on the Lua stack until its table is complete, so that
// tables are made in their final size. A local value on Swift's stack, one per text.
//
// May call only Lua functions that raise for lack of memory at most (they do not, while Swift is on the stack), and
// only after `reserve` made sure of a slot.
internal import CLuaShim

struct JSONReader {
    /// From here on a table is made first and filled as its values come.
    private static let batch: CInt = 64

    let L: OpaquePointer
    let start: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>
    private let scratch: UnsafeMutablePointer<ByteStorage>
    private let keys: UnsafeMutablePointer<UnsafeRawPointer?>
    private let maximumDepth: Int

    var p: UnsafePointer<UInt8>
    private var depth = 0
    /// Lua's stack: the index on top, and the highest one that is reserved.
    private var top: CInt
    private var limit: CInt

    private(set) var failure: LuaJSONError.Kind?
    private(set) var failedAt: UnsafePointer<UInt8>
    private(set) var path = JSONPath()

    init(
        _ L: OpaquePointer,
        _ bytes: UnsafeBufferPointer<UInt8>,
        base: UnsafePointer<UInt8>,
        workspace: JSONWorkspace,
        scratch: UnsafeMutablePointer<ByteStorage>
    ) {
        self.L = L
        start = base
        end = base + bytes.count
        p = base
        failedAt = base
        self.scratch = scratch
        keys = workspace.keys
        maximumDepth = workspace.depth
        top = lua_gettop(L)
        limit = top
    }

    /// Reads the whole text. One value is on top, or there is a failure and something above the old top.
    mutating func readText() -> Bool {
        if end - start >= 3, start[0] == 0xEF, start[1] == 0xBB, start[2] == 0xBF { return fail(.byteOrderMark) }
        skipSpace()
        guard value() else { return false }
        skipSpace()
        return p == end ? true : fail(.trailingText)
    }

    // MARK: - Helpers

    @inline(never)
    mutating func fail(_ kind: LuaJSONError.Kind) -> Bool {
        failure = kind
        failedAt = p
        return false
    }

    /// Something else was expected here.
    @inline(never)
    mutating func failHere() -> Bool {
        fail(p == end ? .unexpectedEnd : .unexpectedByte)
    }

    /// Counts one push.
    @inline(__always)
    private mutating func reserve() -> Bool {
        if top == limit {
            guard lua_checkstack(L, 64) != 0 else { return fail(.tooLarge) }
            limit = top &+ 64
        }
        top &+= 1
        return true
    }

    @inline(__always)
    private mutating func skipSpace() {
        while p < end {
            let byte = p.pointee
            if byte > 0x20 { return }
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            p += 1
        }
    }

    // MARK: - Values

    private mutating func value() -> Bool {
        guard p < end else { return fail(.unexpectedEnd) }
        switch p.pointee {
        case UInt8(ascii: "\""):
            return string()
        case UInt8(ascii: "{"):
            return object()
        case UInt8(ascii: "["):
            return array()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return number()
        case UInt8(ascii: "t"):
            guard word(0x6575_7274) else { return failHere() }
            p += 4
            guard reserve() else { return false }
            lua_pushboolean(L, 1)
            return true
        case UInt8(ascii: "f"):
            guard end - p >= 5, word(0x736C_6166), p[4] == UInt8(ascii: "e") else { return failHere() }
            p += 5
            guard reserve() else { return false }
            lua_pushboolean(L, 0)
            return true
        case UInt8(ascii: "n"):
            guard word(0x6C6C_756E) else { return failHere() }
            p += 4
            guard reserve() else { return false }
            lua_pushlightuserdata(L, nil)
            return true
        default:
            return fail(.unexpectedByte)
        }
    }

    /// Whether the next four bytes are these, little endian.
    @inline(__always)
    private func word(_ expected: UInt32) -> Bool {
        end - p >= 4 && UInt32(littleEndian: UnsafeRawPointer(p).loadUnaligned(as: UInt32.self)) == expected
    }

    // MARK: - Objects

    private mutating func object() -> Bool {
        guard depth < maximumDepth else { return fail(.tooDeep) }
        p += 1
        skipSpace()
        if p < end, p.pointee == UInt8(ascii: "}") {
            p += 1
            guard reserve() else { return false }
            lua_createtable(L, 0, 0)
            return true
        }
        guard reserve() else { return false }
        // The table's place, below its pairs.
        lua_pushnil(L)
        let table = top
        let openKeys = keys + depth &* JSONWorkspace.comparedKeys
        depth &+= 1
        var pairs: CInt = 0
        var hasLongKey = false
        var isMade = false
        while true {
            guard p < end, p.pointee == UInt8(ascii: "\"") else { return failHere() }
            var length = 0
            guard let key = rawString(&length) else { return false }
            hasLongKey = hasLongKey || length > 40
            if pairs < CInt(JSONWorkspace.comparedKeys) { openKeys[Int(pairs)] = key }
            skipSpace()
            guard p < end, p.pointee == UInt8(ascii: ":") else { return failHere() }
            p += 1
            skipSpace()
            let keyIndex = top
            guard value() else { return prependKey(at: keyIndex) }
            if isMade {
                lua_rawset(L, table)
                top &-= 2
            } else {
                pairs &+= 1
                if pairs == JSONReader.batch {
                    guard fill(table, pairs, hint: pairs &* 2, inOrder: true) else { return false }
                    isMade = true
                }
            }
            skipSpace()
            guard p < end else { return fail(.unexpectedEnd) }
            if p.pointee == UInt8(ascii: ",") {
                p += 1
                skipSpace()
                continue
            }
            guard p.pointee == UInt8(ascii: "}") else { return fail(.unexpectedByte) }
            p += 1
            break
        }
        depth &-= 1
        if isMade { return true }
        return fill(table, pairs, hint: pairs, inOrder: hasLongKey || mayRepeat(openKeys, Int(pairs)))
    }

    /// Short strings are interned: the same key has the same address.
    @inline(__always)
    private func mayRepeat(_ keys: UnsafeMutablePointer<UnsafeRawPointer?>, _ count: Int) -> Bool {
        if count > JSONWorkspace.comparedKeys { return true }
        var later = 1
        while later < count {
            let key = keys[later]
            var earlier = 0
            while earlier < later {
                if keys[earlier] == key { return true }
                earlier &+= 1
            }
            later &+= 1
        }
        return false
    }

    /// Makes the table in its place and moves the pairs above it into it. In order, the last of equal keys wins;
    /// backwards is faster, and only right when all keys differ.
    @inline(__always)
    private mutating func fill(_ table: CInt, _ pairs: CInt, hint: CInt, inOrder: Bool) -> Bool {
        guard spare() else { return false }
        lua_createtable(L, 0, hint)
        lua_copy(L, -1, table)
        lua_settop(L, -2)
        if inOrder {
            var at = table &+ 1
            while at < top {
                lua_pushvalue(L, at)
                lua_pushvalue(L, at &+ 1)
                lua_rawset(L, table)
                at &+= 2
            }
            lua_settop(L, table)
        } else {
            var left = pairs
            while left > 0 {
                lua_rawset(L, table)
                left &-= 1
            }
        }
        top = table
        return true
    }

    /// Room for three values that are gone again at once.
    @inline(__always)
    private mutating func spare() -> Bool {
        if limit &- top < 3 {
            guard lua_checkstack(L, 64) != 0 else { return fail(.tooLarge) }
            limit = top &+ 64
        }
        return true
    }

    /// A failing value leaves what lies below it on the stack alone, its key too.
    @inline(never)
    private mutating func prependKey(at index: CInt) -> Bool {
        var length = 0
        if lua_type(L, index) == LUA_TSTRING, let bytes = lua_tolstring(L, index, &length) {
            path.prepend(key: UnsafeRawBufferPointer(start: bytes, count: length))
        }
        return false
    }

    // MARK: - Arrays

    private mutating func array() -> Bool {
        guard depth < maximumDepth else { return fail(.tooDeep) }
        p += 1
        skipSpace()
        guard reserve() else { return false }
        // The table's place, below its values.
        lua_pushnil(L)
        let table = top
        if p < end, p.pointee == UInt8(ascii: "]") {
            p += 1
            return fillArray(table, 0)
        }
        depth &+= 1
        var count: CInt = 0
        var isMade = false
        while true {
            guard value() else {
                path.prepend(position: Int(count) + 1)
                return false
            }
            count &+= 1
            if isMade {
                lua_rawseti(L, table, lua_Integer(count))
                top &-= 1
            } else if count == JSONReader.batch {
                guard fillArray(table, count) else { return false }
                isMade = true
            }
            skipSpace()
            guard p < end else { return fail(.unexpectedEnd) }
            if p.pointee == UInt8(ascii: ",") {
                p += 1
                skipSpace()
                continue
            }
            guard p.pointee == UInt8(ascii: "]") else { return fail(.unexpectedByte) }
            p += 1
            break
        }
        depth &-= 1
        return isMade ? true : fillArray(table, count)
    }

    /// Makes the array in its place and moves the values above it into it.
    @inline(__always)
    private mutating func fillArray(_ table: CInt, _ count: CInt) -> Bool {
        guard spare() else { return false }
        lua_createtable(L, count, 0)
        lua_rawgeti(L, PaniniRegistry, lua_Integer(PANINI_ARRAY_METATABLE))
        lua_setmetatable(L, -2)
        lua_copy(L, -1, table)
        lua_settop(L, -2)
        var left = count
        while left > 0 {
            lua_rawseti(L, table, lua_Integer(left))
            left &-= 1
        }
        top = table
        return true
    }

    // MARK: - Strings

    private mutating func string() -> Bool {
        var length = 0
        return rawString(&length) != nil
    }

    /// Reads and pushes the string at `p`. Its address in Lua, which for short ones tells equal strings.
    @inline(__always)
    private mutating func rawString(_ length: inout Int) -> UnsafeRawPointer? {
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
    private func pushBytes(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UnsafeRawPointer? {
        let text = UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)
        return UnsafeRawPointer(lua_pushlstring(L, text, count))
    }

    /// The rest of a string that holds escapes or more than ASCII, or is wrong. `q`: the first byte that says so.
    @inline(never)
    private mutating func unusualString(
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
                let sequence = UTF8Check.sequenceLength(q, end)
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

    private mutating func failString(_ kind: LuaJSONError.Kind, _ at: UnsafePointer<UInt8>) -> UnsafeRawPointer? {
        p = at
        _ = fail(kind)
        return nil
    }

    private func keep(_ from: UnsafePointer<UInt8>, _ to: UnsafePointer<UInt8>) {
        let count = to - from
        scratch.pointee.reserve(count)
        (scratch.pointee.base + scratch.pointee.count).update(from: from, count: count)
        scratch.pointee.count &+= count
    }

    /// Writes what the escape at `q` stands for. The byte behind it, nil when it is wrong.
    private mutating func escape(_ q: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
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

    private mutating func unicodeEscape(_ q: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
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
    private func codeUnit(_ q: UnsafePointer<UInt8>) -> UInt32? {
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

    private mutating func failEscape(_ kind: LuaJSONError.Kind, _ at: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
        p = at
        _ = fail(kind)
        return nil
    }

    // MARK: - Numbers

    private mutating func number() -> Bool {
        var q = p
        let isNegative = q.pointee == UInt8(ascii: "-")
        if isNegative { q += 1 }
        let digits = q
        var mantissa: UInt64 = 0
        while q < end {
            let digit = q.pointee &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            mantissa = mantissa &* 10 &+ UInt64(digit)
            q += 1
        }
        let count = q - digits
        if count == 0 { return failNumber(q) }
        if digits.pointee == UInt8(ascii: "0"), count > 1 { return failNumber(digits) }
        if q < end {
            let byte = q.pointee
            if byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e") {
                return float(q, digits: digits, mantissa: mantissa, isNegative: isNegative)
            }
        }
        // 19 digits fit 64 bits without a sign; what goes beyond a signed one becomes a float.
        let largest = isNegative ? UInt64(1) &<< 63 : UInt64(Int64.max)
        guard count < 19 || (count == 19 && mantissa <= largest) else {
            return float(q, digits: digits, mantissa: mantissa, isNegative: isNegative)
        }
        p = q
        guard reserve() else { return false }
        let magnitude = Int64(truncatingIfNeeded: mantissa)
        lua_pushinteger(L, lua_Integer(isNegative ? 0 &- magnitude : magnitude))
        return true
    }

    @inline(never)
    private mutating func failNumber(_ at: UnsafePointer<UInt8>) -> Bool {
        p = at
        return fail(at == end ? .unexpectedEnd : .invalidNumber)
    }

    /// A number with a fraction or an exponent, or a long integer. `q`: behind the integer digits.
    private mutating func float(
        _ integerEnd: UnsafePointer<UInt8>,
        digits: UnsafePointer<UInt8>,
        mantissa integer: UInt64,
        isNegative: Bool
    ) -> Bool {
        var q = integerEnd
        var mantissa = integer
        var digitCount = integerEnd - digits
        var exponent = 0
        if q < end, q.pointee == UInt8(ascii: ".") {
            q += 1
            let fraction = q
            while q < end {
                let digit = q.pointee &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                mantissa = mantissa &* 10 &+ UInt64(digit)
                q += 1
            }
            let count = q - fraction
            guard count > 0 else { return failNumber(q) }
            digitCount &+= count
            exponent = 0 &- count
        }
        if q < end, q.pointee | 0x20 == UInt8(ascii: "e") {
            q += 1
            var isNegativeExponent = false
            if q < end, q.pointee == UInt8(ascii: "+") || q.pointee == UInt8(ascii: "-") {
                isNegativeExponent = q.pointee == UInt8(ascii: "-")
                q += 1
            }
            let first = q
            var written = 0
            while q < end {
                let digit = q.pointee &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                if written < 1_000_000 { written = written &* 10 &+ Int(digit) }
                q += 1
            }
            guard q > first else { return failNumber(q) }
            exponent &+= isNegativeExponent ? 0 &- written : written
        }
        // Both the digits and the power of ten are exact as doubles: one correctly rounded operation (Clinger).
        // Leading zeros of the fraction count as digits here, which only sends a few more to the slow path.
        if digitCount <= 19, mantissa <= 1 &<< 53, exponent >= -22, exponent <= 22 {
            let whole = Double(mantissa)
            let magnitude = exponent < 0 ? whole / PowersOfTen[0 &- exponent] : whole * PowersOfTen[exponent]
            p = q
            guard reserve() else { return false }
            lua_pushnumber(L, isNegative ? -magnitude : magnitude)
            return true
        }
        return longFloat(q)
    }

    /// Any number, by the C library.
    @inline(never)
    private mutating func longFloat(_ q: UnsafePointer<UInt8>) -> Bool {
        scratch.pointee.count = 0
        keep(p, q)
        scratch.pointee.reserve(1)
        scratch.pointee.put(0)
        let text = UnsafeRawPointer(scratch.pointee.base).assumingMemoryBound(to: CChar.self)
        let parsed = panini_parse_double(text)
        guard parsed.isFinite else { return fail(.numberOutOfRange) }
        p = q
        guard reserve() else { return false }
        lua_pushnumber(L, parsed)
        return true
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
