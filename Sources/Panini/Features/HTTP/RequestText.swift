// Owns: whether what a request says is text: scripts respond with, log and send on what they are given, and all of that is UTF-8.
// Pure; any thread.

import Bytes
import PaniniHTTP
import ScriptRuntime

/// What of a request is no text. The client's fault: it gets a 400.
struct RequestTextError: Error {
    /// Such as `the path`.
    let what: String

    var callError: CallError { CallError(.number(400), "\(what) is no text (UTF-8)") }
}

/// Looks at bytes of requests.
enum RequestText {
    @inline(__always)
    static func isText(_ bytes: UnsafeRawBufferPointer) -> Bool {
        UTF8Text.isValid(bytes)
    }

    static func isText(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { isText($0) } }

    static func check(_ bytes: UnsafeRawBufferPointer, _ what: String) throws(RequestTextError) {
        if !isText(bytes) { throw RequestTextError(what: what) }
    }

    static func check(_ bytes: [UInt8], _ what: String) throws(RequestTextError) {
        if !isText(bytes) { throw RequestTextError(what: what) }
    }

    static func check(_ pairs: [(name: [UInt8], value: [UInt8])], _ what: String) throws(RequestTextError) {
        if let problem = problem(pairs, what) { throw problem }
    }

    static func problem(_ pairs: [(name: [UInt8], value: [UInt8])], _ what: String) -> RequestTextError? {
        for (name, value) in pairs {
            if !isText(name) { return RequestTextError(what: "a name in \(what)") }
            if !isText(value) {
                return RequestTextError(what: "\(what)'s \(String(decoding: name.prefix(64), as: UTF8.self))")
            }
        }
        return nil
    }

    /// What of a head is no text: where a response repeats it, that cannot be sent for the client's fault.
    static func problem(_ head: HTTPHead) -> RequestTextError? {
        if !isText(Array(head.bytes[..<head.targetLength])) { return RequestTextError(what: "the path") }
        for line in head.bytes[head.targetLength...].split(separator: UInt8(ascii: "\n")) where !isText(Array(line)) {
            let name = String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self)
            return RequestTextError(what: "the header \(name.lowercased())")
        }
        return nil
    }
}
