// The numbers of a JSON text: integers of 64 bits, and correctly rounded doubles.
internal import CLuaVM

extension JSONReader {
    mutating func number() -> Bool {
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
    mutating func failNumber(_ at: UnsafePointer<UInt8>) -> Bool {
        p = at
        return fail(at == end ? .unexpectedEnd : .invalidNumber)
    }

    /// A number with a fraction or an exponent, or a long integer. `q`: behind the integer digits.
    mutating func float(
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
    mutating func longFloat(_ q: UnsafePointer<UInt8>) -> Bool {
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
