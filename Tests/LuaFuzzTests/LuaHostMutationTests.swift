// The fuzzer's invariants over a seeded stream of programs: what it looks for at length, some hundred times in every run of the
// unit tests. A failure names the seed and the input.

import Foundation
import LuaFuzzSupport
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5)), .serialized) struct LuaHostMutationTests {
    private static func corpus() throws -> [[UInt8]] {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let folder = tests.appending(path: "Fuzz/Corpus/LuaHostFuzzer")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        return try names.map { Array(try Data(contentsOf: folder.appending(path: $0))) }
    }

    private func check(_ inputs: some Sequence<[UInt8]>, _ what: String, _ reach: inout LuaHostReach) {
        for (index, input) in inputs.enumerated() {
            do {
                try LuaHostCheck.check(input, &reach)
            } catch {
                Issue.record("\(error); \(what), input \(index): \(literal(input))\n\(LuaHostCheck.program(input))")
                return
            }
        }
    }

    @Test func whatIsKnown() throws {
        let corpus = try Self.corpus()
        #expect(corpus.count >= 8, "the corpus is missing")
        var reach = LuaHostReach()
        check(corpus, "corpus", &reach)
        for seed in [1, 2] as [UInt64] {
            var mutator = Mutator(corpus: corpus, words: [], seed: seed)
            check((0..<150).map { _ in mutator.next(limit: 600) }, "mutations, seed \(seed)", &reach)
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatScriptsDo(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var reach = LuaHostReach()
        let inputs = (0..<200).map { _ in
            (0..<Int.random(in: 20...500, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        check(inputs, "seed \(seed)", &reach)
        // Programs that never get anywhere would find nothing.
        #expect(reach.returned > 50 && reach.waits > 5 && reach.faults > 1000, "\(reach)")
    }
}
