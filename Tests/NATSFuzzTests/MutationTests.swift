// The fuzzers' invariants over a seeded stream of mutated inputs: what the fuzzers look for at length, a few thousand
// times in every run of the unit tests. A failure names the seed and the input.

import Foundation
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct MutationTests {
    static let words = [
        "MSG ", "HMSG ", "INFO {", "-ERR '", "PING\r\n", "PONG\r\n", "\r\n", "\n", "\r", "NATS/1.0",
        " 99999999999999999999 ",
        "-1", "+1", "{\"", "\\ud800", "\u{0}", "\u{7f}", "\u{fc}", "PUB ", "HPUB ", "SUB ", "UNSUB ", "CONNECT {",
        "Permissions Violation for ", "\"", ".", ">", "*", "\t",
    ]

    /// The files of a fuzzer's corpus.
    static func corpus(_ target: String) throws -> [[UInt8]] {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let folder = tests.appending(path: "Fuzz/Corpus/\(target)")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        return try names.map { Array(try Data(contentsOf: folder.appending(path: $0))) }
    }

    /// Checks every file of the corpus as it is, then `count` mutations.
    private func run(
        _ target: String,
        count: Int,
        limit: Int,
        seed: UInt64,
        words: [String] = MutationTests.words,
        _ check: ([UInt8]) throws(FuzzFailure) -> Void
    ) throws {
        let corpus = try Self.corpus(target)
        #expect(corpus.count >= 5, "the corpus of \(target) is missing")
        var mutator = Mutator(corpus: corpus, words: words, seed: seed)
        let inputs = corpus + (0..<count).map { _ in mutator.next(limit: limit) }
        for (index, input) in inputs.enumerated() {
            do throws(FuzzFailure) {
                try check(input)
            } catch {
                Issue.record("\(error); \(target), seed \(seed), input \(index): \(literal(input))")
                return
            }
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func whatAServerSends(_ seed: UInt64) throws {
        try run("NATSParserFuzzer", count: 2000, limit: 600, seed: seed) { input throws(FuzzFailure) in
            try ServerStreamCheck.check(input)
            try DocumentCheck.check(input)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func whatAClientSends(_ seed: UInt64) throws {
        try run("NATSBrokerFuzzer", count: 3000, limit: 600, seed: seed) { input throws(FuzzFailure) in
            try ClientStreamCheck.check(input)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func whatAConnectionGoesThrough(_ seed: UInt64) throws {
        try run("NATSConnectionFuzzer", count: 1500, limit: 400, seed: seed, words: []) { input throws(FuzzFailure) in
            try ConnectionScript.check(input)
        }
    }

    /// Scripts without a corpus: ordinary conversations and random steps in turn.
    @Test(arguments: [3, 4] as [UInt64])
    func randomScripts(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var reach = ConnectionScript.Reach()
        for index in 0..<1500 {
            var input: [UInt8] = [UInt8.random(in: 0...255, using: &random)]
            for _ in 0..<Int.random(in: 5...60, using: &random) {
                // The server answers, or a message or a reply comes, as often as anything else happens.
                let ordinary: [[UInt8]] = [
                    [0, 3, 8], [0, 3, 8], [16, 0, 0, 8, 5, 0, 9, 1], [20, 0, 0, 3, 8, 7, 0, 2],
                ]
                input += Bool.random(using: &random) ? ordinary.randomElement(using: &random) ?? [] : []
                for _ in 0..<3 {
                    input.append(UInt8.random(in: 0...255, using: &random))
                }
            }
            do throws(FuzzFailure) {
                try ConnectionScript.check(input, &reach)
            } catch {
                Issue.record("\(error); seed \(seed), input \(index): \(literal(input))")
                return
            }
        }
        // Scripts that never get anywhere would find nothing.
        #expect(reach.connections > 500 && reach.reconnects > 80, "\(reach)")
        #expect(reach.messages > 200 && reach.replies > 50, "\(reach)")
        #expect(reach.subscriptionsEnded > 500 && reach.drains > 5, "\(reach)")
    }
}
