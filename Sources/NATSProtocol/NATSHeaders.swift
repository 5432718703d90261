// Message headers as a value: ordered, case kept, repeated names allowed. Knows the block's wire form in both
// directions, nothing about connections. Source of the rules: NATS ADR-4. Pure, any thread.

import Bytes

/// Headers of a NATS message: an ordered list of names and values.
///
/// Names are compared exactly (`"Trace"` and `"trace"` are two headers) and may repeat, as ADR-4 asks.
public struct NATSHeaders: Sendable, Equatable, ExpressibleByDictionaryLiteral, Sequence {
    /// One name with one value.
    public struct Field: Sendable, Equatable {
        /// The name with its case kept.
        public let name: String
        /// The value without surrounding white space.
        public let value: String
    }

    /// The fields in the order they were added or received.
    public private(set) var fields: [Field] = []

    /// The number of the status line (for example 503 for "no responders"), nil when the block has none.
    public private(set) var status: Int?

    /// The text after the status number, nil when there is none.
    public private(set) var statusDescription: String?

    /// Whether the block these were received in held something that is no header, which was left out. Always false for
    /// headers made here, and of no weight in comparisons.
    public private(set) var isDamaged = false

    /// Empty headers.
    public init() {}

    /// Whether both say the same.
    public static func == (one: NATSHeaders, other: NATSHeaders) -> Bool {
        one.fields == other.fields && one.status == other.status && one.statusDescription == other.statusDescription
    }

    /// Headers from literal pairs, in their order.
    ///
    /// Every pair must satisfy ``isValidName(_:)`` and ``isValidValue(_:)``: a literal that does not is a programming
    /// error and stops the program.
    public init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements {
            precondition(add(name, value), "invalid NATS header: \(name)")
        }
    }

    /// Whether there is neither a field nor a status.
    public var isEmpty: Bool { fields.isEmpty && status == nil }

    /// The first value of `name`, nil when the name is absent. Setting replaces all values of that name; setting nil
    /// removes them. A name or value that the rules forbid is ignored; use ``add(_:_:)`` to be told.
    public subscript(name: String) -> String? {
        get { fields.first { $0.name == name }?.value }
        set {
            fields.removeAll { $0.name == name }
            if let newValue {
                _ = add(name, newValue)
            }
        }
    }

    /// All values of `name` in their order.
    public func values(of name: String) -> [String] {
        fields.compactMap { $0.name == name ? $0.value : nil }
    }

    /// Appends one field; values of the same name stay.
    ///
    /// - Returns: false, and nothing is changed, when the name or the value is not allowed.
    @discardableResult
    public mutating func add(_ name: String, _ value: String) -> Bool {
        guard Self.isValidName(name), Self.isValidValue(value) else { return false }
        fields.append(Field(name: name, value: value))
        return true
    }

    /// The fields, one after the other.
    public func makeIterator() -> IndexingIterator<[Field]> { fields.makeIterator() }

    /// Whether `name` may name a header: one or more printable ASCII characters, no space, no colon (ADR-4).
    public static func isValidName(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { isValidName(UnsafeRawBufferPointer($0)) }
    }

    /// Whether `value` may be a header's value: no carriage return and no line feed, so that it cannot forge a line.
    public static func isValidValue(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { isValidValue(UnsafeRawBufferPointer($0)) }
    }

    package static func isValidName(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count > 0 else { return false }
        for byte in bytes where byte < 33 || byte > 126 || byte == ASCII.colon {
            return false
        }
        return true
    }

    package static func isValidValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for byte in bytes where byte == ASCII.carriageReturn || byte == ASCII.lineFeed || byte == 0 {
            return false
        }
        return true
    }
}

// MARK: - Wire form

extension NATSHeaders {
    package static let versionLine: StaticString = "NATS/1.0"

    /// The block as it stands on the wire: version line, one line per field, blank line. Empty when there is nothing
    /// to say, because a message without headers is sent as PUB.
    package func encoded() -> [UInt8] {
        guard !isEmpty else { return [] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encodedSize)
        bytes.append(contentsOf: UnsafeBufferPointer(start: Self.versionLine.utf8Start, count: 8))
        if let status {
            // Always three digits, or no reader takes it for a status: a peer may have sent 007.
            let digits = "\(status)".utf8
            bytes.append(ASCII.space)
            bytes.append(contentsOf: repeatElement(ASCII.zero, count: Swift.max(0, 3 - digits.count)))
            bytes.append(contentsOf: digits)
            if let statusDescription {
                bytes.append(contentsOf: " \(statusDescription)".utf8)
            }
        }
        bytes.append(contentsOf: "\r\n".utf8)
        for field in fields {
            bytes.append(contentsOf: field.name.utf8)
            bytes.append(contentsOf: ": ".utf8)
            bytes.append(contentsOf: field.value.utf8)
            bytes.append(contentsOf: "\r\n".utf8)
        }
        bytes.append(contentsOf: "\r\n".utf8)
        return bytes
    }

    private var encodedSize: Int {
        fields.reduce(16) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    }

    /// Reads a block as received. Lines that are not headers are left out: a peer's odd header costs that header,
    /// never the message or the connection, and ``isDamaged`` tells of it. Text is repaired to valid UTF-8.
    ///
    /// - Parameter block: from `NATS/1.0` to the blank line inclusive; empty gives empty headers.
    package init(block: UnsafeRawBufferPointer) {
        var lines = NATSHeaderLines(block)
        if let status = lines.status {
            self.status = status
            if let text = lines.statusDescription {
                statusDescription = String(decoding: text, as: UTF8.self)
            }
        }
        while let (name, value) = lines.next() {
            fields.append(
                Field(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
            )
        }
        isDamaged = lines.skipped > 0
    }
}

/// Walks the lines of a received header block without allocating: status first, then the fields one by one.
package struct NATSHeaderLines {
    private let block: UnsafeRawBufferPointer
    private var position: Int
    /// The status number, nil when the block has none or one that is not three digits.
    package private(set) var status: Int?
    /// The bytes after the status number, trimmed; nil when there are none.
    package private(set) var statusDescription: UnsafeRawBufferPointer?

    /// How many lines were passed over so far because they are no headers.
    package private(set) var skipped = 0

    /// Begins at the version line of `block`. A block that does not begin with one has no fields.
    package init(_ block: UnsafeRawBufferPointer) {
        self.block = block
        position = 0
        guard ASCII.hasPrefix(block, ignoringCase: "nats/1.0") else {
            position = block.count
            skipped = block.isEmpty ? 0 : 1
            return
        }
        position = 8
        guard let rest = nextLine() else { return }
        let line = Self.trimmed(rest)
        guard line.count >= 3 else { return }
        guard let number = ASCII.decimal(UnsafeRawBufferPointer(rebasing: line[0..<3])),
            line.count == 3 || line[3] == ASCII.space || line[3] == ASCII.tab
        else { return }
        status = number
        let text = Self.trimmed(UnsafeRawBufferPointer(rebasing: line[3...]))
        statusDescription = text.isEmpty ? nil : text
    }

    /// The next field, nil at the end of the block. Lines without a colon or with a forbidden name are skipped.
    package mutating func next() -> (name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)? {
        while let line = nextLine() {
            if line.isEmpty { return nil }
            let name = line.firstIndex(of: ASCII.colon).map { UnsafeRawBufferPointer(rebasing: line[0..<$0]) }
            guard let name, NATSHeaders.isValidName(name) else {
                skipped += 1
                continue
            }
            return (name, Self.trimmed(UnsafeRawBufferPointer(rebasing: line[(name.count + 1)...])))
        }
        return nil
    }

    /// The first value of `name` (compared exactly), nil when absent. Does not move the walk.
    package func firstValue(of name: StaticString) -> UnsafeRawBufferPointer? {
        var copy = self
        let expected = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        while let field = copy.next() {
            if field.name.equals(expected) { return field.value }
        }
        return nil
    }

    private mutating func nextLine() -> UnsafeRawBufferPointer? {
        guard position < block.count else { return nil }
        var end = position
        while end < block.count, block[end] != ASCII.lineFeed {
            end += 1
        }
        let start = position
        position = end + 1
        if end > start, block[end - 1] == ASCII.carriageReturn {
            end -= 1
        }
        return UnsafeRawBufferPointer(rebasing: block[start..<end])
    }

    private static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        while start < end, bytes[start] == ASCII.space || bytes[start] == ASCII.tab {
            start += 1
        }
        while end > start, bytes[end - 1] == ASCII.space || bytes[end - 1] == ASCII.tab {
            end -= 1
        }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }
}
