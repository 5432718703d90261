// The server side of the NATS protocol: bytes in, commands out. A plain value without I/O. It looks at each byte of a
// control line once and at no payload byte, whatever the pieces in which they arrive; the commands do not depend on
// how the input was split. It is as lenient as nats-server (any case, runs of blanks and tabs, a bare line feed) and
// copies nothing: commands are ranges of the bytes it was given.

import Bytes
import NATSProtocol

/// Reads the commands of one client.
package struct ClientCommandParser {
    /// A command and how many bytes it took.
    package struct Parsed: Equatable {
        package let command: ClientCommand
        package let length: Int
    }

    /// The longest run of arguments after a command's name, in bytes.
    package var maximumControlLine: Int
    /// The largest HPUB or PUB body (headers included), in bytes.
    package var maximumPayload: Int

    /// How much of the present command was searched for a line end without finding one.
    private var searched = 0
    /// A PUB or HPUB whose line was read and whose payload is not complete.
    private var awaited: (publication: ClientCommand.Publication, end: Int)?

    package init(maximumControlLine: Int = 4096, maximumPayload: Int = 1 << 20) {
        self.maximumControlLine = maximumControlLine
        self.maximumPayload = maximumPayload
    }

    /// Reads the command at the start of `bytes`. Returns nil when it is not complete: call again with the same bytes
    /// and more behind them. After an error the parser must not be used again.
    package mutating func next(in bytes: UnsafeRawBufferPointer) throws(ClientProtocolError) -> Parsed? {
        if let (publication, end) = awaited {
            return try finish(publication, end: end, in: bytes)
        }
        guard bytes.count > 0 else { return nil }
        let operation = try Self.operation(in: bytes)
        guard let lineFeed = Self.lineFeed(in: bytes, from: searched) else {
            searched = bytes.count
            if let operation,
                bytes.count - Self.arguments(of: operation.length, in: bytes) > maximumControlLine + 2
                    || bytes.count > 2 * maximumControlLine + 16
            {
                throw .controlLineTooLong
            }
            return nil
        }
        searched = 0
        // The name is checked byte by byte above, so a whole line has a whole name or it was refused.
        guard let operation else { throw .unknownOperation }
        let end = lineFeed > 0 && bytes[lineFeed - 1] == ASCII.carriageReturn ? lineFeed - 1 : lineFeed
        let start = Self.arguments(of: operation.length, in: bytes)
        guard end - start <= maximumControlLine else { throw .controlLineTooLong }
        let line = Line(bytes: bytes, start: operation.length, end: max(end, operation.length), next: lineFeed + 1)
        return try read(operation.kind, line)
    }

    private mutating func read(_ kind: Operation, _ line: Line) throws(ClientProtocolError) -> Parsed? {
        let command: ClientCommand
        switch kind {
        case .ping: command = .ping
        case .pong: command = .pong
        case .ok, .info: command = .ignored
        case .err: throw .clientError
        case .connect: command = try line.connect()
        case .sub: command = try line.subscribe()
        case .unsub: command = try line.unsubscribe()
        case .pub, .hpub:
            let publication = try kind == .pub ? line.publish() : line.publishWithHeaders()
            let size = publication.payload.upperBound - line.next
            guard size <= maximumPayload else { throw .payloadTooLarge(size: size) }
            return try finish(publication, end: publication.payload.upperBound, in: line.bytes)
        }
        return Parsed(command: command, length: line.next)
    }

    /// The body of a publication must be followed by CR LF.
    private mutating func finish(
        _ publication: ClientCommand.Publication,
        end: Int,
        in bytes: UnsafeRawBufferPointer
    ) throws(ClientProtocolError) -> Parsed? {
        if bytes.count > end, bytes[end] != ASCII.carriageReturn { throw .unknownOperation }
        guard bytes.count >= end + 2 else {
            awaited = (publication, end)
            return nil
        }
        guard bytes[end + 1] == ASCII.lineFeed else { throw .unknownOperation }
        awaited = nil
        return Parsed(command: .publish(publication), length: end + 2)
    }

    /// Where the arguments behind a name of `length` bytes begin: like nats-server, blanks in front of them do not count
    /// for the line's length.
    private static func arguments(of length: Int, in bytes: UnsafeRawBufferPointer) -> Int {
        var start = length
        while start < bytes.count, bytes[start] == ASCII.space || bytes[start] == ASCII.tab {
            start += 1
        }
        return start
    }

    private static func lineFeed(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index < bytes.count {
            if bytes[index] == ASCII.lineFeed { return index }
            index &+= 1
        }
        return nil
    }
}

// MARK: - Names of commands

extension ClientCommandParser {
    fileprivate enum Operation {
        case connect
        case pub
        case hpub
        case sub
        case unsub
        case ping
        case pong
        case ok
        case err
        case info
    }

    /// The command whose name `bytes` begins with; nil when there are too few bytes to tell. What cannot become a
    /// command is refused at its first wrong byte, as a client that speaks HTTP would otherwise wait for an answer.
    fileprivate static func operation(
        in bytes: UnsafeRawBufferPointer
    ) throws(ClientProtocolError) -> (kind: Operation, length: Int)? {
        switch ASCII.lowercased(bytes[0]) {
        case UInt8(ascii: "p"):
            guard bytes.count > 1 else { return nil }
            switch ASCII.lowercased(bytes[1]) {
            case UInt8(ascii: "u"): return try match(bytes, "pub", .pub, needsBlank: true)
            case UInt8(ascii: "i"): return try match(bytes, "ping", .ping, needsBlank: false)
            default: return try match(bytes, "pong", .pong, needsBlank: false)
            }
        case UInt8(ascii: "h"): return try match(bytes, "hpub", .hpub, needsBlank: true)
        case UInt8(ascii: "s"): return try match(bytes, "sub", .sub, needsBlank: true)
        case UInt8(ascii: "u"): return try match(bytes, "unsub", .unsub, needsBlank: true)
        case UInt8(ascii: "c"): return try match(bytes, "connect", .connect, needsBlank: true)
        case UInt8(ascii: "i"): return try match(bytes, "info", .info, needsBlank: true)
        case ASCII.plus: return try match(bytes, "+ok", .ok, needsBlank: false)
        case ASCII.minus: return try match(bytes, "-err", .err, needsBlank: false)
        default: throw .unknownOperation
        }
    }

    /// `needsBlank`: the name of a command with arguments must end with a blank or tab. CONNECT and SUB without any
    /// are told what they take; the other way round nats-server accepts anything behind PING, and so do we.
    private static func match(
        _ bytes: UnsafeRawBufferPointer,
        _ name: StaticString,
        _ kind: Operation,
        needsBlank: Bool
    ) throws(ClientProtocolError) -> (kind: Operation, length: Int)? {
        let length = name.utf8CodeUnitCount
        for index in 0..<min(length, bytes.count) where ASCII.lowercased(bytes[index]) != name.utf8Start[index] {
            throw .unknownOperation
        }
        guard bytes.count > length else { return nil }
        if needsBlank {
            switch bytes[length] {
            case ASCII.space, ASCII.tab, ASCII.carriageReturn, ASCII.lineFeed: break
            default: throw .unknownOperation
            }
        }
        return (kind, length)
    }
}

// MARK: - Arguments

/// One control line behind its command's name.
private struct Line {
    let bytes: UnsafeRawBufferPointer
    let start: Int
    let end: Int
    /// Where the next command, or the body, begins.
    let next: Int

    func connect() throws(ClientProtocolError) -> ClientCommand {
        var first = start
        while first < end, ASCII.isBlank(bytes[first]) {
            first += 1
        }
        guard first < end else { throw .malformedArguments(usage: .connect) }
        return .connect(options: first..<end)
    }

    func subscribe() throws(ClientProtocolError) -> ClientCommand {
        let words = split()
        switch words.count {
        case 2: return .subscribe(subject: words[0], queue: 0..<0, sid: words[1])
        case 3: return .subscribe(subject: words[0], queue: words[1], sid: words[2])
        default: throw .malformedArguments(usage: .sub)
        }
    }

    func unsubscribe() throws(ClientProtocolError) -> ClientCommand {
        let words = split()
        switch words.count {
        case 1: return .unsubscribe(sid: words[0], maximum: nil)
        case 2: return .unsubscribe(sid: words[0], maximum: size(words[1]))
        default: throw .malformedArguments(usage: .unsub)
        }
    }

    func publish() throws(ClientProtocolError) -> ClientCommand.Publication {
        let words = split(keepsReturns: true)
        guard words.count == 2 || words.count == 3, let size = size(words[words.count - 1]) else {
            throw .malformedArguments(usage: .pub)
        }
        return ClientCommand.Publication(
            subject: words[0],
            reply: words.count == 3 ? words[1] : 0..<0,
            headers: next..<next,
            payload: next..<next + size,
            isHeaderPublication: false
        )
    }

    func publishWithHeaders() throws(ClientProtocolError) -> ClientCommand.Publication {
        let words = split(keepsReturns: true)
        guard
            words.count == 3 || words.count == 4,
            let headerSize = size(words[words.count - 2]),
            let size = size(words[words.count - 1]),
            headerSize <= size
        else {
            throw .malformedArguments(usage: .hpub)
        }
        return ClientCommand.Publication(
            subject: words[0],
            reply: words.count == 4 ? words[1] : 0..<0,
            headers: next..<next + headerSize,
            payload: next + headerSize..<next + size,
            isHeaderPublication: true
        )
    }

    /// The words of the line; at most five are kept, as no command takes more than four.
    ///
    /// - Parameter keepsReturns: whether a carriage return is a byte of its word like any other: nats-server passes such
    ///   subjects on, and whoever tests a client with this broker shall meet them here.
    private func split(keepsReturns: Bool = false) -> Words {
        var words = Words()
        var index = start
        while index < end {
            if ASCII.isBlank(bytes[index]) {
                index += 1
                continue
            }
            let wordStart = index
            while index < end, !ASCII.isBlank(bytes[index]) {
                if bytes[index] == ASCII.carriageReturn, !keepsReturns { return .unusable }
                index += 1
            }
            words.append(wordStart..<index)
        }
        return words
    }

    private func size(_ word: Range<Int>) -> Int? {
        ASCII.decimal(UnsafeRawBufferPointer(rebasing: bytes[word]))
    }
}

/// Up to four ranges without an allocation, and how many there would have been.
private struct Words {
    private var ranges: (Range<Int>, Range<Int>, Range<Int>, Range<Int>) = (0..<0, 0..<0, 0..<0, 0..<0)
    private(set) var count = 0

    /// Refused by every command, as none takes so many.
    static var unusable: Words {
        var words = Words()
        words.count = .max
        return words
    }

    mutating func append(_ range: Range<Int>) {
        switch count {
        case 0: ranges.0 = range
        case 1: ranges.1 = range
        case 2: ranges.2 = range
        case 3: ranges.3 = range
        default: break
        }
        count += 1
    }

    subscript(index: Int) -> Range<Int> {
        switch index {
        case 0: ranges.0
        case 1: ranges.1
        case 2: ranges.2
        default: ranges.3
        }
    }
}
