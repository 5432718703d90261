import Glibc
import NATS
import NATSProtocol
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct ServiceDescriptionTests {
    private func text(_ verb: NATSServiceVerb, _ endpoints: [NATSServiceEndpoint] = []) -> String {
        var identity = NATSServiceIdentity(name: "orders", id: "ID", version: "1.2.3")
        identity.description = "takes \"orders\""
        if !endpoints.isEmpty { identity.metadata = ["b": "2", "a": "1"] }
        let answer = verb.answer(of: identity, endpoints: endpoints, started: "T")
        return String(decoding: answer?.bytes ?? [], as: UTF8.self)
    }

    @Test("ADR-32: an answer has every field of its schema, and metadata is never null")
    func answers() {
        var endpoint = NATSServiceEndpoint(name: "create", subject: "orders.*")
        endpoint.queueGroup = "q"
        endpoint.metadata = ["k": "v"]
        endpoint.requests = 4
        endpoint.errors = 1
        endpoint.lastError = "500:no"
        endpoint.processingTime = 10
        let common = #""name":"orders","id":"ID","version":"1.2.3""#
        #expect(text(.ping) == #"{"type":"io.nats.micro.v1.ping_response",\#(common),"metadata":{}}"#)
        #expect(
            text(.info)
                == #"{"type":"io.nats.micro.v1.info_response",\#(common),"metadata":{},"description":"takes \"orders\"","endpoints":[]}"#
        )
        #expect(
            text(.info, [endpoint])
                == #"{"type":"io.nats.micro.v1.info_response",\#(common),"metadata":{"a":"1","b":"2"},"description":"takes \"orders\"","endpoints":[{"name":"create","subject":"orders.*","queue_group":"q","metadata":{"k":"v"}}]}"#
        )
        #expect(
            text(.stats, [endpoint, NATSServiceEndpoint(name: "x", subject: "x")])
                == #"{"type":"io.nats.micro.v1.stats_response",\#(common),"metadata":{"a":"1","b":"2"},"started":"T","endpoints":[{"name":"create","subject":"orders.*","queue_group":"q","num_requests":4,"num_errors":1,"last_error":"500:no","processing_time":10,"average_processing_time":2},{"name":"x","subject":"x","queue_group":"","num_requests":0,"num_errors":0,"last_error":"","processing_time":0,"average_processing_time":0}]}"#
        )
    }

    @Test(
        "ADR-32: an answer is never larger than its limit, and uses what there is",
        arguments: [NATSServiceVerb.info, .stats]
    )
    func limited(_ verb: NATSServiceVerb) throws {
        let identity = NATSServiceIdentity(name: "orders", id: "ID", version: "1.2.3")
        let endpoints = (0..<12).map { NATSServiceEndpoint(name: "e\($0)", subject: "orders.\($0)") }
        let whole = try #require(verb.answer(of: identity, endpoints: endpoints, started: "T"))
        let none = try #require(verb.answer(of: identity, endpoints: [], started: "T"))
        #expect(verb.answer(of: identity, endpoints: endpoints, started: "T", limit: whole.bytes.count) == whole)
        #expect(verb.answer(of: identity, endpoints: endpoints, started: "T", limit: none.bytes.count) == nil)
        var counts: Set<Int> = []
        for limit in (none.bytes.count + 32)..<whole.bytes.count {
            let answer = try #require(verb.answer(of: identity, endpoints: endpoints, started: "T", limit: limit))
            #expect(answer.bytes.count <= limit)
            let json = try answer.bytes.withUnsafeBytes { try JSONValue(parsing: $0) }
            let kept = try #require(json["endpoints"]?.array?.count)
            #expect(kept + answer.leftOut == 12)
            #expect(json["metadata"]?["panini.endpoints_left_out"]?.string == "\(answer.leftOut)")
            counts.insert(kept)
        }
        #expect(counts == Set(0..<12))
    }

    @Test("ADR-32: started is RFC 3339 in UTC")
    func time() {
        #expect(timestamp(timespec(tv_sec: 0, tv_nsec: 0)) == "1970-01-01T00:00:00.000000000Z")
        #expect(timestamp(timespec(tv_sec: 1_709_210_096, tv_nsec: 7_000_001)) == "2024-02-29T12:34:56.007000001Z")
    }
}
