// What must hold for the smaller things inside the protocol, given any bytes: header blocks, INFO's JSON, the texts of
// -ERR, subjects, and what the encoder makes of them. Pure, any thread.

import Bytes
import NATSBroker
import NATSProtocol
import NIOCore

/// Checks of header blocks, JSON, server faults, subjects and the encoder.
package enum DocumentCheck {
    /// All of them on the same bytes.
    package static func check(_ input: [UInt8]) throws(FuzzFailure) {
        try headers(input)
        try headers(Array("NATS/1.0".utf8) + input)
        try info(input)
        try fault(input)
        try subject(input)
        try encoder(input)
    }

    /// A block gives only allowed fields, and what was read is written so that it reads the same.
    static func headers(_ block: [UInt8]) throws(FuzzFailure) {
        let read = try block.withExactBytes { block throws(FuzzFailure) in NATSHeaders(block: block) }
        for field in read {
            try require(NATSHeaders.isValidName(field.name), "a forbidden header name \(literal(field.name.utf8))")
            try require(!field.value.utf8.contains(ASCII.lineFeed), "a header value with a line end")
        }
        let written = read.encoded()
        let again = try written.withExactBytes { written throws(FuzzFailure) in NATSHeaders(block: written) }
        try require(read == again, "\(read) was written as \(literal(written)) and read as \(again)")
    }

    static func info(_ json: [UInt8]) throws(FuzzFailure) {
        try json.withExactBytes { bytes throws(FuzzFailure) in
            let info: NATSServerInfo
            do throws(JSONError) {
                info = try NATSServerInfo(json: bytes)
            } catch {
                return try require(
                    (0...bytes.count).contains(error.offset),
                    "the place of a JSON error is \(error.offset) of \(bytes.count)"
                )
            }
            try require(info.maxPayload ?? 1 > 0, "a payload limit that is not positive")
        }
    }

    static func fault(_ text: [UInt8]) throws(FuzzFailure) {
        try text.withExactBytes { bytes throws(FuzzFailure) in
            let understood = NATSServerFault(bytes)
            try require(understood == NATSServerFault(NATSServerFault.text(bytes)), "quotes change the meaning")
        }
    }

    /// The checks agree with the rule as it is written down, token by token.
    static func subject(_ bytes: [UInt8]) throws(FuzzFailure) {
        let tokens = bytes.split(separator: ASCII.dot, omittingEmptySubsequences: false)
        let isPlain = bytes.allSatisfy { $0 > ASCII.space && $0 != 0x7F } && tokens.allSatisfy { !$0.isEmpty }
        let wildcards = tokens.indices.filter { tokens[$0] == [ASCII.star] || tokens[$0] == [ASCII.greater] }
        let ends = tokens.indices.filter { tokens[$0] == [ASCII.greater] }
        let mayPublish = isPlain && wildcards.isEmpty
        let maySubscribe = isPlain && ends.allSatisfy { $0 == tokens.count - 1 }
        try bytes.withExactBytes { bytes throws(FuzzFailure) in
            try require(
                NATSSubject.isValidForPublish(bytes) == mayPublish,
                "wrong about publishing to \(literal(bytes))"
            )
            try require(
                NATSSubject.isValidForSubscribe(bytes) == maySubscribe,
                "wrong about subscribing to \(literal(bytes))"
            )
            if mayPublish {
                try require(NATSSubject.matches(pattern: bytes, subject: bytes), "\(literal(bytes)) is not itself")
            }
        }
    }

    /// The first line as a subject and the second as a reply subject; all of it as payload: what the encoder writes is
    /// one command that says the same, and a whole frame for the reconnect buffer.
    static func encoder(_ input: [UInt8]) throws(FuzzFailure) {
        let lines = input.split(separator: ASCII.lineFeed, maxSplits: 2, omittingEmptySubsequences: false)
        let subject = lines.first.map(Array.init) ?? []
        var reply = lines.count > 1 ? Array(lines[1]) : []
        guard subject.withUnsafeBytes({ NATSSubject.isValidForPublish($0) }) else { return }
        if !reply.withUnsafeBytes({ NATSSubject.isValidForPublish($0) }) { reply = [] }
        var headers = NATSHeaders()
        if input.count % 2 == 0 { headers.add("Length", "\(input.count)") }
        let block = headers.encoded()
        var buffer = ByteBuffer()
        subject.withUnsafeBytes { subject in
            reply.withUnsafeBytes { reply in
                block.withUnsafeBytes { block in
                    input.withUnsafeBytes { payload in
                        NATSEncoder.publish(
                            subject: subject,
                            reply: reply,
                            headers: block,
                            payload: payload,
                            into: &buffer
                        )
                    }
                }
            }
        }
        let commands = ClientStream.read(Array(buffer.readableBytesView))
        try require(
            commands.isWhole
                && commands.commands == [
                    .publish(subject: subject, reply: reply, headers: block, payload: input)
                ],
            "a publish was written as \(literal(buffer.readableBytesView))"
        )
        let kept = PublishFrames.filter(buffer) {
            $0.reply.elementsEqual(reply) && $0.size == block.count + input.count && $0.hasHeaders == !block.isEmpty
        }
        try require(kept.count == 1 && kept.frames == buffer, "a publish is not a whole frame")
    }
}
