// Makes new inputs out of a corpus, deterministically: pieces are joined, bytes changed, runs doubled or cut, and words of
// the protocol put in. A value, any thread.

/// A source of mutated inputs.
package struct Mutator {
    private let corpus: [[UInt8]]
    private let words: [[UInt8]]
    private var random: SeededGenerator

    /// - Parameters:
    ///   - corpus: what inputs are made of; not empty.
    ///   - words: pieces of text put in now and then.
    package init(corpus: [[UInt8]], words: [String], seed: UInt64) {
        precondition(!corpus.isEmpty, "a mutator needs a corpus")
        self.corpus = corpus
        self.words = words.map { Array($0.utf8) }
        random = SeededGenerator(seed: seed)
    }

    /// The next input, at most `limit` bytes long.
    package mutating func next(limit: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<below(3) + 1 {
            bytes += corpus[below(corpus.count)]
        }
        for _ in 0..<below(9) {
            mutate(&bytes)
        }
        return Array(bytes.prefix(limit))
    }

    private mutating func mutate(_ bytes: inout [UInt8]) {
        let place = below(bytes.count + 1)
        guard place < bytes.count else {
            bytes.append(UInt8(truncatingIfNeeded: random.next()))
            return
        }
        let run = place..<min(bytes.count, place + 1 + below(16))
        switch below(8) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[place] ^= 1 << UInt8(below(8))
        case 2: bytes.remove(at: place)
        case 3: bytes.removeSubrange(run)
        case 4: bytes.insert(contentsOf: Array(bytes[run]), at: below(bytes.count))
        case 5: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
        case 6: bytes.removeSubrange(place...)
        default:
            if !words.isEmpty { bytes.insert(contentsOf: words[below(words.count)], at: place) }
        }
    }

    private mutating func below(_ limit: Int) -> Int {
        Int(random.next() % UInt64(limit))
    }
}
