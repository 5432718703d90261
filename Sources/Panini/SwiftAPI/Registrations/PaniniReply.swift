// Owns: what a listener in Swift answers when a value alone does not say it: a value with headers. The headers wait beside
// the message while its middlewares see the value, and go out with what these have made of it. Worker's thread, but for the
// value, which any thread makes.

import CScriptObjects
import LuaVM
import NATSProtocol
import ScriptRuntime

/// The reply of a listener in Swift, with headers.
///
/// ```swift
/// service.listen("orders.get") { message in
///     PaniniReply(order, headers: ["version": "7"])
/// }
/// ```
public struct PaniniReply: LuaConvertible {
    private let value: any LuaConvertible
    private let headers: [(name: String, value: String)]

    /// A reply.
    ///
    /// - Parameters:
    ///   - value: What goes out as it would without headers: texts and bytes as they are, everything else as JSON, nil as an
    ///     empty payload.
    ///   - headers: Names and values of one line each, in order; a name may stand there more than once.
    public init(_ value: some LuaConvertible, headers: KeyValuePairs<String, String>) {
        self.value = value
        self.headers = headers.map { ($0.key, $0.value) }
    }

    /// What an error text calls it.
    public static var luaDescription: String { "a reply" }

    /// There is none to read: scripts give no replies to Swift.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> PaniniReply {
        throw argument.mismatch("something else: a reply goes from Swift to Lua only")
    }

    /// Pushes the value, and leaves the headers with the message.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        let script = results.script
        guard let message = panini_message_at(results.L, 1, script.messaging.messageType) else {
            throw LuaMismatch("is a PaniniReply, which only a listener can return")
        }
        var block = NATSHeaders()
        for (name, value) in headers {
            guard block.add(name, value) else { throw LuaMismatch("has a header that cannot be sent: \"\(name)\"") }
        }
        try value.push(to: results)
        script.keepReplyHeaders(block, of: message)
    }
}

extension Script {
    /// Keeps the headers for the answer.
    fileprivate func keepReplyHeaders(_ headers: NATSHeaders, of message: UnsafeMutablePointer<panini_message>) {
        guard !headers.isEmpty, message.pointee.reply_length > 0 else { return }
        message.pointee.flags |= UInt8(PANINI_MESSAGE_HAS_HEADERS)
        messaging.replyHeaders[message] = headers.encoded()
    }

    /// The headers that the message's answer has; they are forgotten.
    @inline(__always)
    func takeReplyHeaders(_ message: UnsafeMutablePointer<panini_message>) -> [UInt8] {
        guard message.pointee.flags & UInt8(PANINI_MESSAGE_HAS_HEADERS) != 0 else { return [] }
        message.pointee.flags &= ~UInt8(PANINI_MESSAGE_HAS_HEADERS)
        return messaging.replyHeaders.removeValue(forKey: message) ?? []
    }
}
