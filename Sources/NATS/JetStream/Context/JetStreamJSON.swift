// Owns: how JSON of the API is read and written: members that are there only when they are set (the server refuses
// fields that it does not know, A1), durations in nanoseconds, times as RFC 3339. Unknown members of replies are passed
// over. Pure.

import Bytes
import NATSProtocol
import NIOCore

/// The members of a request.
struct JSONMembers {
    private(set) var members: [(String, JSONText)] = []

    var value: JSONText { .object(members) }
    var isEmpty: Bool { members.isEmpty }

    mutating func set(_ name: String, _ value: JSONText) { members.append((name, value)) }

    mutating func set(_ name: String, _ text: String?) {
        if let text, !text.isEmpty { set(name, .string(text)) }
    }

    mutating func set(_ name: String, _ number: (some BinaryInteger)?) {
        if let number { set(name, .whole(number)) }
    }

    mutating func set(_ name: String, _ duration: TimeAmount?) {
        if let duration { set(name, .whole(duration.nanoseconds)) }
    }

    mutating func set(_ name: String, _ time: NATSTimestamp?) {
        if let time { set(name, .string("\(time)")) }
    }

    mutating func set(_ name: String, _ texts: [String]) {
        if !texts.isEmpty { set(name, .list(texts)) }
    }

    mutating func set(_ name: String, _ texts: [String: String]) {
        if !texts.isEmpty { set(name, .texts(texts)) }
    }

    /// Only what is true is said: false is what the server takes for granted.
    mutating func set(_ name: String, _ flag: Bool) {
        if flag { set(name, .boolean(true)) }
    }

    mutating func set(_ name: String, _ members: JSONMembers?) {
        if let members { set(name, members.value) }
    }
}

extension JSONValue {
    /// A reply's text as JSON; nil when it is none.
    init?(reply: ByteBuffer) {
        let value = reply.withUnsafeReadableBytes { try? JSONValue(parsing: $0) }
        guard let value else { return nil }
        self = value
    }

    /// A whole number that is not negative.
    func sequence(_ name: String) -> UInt64 { self[name]?.wholeNumber ?? 0 }

    private var wholeNumber: UInt64? {
        switch self {
        case .integer(let value): UInt64(exactly: value)
        // Beyond 63 bits the reader has only this.
        case .number(let value): UInt64(exactly: value)
        default: nil
        }
    }

    func int(_ name: String) -> Int { self[name]?.integer ?? 0 }

    func text(_ name: String) -> String { self[name]?.string ?? "" }

    func flag(_ name: String) -> Bool { self[name]?.bool ?? false }

    func texts(_ name: String) -> [String] { self[name]?.array?.compactMap(\.string) ?? [] }

    func time(_ name: String) -> NATSTimestamp? { self[name]?.string.flatMap { NATSTimestamp($0) } }

    func duration(_ name: String) -> TimeAmount? { self[name]?.integer.map { .nanoseconds(Int64($0)) } }

    func textsByName(_ name: String) -> [String: String] {
        guard case .object(let members)? = self[name] else { return [:] }
        return members.compactMapValues(\.string)
    }

    func numbersByName(_ name: String) -> [String: UInt64] {
        guard case .object(let members)? = self[name] else { return [:] }
        return members.compactMapValues(\.wholeNumber)
    }

    /// The `error` of a reply; nil when there is none.
    var apiError: JetStreamError? {
        guard let error = self["error"], case .object = error else { return nil }
        return JetStreamError(
            errorCode: error.int("err_code"),
            status: error.int("code"),
            description: error.text("description")
        )
    }
}
