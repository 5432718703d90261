// What `panini ps --json` says of a service, and what `panini dev` says of one that is ready.

import Bytes
import NATSProtocol
import Panini
import Testing

@testable import PaniniCLI

@Suite struct ListingTests {
    @Test("what features count comes through by its name, and stands beside the members of the host")
    func figures() throws {
        let text = Array(#"{"service":"a","workers":2,"figures":{"workers":7,"counter_orders":44}}"#.utf8)
        let service = try text.withUnsafeBytes { try JSONValue(parsing: $0) }
        let bytes = PsCommand.object(1, service, checksTableKeys: true).bytes()
        let read = try bytes.withUnsafeBytes { try JSONValue(parsing: $0) }
        #expect(read["workers"]?.integer == 2)
        #expect(read["figures"] == .object(["workers": .integer(7), "counter_orders": .integer(44)]))
    }

    @Test("without any there is an empty object")
    func none() throws {
        let bytes = PsCommand.object(1, .object([:]), checksTableKeys: true).bytes()
        let read = try bytes.withUnsafeBytes { try JSONValue(parsing: $0) }
        #expect(read["figures"] == .object([:]))
    }
}
