// What must hold for any bytes that a browser sends to a bridge, and for any message that a bridge hands on to it: commands,
// their answers, the JSON that is written, the permissions. Pure, any thread.

import Bytes
package import NATSFuzzSupport
import NATSProtocol
import NIOCore
import Panini
import PaniniHTTP

/// Checks of a bridge's commands and messages.
package enum BridgeCheck {
    /// All of them on the same bytes.
    package static func check(_ input: [UInt8]) throws(FuzzFailure) {
        try command(input)
        try message(input)
        try permissions(input)
    }

    /// A text is a command with subjects, no two of the same bytes, or a problem that can be told in a few words.
    static func command(_ input: [UInt8]) throws(FuzzFailure) {
        let result = try input.withExactBytes { bytes throws(FuzzFailure) -> Result<[String], BridgeCommand.Problem> in
            do throws(BridgeCommand.Problem) {
                switch try BridgeCommand(.text, bytes) {
                case .subscribe(let subjects), .unsubscribe(let subjects): return .success(subjects)
                }
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let subjects):
            try require(!subjects.isEmpty, "a command without subjects")
            try require(Set(subjects.map(ExactText.init)).count == subjects.count, "a subject comes twice: \(subjects)")
            try require(subjects.reduce(0) { $0 + $1.utf8.count } <= 3 * input.count, "more text than was sent")
        case .failure(let problem):
            try require(problem.message.utf8.count < 300, "an answer of \(problem.message.utf8.count) bytes")
            try isJSON(BridgeMessage.answer(false, problem.message), "an answer")
        }
        let isCommand = try input.withExactBytes { bytes throws(FuzzFailure) in
            (try? BridgeCommand(.binary, bytes)) != nil
        }
        try require(!isCommand, "a binary message is taken for a command")
    }

    /// The first line as a subject and the rest as a payload, valid UTF-8 or not: what a browser gets is JSON that says both.
    static func message(_ input: [UInt8]) throws(FuzzFailure) {
        let lines = input.split(separator: ASCII.lineFeed, maxSplits: 1, omittingEmptySubsequences: false)
        let subject = lines.first.map(Array.init) ?? []
        let payload = lines.count > 1 ? Array(lines[1]) : []
        var buffer = ByteBuffer()
        try subject.withExactBytes { subject throws(FuzzFailure) in
            try payload.withExactBytes { payload throws(FuzzFailure) in
                BridgeMessage.write(subject: subject, payload, into: &buffer)
            }
        }
        let written = Array(buffer.readableBytesView)
        try isJSON(written, "a message")
        try require(written.count <= 6 * input.count + 64, "\(input.count) bytes became \(written.count)")
        // Deeper than this is passed on, and no reader's business here.
        guard let json = try? written.withUnsafeBytes({ try JSONValue(parsing: $0, maximumDepth: 200) }) else { return }
        try require(
            json["subject"]?.string.map { $0.isExactly(String(decoding: subject, as: UTF8.self)) } == true,
            "the subject became another"
        )
        try require(json["data"] != nil, "a message without data")
    }

    /// A subject is permitted by itself and by `>`, and by a pattern exactly when the rule token by token says so.
    static func permissions(_ input: [UInt8]) throws(FuzzFailure) {
        let lines = input.split(separator: ASCII.lineFeed, maxSplits: 2, omittingEmptySubsequences: false).map(
            Array.init
        )
        guard let first = String(validating: lines[0], as: UTF8.self) else { return }
        let second = lines.count > 1 ? lines[1] : lines[0]
        guard first.utf8.count < 600, second.count < 600 else { return }
        let isPermitted = try second.withExactBytes { bytes throws(FuzzFailure) in
            SubjectPermissions(patterns: [first]).permits(bytes)
        }
        try require(
            isPermitted == covers(Array(first.utf8), second),
            "\(literal(first.utf8)) is wrong about \(literal(second))"
        )
    }

    private static func covers(_ pattern: [UInt8], _ subject: [UInt8]) -> Bool {
        let allowed = pattern.split(separator: ASCII.dot, omittingEmptySubsequences: false)
        let asked = subject.split(separator: ASCII.dot, omittingEmptySubsequences: false)
        for (index, token) in allowed.enumerated() {
            if token == [ASCII.greater], index == allowed.count - 1 { return asked.count > index }
            guard index < asked.count else { return false }
            let isRest = asked[index] == [ASCII.greater] && index == asked.count - 1
            if isRest || token != [ASCII.star] && token != asked[index] { return false }
        }
        return allowed.count == asked.count
    }

    /// What is written is JSON for both readers, and UTF-8.
    private static func isJSON(_ bytes: [UInt8], _ what: String) throws(FuzzFailure) {
        try require(String(validating: bytes, as: UTF8.self) != nil, "\(what) is no UTF-8: \(literal(bytes))")
        try bytes.withExactBytes { exact throws(FuzzFailure) in
            try require(JSONCheck.isValue(exact), "\(what) is no JSON: \(literal(bytes))")
            do throws(JSONError) {
                _ = try JSONValue(parsing: exact, maximumDepth: 200)
            } catch {
                // What JSON allows and no value can hold: half of a pair, a number beyond all.
                let isKnown = error.kind == .badEscape || error.kind == .badNumber
                try require(isKnown, "\(what) is no JSON for the reader (\(error)): \(literal(bytes))")
            }
        }
    }
}
