// The bridge fuzzer's invariants over a seeded stream of mutated inputs, and its time over large ones.

import BridgeFuzzSupport
import Foundation
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct BridgeMutationTests {
    private static let words = [
        "{\"subjects\":[\"", "\",\"", "\"]}", "\"action\":", "\"subscribe\"", "\\ud800", "\\u0000", "\\", "\"", ".",
        ">",
        "*", "\n", "\u{0}", "\u{301}", "\u{212a}", "e\u{301}", "1e999", "-", "[[[[", "]]]]", "null", "{", "}",
    ]

    @Test(arguments: [1, 2] as [UInt64])
    func whatABrowserSends(_ seed: UInt64) throws {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let folder = tests.appending(path: "Fuzz/Corpus/BridgeFuzzer")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        let corpus = try names.map { Array(try Data(contentsOf: folder.appending(path: $0))) }
        #expect(corpus.count >= 5, "the corpus is missing")
        var mutator = Mutator(corpus: corpus, words: Self.words, seed: seed)
        let inputs = corpus + (0..<4000).map { _ in mutator.next(limit: 600) }
        for (index, input) in inputs.enumerated() {
            do throws(FuzzFailure) {
                try BridgeCheck.check(input)
            } catch {
                Issue.record("\(error); seed \(seed), input \(index): \(literal(input))")
                return
            }
        }
    }

    /// Inputs of one kind, of any size.
    static let kinds: [(name: String, make: @Sendable (Int) -> String)] = [
        ("subjects", { "{\"subjects\":[" + (0..<$0 / 8).map { "\"s\($0)\"" }.joined(separator: ",") + "]}" }),
        (
            "the same subject",
            { "{\"subjects\":[" + repeatElement("\"s\"", count: $0 / 4).joined(separator: ",") + "]}" }
        ),
        ("one long subject", { "{\"subjects\":[\"" + String(repeating: "a.", count: $0 / 2) + "\"]}" }),
        ("combining signs", { "{\"subjects\":[\"e" + String(repeating: "\u{301}", count: $0 / 2) + "\"]}" }),
        (
            "an unknown action",
            { "{\"subjects\":[\"a\"],\"action\":\"e" + String(repeating: "\u{301}", count: $0 / 2) + "\"}" }
        ),
        ("escapes", { "{\"subjects\":[\"" + String(repeating: "\\u0041", count: $0 / 6) + "\"]}" }),
        ("digits", { "{\"subjects\":[\"a\"],\"n\":" + String(repeating: "7", count: $0) + "}" }),
        ("fractions", { "{\"subjects\":[\"a\"],\"n\":0." + String(repeating: "7", count: $0) + "e-5}" }),
        ("members", { "{" + (0..<$0 / 9).map { "\"k\($0)\":1" }.joined(separator: ",") + "}" }),
        ("depth", { String(repeating: "[", count: $0) }),
        ("blanks", { "{" + String(repeating: " ", count: $0) + "}" }),
        ("a payload", { "s\n" + String(repeating: "\"\u{1}", count: $0 / 2) }),
    ]

    /// Sixteen times as much takes some sixteen times as long: what is quadratic takes 256 times.
    @Test(arguments: kinds.indices) func timeIsLinear(_ index: Int) throws {
        let clock = ContinuousClock()
        /// The fastest of three times, or the first that is short enough.
        func fastest(_ size: Int, enough: Duration) throws -> Duration {
            let input = Array(Self.kinds[index].make(size).utf8)
            var best: Duration?
            for _ in 0..<3 {
                let start = clock.now
                try BridgeCheck.check(input)
                best = min(clock.now - start, best ?? .seconds(1000))
                if let best, best < enough { return best }
            }
            return best ?? .zero
        }
        let small = try fastest(16 << 10, enough: .zero)
        let limit = max(small * 80, .milliseconds(200))
        let large = try fastest(256 << 10, enough: limit)
        #expect(large < limit, "\(Self.kinds[index].name): \(small), then \(large)")
    }
}
