// Owns: stores of objects: what they are as streams (A13; ADR-20), how they are made and found, and what is told about
// an object. Any thread.

import Bytes
import NATSProtocol
public import NIOCore

/// A store of objects, by its name: a handle that costs nothing. Made by ``JetStreamContext/objectStore(_:)`` and
/// ``JetStreamContext/createObjectStore(_:)``.
public struct JetStreamObjectStore: Sendable {
    /// Where it is.
    public let context: JetStreamContext
    /// Its name.
    public let bucket: String
    /// The stream behind it.
    public let stream: JetStreamStream

    init(context: JetStreamContext, bucket: String) throws(JetStreamError) {
        guard JetStreamObjectStore.isBucket(bucket) else {
            throw JetStreamError(.invalidName, "\"\(bucket)\" cannot name a store of objects")
        }
        self.context = context
        self.bucket = bucket
        stream = try context.stream("OBJ_\(bucket)")
    }

    /// The settings of a store. What is nil is left to the server.
    public struct Configuration: Sendable, Hashable {
        /// The store's name: letters and digits of ASCII, `-` and `_`.
        public var bucket: String
        /// Text for people, up to 4 KB.
        public var description = ""
        /// Anything else, up to 128 KB.
        public var metadata: [String: String] = [:]
        /// When an object expires, nil for never.
        public var timeToLive: TimeAmount?
        /// How many bytes all objects may take, nil for no limit.
        public var maxBytes: Int64?
        /// Where it is kept.
        public var storage = JetStreamStream.Storage.file
        /// How many servers have it: 1 to 5.
        public var replicas: Int?
        /// On which servers it is.
        public var placement: JetStreamStream.Placement?
        /// Whether files are compressed.
        public var compresses = false

        /// Settings with the defaults.
        ///
        /// - Parameter bucket: the store's name.
        public init(bucket: String) { self.bucket = bucket }

        func stream() throws(JetStreamError) -> JetStreamStream.Configuration {
            guard JetStreamObjectStore.isBucket(bucket) else {
                throw JetStreamError(.invalidName, "\"\(bucket)\" cannot name a store of objects")
            }
            var stream = JetStreamStream.Configuration(
                name: "OBJ_\(bucket)",
                subjects: ["$O.\(bucket).C.>", "$O.\(bucket).M.>"]
            )
            stream.description = description
            stream.metadata = metadata
            stream.storage = storage
            stream.replicas = replicas
            stream.placement = placement
            stream.limits.age = timeToLive
            stream.limits.bytes = maxBytes
            stream.limits.discard = .new
            stream.compresses = compresses
            stream.access.allowsRollup = true
            stream.access.allowsDirect = true
            return stream
        }
    }

    /// Whether a store can be named so.
    static func isBucket(_ name: String) -> Bool {
        let bytes = name.utf8
        return !bytes.isEmpty && bytes.count <= JetStreamNames.longestName - 4
            && bytes.allSatisfy {
                ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == ASCII.minus || $0 == UInt8(ascii: "_")
            }
    }

    /// The subject of an object's chunks.
    func chunkSubject(_ id: String) -> String { "$O.\(bucket).C.\(id)" }

    /// What subjects of descriptions begin with.
    var metaPrefix: String { "$O.\(bucket).M." }

    /// The subject of an object's description: its name in base64url with padding.
    func metaSubject(_ name: String) throws(JetStreamError) -> String {
        guard !name.isEmpty else { throw JetStreamError(.invalidName, "an object needs a name") }
        return metaPrefix + Self.base64URL(name.utf8)
    }

    static func base64URL(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Base64.encode(bytes).utf8.map { digit -> UInt8 in
            switch digit {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: digit
            }
        }
        return String(decoding: digits, as: UTF8.self)
    }
}

extension JetStreamObjectStore {
    /// What is told about an object.
    public struct Info: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Text for people.
        public var description = ""
        /// Its headers, for whoever serves it.
        public var headers: [String: [String]] = [:]
        /// Anything else.
        public var metadata: [String: String] = [:]
        /// What it stands for, nil for an object of its own.
        public var link: Link?
        /// How large its chunks are, but for the last; 0 when that is not told.
        public internal(set) var chunkSize = 0
        /// The store.
        public internal(set) var bucket: String
        /// What its chunks are stored under.
        public internal(set) var id = ""
        /// How many bytes it has.
        public internal(set) var size: UInt64 = 0
        /// How many chunks it has.
        public internal(set) var chunks = 0
        /// `SHA-256=` and the digest of all bytes in base64url with padding.
        public internal(set) var digest = ""
        /// Whether it was deleted.
        public internal(set) var isDeleted = false
        /// When it was put, or described anew.
        public internal(set) var modified: NATSTimestamp?
        /// The number of the description in the stream.
        var revision: UInt64 = 0

        init(name: String, bucket: String) {
            self.name = name
            self.bucket = bucket
        }
    }

    /// What an object stands for.
    public struct Link: Sendable, Hashable {
        /// The store.
        public let bucket: String
        /// The object, nil for the store as a whole.
        public let name: String?
    }
}

extension JetStreamObjectStore.Info {
    var json: JSONText {
        var members = JSONMembers()
        members.set("name", .string(name))
        members.set("description", description)
        if !headers.isEmpty {
            members.set("headers", .object(headers.sorted { $0.key < $1.key }.map { ($0.key, .list($0.value)) }))
        }
        members.set("metadata", metadata)
        var options = JSONMembers()
        if let link {
            var target = JSONMembers()
            target.set("bucket", link.bucket)
            target.set("name", link.name)
            options.set("link", target)
        }
        if chunkSize > 0 { options.set("max_chunk_size", chunkSize) }
        if !options.isEmpty { members.set("options", options) }
        members.set("bucket", bucket)
        members.set("nuid", .string(id))
        members.set("size", size)
        members.set("chunks", chunks)
        members.set("digest", digest)
        members.set("deleted", isDeleted)
        return members.value
    }

    /// Reads a description.
    init?(payload: ByteBuffer, revision: UInt64, modified: NATSTimestamp?) {
        guard let json = JSONValue(reply: payload), let name = json["name"]?.string else { return nil }
        self.init(name: name, bucket: json.text("bucket"))
        description = json.text("description")
        if case .object(let members)? = json["headers"] {
            headers = members.mapValues { $0.array?.compactMap(\.string) ?? [] }
        }
        metadata = json.textsByName("metadata")
        if let target = json["options"]?["link"] {
            link = JetStreamObjectStore.Link(bucket: target.text("bucket"), name: target["name"]?.string)
        }
        chunkSize = json["options"]?.int("max_chunk_size") ?? 0
        id = json.text("nuid")
        size = json.sequence("size")
        chunks = json.int("chunks")
        digest = json.text("digest")
        isDeleted = json.flag("deleted")
        self.modified = modified
        self.revision = revision
    }
}

extension JetStreamContext {
    /// The store of a name. Asks nothing of the server.
    ///
    /// - Throws: ``JetStreamError`` with code `invalidName`.
    public func objectStore(_ bucket: String) throws(JetStreamError) -> JetStreamObjectStore {
        try JetStreamObjectStore(context: self, bucket: bucket)
    }

    /// Creates a store; one with the same settings may be there already.
    ///
    /// - Throws: ``JetStreamError``: `streamExists` when there is one with other settings, `invalidName`, `resources`,
    ///   and what every call throws.
    @discardableResult
    public func createObjectStore(
        _ configuration: JetStreamObjectStore.Configuration
    ) async throws(JetStreamError) -> JetStreamObjectStore {
        try await createStream(configuration.stream())
        return try objectStore(configuration.bucket)
    }

    /// The names of all stores.
    ///
    /// - Throws: ``JetStreamError``: what every call throws.
    public func objectStores() async throws(JetStreamError) -> [String] {
        try await streamNames(taking: "$O.*.C.>").filter { $0.begins(with: "OBJ_") }.map { String($0.dropFirst(4)) }
    }
}

extension JetStreamObjectStore {
    /// The stream behind the store, as it is.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func status() async throws(JetStreamError) -> JetStreamStream.Info { try await stream.info() }

    /// Has nothing be changed any more. Cannot be taken back.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func seal() async throws(JetStreamError) {
        var configuration = try await stream.info().configuration
        configuration.access.isSealed = true
        try await context.updateStream(configuration)
    }

    /// Deletes the store with all its objects.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func deleteStore() async throws(JetStreamError) { try await stream.delete() }

    /// What is told about an object.
    ///
    /// - Parameter name: its name.
    /// - Returns: nil when there is none, or it was deleted.
    /// - Throws: ``JetStreamError``: `noStream`, `invalidName`, `corrupt`, and what every call throws.
    public func info(_ name: String) async throws(JetStreamError) -> Info? {
        let info = try await last(name)
        return info?.isDeleted == false ? info : nil
    }

    /// The last description, also of a deleted object.
    func last(_ name: String) async throws(JetStreamError) -> Info? {
        let message: JetStreamStoredMessage
        do throws(JetStreamError) {
            message = try await stream.lastMessage(of: metaSubject(name))
        } catch {
            if error.code == .noMessage { return nil }
            throw error
        }
        guard let info = Info(payload: message.payload, revision: message.sequence, modified: message.time) else {
            throw JetStreamError(.corrupt, "the description of the object \(name) cannot be read")
        }
        return info
    }

    /// All objects that are there.
    ///
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func list() async throws(JetStreamError) -> [Info] {
        var options = JetStreamReadOptions()
        options.filters = [metaPrefix + ">"]
        options.start = .lastPerSubject
        options.end = .last
        var infos: [ExactText: Info] = [:]
        for try await message in try await stream.read(options) {
            guard let info = Info(payload: message.payload, revision: message.sequence, modified: message.metadata.time)
            else {
                continue
            }
            infos[ExactText(message.subject)] = info
        }
        return infos.values.filter { !$0.isDeleted }.sorted { $0.revision < $1.revision }
    }

    /// The descriptions of objects, as they change; never ends by itself. A deleted one tells so.
    ///
    /// - Parameter updatesOnly: whether those that are there are left out.
    /// - Throws: ``JetStreamError``: `noStream`, and what every call throws.
    public func watch(updatesOnly: Bool = false) async throws(JetStreamError) -> JetStreamObjectWatch {
        var options = JetStreamReadOptions()
        options.filters = [metaPrefix + ">"]
        options.start = updatesOnly ? .new : .lastPerSubject
        return JetStreamObjectWatch(messages: try await stream.read(options))
    }
}

/// Descriptions of objects as they change, see ``JetStreamObjectStore/watch(updatesOnly:)``.
public struct JetStreamObjectWatch: AsyncSequence, Sendable {
    /// What a step of the iteration gives.
    public typealias Element = JetStreamObjectStore.Info
    /// What a step of the iteration may throw.
    public typealias Failure = JetStreamError

    let messages: JetStreamOrderedMessages

    /// Stops; what waits here is still told.
    public func stop() { messages.stop() }

    /// Begins the iteration.
    public func makeAsyncIterator() -> Iterator { Iterator(iterator: messages.makeAsyncIterator()) }

    /// Takes descriptions one by one.
    public struct Iterator: AsyncIteratorProtocol {
        var iterator: JetStreamOrderedMessages.Iterator

        /// The next description, nil when the watch was stopped or the task is cancelled.
        ///
        /// - Throws: ``JetStreamError``: `permission`, `connection`.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(JetStreamError) -> JetStreamObjectStore.Info? {
            while let message = try await iterator.next(isolation: actor) {
                let time = message.metadata.time
                if let info = JetStreamObjectStore.Info(
                    payload: message.payload,
                    revision: message.sequence,
                    modified: time
                ) {
                    return info
                }
            }
            return nil
        }

        /// The next description, nil when the watch was stopped or the task is cancelled.
        public mutating func next() async throws(JetStreamError) -> JetStreamObjectStore.Info? {
            try await next(isolation: nil)
        }
    }
}
