// How floats are written: with as few digits as read back, checked against Swift's own shortest text of the same number.
import CLuaVM
import Glibc
import Testing

@testable import LuaVM

@Suite struct JSONNumberTests {
    /// What a float's text is made of: its digits without leading and trailing zeros.
    static func digits(_ text: String) -> [UInt8] {
        let mantissa = text.utf8.prefix { $0 != UInt8(ascii: "e") && $0 != UInt8(ascii: "E") }
        var digits = mantissa.filter { (48...57).contains($0) }[...]
        while digits.first == 48 { digits = digits.dropFirst() }
        while digits.last == 48 { digits = digits.dropLast() }
        return Array(digits)
    }

    /// Whether a text has a zero that nobody needs: behind the decimals, but for the one that makes a whole number a float.
    static func hasSurplusZero(_ text: String) -> Bool {
        guard let point = text.utf8.firstIndex(of: UInt8(ascii: ".")) else { return false }
        let decimals = text.utf8[text.utf8.index(after: point)...].prefix { (48...57).contains($0) }
        return decimals.count > 1 && decimals.last == 48
    }

    let vm: LuaVM
    let writer = ByteWriter()

    init() throws { vm = try LuaVM() }

    func text(_ number: Double) throws -> String {
        writer.removeAll()
        lua_pushnumber(vm.state, number)
        defer { lua_settop(vm.state, -2) }
        try vm.encodeJSON(vm.state, -1, into: writer)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// What is wrong with the text of a number; nil when nothing is.
    func problem(_ number: Double) throws -> String? {
        let text = try text(number)
        if Double(text)?.bitPattern != number.bitPattern {
            return "\(number) is written \(text), which is another number"
        }
        if Self.digits(text) != Self.digits(number.description) || Self.hasSurplusZero(text) {
            return "\(number) is written \(text)"
        }
        return nil
    }

    @Test(arguments: [
        (69.01, "69.01"), (0.07, "0.07"), (0.29, "0.29"), (1.1, "1.1"), (4.35, "4.35"), (1.005, "1.005"),
        (-0.07, "-0.07"),
        (1e-6, "0.000001"), (123456789.01, "123456789.01"), (100.0, "100.0"), (0.1 + 0.2, "0.30000000000000004"),
        (999_999_999_999_999.0, "999999999999999.0"), (999_999_999_999.999, "999999999999.999"), (8.41e21, "8.41e+21"),
    ]) func examples(_ number: Double, _ expected: String) throws {
        #expect(try text(number) == expected)
    }

    /// Prices: every amount with two decimals, and with three.
    @Test func decimalsAreWrittenAsTheyAreRead() throws {
        for (places, most) in [(2, 150_000), (3, 150_000), (4, 30_000), (6, 30_000)] {
            let unit = [1, 10, 100, 1000, 10000, 100_000, 1_000_000][places]
            // The first ones all, then ever larger ones.
            for step in 0..<most {
                let number = step < most / 2 ? step : step &* step &* 7 % 1_000_000_007
                var expected = "\(number % unit)"
                expected = String(repeating: "0", count: places - expected.count) + expected
                while expected.count > 1, expected.hasSuffix("0") { expected.removeLast() }
                expected = "\(number / unit)." + expected
                let written = try text(Double(number) / Double(unit))
                guard written == expected else {
                    Issue.record("\(expected) is written \(written)")
                    return
                }
            }
        }
    }

    /// PANINI_DOUBLES is how many; the ten million of a release take a minute.
    @Test func randomDoubles() throws {
        let count = getenv("PANINI_DOUBLES").flatMap { Int(String(cString: $0)) } ?? 200_000
        var random = SplitMix(state: 69_01)
        for turn in 0..<count {
            let bits: UInt64 = random.next()
            let number: Double =
                switch turn % 4 {
                case 0: Double(bitPattern: bits)
                case 1: Double(Int64(bitPattern: bits) >> 30) / [10.0, 100, 1000, 10000][Int(bits & 3)]
                case 2: Double(bits >> 11) * 0x1p-53
                // The neighbours of decimals: they must not be taken for them.
                default: Double(bitPattern: (Double(bits >> 40) / 100).bitPattern &+ 1)
                }
            guard number.isFinite else { continue }
            if let problem = try problem(number) {
                Issue.record("\(problem)")
                return
            }
        }
    }
}
