// Owns: the bytes of an error reply: headers of ADR-32 and a JSON body (docs/scripts.md). Pure; any thread.

import Bytes
import LuaVM
import ScriptRuntime

enum ErrorReply {
    /// Header values are one line; a longer text stands whole in the body.
    private static let maximumHeaderText = 512

    /// The body without a text.
    private static let emptyBodyLength = "{\"success\":false,\"code\":500,\"error\":\"\"}".utf8.count
    private static let ellipsis = "…"

    /// Writes the body into `writer` and returns the headers, as much of both as fits into `limit` bytes together: the end
    /// of the list goes first, then the end of the text.
    ///
    /// - Parameters:
    ///   - limit: what the broker takes.
    ///   - hasHeaders: false for a broker that knows none: the body says the same.
    static func write(
        _ error: ReplyError,
        into writer: ByteWriter,
        limit: Int,
        hasHeaders: Bool
    ) -> (headers: [UInt8], isShortened: Bool) {
        var block = hasHeaders ? headers(error) : []
        writer.removeAll(keepingCapacity: true)
        // A text of megabytes is not written in full only to be cut.
        if error.message.utf8.count <= limit, error.errors.count <= limit {
            writeBody(error, into: writer)
            if block.count + writer.count <= limit { return (block, false) }
            writer.removeAll(keepingCapacity: true)
        }
        if block.count + emptyBodyLength > limit, !block.isEmpty {
            let room = limit - (block.count - min(shortened(error.message).utf8.count, block.count)) - emptyBodyLength
            block = headers(ReplyError(error.code, shortened(error.message, to: max(0, room))))
        }
        let room = limit - block.count - emptyBodyLength
        guard room >= 0 else { return (block, true) }
        let isListed = !error.errors.isEmpty
        let text = escapedPrefix(of: error.message, room: isListed ? room / 2 : room)
        var short = ReplyError(error.code, text.prefix)
        if isListed {
            short.errors = prefix(ofList: error.errors, room: room - text.length - ",\"errors\":".utf8.count)
        }
        writeBody(short, into: writer)
        return (block, true)
    }

    /// As much of a text, in whole characters, as is `room` bytes inside of JSON; the last says that there was more.
    static func escapedPrefix(of text: String, room: Int) -> (prefix: String, length: Int) {
        var length = 0
        // The last place where the ellipsis still fits.
        var cut = text.startIndex
        var cutLength = 0
        var isWhole = true
        for index in text.unicodeScalars.indices {
            let scalar = text.unicodeScalars[index]
            if length + ellipsis.utf8.count <= room { (cut, cutLength) = (index, length) }
            length += JSONText.length(of: scalar)
            guard length <= room else {
                isWhole = false
                break
            }
        }
        if isWhole { return (text, length) }
        guard room >= ellipsis.utf8.count else { return ("", 0) }
        return (String(text[..<cut]) + ellipsis, cutLength + ellipsis.utf8.count)
    }

    /// The first entries of a JSON list that are no more than `room` bytes as a list; nothing when there are none.
    static func prefix(ofList list: [UInt8], room: Int) -> [UInt8] {
        guard list.count > room else { return list }
        var depth = 0
        var isText = false
        var isEscaped = false
        var end = 0
        for (index, byte) in list.enumerated() {
            // With the bracket that closes it.
            guard index + 1 <= room else { break }
            if isText {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isText = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isText = true
            case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
            case UInt8(ascii: ",") where depth == 1: end = index
            default: break
            }
        }
        guard end > 0 else { return [] }
        return Array(list[..<end]) + [UInt8(ascii: "]")]
    }

    /// `Nats-Service-Error` and `Nats-Service-Error-Code` as a header block.
    static func headers(_ error: ReplyError) -> [UInt8] {
        var block: [UInt8] = []
        block.reserveCapacity(96 + min(error.message.utf8.count, maximumHeaderText))
        block.append(contentsOf: "NATS/1.0\r\nNats-Service-Error: ".utf8)
        let text = shortened(error.message)
        for byte in text.utf8 {
            block.append(byte < 0x20 || byte == 0x7F ? 0x20 : byte)
        }
        // ADR-32 wants a text; so do clients that look for one.
        if text.isEmpty { block.append(contentsOf: "error".utf8) }
        block.append(contentsOf: "\r\nNats-Service-Error-Code: \(error.code)\r\n\r\n".utf8)
        return block
    }

    /// As much of a text, in whole characters, as a header holds.
    static func shortened(_ text: String, to length: Int = maximumHeaderText) -> String {
        guard text.utf8.count > length else { return text }
        var count = 0
        return String(
            text.prefix { character in
                count += character.utf8.count
                return count <= length
            }
        )
    }

    /// `{"success": false, "code": N, "error": "...", "errors": [...]?}`.
    static func writeBody(_ error: ReplyError, into writer: ByteWriter) {
        var writer = writer
        writer.append("{\"success\":false,\"code\":")
        writer.append(decimal: Int64(error.code))
        writer.append(",\"error\":")
        var message = error.message
        message.withUTF8 { JSONText.appendString(UnsafeRawBufferPointer($0), to: &writer) }
        if !error.errors.isEmpty {
            writer.append(",\"errors\":")
            error.errors.withUnsafeBytes { writer.append($0) }
        }
        writer.append("}")
    }
}
