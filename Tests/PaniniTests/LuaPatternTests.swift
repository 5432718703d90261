// The pattern matcher of validators against Lua's own: the same verdict on random patterns and texts.

import CScriptObjects
import LuaVM
import Testing

@testable import Panini

@Suite("Lua patterns")
struct LuaPatternTests {
    private func matches(_ pattern: String, _ text: String) throws -> Bool {
        let program = try LuaPattern(Array(pattern.utf8)).program
        var steps: Int64 = 10_000_000
        var isOver: CInt = 0
        let text = Array(text.utf8).map { CChar(bitPattern: $0) }
        return panini_pattern_matches(program, text, text.count, &steps, &isOver) == 1
    }

    @Test("a random pattern says what string.find says", arguments: 0..<20 as Range<UInt64>)
    func againstLua(seed: UInt64) throws {
        var random = SplitMix64(state: seed)
        let vm = try LuaVM()
        try vm.run("function whole(p, s) return (string.find(s, '^' .. p .. '$')) ~= nil end")
        let atoms = [
            "a", "b", ".", "%a", "%D", "[ab]", "[^a]", "[a-c]", "%.", "(", ")", "()", "%1", "%b()", "%f[%a]", "%f[^%w]",
            "-x", "[]a]", "[%d_]", "1", "%z", "]", "$",
        ]
        let repetitions = ["", "", "", "*", "+", "-", "?"]
        var compared = 0
        for _ in 0..<300 {
            var pattern = ""
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                pattern += atoms.randomElement(using: &random) ?? ""
                pattern += repetitions.randomElement(using: &random) ?? ""
            }
            // A $ at the end is an anchor for us, as it is for Lua without the one added here.
            guard !pattern.hasSuffix("$"), (try? LuaPattern(Array(pattern.utf8))) != nil else { continue }
            for _ in 0..<8 {
                let text = String(
                    (0..<Int.random(in: 0...7, using: &random)).map { _ in
                        "abc1(). _-x]$".randomElement(using: &random) ?? "a"
                    }
                )
                let expected = try vm.callGlobal("whole", [.string(pattern), .string(text)])
                #expect(try [.boolean(matches(pattern, text))] == expected, "\(pattern) on \(text)")
                compared += 1
            }
        }
        #expect(compared > 500)
    }

    @Test(
        "what is no pattern is refused",
        arguments: ["%", "a%", "[a", "[", "[^", "[]", "(a", "a)", "%1", "(%1)", "()%1", "%b", "%ba", "%f", "%fa", "[%"]
    )
    func refused(pattern: String) {
        #expect(throws: LuaPattern.Invalid.self) { try LuaPattern(Array(pattern.utf8)) }
    }

    @Test("anchors at the ends add nothing, an escaped dollar is itself")
    func anchors() throws {
        #expect(try matches("^a$", "a") && matches("a%$", "a$") && !matches("a%$", "a") && matches("a%%$", "a%"))
    }

    @Test("steps are bounded, and used up is not a mismatch")
    func bounded() throws {
        let program = try LuaPattern(Array("a-a-a-a-a-a-b".utf8)).program
        let text = [CChar](repeating: 97, count: 10_000)
        var steps: Int64 = 100_000
        var isOver: CInt = 0
        #expect(panini_pattern_matches(program, text, text.count, &steps, &isOver) == -1)
        // A run that is to end waits for no bound.
        steps = 1_000_000_000
        isOver = 1
        #expect(panini_pattern_matches(program, text, text.count, &steps, &isOver) == -1 && steps < 0)
    }

    @Test(
        "regular expressions of patterns",
        arguments: [
            ("%d+", "^[0-9]+$"), ("%u%l*", "^[A-Z][a-z]*$"), (".-x", "^[\\s\\S]*?x$"), ("a%.b?", "^a\\u002eb?$"),
            ("[^@]+", "^[^@]+$"), ("ä", "^ä$"), ("(a)%1", "^(a)(?:\\1)$"),
        ]
    )
    func expressions(pattern: String, expression: String) throws {
        #expect(try LuaPattern(Array(pattern.utf8)).regularExpression == expression)
    }

    @Test("patterns that cut characters, or balance, have no regular expression", arguments: ["%b()", "ä*", "[ä]"])
    func noExpression(pattern: String) throws {
        #expect(try LuaPattern(Array(pattern.utf8)).regularExpression == nil)
    }
}
