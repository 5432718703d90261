// Properties over seeded random values: what is written reads back the same, and what is read is what was meant.
import CLuaVM
import Testing

@testable import LuaVM

struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number below `count`. Not generic: in a debug build that is what counts.
    mutating func below(_ count: Int) -> Int { Int(next() % UInt64(count)) }
}

/// A random value together with a text for it, written with every freedom JSON leaves.
private struct Generator {
    var random: SplitMix

    mutating func value(_ depth: Int = 0) -> (LuaValue, String) {
        switch random.below(depth < 5 ? 10 : 7) {
        case 0: return (.null, "null")
        case 1: return random.below(2) == 0 ? (.boolean(true), "true") : (.boolean(false), "false")
        case 2:
            let number = Int64(bitPattern: random.next()) >> random.below(64)
            return (.integer(number), "\(number)")
        case 3: return double()
        case 4, 5, 6:
            let (text, json) = string()
            return (.string(text), json)
        case 7, 8:
            var elements: [LuaValue] = []
            var texts: [String] = []
            for _ in 0..<count() {
                let (element, text) = value(depth + 1)
                elements.append(element)
                texts.append(space() + text + space())
            }
            return (.list(elements), "[" + texts.joined(separator: ",") + "]")
        default:
            var table: [LuaValue: LuaValue] = [:]
            var texts: [String] = []
            for _ in 0..<count() {
                let (key, keyText) = string()
                let (element, text) = value(depth + 1)
                table[.string(key)] = element
                texts.append(space() + keyText + space() + ":" + space() + text + space())
            }
            return (.table(table), "{" + texts.joined(separator: ",") + "}")
        }
    }

    private mutating func count() -> Int {
        random.below(10) == 0 ? random.below(150) : random.below(6)
    }

    private static let spaces = ["", "", "", " ", "\n", "\t ", "\r\n"]

    private mutating func space() -> String { Self.spaces[random.below(Self.spaces.count)] }

    mutating func double() -> (LuaValue, String) {
        while true {
            let number =
                switch random.below(4) {
                case 0: Double(bitPattern: random.next())
                case 1: Double(Int.random(in: -1_000_000...1_000_000, using: &random)) / 100
                case 2: Double.random(in: -1...1, using: &random)
                default: Double(Int64(bitPattern: random.next()) >> 20)
                }
            guard number.isFinite else { continue }
            var text = number.description
            // Swift writes 5e-324 and 1e+16: all of it is JSON, and all of it reads as a float.
            if random.below(2) == 0 { text = text.replacing("e", with: "E") }
            return (.number(number), text)
        }
    }

    private mutating func string() -> (String, String) {
        var text = ""
        var json = "\""
        for _ in 0..<random.below(24) {
            let scalar = self.scalar()
            text.unicodeScalars.append(scalar)
            if scalar.value < 0x20 || scalar == "\"" || scalar == "\\" || random.below(12) == 0 {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16, uppercase: random.below(2) == 0)
                    json += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            } else {
                json.unicodeScalars.append(scalar)
            }
        }
        return (text, json + "\"")
    }

    private mutating func scalar() -> Unicode.Scalar {
        let highest: UInt32 =
            switch random.below(10) {
            case 0: 0x10FFFF
            case 1: 0xFFFF
            case 2: 0x7FF
            default: 0x7E
            }
        while true {
            if let scalar = Unicode.Scalar(UInt32(random.below(Int(highest) + 1))) { return scalar }
        }
    }
}

@Suite struct JSONRoundTripTests {
    @Test(arguments: 0..<20 as Range<UInt64>) func randomValues(_ seed: UInt64) throws {
        let machine = try Machine()
        let L = machine.vm.state
        var generator = Generator(random: SplitMix(state: seed))
        let writer = ByteWriter()
        for _ in 0..<50 {
            let (value, text) = generator.value()
            try machine.push(text)
            #expect(try machine.vm.value(L, -1) == value, "\(text)")
            writer.removeAll()
            try machine.vm.encodeJSON(L, -1, into: writer)
            try machine.vm.pushJSON(writer.bytes, onto: L)
            #expect(try machine.vm.value(L, -1) == value, "\(text)")
            lua_settop(L, 0)
        }
    }

    /// Bit for bit, the sign of zero too, and as the C library would read it.
    @Test(arguments: 0..<8 as Range<UInt64>) func doublesAreExact(_ seed: UInt64) throws {
        let machine = try Machine()
        let L = machine.vm.state
        var generator = Generator(random: SplitMix(state: seed))
        for _ in 0..<5_000 {
            guard case (.number(let number), let text) = generator.double() else { continue }
            try machine.push(text)
            #expect(lua_tonumberx(L, -1, nil).bitPattern == number.bitPattern, "\(text)")
            let written = machine.encoded(L, -1)
            #expect(written.contains(".") || written.contains("e"), "\(written) would read as an integer")
            try machine.push(written)
            #expect(lua_isinteger(L, -1) == 0)
            #expect(lua_tonumberx(L, -1, nil).bitPattern == number.bitPattern, "\(written)")
            // No longer than the shortest text there is, but for the zeros of whole numbers and small fractions.
            let digits = { (text: String) in
                text.prefix { $0 != "e" }.filter(\.isNumber).drop { $0 == "0" }.reversed().drop { $0 == "0" }.count
            }
            #expect(digits(written) <= digits(number.description), "\(written) for \(number)")
            lua_settop(L, 0)
        }
    }

    /// Decimal texts with more digits than a double has, against the C library's correct rounding.
    @Test func longDecimalsRoundCorrectly() throws {
        let machine = try Machine()
        let L = machine.vm.state
        var random = SplitMix(state: 99)
        for _ in 0..<5_000 {
            let digits = (0..<Int.random(in: 1..<40, using: &random)).map { _ in
                Character(String(Int.random(in: 0...9, using: &random)))
            }
            let whole = String(UInt32.random(in: 0...999_999, using: &random))
            let text = "\(whole).\(String(digits))e\(Int.random(in: -30...30, using: &random))"
            try machine.push(text)
            #expect(lua_tonumberx(L, -1, nil) == Double(text), "\(text)")
            lua_settop(L, 0)
        }
    }

    /// Random bytes and mutated texts: an error or a value, never more than one value on the stack.
    @Test(arguments: 0..<4 as Range<UInt64>) func damagedTextsAreRefusedCleanly(_ seed: UInt64) throws {
        let machine = try Machine()
        let L = machine.vm.state
        var generator = Generator(random: SplitMix(state: seed))
        var random = SplitMix(state: seed &+ 1000)
        for _ in 0..<250 {
            var bytes = Array(generator.value().1.utf8)
            for _ in 0..<Int.random(in: 1..<4, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: at)
                default: bytes.removeLast(bytes.count - at)
                }
            }
            do {
                try bytes.withUnsafeBytes { try machine.vm.pushJSON($0, onto: L) }
                #expect(lua_gettop(L) == 1)
                #expect(!machine.encoded(L, 1).hasPrefix("error"))
            } catch let error as LuaJSONError {
                #expect(lua_gettop(L) == 0)
                #expect((0...bytes.count).contains(error.offset ?? -1))
            }
            lua_settop(L, 0)
        }
    }
}
