// Parser of what a server sends to a client. A value: bytes in, one operation out, offsets instead of copies; no I/O, no
// allocation, no String. It looks at every byte of a control line once, jumps over payloads by their size, and remembers
// across reads how far it came. Malformed input gives a typed error, never a trap.
//
// Subjects and reply subjects come from other clients, and a server passes on whatever byte cannot end a word of its own
// lines: control characters, DEL, broken UTF-8, a carriage return that no line feed follows. All of them are part of the
// word here, too: otherwise one message would cost everybody's connection.

import Bytes

/// Finds the operations in the bytes a server sends, one at a time, in place.
///
/// The caller keeps the bytes: `next` is always given the bytes from the beginning of the current operation, with
/// whatever has arrived since. After any result but `incomplete` and `failure`, `consumed` says how many bytes the
/// operation took; the next call begins behind them. All offsets are relative to the operation's first byte, so the
/// caller is free to move the bytes between calls.
package struct NATSOperationParser {
    package enum Operation: Equatable {
        /// The bytes end inside the operation; call again with more.
        case incomplete
        /// MSG or HMSG; see `message`.
        case message
        /// The line of a message that is larger than `limits.message`; its bytes are passed over as `skipped`.
        case oversized
        /// Bytes of a message that is too large.
        case skipped
        case ping
        case pong
        case ok
        /// INFO; its JSON stands in `text`.
        case info
        /// -ERR; what the server said, with its quotes, stands in `text`.
        case error
        case failure(NATSParserError)
    }

    /// The parts of a MSG or HMSG as offsets from the operation's first byte.
    package struct Message: Equatable {
        package var sid = 0
        package var subjectStart = 0
        package var subjectEnd = 0
        package var replyStart = 0
        package var replyEnd = 0
        package var payloadStart = 0
        /// Bytes of the header block, 0 for MSG.
        package var headerLength = 0
        /// Bytes of header block and payload together.
        package var totalLength = 0
    }

    package struct Limits: Equatable, Sendable {
        /// Longest control line in bytes, except for INFO. Far more than a server takes from a client unless it was
        /// told to take more (`max_control_line`): the line that comes has the subjects of the one that went.
        package var controlLine = 1 << 20
        /// Longest INFO line in bytes.
        package var info = 1 << 20
        /// Largest message (header block and payload) in bytes that is given out. 64 MiB is the most a nats-server can be
        /// set to.
        package var message = 64 << 20
        /// Largest message that is passed over. What announces more is no server: with the headers that one may add, its
        /// largest message is far from this.
        package var skipped = 256 << 20

        package init() {}
    }

    package var limits: Limits
    package private(set) var message = Message()
    package private(set) var text = 0..<0
    package private(set) var consumed = 0
    /// How many bytes the current operation needs to be complete, as far as known; 0 when not known, negative while bytes
    /// are passed over.
    package private(set) var needed = 0
    /// How many bytes of an unfinished control line were searched for its end.
    private var scanned = 0

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    /// Looks at the operation that begins at `base`.
    package mutating func next(_ base: UnsafeRawPointer, count: Int) -> Operation {
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        if needed != 0 {
            if needed < 0 { return skip(count) }
            return count < needed ? .incomplete : finishMessage(bytes)
        }
        guard count > scanned else { return .incomplete }
        if scanned > 0, !lineEnds(bytes, count) {
            return unfinishedLine(bytes, count)
        }
        let first = bytes[0] | 0x20
        if first == UInt8(ascii: "m") || first == UInt8(ascii: "h") {
            return messageLine(bytes, count)
        }
        return otherLine(bytes, count)
    }

    // MARK: MSG and HMSG

    /// Reads the control line of a message in one pass: every token is measured and read as a number while it is
    /// walked, because only the line end tells which token is the size.
    @inline(__always)
    private mutating func messageLine(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Operation {
        guard count >= 5 else { return shortLine(bytes, count) }
        var index = 0
        let hasHeaders = ASCII.lowercased(bytes[0]) == UInt8(ascii: "h")
        if hasHeaders { index = 1 }
        guard ASCII.lowercased(bytes[index]) == UInt8(ascii: "m"),
            ASCII.lowercased(bytes[index + 1]) == UInt8(ascii: "s"),
            ASCII.lowercased(bytes[index + 2]) == UInt8(ascii: "g"),
            index + 3 < count, bytes[index + 3] == ASCII.space || bytes[index + 3] == ASCII.tab
        else { return otherLine(bytes, count) }
        index += 4

        var tokens = 0
        var subjectStart = 0
        var subjectEnd = 0
        var replyStart = 0
        var replyEnd = 0
        // The numbers of the last tokens, and whether each was one.
        var sid = -1
        var number = -1
        var previous = -1
        while true {
            while index < count, bytes[index] == ASCII.space || bytes[index] == ASCII.tab {
                index &+= 1
            }
            guard index < count else { return unfinishedLine(bytes, count) }
            if bytes[index] == ASCII.lineFeed { break }
            if bytes[index] == ASCII.carriageReturn {
                guard index &+ 1 < count else { return unfinishedLine(bytes, count) }
                if bytes[index &+ 1] == ASCII.lineFeed {
                    index &+= 1
                    break
                }
            }
            let start = index
            if tokens == 0 {
                while index < count, !Self.endsWord(bytes, index, count) {
                    index &+= 1
                }
                guard index < count else { return unfinishedLine(bytes, count) }
                subjectStart = start
                subjectEnd = index
            } else {
                var value = 0
                var isNumber = true
                while index < count, !Self.endsWord(bytes, index, count) {
                    let digit = bytes[index] &- ASCII.zero
                    isNumber = isNumber && digit < 10
                    value = value &* 10 &+ Int(digit)
                    index &+= 1
                }
                guard index < count else { return unfinishedLine(bytes, count) }
                if !isNumber || index &- start > 18 { value = -1 }
                if tokens == 1 {
                    sid = value
                } else {
                    if tokens == 2 {
                        replyStart = start
                        replyEnd = index
                    }
                    previous = number
                    number = value
                }
            }
            tokens &+= 1
        }
        // At the line feed.
        index &+= 1
        guard index <= limits.controlLine else { return fail(.controlLineTooLong) }

        let withReply = hasHeaders ? 5 : 4
        guard tokens == withReply || tokens == withReply &- 1 else { return fail(.badArguments) }
        if tokens != withReply {
            replyStart = 0
            replyEnd = 0
        }
        guard sid >= 0, number >= 0, !hasHeaders || previous >= 0 else { return fail(.badNumber) }
        guard number <= limits.skipped || number <= limits.message else { return fail(.payloadTooLarge) }
        let headerLength = hasHeaders ? previous : 0
        guard headerLength <= number else { return fail(.headersTooLarge) }
        message.sid = sid
        message.subjectStart = subjectStart
        message.subjectEnd = subjectEnd
        message.replyStart = replyStart
        message.replyEnd = replyEnd
        message.payloadStart = index
        message.headerLength = headerLength
        message.totalLength = number
        guard number <= limits.message else {
            consumed = index
            scanned = 0
            needed = -(number &+ 2)
            return .oversized
        }
        let needed = index &+ number &+ 2
        guard needed <= count else {
            self.needed = needed
            return .incomplete
        }
        guard bytes[needed &- 2] == ASCII.carriageReturn, bytes[needed &- 1] == ASCII.lineFeed else {
            return fail(.missingPayloadEnd)
        }
        consumed = needed
        scanned = 0
        return .message
    }

    /// Whether a word of a message's line is over at `index`. One comparison for nearly every byte.
    @inline(__always)
    private static func endsWord(_ bytes: UnsafePointer<UInt8>, _ index: Int, _ count: Int) -> Bool {
        let byte = bytes[index]
        guard byte <= ASCII.space else { return false }
        if byte == ASCII.carriageReturn {
            // Without its line feed it is part of the word. The last byte read is never the end of a line: what it is
            // shows with the next read.
            return index &+ 1 < count && bytes[index &+ 1] == ASCII.lineFeed
        }
        return byte == ASCII.space || byte == ASCII.tab || byte == ASCII.lineFeed
    }

    private mutating func finishMessage(_ bytes: UnsafePointer<UInt8>) -> Operation {
        guard bytes[needed - 2] == ASCII.carriageReturn, bytes[needed - 1] == ASCII.lineFeed else {
            return fail(.missingPayloadEnd)
        }
        consumed = needed
        needed = 0
        scanned = 0
        return .message
    }

    /// Passes over what is there of a message that is too large.
    private mutating func skip(_ count: Int) -> Operation {
        guard count > 0 else { return .incomplete }
        consumed = min(count, -needed)
        needed += consumed
        return .skipped
    }

    // MARK: The other operations

    private mutating func otherLine(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Operation {
        var lineEnd = scanned
        while lineEnd < count, bytes[lineEnd] != ASCII.lineFeed {
            lineEnd += 1
        }
        guard lineEnd < count else { return unfinishedLine(bytes, count) }
        guard lineEnd < limit(bytes) else { return fail(.controlLineTooLong) }
        consumed = lineEnd + 1
        scanned = 0
        var end = lineEnd
        if end > 0, bytes[end - 1] == ASCII.carriageReturn { end -= 1 }
        var wordEnd = 0
        while wordEnd < end, bytes[wordEnd] > ASCII.space {
            wordEnd += 1
        }
        var start = wordEnd
        while start < end, bytes[start] == ASCII.space || bytes[start] == ASCII.tab {
            start += 1
        }
        while end > start, bytes[end - 1] == ASCII.space || bytes[end - 1] == ASCII.tab {
            end -= 1
        }
        text = start..<end
        let word = UnsafeRawBufferPointer(start: bytes, count: wordEnd)
        if ASCII.equals(word, ignoringCase: "ping") { return .ping }
        if ASCII.equals(word, ignoringCase: "pong") { return .pong }
        if ASCII.equals(word, ignoringCase: "+ok") { return .ok }
        if ASCII.equals(word, ignoringCase: "info") { return .info }
        if ASCII.equals(word, ignoringCase: "-err") { return .error }
        if ASCII.equals(word, ignoringCase: "msg") || ASCII.equals(word, ignoringCase: "hmsg") {
            return fail(.badArguments)
        }
        return fail(.unknownOperation)
    }

    private func limit(_ bytes: UnsafePointer<UInt8>) -> Int {
        ASCII.lowercased(bytes[0]) == UInt8(ascii: "i") ? limits.info : limits.controlLine
    }

    /// Whether the line has its end among the bytes not searched before.
    private mutating func lineEnds(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var index = scanned
        while index < count {
            if bytes[index] == ASCII.lineFeed { return true }
            index += 1
        }
        return false
    }

    private mutating func shortLine(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Operation {
        for index in 0..<count where bytes[index] == ASCII.lineFeed {
            return otherLine(bytes, count)
        }
        return unfinishedLine(bytes, count)
    }

    /// No line end yet. Whether what is there can still become a good line is decided when the line is complete, so
    /// that the verdict does not depend on how the bytes were cut into reads.
    private mutating func unfinishedLine(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Operation {
        guard count < limit(bytes) else { return fail(.controlLineTooLong) }
        scanned = count
        return .incomplete
    }

    private func fail(_ kind: NATSParserError.Kind) -> Operation {
        .failure(NATSParserError(kind))
    }
}
