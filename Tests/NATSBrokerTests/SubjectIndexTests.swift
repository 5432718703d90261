// The routing table against examples and against a matcher that compares token by token.

import NATSBroker
import NATSFuzzSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct SubjectIndexTests {
    /// The index under texts instead of bytes.
    struct TextIndex {
        var index = SubjectIndex()

        init(cacheCapacity: Int = 1024) {
            index = SubjectIndex(cacheCapacity: cacheCapacity)
        }

        mutating func insert(_ id: Int, _ subject: String, queue: String = "") {
            Array(subject.utf8).withUnsafeBytes { subject in
                Array(queue.utf8).withUnsafeBytes { index.insert(id, subject: subject, queue: $0) }
            }
        }

        mutating func remove(_ id: Int, _ subject: String, queue: String = "") -> Bool {
            Array(subject.utf8).withUnsafeBytes { subject in
                Array(queue.utf8).withUnsafeBytes { index.remove(id, subject: subject, queue: $0) }
            }
        }

        mutating func match(_ subject: String) -> SubjectMatch {
            Array(subject.utf8).withUnsafeBytes { index.match($0) }
        }
    }

    /// Order is not promised.
    static func plain(_ match: SubjectMatch) -> [Int] { match.plain.sorted() }

    static func groups(_ match: SubjectMatch) -> [String: [Int]] {
        Dictionary(
            match.groups.map { (String(decoding: $0.queue, as: UTF8.self), $0.members.sorted()) },
            uniquingKeysWith: { first, second in first + second + [-1] }
        )
    }

    static func tokens(_ subject: String) -> [Substring] {
        subject.split(separator: ".", omittingEmptySubsequences: false)
    }

    static func matches(_ pattern: [Substring], _ subject: [Substring]) -> Bool {
        if subject.contains("") { return false }
        for (position, token) in pattern.enumerated() {
            if token == ">", position == pattern.count - 1 { return subject.count > position }
            guard position < subject.count, token == "*" || token == subject[position] else { return false }
        }
        return pattern.count == subject.count
    }

    @Test func matchesWildcards() {
        var index = TextIndex()
        for (id, pattern) in ["foo", "foo.bar", "foo.*", "foo.>", ">", "*", "*.bar", "foo.*.baz", "*.*", "foo.*.>"]
            .enumerated()
        {
            index.insert(id, pattern)
        }
        #expect(Self.plain(index.match("foo")) == [0, 4, 5])
        #expect(Self.plain(index.match("foo.bar")) == [1, 2, 3, 4, 6, 8])
        #expect(Self.plain(index.match("foo.bar.baz")) == [3, 4, 7, 9])
        #expect(Self.plain(index.match("foo.bar.baz.qux")) == [3, 4, 9])
        #expect(Self.plain(index.match("x.bar")) == [4, 6, 8])
        #expect(Self.plain(index.match("x")) == [4, 5])
    }

    @Test func takesWildcardCharactersOfPublishedSubjectsLiterally() {
        var index = TextIndex()
        index.insert(1, "foo.bar")
        index.insert(2, "foo.*")
        index.insert(3, "foo.>")
        #expect(Self.plain(index.match("foo.*")) == [2, 3])
        #expect(Self.plain(index.match("foo.>")) == [2, 3])
        #expect(Self.plain(index.match(">")) == [])
        // Inside a token the two are plain characters, in patterns, too.
        index.insert(4, "foo*.a>")
        #expect(Self.plain(index.match("foo*.a>")) == [4])
        #expect(Self.plain(index.match("foox.ab")) == [])
    }

    @Test(arguments: ["", ".", "foo.", ".foo", "foo..bar", "..", "foo.bar."]) func emptyTokensMatchNobody(
        _ subject: String
    ) {
        var index = TextIndex()
        index.insert(1, ">")
        index.insert(2, "foo.>")
        index.insert(3, "*.*")
        #expect(index.match(subject).isEmpty)
    }

    @Test func joinsMembersOfAQueueGroupAcrossPatterns() {
        var index = TextIndex()
        index.insert(1, "foo.bar", queue: "a")
        index.insert(2, "foo.*", queue: "a")
        index.insert(3, "foo.>", queue: "b")
        index.insert(4, "foo.bar", queue: "a")
        index.insert(5, "foo.bar")
        let match = index.match("foo.bar")
        #expect(Self.plain(match) == [5])
        #expect(Self.groups(match) == ["a": [1, 2, 4], "b": [3]])
        #expect(Self.groups(index.match("foo.x")) == ["a": [2], "b": [3]])
    }

    @Test func seesChangesThroughTheCache() {
        var index = TextIndex()
        index.insert(1, "foo")
        #expect(Self.plain(index.match("foo")) == [1])
        #expect(index.index.cachedSubjectCount == 1)
        index.insert(2, ">")
        #expect(Self.plain(index.match("foo")) == [1, 2])
        let removal1 = index.remove(1, "foo")
        #expect(removal1)
        #expect(Self.plain(index.match("foo")) == [2])
        let removal2 = index.remove(2, ">")
        #expect(removal2)
        #expect(index.match("foo").isEmpty)
    }

    @Test func boundsTheCache() {
        var index = TextIndex(cacheCapacity: 8)
        index.insert(1, "s.*")
        for number in 0..<100 {
            #expect(Self.plain(index.match("s.\(number)")) == [1])
            #expect(index.index.cachedSubjectCount <= 8)
        }
    }

    @Test func doesNotCacheInboxes() {
        var index = TextIndex()
        index.insert(1, "_INBOX.abc.*")
        #expect(Self.plain(index.match("_INBOX.abc.1")) == [1])
        #expect(index.index.cachedSubjectCount == 0)
    }

    @Test func removesOnlyWhatIsThere() {
        var index = TextIndex()
        index.insert(1, "foo.bar", queue: "q")
        let removal3 = index.remove(1, "foo.bar")
        #expect(!removal3)
        let removal4 = index.remove(1, "foo.bar", queue: "other")
        #expect(!removal4)
        let removal5 = index.remove(1, "foo", queue: "q")
        #expect(!removal5)
        let removal6 = index.remove(1, "foo.*", queue: "q")
        #expect(!removal6)
        let removal7 = index.remove(2, "foo.bar", queue: "q")
        #expect(!removal7)
        #expect(index.index.count == 1)
        let removal8 = index.remove(1, "foo.bar", queue: "q")
        #expect(removal8)
        #expect(index.index.count == 0)
        #expect(index.index.nodeCount == 0)
    }

    @Test(arguments: 0..<20) func agreesWithANaiveMatcher(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let tokens = ["a", "b", "c", "aa", "*", ">"]
        func subject(literal: Bool) -> String {
            let count = Int.random(in: 1...4, using: &generator)
            return (0..<count).map { position in
                let choices = literal ? tokens[..<4] : position == count - 1 ? tokens[...] : tokens[..<5]
                return choices.randomElement(using: &generator) ?? "a"
            }.joined(separator: ".")
        }
        var index = TextIndex(cacheCapacity: 16)
        var present: [Int: (subject: String, tokens: [Substring], queue: String)] = [:]
        for step in 0..<400 {
            if Int.random(in: 0..<3, using: &generator) > 0 || present.isEmpty {
                let text = subject(literal: false)
                let queue = ["", "", "q1", "q2"].randomElement(using: &generator) ?? ""
                let entry = (subject: text, tokens: Self.tokens(text), queue: queue)
                present[step] = entry
                index.insert(step, entry.subject, queue: entry.queue)
            } else if let victim = present.keys.sorted().randomElement(using: &generator), let entry = present[victim] {
                present[victim] = nil
                let removal9 = index.remove(victim, entry.subject, queue: entry.queue)
                #expect(removal9)
            }
            for _ in 0..<4 {
                let published = subject(literal: true)
                let tokens = Self.tokens(published)
                let expected = present.filter { Self.matches($0.value.tokens, tokens) }
                let match = index.match(published)
                #expect(Self.plain(match) == expected.filter { $0.value.queue.isEmpty }.keys.sorted())
                let groups = Dictionary(grouping: expected.filter { !$0.value.queue.isEmpty }, by: \.value.queue)
                #expect(Self.groups(match) == groups.mapValues { $0.map(\.key).sorted() })
            }
        }
        #expect(index.index.count == present.count)
        for (id, entry) in present {
            let removal10 = index.remove(id, entry.subject, queue: entry.queue)
            #expect(removal10)
        }
        #expect(index.index.count == 0)
        #expect(index.index.nodeCount == 0)
    }

    @Test func boundsWhatTheCacheHolds() {
        var index = TextIndex()
        index.index = SubjectIndex(cacheCapacity: 1024, cacheReceivers: 100)
        for id in 0..<40 { index.insert(id, "s.*") }
        for number in 0..<10 {
            #expect(index.match("s.\(number)").plain.count == 40)
            #expect(index.index.cachedSubjectCount <= 2)
        }
        for id in 40..<200 { index.insert(id, "s.*", queue: "q") }
        #expect(index.match("s.1").groups.first?.members.count == 160)
        #expect(index.index.cachedSubjectCount == 0)
    }

    /// Each in the time of a few steps, not of a walk over all others.
    @Test func manySubscriptionsOfOneSubjectComeAndGo() {
        let count = 20_000
        for queue in [{ _ in "" }, { _ in "one" }, { "group \($0)" }] as [(Int) -> String] {
            var index = TextIndex()
            for id in 0..<count { index.insert(id, "same", queue: queue(id)) }
            index.insert(count, "*", queue: queue(0))
            let match = index.match("same")
            #expect(match.plain.count + match.groups.reduce(0) { $0 + $1.members.count } == count + 1)
            for id in 0..<count where id % 3 != 0 {
                let isRemoved = index.remove(id, "same", queue: queue(id))
                #expect(isRemoved)
            }
            let rest = index.match("same")
            let left = rest.plain + rest.groups.flatMap(\.members)
            #expect(left.sorted() == (0..<count).filter { $0 % 3 == 0 } + [count])
        }
    }
}
