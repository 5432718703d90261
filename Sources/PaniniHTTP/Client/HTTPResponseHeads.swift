// Owns: making the heads of responses what the parser takes, as servers send them that are older or less careful than it: what
// every browser reads. A value without I/O; any thread.

import Bytes
import NIOCore

/// The bytes of one connection from a server, with each head put in order.
///
/// What is put in order cannot be taken in two ways: folded lines (RFC 9112, section 5.2), line ends without carriage return
/// (2.2), blanks before a colon or too many of them in the status line (5.1, 4), the same length said twice (RFC 9110, section
/// 8.6). Everything else is left to the parser, which refuses it.
struct HTTPResponseHeads {
    /// What has come of a head that is not complete.
    private var held = ByteBuffer()
    /// Up to here there is no end of the head in it.
    private var searched = 0
    private var isInHead = false

    /// No head is waited for that is longer: the parser has it as it is, and its own limit.
    static let maximumBytes = 64 << 10

    /// A request goes out: the next bytes are the head of its response.
    mutating func begin() {
        isInHead = true
        searched = 0
        held.clear()
    }

    /// Takes what has come.
    ///
    /// - Returns: What can be read of it; nil while a head is not complete.
    mutating func take(_ bytes: ByteBuffer) -> ByteBuffer? {
        guard isInHead else { return bytes }
        if held.readableBytes == 0 {
            held = bytes
        } else {
            held.writeImmutableBuffer(bytes)
        }
        var out: ByteBuffer?
        while isInHead, let head = nextHead() {
            if out == nil {
                out = head
            } else {
                out?.writeImmutableBuffer(head)
            }
        }
        guard !isInHead else { return out }
        let rest = end()
        guard var all = out else { return rest }
        if let rest { all.writeImmutableBuffer(rest) }
        return all
    }

    /// What is left when nothing more comes.
    mutating func end() -> ByteBuffer? {
        isInHead = false
        let rest = held
        held = ByteBuffer()
        return rest.readableBytes > 0 ? rest : nil
    }

    /// Takes a complete head out of what has come; nil when there is none, or nothing to be put in order any more.
    private mutating func nextHead() -> ByteBuffer? {
        // Empty lines in front mean nothing, and would look like the end of a head.
        if searched == 0 {
            let empty = held.readableBytesView.prefix { $0 == Self.cr || $0 == Self.lf }.count
            held.moveReaderIndex(forwardBy: empty)
        }
        let found = held.withUnsafeReadableBytes { bytes -> (end: Int, lines: [Range<Int>])? in
            guard Self.mayBeHead(bytes) else {
                isInHead = false
                return nil
            }
            guard let end = Self.endOfHead(bytes, from: &searched) else {
                if bytes.count > Self.maximumBytes { isInHead = false }
                return nil
            }
            return (end, Self.lines(UnsafeRawBufferPointer(rebasing: bytes[..<end])))
        }
        guard let found, var head = held.readSlice(length: found.end) else { return nil }
        searched = 0
        let (isInterim, mended) = head.withUnsafeReadableBytes { bytes in
            (Self.isInterim(bytes, found.lines), Self.mended(bytes, found.lines))
        }
        if let mended {
            head.clear()
            head.writeBytes(mended)
        }
        isInHead = isInterim
        return head
    }

    /// Whether these are the first bytes of a head: what is none is refused without waiting for more.
    private static func mayBeHead(_ bytes: UnsafeRawBufferPointer) -> Bool {
        zip(bytes, "HTTP/".utf8).allSatisfy { $0 == $1 }
    }

    private static func endOfHead(_ bytes: UnsafeRawBufferPointer, from searched: inout Int) -> Int? {
        var index = searched
        while index < bytes.count {
            if bytes[index] == lf {
                if index + 1 < bytes.count, bytes[index + 1] == lf { return index + 2 }
                if index + 2 < bytes.count, bytes[index + 1] == cr, bytes[index + 2] == lf { return index + 3 }
            }
            index += 1
        }
        // An empty line may begin in what was searched.
        searched = max(searched, bytes.count - 2)
        return nil
    }

    /// The lines without their ends.
    private static func lines(_ bytes: UnsafeRawBufferPointer) -> [Range<Int>] {
        var lines: [Range<Int>] = []
        var start = 0
        for index in bytes.indices where bytes[index] == lf {
            let end = index > start && bytes[index - 1] == cr ? index - 1 : index
            if end > start { lines.append(start..<end) }
            start = index + 1
        }
        return lines
    }

    /// 1xx: the head of the response itself is still to come. 101 is the last.
    private static func isInterim(_ bytes: UnsafeRawBufferPointer, _ lines: [Range<Int>]) -> Bool {
        guard let line = lines.first else { return false }
        let words = bytes[line].split(maxSplits: 2) { ASCII.isBlank($0) }
        return words.count > 1 && words[1].count == 3 && words[1].first == UInt8(ascii: "1")
            && !words[1].elementsEqual("101".utf8)
    }

    // MARK: - Putting in order

    /// The head as it should be; nil when it is, or when it is nothing that could be put in order.
    private static func mended(_ bytes: UnsafeRawBufferPointer, _ lines: [Range<Int>]) -> [UInt8]? {
        guard let first = lines.first, needsMending(bytes, lines) else { return nil }
        var fields: [[UInt8]] = []
        for line in lines.dropFirst() {
            let text = bytes[line]
            if let byte = text.first, ASCII.isBlank(byte) {
                // Nothing to be folded to: whoever reads this may mean something else than its sender.
                guard !fields.isEmpty else { return nil }
                fields[fields.count - 1] += [0x20] + trimmed(text)
                continue
            }
            guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            fields.append(trimmed(text[..<colon]) + [UInt8(ascii: ":"), 0x20] + trimmed(text[(colon + 1)...]))
        }
        guard dropRepeatedLength(&fields) else { return nil }
        let words = bytes[first].split(maxSplits: 2) { ASCII.isBlank($0) }
        var head = Array(words.map { trimmed($0) }.joined(separator: [0x20]))
        // The blank before a missing reason belongs to it.
        if words.count == 2 { head.append(0x20) }
        head += [cr, lf]
        for field in fields { head += field + [cr, lf] }
        return head + [cr, lf]
    }

    private static func needsMending(_ bytes: UnsafeRawBufferPointer, _ lines: [Range<Int>]) -> Bool {
        var lengths = 0
        for (number, line) in lines.enumerated() {
            // Each line ends with a carriage return.
            if line.upperBound >= bytes.count || bytes[line.upperBound] != cr { return true }
            if number == 0 {
                if bytes[line].split(separator: 0x20, omittingEmptySubsequences: false).prefix(3).contains(
                    where: \.isEmpty
                ) {
                    return true
                }
                continue
            }
            if ASCII.isBlank(bytes[line.lowerBound]) { return true }
            guard let colon = bytes[line].firstIndex(of: UInt8(ascii: ":")) else { continue }
            if colon > line.lowerBound, ASCII.isBlank(bytes[colon - 1]) { return true }
            if isLength(bytes[line.lowerBound..<colon]) {
                lengths += 1
                if lengths > 1 || bytes[colon..<line.upperBound].contains(UInt8(ascii: ",")) { return true }
            }
        }
        return false
    }

    /// Leaves one of several lengths that are the same.
    ///
    /// - Returns: False when they are not.
    private static func dropRepeatedLength(_ fields: inout [[UInt8]]) -> Bool {
        var length: [UInt8]?
        var others: [[UInt8]] = []
        for field in fields {
            guard let colon = field.firstIndex(of: UInt8(ascii: ":")), isLength(field[..<colon]) else {
                others.append(field)
                continue
            }
            for value in field[(colon + 1)...].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                let digits = trimmed(value)
                guard !digits.isEmpty, digits.allSatisfy(ASCII.isDigit), length ?? digits == digits else {
                    return false
                }
                length = digits
            }
        }
        if let length { others.append(Array("content-length: ".utf8) + length) }
        fields = others
        return true
    }

    private static func isLength(_ name: some Collection<UInt8>) -> Bool {
        ASCII.equals(name, ignoringCase: "content-length")
    }

    private static func trimmed(_ text: some BidirectionalCollection<UInt8>) -> [UInt8] {
        Array(text[...].withoutBlanks)
    }

    private static let cr: UInt8 = 0x0D
    private static let lf: UInt8 = 0x0A
}
