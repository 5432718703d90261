// Owns: a message as a handler in Swift gets it: one copy of its bytes, which goes wherever the handler goes. Any thread.

import CLuaVM
import CScriptObjects
import NATSProtocol
import ScriptRuntime

/// A message that a listener in Swift has received, or the reply to a request.
public struct PaniniMessage: Sendable {
    private let bytes: [UInt8]
    private let subjectLength: Int
    private let replyLength: Int
    private let headersLength: Int
    private let named: [SubjectPattern.Parameter]
    private let completions: SwiftCompletions?

    init(_ call: EmbeddedCall) {
        // Index 1 is the message: nothing but a listener's chain calls this.
        self.init(
            lua_touserdata(call.L, 1).unsafelyUnwrapped.assumingMemoryBound(to: panini_message.self),
            of: call.script
        )
    }

    init(_ message: UnsafeMutablePointer<panini_message>, of script: Script) {
        subjectLength = Int(message.pointee.subject_length)
        replyLength = Int(message.pointee.reply_length)
        headersLength = Int(message.pointee.headers_length)
        let count = subjectLength + replyLength + headersLength + Int(message.pointee.payload_length)
        completions = script.embedding.completions(of: script)
        bytes = Array(UnsafeRawBufferPointer(start: panini_message_subject(message), count: count))
        if message.pointee.params_reference == 0 {
            named = []
        } else {
            let subjects = script.messaging.listeners[message.pointee.owner]?.subjects ?? []
            let reference = message.pointee.params_reference
            named = subjects.first { $0.parametersIndex == reference }?.pattern.parameters ?? []
        }
    }

    /// The subject it was sent to.
    public var subject: String { String(decoding: bytes[..<subjectLength], as: UTF8.self) }

    /// Whether the sender waits for a reply.
    public var isRequest: Bool { replyLength > 0 }

    /// The payload's bytes.
    public var payload: ArraySlice<UInt8> { bytes[(subjectLength + replyLength + headersLength)...] }

    /// The service that received it, to publish and request as it.
    public var app: PaniniApp { PaniniApp(way: .script(completions)) }

    /// The payload as text; what is no UTF-8 becomes U+FFFD.
    public var text: String { String(decoding: payload, as: UTF8.self) }

    /// The tokens of the subject that the listener's pattern names: of `orders.{id}.paid` the one of `id`.
    ///
    /// - Parameter name: The name between the braces.
    /// - Returns: The token; nil when the pattern has no such name.
    public func parameter(_ name: String) -> String? {
        guard let parameter = named.first(where: { $0.name == name }) else { return nil }
        let tokens = bytes[..<subjectLength].split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return tokens.indices.contains(parameter.index) ? String(decoding: tokens[parameter.index], as: UTF8.self) : nil
    }

    /// The first value of a header.
    ///
    /// - Parameter name: As it is written: case counts.
    public func header(_ name: String) -> String? { headers(name).first }

    /// All values of a header, in order.
    ///
    /// - Parameter name: As it is written: case counts.
    public func headers(_ name: String) -> [String] {
        guard headersLength > 0 else { return [] }
        return bytes.withUnsafeBytes { all in
            let start = subjectLength + replyLength
            var lines = NATSHeaderLines(UnsafeRawBufferPointer(rebasing: all[start..<(start + headersLength)]))
            var values: [String] = []
            while let field = lines.next() {
                if field.name.elementsEqual(name.utf8) { values.append(String(decoding: field.value, as: UTF8.self)) }
            }
            return values
        }
    }
}
