// The invariants of the web server's fuzzers over a seeded stream of mutated inputs, some seconds in every run of the unit
// tests. A failure names the seed and the input.

import Foundation
import HTTPFuzzSupport
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct HTTPMutationTests {
    /// The files of a fuzzer's corpus.
    private static func corpus(_ target: String) throws -> [[UInt8]] {
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
        words: [String],
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

    private static let words = [
        "GET ", "POST ", " HTTP/1.1\r\n", "Host: ", "host: a, b\r\n", "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "\r\n\r\n", "\r\n", "\n", "\r", "0\r\n", "ffffffffffffffff\r\n", ";x=y", "Upgrade: h2c\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n", "\u{0}", "\u{fc}", "http://", "*", "%", "\t", "   ", ":",
    ]

    @Test(arguments: [1, 2] as [UInt64])
    func requestsOfHTTP1(_ seed: UInt64) throws {
        try run("HTTPParserFuzzer", count: 2000, limit: 800, seed: seed, words: Self.words) {
            input throws(FuzzFailure) in
            try HTTPParserCheck.check(input)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func sessionsOfHTTP2(_ seed: UInt64) throws {
        var reach = HTTP2SessionCheck.Reach()
        try run("HTTP2SessionFuzzer", count: 600, limit: 2500, seed: seed, words: []) { input throws(FuzzFailure) in
            try HTTP2SessionCheck.check(input, &reach)
        }
        // Inputs that never get anywhere would find nothing.
        #expect(reach.requests > 200 && reach.answered > 100, "\(reach)")
    }

    @Test(arguments: [1, 2] as [UInt64])
    func framesOfWebSocket(_ seed: UInt64) throws {
        try run("WebSocketReaderFuzzer", count: 2000, limit: 800, seed: seed, words: []) { input throws(FuzzFailure) in
            try WebSocketCheck.check(input)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func forms(_ seed: UInt64) throws {
        let words = [
            "--b", "--b--", "\r\n", "\r\n\r\n", "Content-Disposition: form-data; ", "name=", "filename=", "\"", "\\\"",
            "\\",
            ";", " boundary=b\n", "\u{e4}", "Content-Type: ",
        ]
        try run("MultipartFuzzer", count: 3000, limit: 1500, seed: seed, words: words) { input throws(FuzzFailure) in
            try MultipartCheck.check(input)
        }
    }
}
