// What JetStream's values are on the wire, and what is refused before anything is sent.

import Bytes
import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct JetStreamValueTests {
    private func json(_ text: String) throws -> JSONValue {
        try Array(text.utf8).withUnsafeBytes { try JSONValue(parsing: $0) }
    }

    private func text(_ json: JSONText) -> String { String(decoding: json.bytes(), as: UTF8.self) }

    @Test("A1: times are RFC 3339 with any number of digits and any offset; the zero time is none")
    func times() throws {
        #expect(NATSTimestamp("1970-01-01T00:00:00Z")?.nanoseconds == 0)
        #expect(NATSTimestamp("2024-02-29T12:34:56.007000001Z")?.nanoseconds == 1_709_210_096_007_000_001)
        #expect(NATSTimestamp("2024-02-29T12:34:56.5Z")?.nanoseconds == 1_709_210_096_500_000_000)
        #expect(NATSTimestamp("2024-02-29T14:04:56.1234567891+01:30")?.nanoseconds == 1_709_210_096_123_456_789)
        #expect(NATSTimestamp("2024-02-29T07:34:56-05:00")?.nanoseconds == 1_709_210_096_000_000_000)
        #expect(NATSTimestamp("1969-12-31T23:59:59.999999999Z")?.nanoseconds == -1)
        for text in [
            "0001-01-01T00:00:00Z", "", "2024", "2024-02-29", "2024-13-01T00:00:00Z", "2024-02-29T12:34:56",
            "2024-02-29T12:34:56.Z", "2024-02-29T12:34:56Zz", "2024-02-29 12:34:56Z", "9999-01-01T00:00:00Z",
            "2024-02-29T24:00:00Z", "é024-02-29T12:34:56Z",
        ] {
            #expect(NATSTimestamp(text) == nil, "\(text)")
        }
        var generator = WalkGenerator(state: 1)
        for _ in 0..<2000 {
            let time = NATSTimestamp(nanoseconds: Int64.random(in: Int64.min / 2...Int64.max / 2, using: &generator))
            #expect(NATSTimestamp("\(time)") == time)
        }
    }

    @Test("A4: names that would end up in a subject are refused before anything is sent")
    func names() {
        for name in [
            "", "a b", "a\tb", "a.b", "a*", ">", "a/b", "a\\b", "a\u{7f}", "\u{1}", String(repeating: "x", count: 256),
        ] {
            #expect(throws: JetStreamError.self) { try JetStreamNames.check(name, "stream") }
        }
        for name in ["a", "A-1_b", "ä", "$X", String(repeating: "x", count: 255)] {
            #expect(throws: Never.self) { try JetStreamNames.check(name, "stream") }
        }
    }

    @Test("A1: of a stream only what is set is sent")
    func minimalStream() {
        #expect(
            text(JetStreamStream.Configuration(name: "S", subjects: ["a.>"]).json)
                == #"{"name":"S","subjects":["a.>"],"retention":"limits","storage":"file","discard":"old"}"#
        )
    }

    @Test("A4: every field of a stream is written and read")
    func wholeStream() throws {
        var stream = JetStreamStream.Configuration(name: "S", subjects: ["a.>", "b"])
        stream.description = "text \"x\""
        stream.metadata = ["k": "v"]
        stream.retention = .workQueue
        stream.storage = .memory
        stream.replicas = 3
        stream.placement = JetStreamStream.Placement(cluster: "C", tags: ["t"])
        stream.limits.messages = 1
        stream.limits.bytes = 2
        stream.limits.age = .seconds(3)
        stream.limits.messagesPerSubject = 4
        stream.limits.messageSize = 5
        stream.limits.consumers = 6
        stream.limits.discard = .new
        stream.limits.discardsNewPerSubject = true
        stream.duplicateWindow = .seconds(7)
        stream.sources = [JetStreamStream.Source(name: "O"), JetStreamStream.Source(name: "P")]
        stream.sources[0].startSequence = 8
        stream.sources[0].filter = "x"
        stream.sources[0].external = JetStreamStream.External(apiPrefix: "$JS.hub.API", deliverPrefix: "d")
        stream.sources[0].consumer = JetStreamStream.SourceConsumer(name: "c", deliverSubject: "ds")
        stream.sources[1].startTime = NATSTimestamp(nanoseconds: 1_000_000_009)
        stream.sources[1].transforms = [JetStreamStream.Transform(source: "a", destination: "b")]
        stream.transform = JetStreamStream.Transform(source: "s", destination: "d")
        stream.republish = JetStreamStream.Republish(source: "s", destination: "r.>", headersOnly: true)
        stream.compresses = true
        stream.firstSequence = 9
        stream.access.allowsDirect = true
        stream.access.mirrorsDirect = true
        stream.access.isSealed = true
        stream.access.deniesDelete = true
        stream.access.deniesPurge = true
        stream.access.allowsRollup = true
        stream.access.hasNoAcks = true
        stream.consumerLimits = JetStreamStream.ConsumerLimits()
        stream.consumerLimits?.inactiveThreshold = .seconds(10)
        stream.consumerLimits?.maxAckPending = 11
        stream.features.allowsMessageTTL = true
        stream.features.deleteMarkerTTL = .seconds(12)
        stream.features.isCounter = true
        stream.features.allowsAtomicBatches = true
        stream.features.allowsFastBatches = true
        stream.features.allowsSchedules = true
        stream.features.persistsLater = true
        let written = text(stream.json)
        for name in [
            "max_msgs", "max_bytes", "max_age", "max_msgs_per_subject", "max_msg_size", "max_consumers", "discard",
            "discard_new_per_subject", "num_replicas", "no_ack", "duplicate_window", "placement", "sources",
            "compression",
            "first_seq", "subject_transform", "republish", "allow_direct", "mirror_direct", "sealed", "deny_delete",
            "deny_purge", "allow_rollup_hdrs", "consumer_limits", "allow_msg_ttl", "subject_delete_marker_ttl",
            "allow_msg_counter", "allow_atomic", "allow_msg_schedules", "allow_batched", "persist_mode", "metadata",
        ] {
            #expect(written.contains("\"\(name)\":"), "\(name)")
        }
        #expect(JetStreamStream.Configuration(json: try json(written)) == stream)
        #expect(stream.requiredLevel == 4)
        stream.sources = []
        stream.subjects = []
        stream.mirror = JetStreamStream.Source(name: "M")
        #expect(JetStreamStream.Configuration(json: try json(text(stream.json))) == stream)
    }

    @Test("A4: what the server has completed is no difference: no limits, its own metadata, empty consumer limits")
    func completedStream() throws {
        let read = JetStreamStream.Configuration(
            json: try json(
                #"{"name":"S","subjects":["a"],"retention":"limits","max_msgs":-1,"max_bytes":-1,"max_age":0,"max_consumers":-1,"max_msg_size":-1,"max_msgs_per_subject":-1,"storage":"file","discard":"old","consumer_limits":{},"compression":"none","new_field":{"x":[1]},"metadata":{"_nats.level":"4","a":"b"}}"#
            )
        )
        var expected = JetStreamStream.Configuration(name: "S", subjects: ["a"])
        expected.metadata = ["a": "b"]
        #expect(read == expected)
    }

    @Test("A4: a mirror has no subjects, and names of streams are checked wherever they stand")
    func checkedStream() {
        var mirror = JetStreamStream.Configuration(name: "S", subjects: ["a"])
        mirror.mirror = JetStreamStream.Source(name: "O")
        #expect(throws: JetStreamError.self) { try mirror.check() }
        mirror.subjects = []
        #expect(throws: Never.self) { try mirror.check() }
        mirror.mirror = nil
        mirror.sources = [JetStreamStream.Source(name: "a.b")]
        #expect(throws: JetStreamError.self) { try mirror.check() }
        #expect(throws: JetStreamError.self) { try JetStreamStream.Configuration(name: "S", subjects: ["a b"]).check() }
    }

    @Test("A5: every field of a consumer is written and read")
    func wholeConsumer() throws {
        var consumer = JetStreamConsumer.Configuration.durable("D")
        consumer.description = "text"
        consumer.metadata = ["k": "v"]
        consumer.acks.policy = .all
        consumer.acks.wait = .seconds(1)
        consumer.acks.maxDeliver = 4
        consumer.acks.backoff = [.seconds(1), .seconds(2)]
        consumer.acks.maxPending = 3
        consumer.filters = ["a", "b.>"]
        consumer.replay = .original
        consumer.sampleFrequency = "50%"
        consumer.headersOnly = true
        consumer.pulls.maxWaiting = 5
        consumer.pulls.maxBatch = 6
        consumer.pulls.maxExpires = .seconds(7)
        consumer.pulls.maxBytes = 8
        consumer.inactiveThreshold = .seconds(9)
        consumer.replicas = 1
        consumer.isInMemory = true
        consumer.pausedUntil = NATSTimestamp(nanoseconds: 10)
        consumer.priority = JetStreamConsumer.Priority(group: "g", policy: .pinnedClient, timeout: .seconds(11))
        let policies: [JetStreamConsumer.DeliverPolicy] = [
            .all, .last, .new, .lastPerSubject, .fromSequence(12), .fromTime(NATSTimestamp(nanoseconds: 13)),
        ]
        for policy in policies {
            consumer.deliver = policy
            #expect(JetStreamConsumer.Configuration(json: try json(text(consumer.json))) == consumer)
        }
        consumer.filters = ["one"]
        #expect(text(consumer.json).contains(#""filter_subject":"one""#))
        #expect(JetStreamConsumer.Configuration(json: try json(text(consumer.json))) == consumer)
    }

    @Test("A2: one filter stands in the subject as well, several do not")
    func createSubject() {
        var consumer = JetStreamConsumer.Configuration(name: "c")
        #expect(JetStreamStream.createSubject("S", consumer) == "CONSUMER.CREATE.S.c")
        consumer.filters = ["a.>"]
        #expect(JetStreamStream.createSubject("S", consumer) == "CONSUMER.CREATE.S.c.a.>")
        consumer.filters = ["a.>", "b"]
        #expect(JetStreamStream.createSubject("S", consumer) == "CONSUMER.CREATE.S.c")
    }

    @Test("A5: a consumer that the server would refuse is refused at once")
    func checkedConsumer() {
        #expect(throws: JetStreamError.self) { try JetStreamConsumer.Configuration(isDurable: true).check() }
        #expect(throws: JetStreamError.self) { try JetStreamConsumer.Configuration.durable("a b").check() }
        var consumer = JetStreamConsumer.Configuration.durable("a")
        consumer.acks.backoff = [.seconds(1), .seconds(2)]
        consumer.acks.maxDeliver = 1
        #expect(throws: JetStreamError.self) { try consumer.check() }
    }

    @Test("A8: what is asked of a stream stands in headers")
    func publishHeaders() throws {
        var options = JetStreamPublishOptions(id: "i")
        options.expecting.stream = "S"
        options.expecting.lastSequence = 1
        options.expecting.lastMessageID = "m"
        options.expecting.lastSubjectSequence = 0
        options.expecting.subjects = "a.*"
        options.timeToLive = .after(.seconds(2))
        options.rollup = .subject
        options.schedule = JetStreamSchedule(.every(.seconds(5)), target: "t")
        options.schedule?.timeToLive = .never
        options.schedule?.timeZone = "Europe/Berlin"
        options.schedule?.rollsUp = true
        options.schedule?.source = "s"
        var headers = NATSHeaders()
        try options.write(to: &headers)
        let fields = headers.fields.map { "\($0.name): \($0.value)" }
        #expect(
            fields == [
                "Nats-Msg-Id: i", "Nats-Expected-Stream: S", "Nats-Expected-Last-Sequence: 1",
                "Nats-Expected-Last-Msg-Id: m", "Nats-Expected-Last-Subject-Sequence: 0",
                "Nats-Expected-Last-Subject-Sequence-Subject: a.*", "Nats-TTL: 2", "Nats-Rollup: sub",
                "Nats-Schedule: @every 5s", "Nats-Schedule-Target: t", "Nats-Schedule-TTL: never",
                "Nats-Schedule-Time-Zone: Europe/Berlin", "Nats-Schedule-Rollup: sub", "Nats-Schedule-Source: s",
            ]
        )
        #expect(try JetStreamPublishOptions.TimeToLive.after(.milliseconds(1500)).header() == "1500000000ns")
        #expect(throws: JetStreamError.self) {
            try JetStreamPublishOptions.TimeToLive.after(.milliseconds(999)).header()
        }
        var none = NATSHeaders()
        #expect(throws: JetStreamError.self) { try JetStreamPublishOptions(id: "a\r\nb").write(to: &none) }
        #expect(throws: JetStreamError.self) { try JetStreamPublishOptions(id: "").write(to: &none) }
    }

    @Test("J32: only JSON with a stream or an error is an acknowledgement")
    func acknowledgements() throws {
        func read(_ text: String) -> Result<JetStreamPublishAck, JetStreamError>? {
            Array(text.utf8).withUnsafeBytes { JetStreamPublishAck.read($0) }
        }
        for text in [
            "", "ok", "{}", "[]", #"{"seq":1}"#, #"{"stream":1}"#, #"{"error":"no"}"#, #"{"stream":"S""#, "+ACK",
        ] {
            #expect(read(text) == nil, "\(text)")
        }
        let ack = try read(
            #"{"stream":"S","seq":7,"duplicate":true,"domain":"d","val":"123456789012345678901","batch":"b","count":3}"#
        )?.get()
        #expect(ack?.stream == "S" && ack?.sequence == 7 && ack?.isDuplicate == true && ack?.domain == "d")
        #expect(ack?.value == "123456789012345678901" && ack?.batchCount == 3)
        guard
            case .failure(let error)? = read(
                #"{"error":{"code":400,"err_code":10071,"description":"wrong"},"stream":"S","seq":0}"#
            )
        else {
            Issue.record("no error")
            return
        }
        #expect(error.code == .wrongSequence && error.errorCode == 10071 && error.message == "wrong")
    }

    @Test("J34: 10071 and 10164 are the same thing")
    func sequenceErrors() {
        for number in [10071, 10164] {
            #expect(JetStreamError.Code(errorCode: number, status: 400) == .wrongSequence)
        }
        #expect(JetStreamError.Code(errorCode: 99_999, status: 400) == .api)
    }

    @Test("A9: what a direct get adds is taken away, and a message's own headers of such names stay")
    func directMessages() throws {
        var headers = NATSHeaders()
        for (name, value) in [
            ("Own", "1"), ("Nats-Subject", "its own"), ("Nats-Stream", "S"), ("Nats-Subject", "a.b"),
            ("Nats-Sequence", "5"),
            ("Nats-Time-Stamp", "1970-01-01T00:00:01Z"),
        ] { headers.add(name, value) }
        let block = headers.encoded()
        let read = block.withUnsafeBytes { NATSHeaders(block: $0) }
        let message = try #require(JetStreamStoredMessage(direct: read, ByteBuffer(string: "x")))
        #expect(message.subject == "a.b" && message.sequence == 5 && message.text == "x")
        #expect(message.time?.nanoseconds == 1_000_000_000)
        #expect(message.headers.fields.map(\.value) == ["1", "its own"])
    }
}
