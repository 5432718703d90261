// Keys and values on a real server, and which names they may have.

import NATSProtocol
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct KeyValueTests {
    private func bucket(
        _ server: JetStreamServer,
        _ change: (inout JetStreamKeyValue.Configuration) -> Void = { _ in }
    ) async throws -> JetStreamKeyValue {
        var configuration = JetStreamKeyValue.Configuration(bucket: "b")
        configuration.storage = .memory
        change(&configuration)
        return try await server.context(timeout: .seconds(50)).createKeyValue(configuration)
    }

    private func all(_ entries: JetStreamKeyValueEntries) async throws -> [String] {
        try await entries.reduce(into: []) { $0.append("\($1.key)=\($1.text):\($1.operation)") }
    }

    @Test("D56: names that cannot be keys or buckets are refused before anything is sent")
    func names() {
        for key in ["", "a b", ".a", "a.", "a..b", "ä", "a*", "*", ">", "a.>", "_kv", "_kv.x", "a\u{0}", "a#"] {
            #expect(throws: JetStreamError.self, "\(key)") { try JetStreamKeyValue.check(key) }
        }
        for key in ["a", "a.b.c", "-/_=", "A1", "x_kv", "a/b=c"] {
            #expect(throws: Never.self, "\(key)") { try JetStreamKeyValue.check(key) }
        }
        for pattern in [">", "*", "a.*", "a.>", "*.b", "a"] {
            #expect(throws: Never.self, "\(pattern)") { try JetStreamKeyValue.checkPattern(pattern) }
        }
        for pattern in ["", "a.>.b", "a*", "a..>", "> ", "_kv.>"] {
            #expect(throws: JetStreamError.self, "\(pattern)") { try JetStreamKeyValue.checkPattern(pattern) }
        }
        for name in ["", "a.b", "a b", "ä", "a*", "$"] { #expect(!JetStreamKeyValue.isBucket(name), "\(name)") }
        for name in ["a", "A-b_1"] { #expect(JetStreamKeyValue.isBucket(name), "\(name)") }
    }

    @Test("A12: a bucket is the stream that other clients make of it")
    func stream() throws {
        var configuration = JetStreamKeyValue.Configuration(bucket: "b")
        configuration.history = 5
        configuration.timeToLive = .seconds(60)
        configuration.markers = .seconds(10)
        let stream = try configuration.stream()
        #expect(stream.name == "KV_b" && stream.subjects == ["$KV.b.>"] && stream.limits.messagesPerSubject == 5)
        #expect(
            stream.limits.discard == .new && stream.limits.age == .seconds(60) && stream.duplicateWindow == .seconds(60)
        )
        #expect(
            stream.access.allowsRollup && stream.access.deniesDelete && stream.access.allowsDirect
                && !stream.access.deniesPurge
        )
        #expect(stream.features.allowsMessageTTL && stream.features.deleteMarkerTTL == .seconds(10))
        for history in [0, 65] {
            configuration.history = history
            #expect(throws: JetStreamError.self) { try configuration.stream() }
        }
        configuration.history = 1
        configuration.markers = .milliseconds(999)
        #expect(throws: JetStreamError.self) { try configuration.stream() }
    }

    @Test("A12: values are put, read, updated, deleted and purged, each with its revision")
    func values() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.history = 5 }
        #expect(try await bucket.get("a") == nil)
        #expect(try await bucket.put("1", for: "a") == 1)
        let entry = try #require(try await bucket.get("a"))
        #expect(
            entry.text == "1" && entry.revision == 1 && entry.key == "a" && entry.bucket == "b" && entry.time != nil
        )
        #expect(try await bucket.update("a", "2", revision: 1) == 2)
        #expect(await jetStreamCode { try await bucket.update("a", "3", revision: 1) } == .wrongSequence)
        #expect(try await bucket.get("a", from: .leader)?.text == "2")
        #expect(try await bucket.get("a", revision: 1)?.text == "1")
        #expect(try await bucket.put([0, 255], for: "x/y.z=") == 3)
        #expect(try await bucket.get("a", revision: 3) == nil)
        #expect(try await bucket.get("a", revision: 99) == nil)
        #expect(await jetStreamCode { try await bucket.delete("a", revision: 1) } == .wrongSequence)
        #expect(try await bucket.delete("a", revision: 2) == 4)
        #expect(try await bucket.get("a") == nil)
        #expect(try await all(bucket.history("a")) == ["a=1:put", "a=2:put", "a=:delete"])
        #expect(try await bucket.purge("a") == 5)
        #expect(try await all(bucket.history("a")) == ["a=:purge"])
        #expect(try await bucket.status().values == 2)
        #expect(try await bucket.purgeDeletes(olderThan: .minutes(30)) == 0)
        #expect(try await bucket.purgeDeletes(olderThan: nil) == 1)
        let status = try await bucket.status()
        #expect(status.values == 1 && status.history == 5)
        #expect(try await bucket.context.keyValueBuckets() == ["b"])
        #expect(await jetStreamCode { try await bucket.put("x", for: "a b") } == .invalidName)
        try await bucket.deleteBucket()
        #expect(await jetStreamCode { _ = try await bucket.status() } == .noStream)
    }

    @Test("D50: a fresh, a deleted, a purged and an expired key can be created, an existing one cannot")
    func creates() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.markers = .seconds(60) }
        try await bucket.create("a", "1")
        #expect(await jetStreamCode { try await bucket.create("a", "2") } == .exists)
        try await bucket.delete("a")
        try await bucket.create("a", "3")
        try await bucket.purge("a")
        try await bucket.create("a", "4", timeToLive: .seconds(1))
        #expect(try await eventually { try await bucket.get("a") == nil })
        try await bucket.create("a", "5")
        #expect(try await bucket.get("a")?.text == "5")
        let winners = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<20 {
                group.addTask { (try? await bucket.create("race", "\(number)")) != nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
    }

    @Test("D51: ten writers that change a key a hundred times each have made a thousand changes")
    func changes() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    for _ in 0..<100 {
                        _ = try await bucket.change("n") { Array("\((Int($0?.text ?? "") ?? 0) + 1)".utf8) }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await bucket.get("n")?.text == "1000")
        #expect(try await bucket.change("n") { _ in nil } != nil)
        #expect(try await bucket.get("n") == nil)
        #expect(try await bucket.change("n") { _ in nil } == nil)
        #expect(try await bucket.change("n") { $0 == nil ? Array("new".utf8) : nil } != nil)
        #expect(try await bucket.get("n")?.text == "new")
    }

    @Test("D53: an empty bucket is ready at once, and one of many keys once, behind all of them")
    func ready() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server)
        var empty = try await bucket.watch().makeAsyncIterator()
        guard case .ready? = try await empty.next() else {
            Issue.record("not ready")
            return
        }
        let js = bucket.context
        for number in 0..<5000 { _ = try await js.publishLater("\(number)", to: "$KV.b.k.\(number)") }
        #expect(try await eventually { try await bucket.status().values == 5000 })
        let watch = try await bucket.watch(["k.*", "other"])
        var keys = 0
        var isReady = false
        for try await event in watch {
            switch event {
            case .entry: keys += 1
            case .ready:
                #expect(!isReady && keys == 5000)
                isReady = true
                try await bucket.put("later", for: "other")
            }
            if keys == 5001 { break }
        }
        #expect(isReady)
        #expect(try await all(bucket.keys("k.12")) == ["k.12=:put"])
        #expect(try await bucket.keys().reduce(0) { count, _ in count + 1 } == 5001)
        #expect(try await all(bucket.keys("none.>")) == [])
        #expect(await jetStreamCode { _ = try await bucket.watch("a b") } == .invalidName)
    }

    @Test("A12: a watch tells what it was asked for")
    func watches() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.history = 3 }
        for text in ["1", "2", "3"] { try await bucket.put(text, for: "a") }
        try await bucket.put("x", for: "b")
        try await bucket.delete("b")
        func told(_ change: (inout JetStreamWatchOptions) -> Void) async throws -> [String] {
            var options = JetStreamWatchOptions()
            change(&options)
            let watch = try await bucket.watch(">", options)
            try await bucket.put("end", for: "end")
            var told: [String] = []
            for try await event in watch {
                switch event {
                case .ready: told.append("ready")
                case .entry(let entry):
                    if entry.key == "end", entry.revision == (try await bucket.get("end"))?.revision { return told }
                    told.append("\(entry.key)=\(entry.text)")
                }
            }
            return told
        }
        #expect(try await told { _ in }.filter { $0 != "ready" && !$0.hasPrefix("end") } == ["a=3", "b="])
        #expect(
            try await told { $0.history = true }.filter { $0 != "ready" && !$0.hasPrefix("end") } == [
                "a=1", "a=2", "a=3", "b=x", "b=",
            ]
        )
        #expect(try await told { $0.ignoresDeletes = true }.filter { $0 != "ready" && !$0.hasPrefix("end") } == ["a=3"])
        #expect(try await told { $0.keysOnly = true }.filter { $0 != "ready" && !$0.hasPrefix("end") } == ["a=", "b="])
        #expect(
            try await told { $0.fromRevision = 3 }.filter { $0 != "ready" && !$0.hasPrefix("end") } == [
                "a=3", "b=x", "b=",
            ]
        )
        #expect(try await told { $0.updatesOnly = true } == ["ready"])
    }

    @Test("D54: a watch goes on over a killed server, with every key once, in rising order, and one consumer")
    func survives() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.storage = .file }
        try await bucket.put("0", for: "first")
        let watch = try await bucket.watch()
        let seen = NIOLockedValueBox<[(String, UInt64)]>([])
        let readies = NIOLockedValueBox(0)
        let watching = Task {
            for try await event in watch {
                switch event {
                case .ready: readies.withLockedValue { $0 += 1 }
                case .entry(let entry): seen.withLockedValue { $0.append((entry.key, entry.revision)) }
                }
                if seen.withLockedValue({ $0.count == 101 }) { return }
            }
        }
        #expect(try await eventually { seen.withLockedValue { $0.count == 1 } })
        server.server.kill()
        let putting = Task {
            for number in 0..<100 { try await bucket.put("\(number)", for: "k.\(number)") }
        }
        try server.server.start()
        try await putting.value
        try await watching.value
        let all = seen.withLockedValue { $0 }
        #expect(Set(all.map(\.0)).count == 101)
        #expect(zip(all, all.dropFirst()).allSatisfy { $0.1 < $1.1 })
        #expect(readies.withLockedValue { $0 } == 1)
        #expect(try await bucket.stream.consumerNames().count == 1)
    }

    @Test("D55: a watch hears of a key that expires")
    func expires() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.markers = .seconds(1) }
        var iterator = try await bucket.watch().makeAsyncIterator()
        _ = try await iterator.next()
        let start = ContinuousClock.now
        try await bucket.put("x", for: "a", timeToLive: .seconds(1))
        guard case .entry(let put)? = try await iterator.next(), case .entry(let gone)? = try await iterator.next()
        else {
            Issue.record("no entries")
            return
        }
        #expect(put.operation == .put && gone.operation == .expire && gone.key == "a" && !gone.isPresent)
        #expect(ContinuousClock.now - start < .seconds(6))
        let without = try await server.context().createKeyValue(JetStreamKeyValue.Configuration(bucket: "c"))
        #expect(await jetStreamCode { try await without.put("x", for: "a", timeToLive: .seconds(1)) } == .invalidTTL)
    }

    @Test("A12: several keys are changed together or not at all")
    func applies() async throws {
        let server = try JetStreamServer()
        let bucket = try await bucket(server) { $0.allowsAtomicChanges = true }
        let first = try await bucket.apply([.put("a", [49]), .create("b", [50]), .put("c", [51])])
        #expect(first == 3)
        #expect(
            await jetStreamCode {
                try await bucket.apply([.put("a", [57]), .update("b", [57], revision: 1), .delete("c")])
            } == .wrongSequence
        )
        #expect(try await all(bucket.entries()) == ["a=1:put", "b=2:put", "c=3:put"])
        try await bucket.apply([.update("b", [57], revision: 2), .delete("c", revision: 3)])
        #expect(try await all(bucket.entries()) == ["a=1:put", "b=9:put", "c=:delete"])
    }
}
