// Objects on a real server: whole or not at all, in both directions.

import Bytes
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ObjectStoreTests {
    private func store(_ server: JetStreamServer) async throws -> JetStreamObjectStore {
        var configuration = JetStreamObjectStore.Configuration(bucket: "o")
        configuration.storage = .memory
        return try await server.context(timeout: .seconds(50)).createObjectStore(configuration)
    }

    private func bytes(_ count: Int, _ seed: UInt64 = 1) -> [UInt8] {
        var generator = WalkGenerator(state: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    private func pieces(
        _ bytes: [UInt8],
        of size: Int,
        failAt: Int? = nil
    ) -> AsyncThrowingStream<ByteBuffer, any Error> {
        AsyncThrowingStream { continuation in
            var index = 0
            while index < bytes.count {
                if let failAt, index >= failAt { return continuation.finish(throwing: CancellationError()) }
                continuation.yield(ByteBuffer(bytes: bytes[index..<min(index + size, bytes.count)]))
                index += size
            }
            continuation.finish()
        }
    }

    /// How many messages there are of chunks and of descriptions.
    private func counts(_ store: JetStreamObjectStore) async throws -> (chunks: Int, descriptions: Int) {
        let subjects = try await store.stream.info(subjects: ">").state.subjects
        func sum(_ part: String) -> Int { subjects.filter { $0.key.contains(part) }.reduce(0) { $0 + Int($1.value) } }
        return (sum(".C."), sum(".M."))
    }

    @Test("A13: a store is the stream that other clients make of it, and names are in base64url with padding")
    func names() async throws {
        let stream = try JetStreamObjectStore.Configuration(bucket: "o").stream()
        #expect(stream.name == "OBJ_o" && stream.subjects == ["$O.o.C.>", "$O.o.M.>"] && stream.limits.discard == .new)
        #expect(stream.access.allowsRollup && stream.access.allowsDirect)
        #expect(JetStreamObjectStore.base64URL("a/ü?>~".utf8) == "YS_DvD8-fg==")
        #expect(throws: JetStreamError.self) { try JetStreamObjectStore.Configuration(bucket: "a.b").stream() }
    }

    @Test("A13: a description is JSON as other clients write it, and unknown members are passed over")
    func descriptions() throws {
        let text =
            #"{"name":"n","description":"d","headers":{"H":["1","2"]},"metadata":{"m":"x"},"options":{"link":{"bucket":"b","name":"t"},"max_chunk_size":5},"bucket":"o","nuid":"N","size":12,"chunks":3,"digest":"SHA-256=x","deleted":true}"#
        let info = try #require(
            JetStreamObjectStore.Info(payload: ByteBuffer(string: text), revision: 7, modified: nil)
        )
        #expect(String(decoding: info.json.bytes(), as: UTF8.self) == text)
        #expect(info.headers == ["H": ["1", "2"]] && info.link?.name == "t" && info.isDeleted && info.size == 12)
        #expect(JetStreamObjectStore.Info(payload: ByteBuffer(string: "{}"), revision: 7, modified: nil) == nil)
        #expect(
            JetStreamObjectStore.Info(
                payload: ByteBuffer(string: #"{"name":"n","new":[]}"#),
                revision: 7,
                modified: nil
            ) != nil
        )
    }

    @Test(
        "A13: objects of every size come back as they were, from pieces of every size",
        arguments: [0, 1, 99, 100, 101, 1000, 1050]
    )
    func sizes(_ size: Int) async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var description = JetStreamObjectStore.Description()
        description.chunkSize = 100
        description.headers = ["Content-Type": ["text/plain"]]
        let content = bytes(size)
        for piece in [1, 64, 100, 101, 5000] {
            let info = try await store.put("a b/ü", from: pieces(content, of: piece), description)
            #expect(info.size == UInt64(size) && info.chunks == (size + 99) / 100 && info.chunkSize == 100)
            #expect(try await Array(store.bytes("a b/ü", upTo: size).readableBytesView) == content)
        }
        // Old chunks are purged.
        let (chunks, descriptions) = try await counts(store)
        #expect(chunks == (size + 99) / 100 && descriptions == 1)
        let info = try #require(try await store.info("a b/ü"))
        #expect(info.headers == description.headers && info.modified != nil && !info.isDeleted)
        #expect(try await store.list().map(\.name) == ["a b/ü"])
        #expect(try await eventually { try await store.stream.consumerNames().isEmpty })
    }

    @Test("D57: an object of 20 MiB goes and comes")
    func large() async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var content = ByteBuffer()
        for number in 0..<320 { content.writeBytes(bytes(64, UInt64(number)) + [UInt8](repeating: 7, count: 65_472)) }
        let pieces = AsyncThrowingStream<ByteBuffer, any Error> { [content] continuation in
            continuation.yield(content)
            continuation.finish()
        }
        let info = try await store.put("large", from: pieces)
        #expect(info.chunks == 160 && info.chunkSize == 128 << 10)
        #expect(try await store.bytes("large", upTo: 20 << 20) == content)
        #expect(await jetStreamCode { try await store.bytes("large", upTo: 1000) } == .messageTooLarge)
        #expect(try await store.context.objectStores() == ["o"])
    }

    @Test("D58: a missing chunk, a changed one, and a description without chunks end corrupt, never as a part")
    func corrupt() async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var description = JetStreamObjectStore.Description()
        description.chunkSize = 100
        func get(_ name: String) async throws -> Int {
            try await store.get(name, stall: .seconds(2)).reduce(0) { $0 + $1.readableBytes }
        }
        for missing in [UInt64(1), 3, 5] {
            let name = "missing\(missing)"
            let before = try await store.stream.info().state.lastSequence
            try await store.put(name, bytes(450), description)
            try await store.stream.deleteMessage(before + missing)
            #expect(await jetStreamCode { try await get(name) } == .corrupt)
        }
        let info = try await store.put("changed", bytes(450), description)
        let last = try await store.stream.lastMessage(of: store.chunkSubject(info.id))
        try await store.stream.deleteMessage(last.sequence)
        try await store.context.publish(bytes(50, 9), to: store.chunkSubject(info.id))
        #expect(await jetStreamCode { try await get("changed") } == .corrupt)
        let empty = try await store.put("empty", bytes(450), description)
        try await store.stream.purge(subject: store.chunkSubject(empty.id))
        #expect(await jetStreamCode { try await get("empty") } == .corrupt)
        let longer = try await store.put("longer", bytes(450), description)
        try await store.context.publish("more", to: store.chunkSubject(longer.id))
        #expect(try await get("longer") == 450)
    }

    @Test("D58: a put that is cut in the middle leaves no chunks, and the old object as it was")
    func cut() async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var description = JetStreamObjectStore.Description()
        description.chunkSize = 100
        try await store.put("a", bytes(300), description)
        await #expect(throws: CancellationError.self) {
            try await store.put("a", from: pieces(bytes(5000, 2), of: 70, failAt: 2500), description)
        }
        #expect(try await counts(store).chunks == 3)
        #expect(try await Array(store.bytes("a", upTo: 1000).readableBytesView) == bytes(300))
        // The stream is full: nothing of it stays either.
        var configuration = try await store.stream.info().configuration
        configuration.limits.bytes = 3000
        try await store.context.updateStream(configuration)
        #expect(await jetStreamCode { try await store.put("b", bytes(10_000), description) } == .streamFull)
        #expect(try await counts(store).chunks == 3)
        #expect(try await store.info("b") == nil)
        #expect(await jetStreamCode { try await store.put("", [1]) } == .invalidName)
        #expect(await jetStreamCode { try await store.context.objectStore("none").put("a", [1]) } == .noStream)
    }

    @Test("D59: of a range only the chunks that are needed come", arguments: [true, false])
    func ranges(_ isContiguous: Bool) async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var description = JetStreamObjectStore.Description()
        description.chunkSize = 100
        let content = bytes(1050)
        try await store.put("a", content, description)
        if !isContiguous {
            // Another object between its chunks.
            let info = try await store.put("a", Array(content.prefix(500)), description)
            try await store.put("b", [1], description)
            #expect(info.chunks == 5)
        }
        let size = isContiguous ? 1050 : 500
        let client = store.context.client
        for range in [0..<1, 0..<100, 99..<101, 100..<200, 250..<450, 499..<500, 0..<size, (size - 1)..<size] {
            let before = await client.statistics().messagesIn
            let object = try await store.get("a", range: UInt64(range.lowerBound)..<UInt64(range.upperBound))
            let read = try await object.reduce(into: [UInt8]()) { $0 += $1.readableBytesView }
            #expect(read == Array(content[range]), "\(range)")
            let received = await client.statistics().messagesIn - before
            #expect(received < 30)
        }
        let beyond = try await store.get("a", range: 400..<5000)
        #expect(beyond.range == 400..<UInt64(size))
        #expect(try await beyond.reduce(0) { $0 + $1.readableBytes } == size - 400)
        #expect(try await store.get("a", range: 9000..<9001).reduce(0) { $0 + $1.readableBytes } == 0)
    }

    @Test("A13: objects are deleted, renamed, described anew, linked and watched")
    func changes() async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        try await store.put("a", bytes(10))
        try await store.put("b", bytes(20))
        var watch = try await store.watch().makeAsyncIterator()
        #expect(try await watch.next()?.name == "a")
        #expect(try await watch.next()?.name == "b")
        let renamed = try await store.update("a") {
            $0.name = "c"
            $0.metadata = ["k": "v"]
        }
        #expect(renamed.name == "c" && renamed.metadata == ["k": "v"])
        #expect(try await store.info("a") == nil)
        #expect(try await store.bytes("c", upTo: 100).readableBytes == 10)
        #expect(await jetStreamCode { try await store.update("c") { $0.name = "b" } } == .exists)
        #expect(await jetStreamCode { try await store.update("none") { _ in } } == .noMessage)
        try await store.link("l", to: "c")
        #expect(try await store.bytes("l", upTo: 100).readableBytes == 10)
        #expect(await jetStreamCode { try await store.link("m", to: "l") } == .invalidArgument)
        #expect(await jetStreamCode { try await store.link("m", to: "none") } == .noMessage)
        #expect(await jetStreamCode { try await store.link("b", to: "c") } == .exists)
        try await store.delete("c")
        #expect(try await store.info("c") == nil)
        #expect(await jetStreamCode { _ = try await store.get("l") } == .noMessage)
        #expect(await jetStreamCode { try await store.delete("c") } == .noMessage)
        #expect(try await counts(store).chunks == 1)
        #expect(try await watch.next()?.name == "c")
        #expect(try await watch.next()?.name == "l")
        let deleted = try await watch.next()
        #expect(deleted?.name == "c" && deleted?.isDeleted == true)
        try await store.put("c", bytes(5))
        #expect(try await store.bytes("l", upTo: 100).readableBytes == 5)
        try await store.seal()
        #expect(await jetStreamCode { try await store.put("d", [1]) } != nil)
        try await store.deleteStore()
    }

    @Test("J44: a get fails when nothing comes any more, and does not hang")
    func stall() async throws {
        let server = try JetStreamServer()
        let store = try await store(server)
        var description = JetStreamObjectStore.Description()
        description.chunkSize = 100
        try await store.put("a", bytes(50_000), description)
        let object = try await store.get("a", stall: .seconds(2))
        var iterator = object.makeAsyncIterator()
        _ = try await iterator.next()
        // A reader that takes its time is no stall.
        try await Task.sleep(for: .seconds(3))
        _ = try await iterator.next()
        server.server.kill()
        let code = await jetStreamCode { while try await iterator.next() != nil {} }
        #expect(code == .timeout)
        try server.server.start()
    }
}
